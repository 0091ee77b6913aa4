"""Holds what mutmut left alive against `equivalent.toml`; to be run after ``tests/mutation/run.py run``.

Fails, with one line for each, when a survivor is not explained there, when an explanation is of no survivor any more,
and when a mutant was not run to its end.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from errata.tables import Table, read

KILLED = {"killed", "timeout", "segfault"}


class Equivalent(Table):
    """Edits of a line that no input can tell from the original.

    A mutant is known by what it changes: mutmut's numbers shift with every edit of a function.

    Attributes:
        function: dotted, as in ``reference.masks.hard_mask``.
        old: the line, or lines, without the outer white space.
        new: what mutmut writes in its place, one after the other.
        proof: why it is the same.
    """

    function: str
    old: str
    new: tuple[str, ...]
    proof: str


class Equivalents(Table):
    equivalent: tuple[Equivalent, ...] = ()


@dataclass(frozen=True, order=True)
class Edit:
    """A line of a function and what stands in its place."""

    function: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.function}: `{self.old}` -> `{self.new}`"


@dataclass(frozen=True)
class Run:
    """What became of the mutants.

    Attributes:
        mutants: how many there are.
        alive: those that were not killed, each with mutmut's word for it.
    """

    mutants: int
    alive: tuple[tuple[Edit, str], ...]


def complaints(run: Run, equivalents: Iterable[Equivalent]) -> list[str]:
    """One line for each thing that is wrong."""
    explained = explained_edits(equivalents)
    survivors = {edit for edit, outcome in run.alive if outcome == "survived"}
    return [
        *(f"{outcome}: {edit}" for edit, outcome in run.alive if outcome != "survived"),
        *(f"survived, and is not explained: {edit}" for edit in sorted(survivors - explained)),
        *(f"explained, but is no survivor: {edit}" for edit in sorted(explained - survivors)),
    ]


def summary(run: Run, equivalents: Iterable[Equivalent]) -> str:
    """Count the mutants."""
    explained = explained_edits(equivalents)
    equivalent = sum(outcome == "survived" and edit in explained for edit, outcome in run.alive)
    return f"killed {run.mutants - len(run.alive)} of {run.mutants}, {equivalent} equivalent"


def explained_edits(equivalents: Iterable[Equivalent]) -> set[Edit]:
    """The edits of all entries."""
    return {Edit(entry.function, entry.old, new) for entry in equivalents for new in entry.new}


def last_run() -> Run:
    """Read mutmut's folder ``mutants``."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files

    mutants, alive = 0, []
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        mutants += len(data.exit_code_by_key)
        for name, exit_code in data.exit_code_by_key.items():
            if (outcome := status_by_exit_code[exit_code]) not in KILLED:
                alive.append((edit(dotted_name(name), get_diff_for_mutant(name, path=path)), outcome))
    return Run(mutants, tuple(alive))


def dotted_name(mutant: str) -> str:
    """`reference.masks.Mask.build` for ``reference.masks.xǁMaskǁbuild__mutmut_3``, likewise without a class."""
    module, _, mangled = mutant.partition("__mutmut_")[0].rpartition(".")
    return f"{module}.{mangled.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


def edit(function: str, diff: str) -> Edit:
    """Read the changed lines out of a unified diff, whose first two lines name the files."""
    lines = diff.split("\n")[2:]
    old, new = ("\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return Edit(function, old, new)


def main() -> int:
    """Print the complaints and the summary; 1 if there is any complaint."""
    run = last_run()
    equivalents = read(Path(__file__).parent / "equivalent.toml", Equivalents).equivalent
    wrong = complaints(run, equivalents)
    print("\n".join([*wrong, summary(run, equivalents)]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
