"""Which component a source is, and how it is called."""

from collections.abc import Sequence

import pydantic

from errata.candidates.program import Program, Source
from errata.tables import Table


class Binding(Table):
    """The part of a curated file that turns sources into a candidate; see `Program` for the fields."""

    component: str
    adapter: str
    weights: dict[str, str] = pydantic.Field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    script: bool = False

    def program(self, name: str, sources: Sequence[Source]) -> Program:
        """The candidate's program."""
        return Program(name, tuple(sources), self.adapter, self.weights, self.traits, self.script)
