"""Edits: the smallest unit of a patch, a defect and a repair."""

from collections.abc import Sequence

from errata.candidates.program import Source
from errata.errors import ErrataError
from errata.tables import Table


class Edit(Table):
    """Replace ``old`` by ``new``.

    Attributes:
        line: the line of the text on which ``old`` begins (1-based), where it occurs there once; without it, ``old``
            occurs once in the whole text.
        old: what stands there.
        new: what shall stand there.
    """

    line: int | None = None
    old: str
    new: str

    def span(self, text: str, where: str) -> tuple[int, int]:
        """Where ``old`` lies in ``text``.

        Raises:
            ErrataError: when it is not there, or not there once.
        """
        start, end = 0, len(text)
        if self.line is not None:
            lines = text.split("\n")
            start = sum(len(line) + 1 for line in lines[: self.line - 1])
            end = start + len(lines[self.line - 1]) if self.line <= len(lines) else start
            where = f"{where}:{self.line}"
        found = [at for at in range(start, end) if text.startswith(self.old, at)] if self.old else []
        if len(found) != 1:
            raise ErrataError(f"{where}: {self.old!r} occurs {len(found)} times there; quote a text that occurs once")
        return found[0], found[0] + len(self.old)


def edited(source: Source, edits: Sequence[Edit], where: str) -> Source:
    """The source with all the edits made at once; every line keeps the place of the line that it comes from.

    Raises:
        ErrataError: when an edit's text is not in the source, or two edits overlap.
    """
    text, origins, position = "", list[int](), 0  # for each character of the new text, where it comes from
    for (start, end), edit in sorted(((edit.span(source.text, where), edit) for edit in edits), key=lambda e: e[0]):
        if start < position:
            raise ErrataError(f"{where}: the edit of {edit.old!r} overlaps the one before it; make them one")
        text += source.text[position:start] + edit.new
        origins += [*range(position, start), *[start] * len(edit.new)]
        position = end
    text += source.text[position:]
    origins += range(position, len(source.text) + 1)
    starts = [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]
    lines = (source.text.count("\n", 0, origins[at]) + 1 for at in starts)
    return Source(text, source.file, tuple(source.place(line) for line in lines))
