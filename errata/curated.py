"""The errata of the two documents as they are written down, read and held against the snippets."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from errata import findings
from errata.candidates import Program, Source
from errata.candidates.binding import Binding
from errata.candidates.edit import Edit, edited
from errata.checks import Check, checks_of, get
from errata.errors import ErrataError
from errata.sources import manifest
from errata.sources.document import Document
from errata.sources.document import read as read_document
from errata.sources.formula import to_python
from errata.sources.snippet import Snippet
from errata.tables import Table, read


class CuratedErratum(Table):
    """One bug as it is written down; see `findings.Erratum` for the fields that both have.

    Attributes:
        raises: the exception that shows it, for crashes.
        edits: the patch, in lines of the snippet.
    """

    id: Annotated[str, pydantic.Field(pattern=r"^TE\d{3}$")]
    title: str
    check: str
    severity: findings.Severity
    confidence: findings.Confidence
    found_by: Literal["reading", "search"]
    signature: tuple[str, ...]
    raises: str | None = None
    what: str
    why: str
    summary_zh: str
    applicability: findings.Applicability
    edits: tuple[Edit, ...]


class CuratedSnippet(Table):
    """One distinct snippet as it is written down.

    Attributes:
        file: its name in `snippets/`.
        reference: what to use instead.
        needs: snippets whose definitions it uses; their repaired text runs before it.
        harness: edits that make a placeholder of the document executable; they repair nothing.
        variants: legitimate choices that differ from the reference's.
        note: what else a reader should know.
        binding: how it is called.
        errata: its bugs.
    """

    file: str
    reference: str
    needs: tuple[str, ...] = ()
    harness: tuple[Edit, ...] = ()
    variants: tuple[str, ...] = ()
    note: str = ""
    binding: Binding
    errata: tuple[CuratedErratum, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A distinct snippet with its errata and everything that is needed to run it."""

    curated: CuratedSnippet
    snippet: Snippet
    where: str
    """The curated file, for messages."""
    before: tuple[Source, ...]
    """The imports of the document's earlier blocks and the repaired snippets that this one needs."""

    @cached_property
    def checks(self) -> list[Check]:
        """The checks of its component."""
        return checks_of(self.curated.binding.component)

    def repaired(self, errata: Iterable[CuratedErratum]) -> Source:
        """The snippet with the edits of some errata."""
        edits = [*self.curated.harness, *(edit for erratum in errata for edit in erratum.edits)]
        source = edited(as_source(self.snippet), edits, self.where)
        if self.snippet.kind == "formula":
            return Source(to_python(source.text, self.where), source.file, source.lines)
        return source

    def program(self, errata: Iterable[CuratedErratum]) -> Program:
        """The snippet with some errata repaired, as a candidate."""
        return self.curated.binding.program(self.snippet.name, [*self.before, self.repaired(errata)])

    def all_but(self, erratum: CuratedErratum) -> Program:
        """The snippet with this erratum alone."""
        return self.program(other for other in self.curated.errata if other.id != erratum.id)


@dataclass(frozen=True)
class Collection:
    """The documents, their snippets and all that is written down about them."""

    documents: tuple[Document, ...]
    snippets: tuple[Snippet, ...]
    entries: tuple[Entry, ...]

    def entry_of(self, snippet: Snippet) -> Entry:
        """The entry of a snippet, or of the one that it repeats."""
        return next(e for e in self.entries if e.snippet.file in (snippet.file, snippet.duplicate_of))

    def places(self, entry: Entry) -> list[Snippet]:
        """Every snippet with the entry's text, in order."""
        return [s for s in self.snippets if entry.snippet.file in (s.file, s.duplicate_of)]

    def document_of(self, snippet: Snippet) -> Document:
        """The document in which a snippet stands."""
        return next(document for document in self.documents if document.path.name == snippet.document)


def as_source(snippet: Snippet) -> Source:
    """The snippet as it stands, with its lines in the document."""
    # The text ends in a newline, after which there is one more, empty line.
    return Source(snippet.text, snippet.document, (*snippet.line_map, snippet.last_line))


def load(root: Path) -> Collection:
    """Read the documents, the snippets and the curated files of a checkout.

    Raises:
        ErrataError: when something is missing, malformed or contradicts itself.
    """
    snippets = manifest.load(root).snippets
    by_file = {snippet.file: snippet for snippet in snippets}
    paths = sorted((root / "snippets" / "errata").glob("*.toml"))
    curated = {path: read(path, CuratedSnippet) for path in paths}
    _validate(curated, by_file)
    by_snippet = {table.file: (path, table) for path, table in curated.items()}
    entries: dict[str, Entry] = {}

    def enter(file: str) -> Entry:
        if file not in entries:
            path, table = by_snippet[file]
            needed = [enter(other) for other in table.needs]
            before = (_prelude(by_file[file], snippets), *(e.repaired(e.curated.errata) for e in needed))
            entries[file] = Entry(table, by_file[file], str(path), before)
            entries[file].repaired(table.errata)  # every edit must fit
        return entries[file]

    for snippet in snippets:
        if not snippet.duplicate_of:
            enter(snippet.file)
    documents = tuple(map(read_document, sorted((root / "snippets" / "documents").glob("[!.]*"))))
    return Collection(documents, snippets, tuple(entries[s.file] for s in snippets if not s.duplicate_of))


def _validate(curated: dict[Path, CuratedSnippet], by_file: dict[str, Snippet]) -> None:
    seen: dict[str, Path] = {}
    for path, table in curated.items():
        for file in (table.file, *table.needs):
            if file not in by_file:
                raise ErrataError(f"{path}: there is no snippet {file}; `errata list snippets` names them all")
        if original := by_file[table.file].duplicate_of:
            raise ErrataError(f"{path}: {table.file} repeats {original}; write about that one")
        for id in (table.file, *(erratum.id for erratum in table.errata)):
            if id in seen:
                raise ErrataError(f"{path}: {id} is already in {seen[id]}; ids are unique, take a new one")
            seen[id] = path
        checks_of(table.binding.component)
        for erratum in table.errata:
            for id in erratum.signature:
                get(id)
            if erratum.check not in erratum.signature:
                raise ErrataError(f"{path}: {erratum.id}: {erratum.check} is not in its signature; add it there")
    for file, snippet in by_file.items():
        if not snippet.duplicate_of and file not in seen:
            raise ErrataError(f"snippets/errata: nothing is written about {file}; add a file for it")


def _prelude(snippet: Snippet, snippets: Sequence[Snippet]) -> Source:
    """The imports of the document's earlier blocks: a reader goes from top to bottom, as through a notebook."""
    imports: dict[str, int] = {}
    for earlier in snippets[: snippets.index(snippet)]:
        if earlier.document == snippet.document and earlier.language == "python":
            for node in ast.parse(earlier.text).body:
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    imports.setdefault(ast.unparse(node), earlier.line_map[node.lineno - 1])
    return Source("\n".join(imports) + "\n", snippet.document, (*imports.values(), 1))
