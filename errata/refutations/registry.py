"""Refutations, by name: each measures something that would come out otherwise if a statement were true.

A measurement alone proves little: it may be one that everything passes. So each refutation carries two more subjects,
and is believed only if it says the right thing of both: one of which the statement is true, and one that would fool a
careless measurement.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from errata.errors import ErrataError
from errata.findings import Figure


@dataclass(frozen=True)
class Shown:
    """What a refutation measured.

    Attributes:
        refuted: whether the measurement contradicts the statement.
        numbers: what was measured, by a name that a reader understands, in the order of telling.
        figure: a picture, where it says more than the numbers.
    """

    refuted: bool
    numbers: Mapping[str, float | int | str | bool]
    figure: Figure | None = None


Measure = Callable[..., Shown]
"""A measurement of one subject; without an argument, of the one that the statement is about."""


@dataclass(frozen=True)
class Adversary:
    """A subject that would fool a careless measurement.

    Attributes:
        name: what it is and why it might fool, for a reader, in a noun phrase.
        subject: what the measurement is given.
        refuted: what must be said of it.
    """

    name: str
    subject: Any
    refuted: bool


@dataclass(frozen=True)
class Refutation:
    """A measurement with the two subjects that prove it.

    Attributes:
        name: that of the function.
        measured: what is measured, and how.
        measure: the function.
        if_true: a subject of which the statement is true.
        adversary: a subject that would fool a careless measurement.
    """

    name: str
    measured: str
    measure: Measure
    if_true: Any
    adversary: Adversary


@dataclass(frozen=True)
class Outcome:
    """What a refutation showed of its subjects.

    Attributes:
        shown: of the one that the statement is about.
        if_true: of the one of which the statement is true.
        adversary: of the one that would fool a careless measurement.
    """

    shown: Shown
    if_true: Shown
    adversary: Shown


_REFUTATIONS: dict[str, Refutation] = {}


def refutation(*, if_true: Any, adversary: Adversary) -> Callable[[Measure], Measure]:
    """Register the decorated function under its own name; its docstring says what is measured and how."""

    def register(measure: Measure) -> Measure:
        name = measure.__name__
        if name in _REFUTATIONS:
            raise ValueError(f"two refutations are called {name}")
        _REFUTATIONS[name] = Refutation(name, inspect.getdoc(measure) or "", measure, if_true, adversary)
        return measure

    return register


def names() -> list[str]:
    """The names of all refutations."""
    return sorted(_REFUTATIONS)


def get(name: str) -> Refutation:
    """The refutation of this name.

    Raises:
        ErrataError: when there is none.
    """
    if name not in _REFUTATIONS:
        raise ErrataError(f"no refutation is called {name!r}; errata/refutations/ has {', '.join(names())}")
    return _REFUTATIONS[name]


@cache
def outcome(name: str) -> Outcome:
    """What the refutation of this name shows; several statements may rest on one.

    Raises:
        ErrataError: when it does not refute, or would refute the truth, or is fooled.
    """
    found = get(name)
    shown, if_true, adversary = (
        found.measure(*subject) for subject in ((), (found.if_true,), (found.adversary.subject,))
    )
    if not shown.refuted:
        raise ErrataError(f"refutation {name}: it no longer refutes: {dict(shown.numbers)}")
    if if_true.refuted:
        raise ErrataError(f"refutation {name}: it refutes what is true as well: {dict(if_true.numbers)}")
    if list(if_true.numbers) != list(shown.numbers):
        raise ErrataError(f"refutation {name}: other numbers of what is true: {list(if_true.numbers)}")
    if adversary.refuted is not found.adversary.refuted:
        raise ErrataError(f"refutation {name}: fooled by {found.adversary.name}: {dict(adversary.numbers)}")
    return Outcome(shown, if_true, adversary)
