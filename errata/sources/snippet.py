"""One block of a document, verbatim, with its provenance."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Snippet(BaseModel):
    """A fenced code block without its fences, or a display formula with its delimiters.

    Line k of `text` is the tail of document line `line_map[k]` (counted from 1) from character `columns[k]` (counted
    from 0). The byte range `[start, end)` covers those document lines whole, line endings included: it is `text` itself
    wherever the block stands at the margin (all columns 0).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    file: str = Field(pattern=r"^[^/\\]+\.(py|tex|txt)$")
    kind: Literal["code", "formula"]
    language: str  # "" for a fence that names none
    document: str  # the file name
    document_sha256: str
    question: int | None
    title: str
    first_line: int
    last_line: int
    line_map: tuple[int, ...]
    columns: tuple[int, ...]
    byte_range: tuple[int, int]
    sha256: str
    duplicate_of: str | None  # the file of the first block with the same text
    text: str = Field(default="", exclude=True, repr=False)  # the manifest leaves it to the file

    @property
    def name(self) -> str:
        """The file name without its suffix."""
        return Path(self.file).stem

    @model_validator(mode="after")
    def _maps_agree_with_lines(self) -> Self:
        lines = range(self.first_line, self.last_line + 1)
        if self.line_map != tuple(lines) or len(self.columns) != len(lines):
            raise ValueError(f"the line and column maps of {self.file} do not cover its lines")
        return self
