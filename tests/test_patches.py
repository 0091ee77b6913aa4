"""Diffs hold what differs, and `git apply` makes the one text of the other."""

import subprocess
from pathlib import Path

import pytest

from errata.patches import unified_diff

LONG = "".join(f"line {n % 3}\n" for n in range(1000))  # every line occurs so often that difflib takes it for junk


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nb\nc\n", "a\nB\nc\n"),
        ("a\nb", "a\nb\n"),
        ("a\nb\n", "a\nb"),
        ("", "a\n"),
        ("a\n", ""),
        ("a\r\nb\r\n", "a\r\nc\r\n"),
        ("a\n\x0cb\n", "a\n\x0cc\n"),
        (LONG, LONG[:3500] + "new\n" + LONG[3500:]),
        (LONG, f"first\n{LONG}last\n"),
    ],
)
def test_git_applies_it(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "text"
    file.write_bytes(before.encode())
    diff = unified_diff(before, after, "text")
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff.encode(), check=True)
    assert (file.read_bytes() if file.exists() else b"") == after.encode()


def test_lines_that_occur_often_are_no_junk() -> None:
    diff = unified_diff(LONG, LONG[:3500] + "new\n" + LONG[3500:], "text").splitlines()[2:]
    assert [line for line in diff if line[0] in "+-"] == ["+new"]


def test_equal_texts_have_no_diff() -> None:
    assert unified_diff(LONG, LONG, "text") == ""
