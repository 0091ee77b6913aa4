"""A document as it lies on disk: its bytes, its text and its lines."""

import io
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from errata.errors import ErrataError
from errata.files import sha256


@dataclass(frozen=True)
class Document:
    """A source text. `text` is the decoded `raw` without a byte order mark; its line endings are kept."""

    path: Path
    raw: bytes
    text: str

    @property
    def sha256(self) -> str:
        """The hash of the raw bytes."""
        return sha256(self.raw)

    @cached_property
    def lines(self) -> list[str]:
        """The lines with their endings."""
        return split_lines(self.text)

    @cached_property
    def starts(self) -> list[int]:
        """The byte at which each line starts, then the length of the document."""
        mark = len(self.raw) - len(self.text.encode())
        return list(accumulate((len(line.encode()) for line in self.lines), initial=mark))


def read(path: Path) -> Document:
    """Read a UTF-8 document; an unreadable one raises `ErrataError`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ErrataError(f"{path}: cannot be read ({error.strerror}); give the path of a readable file") from error
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = len(split_lines(raw[: error.start].decode() + "?"))
        raise ErrataError(f"{path}:{line}: not UTF-8 at byte {error.start}; save the document as UTF-8") from error
    return Document(path, raw, text.removeprefix("\ufeff"))


def split_lines(text: str) -> list[str]:
    r"""Split at the line endings of CommonMark, \n, \r\n and \r, alone; `str.splitlines` knows eight more."""
    return list(io.StringIO(text, newline=""))
