from pathlib import Path

import pytest

from errata.errors import ErrataError
from errata.sources.document import read, split_lines


def test_only_the_line_endings_of_commonmark_split_lines() -> None:
    assert split_lines("a\nb\r\nc\rd\x0be\x0cf\x1cg\x85h\u2028i\u2029j") == [
        "a\n", "b\r\n", "c\r", "d\x0be\x0cf\x1cg\x85h\u2028i\u2029j",
    ]  # fmt: skip


def test_starts_count_bytes_behind_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "document.md"
    path.write_bytes(b"\xef\xbb\xbf" + "é\r\n中\nx".encode())
    document = read(path)
    assert document.text == "é\r\n中\nx"
    assert document.starts == [3, 7, 11, 12]


@pytest.mark.parametrize(
    ("raw", "line", "byte"),
    [
        (b"\xff", 1, 0),
        (b"one\r\ntwo\r\n\xe9t\xe9", 3, 10),
        (b"one\rtwo\n\xc3", 3, 8),
        (b"\xef\xbb\xbfone\n\x80", 2, 7),
        ("\u2028\x0b\n".encode() + b"a\xed\xa0\x80", 2, 6),
    ],
)
def test_a_document_that_is_not_utf8_names_line_and_byte(tmp_path: Path, raw: bytes, line: int, byte: int) -> None:
    path = tmp_path / "latin.md"
    path.write_bytes(raw)
    with pytest.raises(ErrataError) as error:
        read(path)
    assert str(error.value) == f"{path}:{line}: not UTF-8 at byte {byte}; save the document as UTF-8"


def test_a_missing_document_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "missing.md"
    with pytest.raises(ErrataError) as error:
        read(path)
    assert str(error.value) == f"{path}: cannot be read (No such file or directory); give the path of a readable file"
