import os
from pathlib import Path

import pytest

from errata.errors import ErrataError
from errata.files import write_atomically


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fail_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int, error: BaseException) -> None:
    """Let the given call of a function fail, counted from 1, after half of its work if it writes."""
    real, calls = getattr(owner, name), iter(range(1, 100))

    def faulty(first: Path, second: bytes) -> object:
        if next(calls) != call:
            return real(first, second)
        if isinstance(second, bytes):
            real(first, second[: len(second) // 2])
        raise error

    monkeypatch.setattr(owner, name, faulty)


def test_all_files_are_written_into_new_folders_too(tmp_path: Path) -> None:
    write_atomically({tmp_path / "a": b"1", tmp_path / "new" / "b": b"2"})
    assert contents(tmp_path / "new") == {"b": b"2"}
    assert (tmp_path / "a").read_bytes() == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "new"]


@pytest.mark.parametrize(("owner", "name"), [(Path, "write_bytes"), (os, "replace")])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_failure_leaves_every_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int
) -> None:
    before = {"a": b"old a", "c": b"old c"}
    for file, content in before.items():
        (tmp_path / file).write_bytes(content)
    fail_at(monkeypatch, owner, name, call, OSError(28, "No space left on device", str(tmp_path / "b")))
    with pytest.raises(
        ErrataError, match=rf"^{tmp_path}/b: cannot be written \(.+\); make room or allow writing there$"
    ):
        write_atomically({tmp_path / file: b"new content" for file in "abc"})
    assert contents(tmp_path) == before


def test_an_interruption_leaves_every_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old a")
    fail_at(monkeypatch, os, "replace", 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_atomically({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert contents(tmp_path) == {"a": b"old a"}


def test_a_file_is_never_seen_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks during a write sees the old content."""
    target, real, seen = tmp_path / "a", Path.write_bytes, []
    target.write_bytes(b"old")

    def watched(path: Path, content: bytes) -> int:
        written = real(path, content)
        seen.append(target.read_bytes())
        return written

    monkeypatch.setattr(Path, "write_bytes", watched)
    write_atomically({target: b"new"})
    assert (seen, target.read_bytes()) == ([b"old"], b"new")
