"""Files written whole or not at all."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from errata.errors import ErrataError


def sha256(content: bytes) -> str:
    """Return the SHA-256 of some bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_atomically(files: Mapping[Path, bytes]) -> None:
    """Write all the files, or leave every one as it was; a file that cannot be written raises `ErrataError`.

    Everything is first written beside its target, so that a full disk or a missing right shows before any target
    changes. A failure while the targets are replaced puts the earlier ones back. Targets are replaced in the mapping's
    order: put the file that vouches for the others last.
    """
    staged = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in files}
    before: dict[Path, bytes | None] = {}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            staged[path].write_bytes(content)
        for path in files:
            former = path.read_bytes() if path.exists() else None
            os.replace(staged[path], path)
            before[path] = former
    except BaseException as error:
        for path, former in before.items():
            _restore(path, former)
        if isinstance(error, OSError):
            where = error.filename or "output"
            raise ErrataError(f"{where}: cannot be written ({error}); make room or allow writing there") from error
        raise
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


def _restore(path: Path, former: bytes | None) -> None:
    if former is None:
        path.unlink()
    else:
        path.write_bytes(former)
