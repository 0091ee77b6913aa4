"""The errata of the two documents as they are written down, read and held against the snippets."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from errata import findings
from errata.candidates import Program, Source
from errata.candidates.binding import Binding
from errata.candidates.edit import Edit, edited
from errata.checks import Check, checks_of, get, with_foundations
from errata.errors import ErrataError
from errata.sources import manifest
from errata.sources.document import Document
from errata.sources.document import read as read_document
from errata.sources.formula import to_python
from errata.sources.snippet import Snippet
from errata.tables import Table, read

KINDS = "kinds.toml"


class CuratedErratum(Table):
    """One bug in one snippet as it is written down; see `findings.Erratum` for the fields that both have.

    Where several snippets have the same bug, its id stands in each of their files with the check and the edits, and
    its words once in `kinds.toml`.

    Attributes:
        signature: the checks that fail because of it; ``check`` alone unless there are others. One that fails may keep
            ``check`` from being run, though it shows the bug better.
        at: the sizes at which ``check`` shows it best, where those of the simplest case do not.
        raises: the exception that shows it, for crashes.
        edits: the patch, in lines of the snippet.
    """

    id: Annotated[str, pydantic.Field(pattern=r"^TE\d{3}$")]
    title: str
    check: str
    severity: findings.Severity
    confidence: findings.Confidence
    found_by: Literal["reading", "search"]
    signature: tuple[str, ...] = ()
    at: dict[str, Any] = pydantic.Field(default_factory=dict)
    raises: str | None = None
    what: str
    why: str
    summary_zh: str
    applicability: findings.Applicability
    edits: tuple[Edit, ...]

    @property
    def failing(self) -> frozenset[str]:
        """The checks that fail because of it."""
        return frozenset(self.signature or (self.check,))


class Withdrawn(Table):
    """An id that is no longer used."""

    id: str
    reason: str
    now: str | None = None


class Kinds(Table):
    """The words of errata that several snippets have, and the errata that were withdrawn."""

    kind: tuple[dict[str, Any], ...]
    withdrawn: tuple[Withdrawn, ...] = ()


class Use(Binding):
    """A further use of a block that the text makes, alone or joined to other blocks.

    Attributes:
        joins: blocks that it is joined to, by the names under which the adapter finds what their own bindings define:
            ``name.call`` and ``name.build``.
    """

    joins: dict[str, str] = pydantic.Field(default_factory=dict)


class CuratedSnippet(Table):
    """One distinct snippet as it is written down.

    Attributes:
        file: its name in `snippets/`.
        reference: what to use instead.
        needs: snippets whose definitions it uses; their repaired text runs before it.
        harness: edits that make a placeholder executable, where the text has it; they repair nothing.
        edition: edits of the repaired block that the corrected edition makes for its readers; they repair nothing.
        variants: legitimate choices that differ from the reference's.
        note: what else a reader should know.
        binding: how it is called.
        uses: what else it is used for.
        errata: its bugs.
    """

    file: str
    reference: str
    needs: tuple[str, ...] = ()
    harness: tuple[Edit, ...] = ()
    edition: tuple[Edit, ...] = ()
    variants: tuple[str, ...] = ()
    note: str = ""
    binding: Binding
    uses: tuple[Use, ...] = ()
    errata: tuple[CuratedErratum, ...] = ()


@dataclass(frozen=True)
class Way:
    """One way in which a snippet is used: the component that it then is, and all that runs before and after it."""

    binding: Binding
    before: tuple[Source, ...]

    @property
    def checks(self) -> list[Check]:
        """The checks of the component."""
        return checks_of(self.binding.component)

    def program(self, name: str, source: Source) -> Program:
        """A text of the snippet as a candidate."""
        return self.binding.program(name, [*self.before, source])


@dataclass(frozen=True)
class Entry:
    """A distinct snippet with its errata and everything that is needed to run it."""

    curated: CuratedSnippet
    snippet: Snippet
    where: str
    """The curated file, for messages."""
    ways: tuple[Way, ...]
    """Its binding, then its further uses. A block stands alone: it imports what it uses."""

    @cached_property
    def checks(self) -> list[Check]:
        """The checks of all its ways, each once."""
        return list({check.id: check for way in self.ways for check in way.checks}.values())

    def corrected(self, errata: Iterable[CuratedErratum], snippet: Snippet | None = None) -> Source:
        """The snippet, or one that repeats it, with the edits of some errata."""
        edits = [edit for erratum in errata for edit in erratum.edits]
        return edited(as_source(snippet or self.snippet), edits, self.where)

    def executable(self, source: Source) -> Source:
        """A text of the snippet as it is run: its placeholders filled in, a formula as Python."""
        # Edits that repair it may have moved its lines, so a placeholder is found by its words.
        harness = [edit for edit in self.curated.harness if edit.old in source.text]
        runs = edited(source, harness, self.where)
        return replace(runs, text=to_python(runs.text, self.where)) if self.snippet.kind == "formula" else runs

    def program(self, way: Way, source: Source) -> Program:
        """A text of the snippet, used in one way, as a candidate."""
        return way.program(self.snippet.name, self.executable(source))

    def all_but(self, erratum: CuratedErratum) -> Source:
        """The snippet with this erratum alone."""
        return self.corrected(other for other in self.curated.errata if other.id != erratum.id)


@dataclass(frozen=True)
class Collection:
    """The documents, their snippets and all that is written down about them."""

    documents: tuple[Document, ...]
    snippets: tuple[Snippet, ...]
    entries: tuple[Entry, ...]
    withdrawn: tuple[Withdrawn, ...]

    @cached_property
    def erratum_ids(self) -> frozenset[str]:
        """The ids of all errata."""
        return frozenset(erratum.id for entry in self.entries for erratum in entry.curated.errata)

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
    folder = root / "snippets" / "errata"
    kinds = read(folder / KINDS, Kinds)
    words = {kind.get("id", ""): kind for kind in kinds.kind}

    def with_words(table: dict[str, Any]) -> dict[str, Any]:
        errata = table.get("errata", ())
        return table | {"errata": [words.get(erratum.get("id", ""), {}) | erratum for erratum in errata]}

    paths = sorted(path for path in folder.glob("*.toml") if path.name != KINDS)
    curated = {path: read(path, CuratedSnippet, with_words) for path in paths}
    _validate(curated, by_file, set(words), kinds.withdrawn)
    by_snippet = {table.file: (path, table) for path, table in curated.items()}
    entries: dict[str, Entry] = {}

    def enter(file: str) -> Entry:
        if file not in entries:
            path, table = by_snippet[file]
            needed = tuple(_repaired(enter(other)) for other in table.needs)
            uses = (Way(use, (*_joined(use, enter), *needed)) for use in table.uses)
            entry = Entry(table, by_file[file], str(path), (Way(table.binding, needed), *uses))
            _repaired(entry)  # every edit must fit
            entries[file] = entry
        return entries[file]

    for snippet in snippets:
        if not snippet.duplicate_of:
            enter(snippet.file)
    documents = tuple(map(read_document, sorted((root / "snippets" / "documents").glob("[!.]*"))))
    found = tuple(entries[s.file] for s in snippets if not s.duplicate_of)
    return Collection(documents, snippets, found, kinds.withdrawn)


def _repaired(entry: Entry) -> Source:
    return entry.executable(entry.corrected(entry.curated.errata))


def _joined(use: Use, enter: Callable[[str], Entry]) -> Iterator[Source]:
    """The blocks that a use joins, repaired and bound under their names."""
    for name, file in use.joins.items():
        entry = enter(file)
        adapter = entry.ways[0].binding.adapter
        bound = f"{name} = types.SimpleNamespace(call=call, build=globals().pop('build', None))"
        yield from entry.ways[0].before
        yield _repaired(entry)
        yield Source.whole(f"{adapter}\nimport types\n\n{bound}\n", f"<adapter of {file}>")


def _validate(
    curated: dict[Path, CuratedSnippet], by_file: dict[str, Snippet], kinds: set[str], withdrawn: tuple[Withdrawn, ...]
) -> None:
    written: dict[str, Path] = {}
    for path, table in curated.items():
        for file in (table.file, *table.needs, *(file for use in table.uses for file in use.joins.values())):
            if file not in by_file:
                raise ErrataError(f"{path}: there is no snippet {file}; `errata list snippets` names them all")
        if original := by_file[table.file].duplicate_of:
            raise ErrataError(f"{path}: {table.file} repeats {original}; write about that one")
        if table.file in written:
            raise ErrataError(f"{path}: {table.file} is already in {written[table.file]}; write it once")
        written[table.file] = path
        for binding in (table.binding, *table.uses):
            checks_of(binding.component)
        for erratum in table.errata:
            if erratum.id in written and erratum.id not in kinds:
                where = written[erratum.id]
                raise ErrataError(f"{path}: {erratum.id} is already in {where}; ids are unique, take a new one")
            written[erratum.id] = path
            for id in erratum.failing:
                get(id)
            if not erratum.failing & {check.id for check in with_foundations([erratum.check])}:
                raise ErrataError(f"{path}: {erratum.id}: {erratum.check} is not in its signature; add it there")
    for file, snippet in by_file.items():
        if not snippet.duplicate_of and file not in written:
            raise ErrataError(f"snippets/errata: nothing is written about {file}; add a file for it")
    for id in kinds - written.keys():
        raise ErrataError(f"snippets/errata/{KINDS}: no snippet has {id}; name it in one, or withdraw it")
    for gone in withdrawn:
        if gone.id in written:
            where = written[gone.id]
            raise ErrataError(f"snippets/errata/{KINDS}: {gone.id} is withdrawn and in {where}; take a new id")
