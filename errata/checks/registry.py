"""The checks, by id."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from errata.candidates import Candidate
from errata.checks.case import Case, Domain
from errata.checks.evidence import Evidence
from errata.checks.literature import Spec
from errata.errors import ErrataError

Level = Literal["paper", "convention", "robustness"]

NOISE = 256.0
"""Rounding noise that a correct implementation may add up, in units of the last place."""


@dataclass(frozen=True)
class Check:
    """One property of a component.

    Attributes:
        id: ``component.property``, the property in kebab case; never reused.
        statement: the property in one sentence, with its equation.
        spec: the sentence of the literature that demands it.
        level: ``paper``, ``convention`` or ``robustness``.
        hint: what to look at when it fails.
        case: the type of its cases.
        domain: for each field of a case the values to search, the simplest first.
        where: which cases of the domain count.
        needs: traits without which it does not apply.
        unless: traits with which it does not apply.
        builds_on: checks without which it says nothing.
        tolerance: the largest deviation that is still rounding.
        measure: the comparison itself.
    """

    id: str
    statement: str
    spec: Spec
    level: Level
    hint: str
    case: type[Case]
    domain: Domain
    where: Callable[[Any], bool]
    needs: frozenset[str]
    unless: frozenset[str]
    builds_on: tuple[str, ...]
    tolerance: float
    measure: Callable[[Candidate, Any], Evidence]

    @property
    def component(self) -> str:
        """The component that it judges."""
        return self.id.split(".")[0]

    def applies_to(self, candidate: Candidate) -> bool:
        """Whether the candidate has what it needs."""
        return self.needs <= candidate.traits and not self.unless & candidate.traits


Measure = TypeVar("Measure", bound=Callable[[Candidate, Any], Evidence])

_CHECKS: dict[str, Check] = {}


def check(
    id: str,
    statement: str,
    *,
    spec: Spec,
    level: Level,
    hint: str,
    case: type[Case],
    domain: Domain,
    where: Callable[[Any], bool] = lambda case: True,
    needs: Sequence[str] = (),
    unless: Sequence[str] = (),
    builds_on: Sequence[str] = (),
    tolerance: float = NOISE,
) -> Callable[[Measure], Measure]:
    """Register the decorated function ``(candidate, case) -> Evidence`` as a check; see `Check` for the arguments."""

    def register(measure: Measure) -> Measure:
        if id in _CHECKS:
            raise ValueError(f"two checks are called {id}")
        for needed in builds_on:
            if needed not in _CHECKS:
                raise ValueError(f"{id} builds on {needed}, which is not defined before it")
        _CHECKS[id] = Check(
            id, statement, spec, level, hint, case, domain, where,
            frozenset(needs), frozenset(unless), tuple(builds_on), tolerance, measure,
        )  # fmt: skip
        return measure

    return register


def all_checks() -> list[Check]:
    """Every check, in the order of definition."""
    return list(_CHECKS.values())


def checks_of(component: str) -> list[Check]:
    """The checks of one component, in the order of definition.

    Raises:
        ErrataError: when there are none.
    """
    found = [check for check in _CHECKS.values() if check.component == component]
    if not found:
        known = sorted({check.component for check in _CHECKS.values()})
        raise ErrataError(f"no component is called {component!r}: choose one of {', '.join(known)}")
    return found


def with_foundations(ids: Iterable[str]) -> list[Check]:
    """The checks of these ids and all that they build on, in the order of definition."""
    wanted = set(ids)
    for check in reversed(_CHECKS.values()):
        if check.id in wanted:
            wanted.update(check.builds_on)
    return [check for check in _CHECKS.values() if check.id in wanted]


def get(id: str) -> Check:
    """The check with this id.

    Raises:
        ErrataError: when there is none.
    """
    if id not in _CHECKS:
        raise ErrataError(f"no check is called {id!r}: `errata list checks` names them all")
    return _CHECKS[id]
