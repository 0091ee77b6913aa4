"""Refutations, by name: each measures something that would come out otherwise if a statement were true."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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


Refutation = Callable[[], Shown]

_REFUTATIONS: dict[str, Refutation] = {}


def refutation(measure: Refutation) -> Refutation:
    """Register the decorated function under its own name; its docstring says what is measured and how."""
    name = measure.__name__
    if name in _REFUTATIONS:
        raise ValueError(f"two refutations are called {name}")
    _REFUTATIONS[name] = measure
    return measure


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
