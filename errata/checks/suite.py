"""The checks as a suite for anybody's implementation: run them, hand them to pytest, replay one case."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Literal, cast, get_args

from errata.checks import engine
from errata.checks.adapters.adapter import AdaptedCandidate, Adapter
from errata.checks.engine import Result
from errata.checks.registry import Check, Level, checks_of, get, with_foundations
from errata.checks.report import BAD, ConformanceError, Outcome, Report, described
from errata.errors import ErrataError

Effort = Literal["quick", "default", "hunt"] | int

CASES = {"quick": 2, "default": engine.EXAMPLES, "hunt": 1000}
"""How many cases each effort searches for a check that passes."""


def parse_effort(text: str) -> Effort:
    """The effort that a command line names; `Suite` refuses an unknown one."""
    return int(text) if text.isdigit() else cast(Effort, text)


ALL_LEVELS: frozenset[Level] = frozenset(get_args(Level))


@dataclass(frozen=True)
class Suite:
    """The checks that an adapter is to pass.

    Attributes:
        adapter: the implementation.
        levels: of the checks to run.
        expected_failures: ids of checks that fail, and why that is accepted.
        effort: how many cases to search for a check.
        seed: of the search.
    """

    adapter: Adapter
    levels: Collection[Level] = ALL_LEVELS
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    effort: Effort = "default"
    seed: int = 0
    _known: dict[str, Outcome] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """`ErrataError` for an unknown id, level or effort, and for a failure that is expected without a reason."""
        ids = [check.id for check in checks_of(self.adapter.component)]
        for id, reason in self.expected_failures.items():
            if id not in ids:
                near = get_close_matches(id, ids, n=1, cutoff=0)[0]
                raise ErrataError(
                    f"expected_failures: {self.adapter.component} has no check {id!r}; the nearest is {near}"
                )
            if not reason.strip():
                raise ErrataError(f"expected_failures: say why {id} may fail")
        for level in self.levels:
            if level not in ALL_LEVELS:
                raise ErrataError(f"levels: {level!r} is none; choose of {', '.join(sorted(ALL_LEVELS))}")
        if self.effort not in CASES and not (isinstance(self.effort, int) and self.effort > 0):
            raise ErrataError(f"effort: {self.effort!r} is none; choose of {', '.join(CASES)}, or a number of cases")

    @cached_property
    def candidate(self) -> AdaptedCandidate:
        """The implementation, as the checks see it."""
        return AdaptedCandidate(self.adapter)

    @property
    def checks(self) -> list[Check]:
        """The checks of the component at these levels."""
        return [check for check in checks_of(self.adapter.component) if check.level in self.levels]

    def outcomes(self) -> Iterator[Outcome]:
        """The outcomes, one after the other."""
        for check in self.checks:
            yield self.outcome(check)

    def outcome(self, check: Check) -> Outcome:
        """What becomes of one check; what it builds on is found out first, and once."""
        if check.id not in self._known:
            self._known[check.id] = self._outcome(check)
        return self._known[check.id]

    def _outcome(self, check: Check) -> Outcome:
        if not check.applies_to(self.candidate):
            return Outcome(check, "not-applicable")
        bases = [self.outcome(get(id)) for id in check.builds_on]
        blocked_by = tuple(
            base.check.id for base in bases if base.kind not in ("passed", "not-applicable", "unexpected-pass")
        )
        if blocked_by:
            return Outcome(check, "blocked", blocked_by=blocked_by)
        examples = CASES[self.effort] if isinstance(self.effort, str) else self.effort
        return self._judged(engine.search(check, self.candidate, examples=examples, seed=self.seed))

    def _judged(self, result: Result) -> Outcome:
        check, found, reason = result.check, result.counterexample, self.expected_failures.get(result.check.id, "")
        if result.status == "inconclusive":
            return Outcome(check, "inconclusive", found, reason=result.reason)
        if found is None:
            return Outcome(check, "unexpected-pass" if reason else "passed", reason=reason)
        found = engine.with_influences(check, self.candidate, found)
        if reason:
            return Outcome(check, "expected-failure", found, reason=reason)
        return Outcome(check, "error" if found.evidence.raised else "failed", found)


@dataclass(frozen=True)
class Item:
    """One check of a suite, for a test to call."""

    check: Check
    suite: Suite

    def __call__(self) -> None:
        """Run it.

        Raises:
            ConformanceError: unless it passes.
        """
        __tracebackhide__ = True
        outcome = self.suite.outcome(self.check)
        if outcome.kind in BAD or outcome.kind in ("blocked", "expected-failure"):
            raise ConformanceError(described(outcome, self.suite.adapter))

    def __repr__(self) -> str:
        """The id of the check."""
        return self.check.id

    def expected(self) -> str | None:
        """Why it is expected to fail: itself, or because it builds on a check that is."""
        for check in reversed(with_foundations([self.check.id])):  # itself is the last one defined
            if reason := self.suite.expected_failures.get(check.id):
                return reason if check is self.check else f"builds on {check.id}: {reason}"
        return None


def run(
    adapter: Adapter,
    *,
    levels: Collection[Level] = ALL_LEVELS,
    expected_failures: Mapping[str, str] | None = None,
    effort: Effort = "default",
    seed: int = 0,
) -> Report:
    """Run all checks of the adapter's component.

    Args:
        adapter: the implementation.
        levels: of the checks to run.
        expected_failures: ids of checks that fail, and why that is accepted. One that passes speaks against it.
        effort: ``quick``, ``default``, ``hunt``, or how many cases to search for each check.
        seed: of the search. Same seed, same outcome and same counterexample.

    Raises:
        ErrataError: for unknown ids, levels and efforts, and for an adapter that does not do what it promises.
    """
    suite = Suite(adapter, levels, expected_failures or {}, effort, seed)
    return Report(adapter, tuple(suite.outcomes()))


def parametrize(
    adapter: Adapter,
    *,
    levels: Collection[Level] = ALL_LEVELS,
    expected_failures: Mapping[str, str] | None = None,
    effort: Effort = "default",
    seed: int = 0,
) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a test ``def test_mine(check): check()`` to get one item for each check that applies.

    An expected failure is a strict xfail with its reason. For the arguments see `run`.
    """
    import pytest

    suite = Suite(adapter, levels, expected_failures or {}, effort, seed)
    items = [Item(check, suite) for check in suite.checks if check.applies_to(suite.candidate)]
    if not items:
        raise ErrataError(f"{adapter.title}: no check of {adapter.component} applies at {', '.join(sorted(levels))}")

    def marks(item: Item) -> Sequence[Any]:
        reason = item.expected()
        return [pytest.mark.xfail(strict=True, reason=reason, raises=ConformanceError)] if reason else []

    return pytest.mark.parametrize("check", [pytest.param(item, id=item.check.id, marks=marks(item)) for item in items])


def replay(adapter: Adapter, check_id: str, /, **fields: Any) -> None:
    """Measure one case again, without any search.

    Args:
        adapter: the implementation.
        check_id: the check.
        fields: of the case, where they are not at their defaults.

    Raises:
        ConformanceError: when it fails.
        ErrataError: for another component's check and for fields that the case does not have.
    """
    check, candidate = get(check_id), AdaptedCandidate(adapter)
    if check.component != adapter.component:
        raise ErrataError(f"{check_id} is no check of {adapter.component}: give it an adapter of {check.component}")
    if not check.applies_to(candidate):
        raise ErrataError(f"{check_id} does not apply to {adapter.title}: it needs {', '.join(check.needs)}")
    try:
        case = check.case.from_json(fields)
    except ValueError as error:
        raise ErrataError(f"{check_id}: {error}") from None
    evidence = engine.replay(check, candidate, case)
    if engine.fails(check, evidence):
        found = engine.Counterexample(case, evidence)
        outcome = Outcome(check, "error" if evidence.raised else "failed", found)
        raise ConformanceError(described(outcome, adapter))
