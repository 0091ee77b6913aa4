"""The snippets on disk: one file each, and the manifest that says where each one stands in its document."""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from errata.errors import ErrataError
from errata.files import sha256, write_atomically
from errata.sources.document import read
from errata.sources.markdown import snippets
from errata.sources.python import check_parses
from errata.sources.snippet import Snippet

REMEDY = "run `errata extract`"


class Manifest(BaseModel):
    """What `manifest.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = Field(alias="schema")
    snippets: tuple[Snippet, ...]


def extract(project_root: Path) -> Manifest:
    """Write every snippet of `snippets/documents/` to its own file in `snippets/`, and the manifest.

    Snippets of the former manifest that are no longer there are removed, unless somebody edited them. Bad documents
    raise `ErrataError` before anything is written.
    """
    folder = project_root / "snippets"
    paths = sorted((folder / "documents").glob("[!.]*"))
    if not paths:
        raise ErrataError(f"{folder / 'documents'}: no document here; put the documents to read into this folder")
    manifest = Manifest(schema=1, snippets=tuple(snippets(*map(read, paths))))
    for snippet in manifest.snippets:
        if snippet.language == "python":
            check_parses(snippet)
    files = {folder / snippet.file: snippet.text.encode() for snippet in manifest.snippets}
    stale = _generated(folder) - files.keys()
    write_atomically({**files, folder / "manifest.json": _to_json(manifest)})
    for path in stale:
        path.unlink()
    return manifest


def load(project_root: Path) -> Manifest:
    """Read the manifest with the text of its snippets; anything missing, malformed or changed raises `ErrataError`."""
    folder = project_root / "snippets"
    manifest = _read(folder)
    return manifest.model_copy(update={"snippets": tuple(_with_text(folder, snippet) for snippet in manifest.snippets)})


def _read(folder: Path) -> Manifest:
    path = folder / "manifest.json"
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ErrataError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = "".join(f"{part}: " for part in (".".join(map(str, problem["loc"])),) if part)
        raise ErrataError(f"{path}: {where}{problem['msg']}; {REMEDY}") from error


def _with_text(folder: Path, snippet: Snippet) -> Snippet:
    path = folder / snippet.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ErrataError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
    if sha256(content) != snippet.sha256:
        raise ErrataError(f"{path}: not the text that manifest.json vouches for; {REMEDY}")
    return snippet.model_copy(update={"text": content.decode()})


def _generated(folder: Path) -> set[Path]:
    """Return the unedited snippet files that the manifest on disk lists."""
    try:
        listed = _read(folder).snippets
    except ErrataError:
        return set()
    paths = {folder / snippet.file: snippet.sha256 for snippet in listed}
    return {path for path, digest in paths.items() if path.is_file() and sha256(path.read_bytes()) == digest}


def _to_json(manifest: Manifest) -> bytes:
    """Write one line a field: indentation by `json` itself would give every number of a map its own line."""
    entries = ",\n".join(f"    {{\n{_fields(snippet)}\n    }}" for snippet in manifest.snippets)
    return f'{{\n  "schema": {manifest.version},\n  "snippets": [\n{entries}\n  ]\n}}\n'.encode()


def _fields(snippet: Snippet) -> str:
    fields = snippet.model_dump(mode="json").items()
    return ",\n".join(f'      "{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in fields)
