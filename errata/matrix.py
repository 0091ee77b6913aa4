"""Which check kills which defect: the record of a proof of strength."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Mark = Literal["declared", "also", "blocked", "survived", "not-applicable"]
"""What a check says of a mutant: it kills, as the defect declares or besides; something that it builds on kills; it
passes; it does not apply."""


@dataclass(frozen=True)
class Death:
    """What the checks of a component say of one mutant.

    Attributes:
        component: the component.
        defect: the defect's name.
        marks: by check.
        black_box: whether a check kills that knows no weights by name.
    """

    component: str
    defect: str
    marks: dict[str, Mark]
    black_box: bool

    @property
    def by(self) -> tuple[str, ...]:
        """The checks that kill."""
        return tuple(id for id, mark in self.marks.items() if mark in ("declared", "also"))


@dataclass(frozen=True)
class Matrix:
    """All mutants of a component, and the sums.

    Attributes:
        component: the component, or ``all``.
        deaths: one for each mutant.
    """

    component: str
    deaths: Sequence[Death]

    @property
    def checks(self) -> tuple[str, ...]:
        """The checks, in their order."""
        return tuple(dict.fromkeys(id for death in self.deaths for id in death.marks))

    @property
    def killed(self) -> int:
        """How many mutants die."""
        return sum(bool(death.by) for death in self.deaths)

    @property
    def killed_black_box(self) -> int:
        """How many die without weights."""
        return sum(death.black_box for death in self.deaths)

    def kills_of(self, check: str) -> int:
        """How many mutants this check kills."""
        return sum(check in death.by for death in self.deaths)


def by_component(deaths: Sequence[Death]) -> list[Matrix]:
    """One matrix for each component, in the order of the deaths."""
    names = dict.fromkeys(death.component for death in deaths)
    return [Matrix(name, [death for death in deaths if death.component == name]) for name in names]
