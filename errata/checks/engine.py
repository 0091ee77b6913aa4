"""Run checks on a candidate: search for a case that fails, make it small, say what in it matters.

The engine knows no component. All that it knows of a check is its domain of cases and its measure.
"""

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis import strategies as st

from errata.candidates import Candidate, CandidateError
from errata.checks.case import Case, Drawn
from errata.checks.evidence import Evidence, raised
from errata.checks.registry import Check
from errata.errors import ErrataError

Status = Literal["passed", "failed", "blocked", "not-applicable", "inconclusive"]

EXAMPLES = 20
"""Cases that a search tries before it calls a check passed."""

VALUE_EXAMPLES = 200
"""Contents that the second stage tries before it keeps the drawn ones."""

LARGEST_SPELT_OUT = 20
"""Entries of the largest tensor whose values are worth printing."""


@dataclass(frozen=True)
class Influence:
    """What happens to a failure when one field of its case is varied and all others are kept.

    Attributes:
        field: its name.
        fails: the values with which the check fails, the counterexample's own among them.
        passes: the values with which it passes.
    """

    field: str
    fails: tuple[Any, ...]
    passes: tuple[Any, ...]

    @property
    def matters(self) -> bool:
        """Whether the failure depends on this field."""
        return bool(self.passes)


@dataclass(frozen=True)
class Counterexample:
    """A case on which a check fails, with what was seen there."""

    case: Case
    evidence: Evidence
    influences: tuple[Influence, ...] = ()


@dataclass(frozen=True)
class Result:
    """What became of one check.

    Attributes:
        check: the check.
        status: ``blocked`` when a check that it builds on did not pass; ``inconclusive`` when nothing can be said.
        counterexample: for failed checks.
        blocked_by: the ids that block it.
        reason: why nothing can be said.
    """

    check: Check
    status: Status
    counterexample: Counterexample | None = None
    blocked_by: tuple[str, ...] = ()
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the candidate here: the check passed, or it does not apply."""
        return self.status in ("passed", "not-applicable")


class _CaseFailedError(Exception):
    """Raised inside a search to tell Hypothesis that a case fails."""


def run(
    candidate: Candidate, checks: Iterable[Check], *, examples: int = EXAMPLES, seed: int = 0, shrink: bool = True
) -> list[Result]:
    """Run checks in their order; for the arguments see `results`."""
    return list(results(candidate, checks, examples=examples, seed=seed, shrink=shrink))


def results(
    candidate: Candidate, checks: Iterable[Check], *, examples: int = EXAMPLES, seed: int = 0, shrink: bool = True
) -> Iterator[Result]:
    """Run checks in their order, one result at a time.

    Args:
        candidate: the implementation under check.
        checks: those that others build on come first, as the registry lists them.
        examples: cases to search for each check.
        seed: of the search.
        shrink: also make the counterexamples small; without, only which checks fail is worth reading.
    """
    earlier: dict[str, Result] = {}
    for check in checks:
        blocked_by = tuple(id for id in check.builds_on if id in earlier and not earlier[id].ok)
        if not check.applies_to(candidate):
            result = Result(check, "not-applicable")
        elif blocked_by:
            result = Result(check, "blocked", blocked_by=blocked_by)
        else:
            result = search(check, candidate, examples=examples, seed=seed, shrink=shrink)
        earlier[check.id] = result
        yield result


def replay(check: Check, candidate: Candidate, case: Case) -> Evidence:
    """Measure one case, without any search. An exception of the candidate's is evidence too."""
    try:
        return check.measure(candidate, case)
    except CandidateError as error:
        return raised(error)


def fails(check: Check, evidence: Evidence) -> bool:
    """Whether the measured deviation is more than rounding."""
    return math.isnan(evidence.deviation) or evidence.deviation > check.tolerance


def search(
    check: Check, candidate: Candidate, *, examples: int = EXAMPLES, seed: int = 0, shrink: bool = True
) -> Result:
    """Look for a case that fails, and shrink its sizes and choices."""
    failing: list[Counterexample] = []

    def body(case: Case) -> None:
        hypothesis.assume(check.where(case))
        evidence = replay(check, candidate, case)
        if fails(check, evidence):
            failing.append(Counterexample(case, evidence))
            raise _CaseFailedError

    try:
        _searching(body, _cases(check), examples, f"{check.id}/{seed}", shrink)()
    except _CaseFailedError:
        return Result(check, "failed", failing[-1])  # Hypothesis runs the smallest case last
    except hypothesis.errors.Flaky:
        return Result(check, "inconclusive", failing[-1], reason="the same case fails now and passes then")
    except ErrataError:
        raise
    except Exception as error:  # such as a shape that the check did not reckon with: it must not end the run
        return Result(check, "inconclusive", reason=f"the answer cannot be compared: {type(error).__name__}: {error}")
    return Result(check, "passed")


def _cases(check: Check) -> st.SearchStrategy[Case]:
    choices = {name: _one_of(list(values)) for name, values in check.domain.items()}
    return st.builds(check.case, **({"seed": _one_of(range(2**16))} | choices))


def _one_of(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    """One of the values, the first one the simplest.

    Hypothesis mixes numbers that it finds in the modules of the process into those that it draws. Booleans it draws
    from the seed alone, so the same case is found wherever the search runs.
    """
    last = len(values) - 1

    # No lambda: Hypothesis looks up the source of each one when it shows a failure.
    def chosen(flags: tuple[bool, ...]) -> Any:
        number = sum(flag << place for place, flag in enumerate(reversed(flags)))
        return values[number if number <= last else 2 * last + 1 - number]

    return st.tuples(*[st.booleans()] * last.bit_length()).map(chosen)


def _searching(body: Any, strategy: st.SearchStrategy[Any], examples: int, key: str, shrink: bool = True) -> Any:
    settings = hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
    )
    return hypothesis.seed(zlib.crc32(key.encode()))(settings(hypothesis.given(strategy)(body)))


def explain(
    check: Check, candidate: Candidate, found: Counterexample, *, control: Candidate, seed: int = 0
) -> Counterexample:
    """Shrink the contents of a counterexample, and vary its fields to see which of them matter.

    Args:
        check: the check that fails.
        candidate: the implementation that fails it.
        found: where.
        control: a right implementation; contents that it fails too would prove nothing.
        seed: of the search.
    """
    return with_influences(check, candidate, _with_small_values(check, candidate, found, control, seed))


def with_influences(check: Check, candidate: Candidate, found: Counterexample) -> Counterexample:
    """Vary the fields of a counterexample, one at a time, to see which of them matter."""
    return replace(found, influences=tuple(_influences(check, candidate, found)))


def _with_small_values(
    check: Check, candidate: Candidate, found: Counterexample, control: Candidate, seed: int
) -> Counterexample:
    """The second stage: replace the drawn contents by the simplest whole numbers that fail in the same way."""
    drawn = found.case.drawn
    if not drawn or any(math.prod(tensor.shape) > LARGEST_SPELT_OUT for tensor in drawn.values()):
        return found
    smaller: list[Counterexample] = []

    def body(values: Mapping[str, list[Any]]) -> None:
        case = replace(found.case, values={n: _nested(flat, drawn[n].shape) for n, flat in values.items()}, drawn={})
        evidence = replay(check, candidate, case)
        alike = fails(check, evidence) and evidence.raised == found.evidence.raised
        if alike and not fails(check, replay(check, control, case)):
            smaller.append(Counterexample(case, evidence))
            raise _CaseFailedError

    strategy = st.fixed_dictionaries({name: _contents(tensor) for name, tensor in drawn.items()})
    try:
        _searching(body, strategy, VALUE_EXAMPLES, f"{check.id}/values/{seed}")()
    except _CaseFailedError:
        return _as_given(check, candidate, smaller[-1])
    return found


def _as_given(check: Check, candidate: Candidate, found: Counterexample) -> Counterexample:
    """The counterexample with the contents that the candidate got: a check may repair what it draws, such as a mask."""
    given = {name: drawn.tensor.tolist() for name, drawn in found.case.drawn.items()}
    case = replace(found.case, values=given, drawn={})
    return Counterexample(case, found.evidence) if replay(check, candidate, case) == found.evidence else found


def _contents(drawn: Drawn) -> st.SearchStrategy[list[Any]]:
    size = math.prod(drawn.shape)
    kind = {"boolean": bool, "integer": int, "float": float}[drawn.kind]
    entry = _one_of(
        [kind(value) for value in sorted(range(drawn.low, drawn.high + 1), key=lambda value: (abs(value), value < 0))]
    )
    return st.lists(entry, min_size=size, max_size=size)


def _nested(flat: Sequence[Any], shape: Sequence[int]) -> Any:
    """A flat list as nested lists of this shape."""
    if not shape:
        return flat[0]
    step = math.prod(shape[1:])
    return [_nested(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _influences(check: Check, candidate: Candidate, found: Counterexample) -> Iterable[Influence]:
    for name, values in check.domain.items():
        own = getattr(found.case, name)
        outcomes: dict[bool, list[Any]] = {True: [own], False: []}
        for value in values:
            # Spelt-out values belong to the counterexample's own sizes: other sizes draw theirs from the seed.
            case = replace(found.case, **{name: value}, values={}, drawn={})
            if value != own and check.where(case):
                outcomes[fails(check, replay(check, candidate, case))].append(value)
        if len(outcomes[True]) + len(outcomes[False]) > 1:
            yield Influence(name, tuple(sorted(outcomes[True], key=list(values).index)), tuple(outcomes[False]))
