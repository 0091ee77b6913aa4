"""The engine, on checks of a made-up component."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch

from errata.candidates import LocalCandidate, Program, Source
from errata.checks import engine
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import VASWANI
from errata.checks.registry import Check


@dataclass(frozen=True, kw_only=True)
class SquareCase(Case):
    length: int = 1
    offset: int = 0


DOMAIN = {"length": (1, 2, 3, 4), "offset": (0, 1, 2)}


def check_of(measure, id="square.is-right", **fields) -> Check:
    fields = {"needs": frozenset(), "unless": frozenset(), "builds_on": (), "where": lambda case: True} | fields
    return Check(
        id, "y = x^2", VASWANI.says("3", "none"), "paper", "square it", SquareCase, DOMAIN,
        tolerance=64.0, measure=measure, **fields,
    )  # fmt: skip


def is_right(candidate, case: SquareCase) -> Evidence:
    x = case.normal("x", case.length)
    return equal(candidate.build({}, dtype=case.dtype).call({"x": x}).output, x**2)


def candidate(code: str, traits: frozenset[str] = frozenset()) -> LocalCandidate:
    source = Source.whole(code, "square.py")
    return LocalCandidate(Program("square", (source,), "def call(x): return square(x)", traits=traits))


RIGHT = candidate("def square(x): return x * x")
WRONG_BEYOND_TWO = candidate("def square(x): return x * x if len(x) < 3 else x * x.abs()")


def test_a_right_candidate_passes() -> None:
    (result,) = engine.run(RIGHT, [check_of(is_right)])
    assert (result.status, result.counterexample) == ("passed", None)


def test_the_counterexample_has_the_smallest_sizes_and_whole_numbers() -> None:
    check = check_of(is_right)
    (result,) = engine.run(WRONG_BEYOND_TWO, [check])
    assert result.status == "failed"
    explained = engine.explain(check, WRONG_BEYOND_TWO, result.counterexample, control=RIGHT)
    assert (explained.case.length, explained.case.offset, explained.case.seed) == (3, 0, 0)
    assert explained.case.values == {"x": [0.0, 0.0, -1.0]}
    assert (explained.evidence.expected, explained.evidence.actual) == ([0.0, 0.0, 1.0], [0.0, 0.0, -1.0])


def test_ablation_says_what_matters() -> None:
    check = check_of(is_right)
    (result,) = engine.run(WRONG_BEYOND_TWO, [check])
    influences = {
        i.field: i for i in engine.explain(check, WRONG_BEYOND_TWO, result.counterexample, control=RIGHT).influences
    }
    assert influences["length"].fails == (3, 4)
    assert influences["length"].passes == (1, 2)
    assert influences["length"].matters
    assert not influences["offset"].matters


def test_a_counterexample_replays_from_json_without_search() -> None:
    check = check_of(is_right)
    (result,) = engine.run(WRONG_BEYOND_TWO, [check])
    found = engine.explain(check, WRONG_BEYOND_TWO, result.counterexample, control=RIGHT)
    case = SquareCase.from_json(found.case.to_json())
    assert case == found.case
    assert engine.replay(check, WRONG_BEYOND_TWO, case) == found.evidence
    assert not engine.fails(check, engine.replay(check, RIGHT, case))


def test_the_same_seed_finds_the_same_counterexample_whatever_the_generators_stand_at() -> None:
    found = []
    for state in (1, 2):
        torch.manual_seed(state)
        (result,) = engine.run(WRONG_BEYOND_TWO, [check_of(is_right)], seed=7)
        found.append(result.counterexample)
    assert found[0] == found[1]


def test_a_search_leaves_the_generators_where_they_were() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    engine.run(candidate("import torch\ndef square(x): return torch.randn(3).sum() + x"), [check_of(is_right)])
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32


def test_an_exception_is_a_failure_that_names_its_line() -> None:
    (result,) = engine.run(candidate("def square(x):\n    return y"), [check_of(is_right)])
    evidence = result.counterexample.evidence
    assert (result.status, evidence.raised, evidence.place) == ("failed", "NameError", "square.py:2")


def test_nan_is_a_failure() -> None:
    (result,) = engine.run(candidate("def square(x): return x * float('nan')"), [check_of(is_right)])
    assert result.status == "failed"


def test_what_builds_on_a_failure_is_blocked() -> None:
    runs = check_of(is_right, "square.runs")
    other = check_of(is_right, "square.other", builds_on=("square.runs",))
    last = check_of(is_right, "square.last", builds_on=("square.other",))
    results = engine.run(candidate("def square(x): return 1 / 0"), [runs, other, last])
    assert [(r.status, r.blocked_by) for r in results] == [
        ("failed", ()), ("blocked", ("square.runs",)), ("blocked", ("square.other",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"needs": frozenset({"weights"})}, "not-applicable"), ({"unless": frozenset({"odd"})}, "not-applicable"),
     ({"needs": frozenset({"odd"})}, "passed")],
)  # fmt: skip
def test_traits_decide_what_applies(fields: Mapping[str, frozenset[str]], status: str) -> None:
    odd = candidate("def square(x): return x * x", frozenset({"odd"}))
    (result,) = engine.run(odd, [check_of(is_right, **fields)])
    assert result.status == status


def test_only_cases_of_the_domain_count() -> None:
    (result,) = engine.run(WRONG_BEYOND_TWO, [check_of(is_right, where=lambda case: case.length < 3)])
    assert result.status == "passed"


def test_a_candidate_that_changes_its_mind_is_inconclusive() -> None:
    fickle = candidate("calls = []\ndef square(x):\n    calls.append(x)\n    return x * x + (len(calls) == 20)")
    (result,) = engine.run(fickle, [check_of(is_right)])
    assert result.status == "inconclusive"


def test_an_error_in_a_check_is_not_blamed_on_the_candidate() -> None:
    def broken(candidate, case):
        raise ZeroDivisionError("the check's own")

    (result,) = engine.run(RIGHT, [check_of(broken)])
    assert result.status == "inconclusive"
    assert result.reason == "the answer cannot be compared: ZeroDivisionError: the check's own"


@pytest.mark.parametrize(
    ("deviation", "failing"), [(0.0, False), (64.0, False), (64.1, True), (math.inf, True), (math.nan, True)]
)
def test_the_tolerance_divides_rounding_from_failure(deviation: float, failing: bool) -> None:
    assert engine.fails(check_of(is_right), Evidence(deviation, None, None)) is failing


def test_large_tensors_keep_their_drawn_contents() -> None:
    def big(candidate, case):
        case.normal("x", 100)
        return holds(False, expected="", actual="")

    check = check_of(big)
    (result,) = engine.run(RIGHT, [check])
    assert engine.explain(check, RIGHT, result.counterexample, control=RIGHT).case.values == {}


def test_contents_on_which_the_control_fails_too_prove_nothing() -> None:
    def moves(candidate, case):
        """The output must change: at x = 0 it does not, whatever the implementation."""
        x = case.normal("x", 1)
        first, second = (candidate.build({}).call({"x": argument}).output for argument in (x, 2 * x))
        return holds(not torch.equal(first, second), expected="a change", actual="none")

    check = check_of(moves)
    constant = candidate("def square(x): return x * 0")
    (result,) = engine.run(constant, [check])
    case = engine.explain(check, constant, result.counterexample, control=RIGHT).case
    assert case.values == {"x": [1.0]}


def test_the_printed_contents_are_those_that_the_candidate_got() -> None:
    def attends(candidate, case):
        """The check opens the first entry of the mask."""
        mask = case.booleans("mask", 2)
        mask[0] = True
        return holds(False, expected="", actual=mask.tolist())

    def never_fails_on_the_control(candidate, case):
        return attends(candidate, case) if candidate is not RIGHT else holds(True, expected="", actual="")

    check, wrong = check_of(never_fails_on_the_control), candidate("def square(x): return x")
    (result,) = engine.run(wrong, [check])
    assert engine.explain(check, wrong, result.counterexample, control=RIGHT).case.values == {"mask": [True, False]}


def test_without_shrinking_the_same_checks_fail() -> None:
    check = check_of(is_right)
    for candidate_, status in ((WRONG_BEYOND_TWO, "failed"), (RIGHT, "passed")):
        assert engine.run(candidate_, [check], shrink=False)[0].status == status
