"""The corrected edition: the documents whole, every wrong block and sentence replaced, with a note to each question.

The code is that of the document with all edits of its errata. The prose is written by hand, line by line, in
`snippets/edition/`: a sentence corrected where it stands reads badly, so a line with anything wrong in it is rewritten
as a whole.
"""

from collections.abc import Sequence
from pathlib import Path

import nbformat
import pydantic

from errata.candidates.edit import edited
from errata.claims import CuratedClaim
from errata.curated import Collection
from errata.errors import ErrataError
from errata.patches import unified_diff
from errata.sources.document import Document
from errata.sources.markdown import questions
from errata.sources.snippet import Snippet
from errata.tables import Table, read

ENTRIES = {"TE": "../README.md", "TC": "../claims.md"}
"""Where the entries stand, seen from the edition, by the letters of their ids."""


class Line(Table):
    """A line of the document as the edition has it.

    Attributes:
        at: where it stands in the document, 1-based; several numbers where the document repeats it.
        text: what the edition has instead; nothing where the line is left out.
    """

    at: tuple[int, ...] = pydantic.Field(min_length=1)
    text: str


class Text(Table):
    """One file of `snippets/edition/`, of the document with the same stem.

    Attributes:
        preface: what stands above the document.
        line: the lines that differ.
    """

    preface: str
    line: tuple[Line, ...]


def load(root: Path, collection: Collection, claims: Sequence[CuratedClaim]) -> dict[str, Text]:
    """Read `snippets/edition/` and hold it against the documents and the claims; by the document's file name.

    Raises:
        ErrataError: when a line is written twice or in a block, changes nothing, or leaves a claim unsettled.
    """
    texts = {}
    for document in collection.documents:
        path = root / "snippets" / "edition" / f"{document.path.stem}.toml"
        name = document.path.name
        texts[name] = text = read(path, Text)
        blocks = {n for s in _snippets(document, collection) for n in range(s.first_line, s.last_line + 1)}
        written: set[int] = set()
        for line in text.line:
            for number in line.at:
                where = f"{path}: line {number}"
                if not 1 <= number <= len(document.lines):
                    raise ErrataError(f"{where}: {name} has {len(document.lines)} lines; correct `at`")
                if number in written:
                    raise ErrataError(f"{where} is written twice; make the two one")
                if number in blocks:
                    raise ErrataError(f"{where} is one of a block; correct it by an erratum")
                if document.lines[number - 1] != document.lines[line.at[0] - 1]:
                    raise ErrataError(f"{where} is another text than line {line.at[0]}; write it apart")
                if document.lines[number - 1].rstrip("\n") == line.text:
                    raise ErrataError(f"{where} is as in the document; leave it out")
                written.add(number)
        for number, id in _claimed(document, claims):
            if number not in written:
                raise ErrataError(f"{path}: line {number} is not there, and {id} calls it false; write it")
    return texts


def _claimed(document: Document, claims: Sequence[CuratedClaim]) -> list[tuple[int, str]]:
    """The claims about a document, by line."""
    return [
        (number, claim.id)
        for claim in claims
        for place in claim.places
        if place.document == document.path.name
        for number in range(place.lines[0], place.lines[1] + 1)
    ]


def files(collection: Collection, claims: Sequence[CuratedClaim], texts: dict[str, Text]) -> dict[str, bytes]:
    """Each document corrected, as a diff, and, where it has code, as a notebook; by file name."""
    made: dict[str, bytes] = {}
    for document in collection.documents:
        text = texts[document.path.name]
        lines = _lines(document, text, collection, claims)
        corrected = f"{text.preface}\n{''.join(lines)}"
        stem = document.path.stem
        made[f"{stem}.md"] = corrected.encode()
        path = f"snippets/documents/{document.path.name}"
        made[f"{stem}.diff"] = unified_diff(document.text, corrected, path).encode()
        if any(snippet.kind == "code" for snippet in _snippets(document, collection)):
            made[f"{stem}.ipynb"] = _notebook(document, text.preface, lines, collection)
    return made


def _lines(document: Document, text: Text, collection: Collection, claims: Sequence[CuratedClaim]) -> list[str]:
    """What the edition has in the place of each line of the document, with the notes."""
    lines = list(document.lines)
    notes: dict[int, list[str]] = {}  # the ids by the last line of their question
    last_of = _last_lines(document)
    in_code = (
        (snippet.first_line, erratum.id)
        for snippet in _snippets(document, collection)
        for erratum in collection.entry_of(snippet).curated.errata
    )
    marks = sorted((*_claimed(document, claims), *in_code))
    for line in text.line:
        for number in line.at:
            lines[number - 1] = f"{line.text}\n" if line.text else ""
    for snippet in _snippets(document, collection):
        first, last = snippet.first_line, snippet.last_line
        lines[first - 1 : last] = [corrected_code(snippet, collection), *[""] * (last - first)]
    for number, id in marks:
        ids = notes.setdefault(last_of[number - 1], [])
        if id not in ids:
            ids.append(id)
    for number, ids in notes.items():
        lines[number - 1] += f"\n> **勘误**：{'、'.join(f'[{id}]({ENTRIES[id[:2]]}#{id.lower()})' for id in ids)}\n"
    return lines


def _last_lines(document: Document) -> list[int]:
    """For each line the last one of its question that is not blank."""
    numbers, found = questions(document), list[int]()
    last = len(numbers)
    for number in range(len(numbers), 0, -1):
        if number < len(numbers) and numbers[number - 1] != numbers[number]:
            last = number
        while last > 1 and not document.lines[last - 1].strip():
            last -= 1
        found.append(last)
    return found[::-1]


def _snippets(document: Document, collection: Collection) -> list[Snippet]:
    return [snippet for snippet in collection.snippets if snippet.document == document.path.name]


def corrected_code(snippet: Snippet, collection: Collection) -> str:
    """The block with all its errata repaired, and with what makes it stand alone."""
    entry = collection.entry_of(snippet)
    return edited(entry.corrected(entry.curated.errata, snippet), entry.curated.edition, entry.where).text


def _notebook(document: Document, preface: str, lines: Sequence[str], collection: Collection) -> bytes:
    """The corrected prose, and for each block one cell that fails as printed and one that passes its checks."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell("%load_ext errata.notebook"), nbformat.v4.new_markdown_cell(preface.strip())]
    position = 0
    for snippet in _snippets(document, collection):
        fence = snippet.first_line - 2
        cells.append(nbformat.v4.new_markdown_cell("".join(lines[position:fence]).strip()))
        cells.append(nbformat.v4.new_code_cell(f"%%original {snippet.file}\n{snippet.text.rstrip()}"))
        if collection.entry_of(snippet).curated.errata:
            code = corrected_code(snippet, collection).rstrip()
            cells.append(nbformat.v4.new_code_cell(f"%%corrected {snippet.file}\n{code}"))
        position = snippet.last_line + 1
    cells.append(nbformat.v4.new_markdown_cell("".join(lines[position:]).strip()))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # random by default
    notebook.cells = cells
    nbformat.validate(notebook)
    text: str = nbformat.writes(notebook)
    return f"{text}\n".encode()
