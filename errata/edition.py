"""The corrected edition: the documents whole, with every wrong snippet and sentence replaced and marked."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import nbformat

from errata.candidates.edit import edited
from errata.claims import CuratedClaim
from errata.curated import Collection, as_source
from errata.errors import ErrataError
from errata.sources.document import Document
from errata.sources.snippet import Snippet

ENTRIES = {"TE": "../README.md", "TC": "../claims.md"}
"""Where the entries stand, seen from the edition, by the letters of their ids."""


@dataclass(frozen=True, order=True)
class Change:
    """The bytes from ``start`` to ``end`` of a document become ``new``, because of the entries ``ids``."""

    start: int
    end: int
    new: str
    ids: tuple[str, ...]


def files(collection: Collection, claims: Sequence[CuratedClaim]) -> dict[str, bytes]:
    """Each document corrected, as a diff, and, where it has code, as a notebook; by file name.

    Raises:
        ErrataError: when two corrections overlap.
    """
    made: dict[str, bytes] = {}
    for document in collection.documents:
        changes = list(_changes(document, collection, claims))
        corrected = _applied(document, changes)
        stem = document.path.stem
        made[f"{stem}.md"] = corrected
        made[f"{stem}.diff"] = _diff(document, corrected)
        if any(snippet.document == document.path.name and snippet.kind == "code" for snippet in collection.snippets):
            made[f"{stem}.ipynb"] = _notebook(document, changes, collection)
    return made


def _changes(document: Document, collection: Collection, claims: Sequence[CuratedClaim]) -> Iterator[Change]:
    for snippet in _snippets(document, collection):
        errata = collection.entry_of(snippet).curated.errata
        if errata:
            ids = tuple(erratum.id for erratum in errata)
            start, end = snippet.byte_range
            yield Change(start, end, _corrected_code(snippet, collection), ())
            # A fence closes on the line below the code; a formula closes on its own last line.
            after = document.starts[snippet.last_line + (snippet.kind == "code")]
            yield Change(after, after, f"\n> 勘误：{_links(ids)}\n", ids)
    for claim in claims:
        quote, corrected = claim.quote.encode(), f"{claim.correction_zh}（{_links((claim.id,))}）"
        for place in claim.places:
            if place.document == document.path.name:
                at, end = (document.starts[line] for line in (place.lines[0] - 1, place.lines[1]))
                while (at := document.raw.find(quote, at, end)) >= 0:
                    yield Change(at, at + len(quote), corrected, (claim.id,))
                    at += len(quote)


def _links(ids: Sequence[str]) -> str:
    return "、".join(f"[{id}]({ENTRIES[id[:2]]}#{id.lower()})" for id in ids)


def _snippets(document: Document, collection: Collection) -> list[Snippet]:
    return [snippet for snippet in collection.snippets if snippet.document == document.path.name]


def _corrected_code(snippet: Snippet, collection: Collection) -> str:
    entry = collection.entry_of(snippet)
    edits = [edit for erratum in entry.curated.errata for edit in erratum.edits]
    return edited(as_source(snippet), edits, entry.where).text


def _applied(document: Document, changes: Sequence[Change], start: int = 0, end: int | None = None) -> bytes:
    """The document's bytes from ``start`` to ``end`` with the changes that lie there."""
    end = len(document.raw) if end is None else end
    pieces, position = [], start
    for change in sorted(changes):
        if start <= change.start and change.end <= end:
            if change.start < position:
                raise ErrataError(f"{document.path}: the corrections {change.ids} overlap those before; quote less")
            pieces += [document.raw[position : change.start], change.new.encode()]
            position = change.end
    return b"".join([*pieces, document.raw[position:end]])


def _diff(document: Document, corrected: bytes) -> bytes:
    """A diff that `git apply` accepts on the original."""
    path = f"snippets/documents/{document.path.name}"
    before, after = (raw.decode().splitlines(keepends=True) for raw in (document.raw, corrected))
    return "".join(difflib.unified_diff(before, after, f"a/{path}", f"b/{path}")).encode()


def _notebook(document: Document, changes: Sequence[Change], collection: Collection) -> bytes:
    """The corrected prose, and for each block one cell that fails as printed and one that passes its checks."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell("%load_ext errata.notebook")]
    position = 0
    for snippet in _snippets(document, collection):
        fence = document.starts[snippet.first_line - 2]
        cells.append(_prose(document, changes, position, fence))
        cells.append(nbformat.v4.new_code_cell(f"%%original {snippet.file}\n{snippet.text.rstrip()}"))
        if collection.entry_of(snippet).curated.errata:
            code = _corrected_code(snippet, collection).rstrip()
            cells.append(nbformat.v4.new_code_cell(f"%%corrected {snippet.file}\n{code}"))
        position = document.starts[snippet.last_line + 1]
    cells.append(_prose(document, changes, position, len(document.raw)))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # random by default
    notebook.cells = cells
    nbformat.validate(notebook)
    text: str = nbformat.writes(notebook)
    return f"{text}\n".encode()


def _prose(document: Document, changes: Sequence[Change], start: int, end: int) -> nbformat.NotebookNode:
    cell: nbformat.NotebookNode = nbformat.v4.new_markdown_cell(
        _applied(document, changes, start, end).decode().strip()
    )
    return cell
