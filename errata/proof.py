"""Proof of the errata by running.

An erratum is a set of edits of its snippet. With the edits of all errata the snippet passes every check of its
component; with all but one it fails exactly the checks of that one's signature. So every erratum is real, needed and
located, also when it lies behind a crash that hides it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from errata import findings
from errata.candidates import LocalCandidate, Source
from errata.checks import Check, engine, get
from errata.checks.case import Case
from errata.checks.engine import Counterexample, Result
from errata.checks.evidence import Evidence
from errata.curated import Collection, CuratedErratum, Entry, Withdrawn
from errata.errors import ErrataError
from errata.patches import unified_diff
from errata.sources.document import Document
from errata.sources.snippet import Snippet

OCCURRENCE = set(findings.Occurrence.model_fields)


class UnprovedError(ErrataError):
    """An erratum or a repaired snippet that does not behave as it is written down."""


def judge(entry: Entry, collection: Collection) -> tuple[list[findings.Snippet], list[findings.Erratum]]:
    """Run a snippet as it stands, repaired, and with each erratum alone.

    Raises:
        UnprovedError: when it does not behave as it is written down.
    """
    repaired = entry.corrected(entry.curated.errata)
    for result in _results(entry, repaired, shrink=True):
        if not result.ok:
            seen = result.counterexample.evidence if result.counterexample else result.status
            raise UnprovedError(f"{entry.where}: repaired, {entry.snippet.file} still fails {result.check.id}: {seen}")
    errata = [_prove(erratum, entry, repaired, collection) for erratum in entry.curated.errata]
    results = list(_results(entry, entry.corrected(())))
    return [_snippet(place, entry, results) for place in collection.places(entry)], errata


def _results(entry: Entry, source: Source, *, shrink: bool = False) -> Iterator[Result]:
    """The results of a text of the snippet, in all ways in which it is used."""
    for way in entry.ways:
        yield from engine.run(LocalCandidate(entry.program(way, source)), way.checks, shrink=shrink)


def replay(entry: Entry, source: Source, check: Check, case: Case) -> Evidence:
    """Measure one case on a text of the snippet: in the first way of its use that fails there, or else in the last."""
    ways = [way for way in entry.ways if way.binding.component == check.component]
    found = (engine.replay(check, LocalCandidate(entry.program(way, source)), case) for way in ways)
    for evidence in found:
        if engine.fails(check, evidence):
            break
    return evidence


def _prove(erratum: CuratedErratum, entry: Entry, repaired: Source, collection: Collection) -> findings.Erratum:
    failing = {result.check.id for result in _results(entry, entry.all_but(erratum)) if result.status == "failed"}
    if failing != erratum.failing:
        raise UnprovedError(
            f"{entry.where}: {erratum.id} alone fails {', '.join(sorted(failing)) or 'no check'}, "
            f"not {', '.join(sorted(erratum.failing))}; correct its signature or its edits"
        )
    return _record(erratum, entry, _smallest_failure(erratum, entry, repaired), collection)


def _smallest_failure(erratum: CuratedErratum, entry: Entry, repaired: Source) -> Counterexample:
    """The erratum's counterexample, on which the repaired snippet passes."""
    check = get(erratum.check)
    check = replace(check, domain=dict(check.domain) | {field: (value,) for field, value in erratum.at.items()})
    for way in entry.ways:
        if way.binding.component == check.component:
            candidate = LocalCandidate(entry.program(way, entry.all_but(erratum)))
            found = engine.search(check, candidate).counterexample
            if found is not None:
                break
    else:
        raise UnprovedError(f"{entry.where}: {erratum.id} alone passes {erratum.check}; choose a check that shows it")
    if found.evidence.raised != erratum.raises:
        raise UnprovedError(
            f"{entry.where}: {erratum.id} alone raises {found.evidence.raised} in {erratum.check}, "
            f"not {erratum.raises}; correct `raises`"
        )
    control = LocalCandidate(entry.program(way, repaired))
    smallest = engine.explain(check, candidate, found, control=control)
    if engine.fails(check, engine.replay(check, control, smallest.case)):
        raise UnprovedError(
            f"{entry.where}: {erratum.id}: repaired, it fails too on {smallest.case}; correct {check.id}"
        )
    return smallest


def _record(erratum: CuratedErratum, entry: Entry, failure: Counterexample, collection: Collection) -> findings.Erratum:
    check = get(erratum.check)
    lines = _guilty_lines(erratum, entry.snippet, failure.evidence.place)
    return findings.Erratum(
        id=erratum.id,
        title=erratum.title,
        snippet=entry.snippet.file,
        places=tuple(
            findings.Place(
                document=s.document,
                lines=_moved(lines, s.first_line - entry.snippet.first_line),
                question=s.question,
                snippet=s.file,
            )
            for s in collection.places(entry)
        ),
        lines=lines,
        excerpt="".join(collection.document_of(entry.snippet).lines[lines[0] - 1 : lines[1]]),
        check=check.id,
        statement=check.statement,
        level=check.level,
        severity=erratum.severity,
        confidence=erratum.confidence,
        found_by=erratum.found_by,
        signature=tuple(check.id for check in entry.checks if check.id in erratum.failing),
        what=erratum.what,
        why=erratum.why,
        hint=check.hint,
        source=findings.Source(
            name=check.spec.work.name,
            title=check.spec.work.title,
            url=check.spec.work.url,
            section=check.spec.section,
            quote=check.spec.quote,
        ),
        counterexample=findings.Counterexample(
            case=failure.case.to_json(),
            expected=failure.evidence.expected,
            actual=failure.evidence.actual,
            place=failure.evidence.place,
            matters=tuple(
                findings.Influence(field=i.field, value=getattr(failure.case, i.field), fails=i.fails, passes=i.passes)
                for i in failure.influences
                if i.matters
            ),
        ),
        patch=_patch(erratum, entry, collection.document_of(entry.snippet)),
        applicability=erratum.applicability,
        reference=entry.curated.reference,
        summary_zh=erratum.summary_zh,
    )


def _moved(lines: findings.Lines, by: int) -> findings.Lines:
    return lines[0] + by, lines[1] + by


def _guilty_lines(erratum: CuratedErratum, snippet: Snippet, place: str | None) -> findings.Lines:
    """The lines that the patch changes; where it only adds, such as an import, the line that raises."""
    if place and all(edit.old in edit.new for edit in erratum.edits):
        line = int(place.rpartition(":")[2])
        return line, line
    spans = [edit.span(snippet.text, snippet.file) for edit in erratum.edits]
    lines = [snippet.line_map[snippet.text.count("\n", 0, at)] for start, end in spans for at in (start, end - 1)]
    return min(lines), max(lines)


def _patch(erratum: CuratedErratum, entry: Entry, document: Document) -> str:
    """The erratum's edits as a diff of the document that `git apply` accepts."""
    start, end = entry.snippet.byte_range
    repaired = entry.corrected([erratum]).text
    after = (document.raw[:start] + repaired.encode() + document.raw[end:]).decode()
    return unified_diff(document.raw.decode(), after, f"snippets/documents/{document.path.name}", context=1)


def _snippet(place: Snippet, entry: Entry, results: Sequence[Result]) -> findings.Snippet:
    by_status = {s: {r.check.id for r in results if r.status == s} for s in ("failed", "blocked", "passed")}
    # Used in several ways, a block may fail a check in one and pass it, or be blocked, in another.
    by_status["blocked"] -= by_status["failed"]
    by_status["passed"] -= by_status["failed"] | by_status["blocked"]
    ids = {status: tuple(c.id for c in entry.checks if c.id in found) for status, found in by_status.items()}
    verdict: findings.Verdict = "fail" if ids["failed"] else "variant" if entry.curated.variants else "pass"
    return findings.Snippet(
        id=place.name,
        file=place.file,
        document=place.document,
        question=place.question,
        title=place.title,
        lines=(place.first_line, place.last_line),
        sha256=place.sha256,
        duplicate_of=place.duplicate_of,
        component=entry.curated.binding.component,
        verdict=verdict,
        errata=tuple(erratum.id for erratum in entry.curated.errata),
        checks=findings.Checks(ran=len(ids["passed"] + ids["failed"]), of=len(entry.checks), **ids),
        variants=entry.curated.variants,
        note=entry.curated.note,
        reference=entry.curated.reference,
    )


def collect(
    collection: Collection,
    judged: Iterable[tuple[list[findings.Snippet], list[findings.Erratum]]],
    claims: Sequence[findings.Claim],
    withdrawn: Sequence[Withdrawn],
) -> findings.Findings:
    """Put what was judged entry by entry into one record, in the documents' order."""
    parts = list(judged)
    by_file = {snippet.file: snippet for snippets, _ in parts for snippet in snippets}
    snippets = tuple(by_file[snippet.file] for snippet in collection.snippets)
    errata = _merged(erratum for _, errata in parts for erratum in errata)
    per_document = Counter(snippet.document for snippet in snippets)
    documents = tuple(
        findings.Document(
            file=document.path.name,
            sha256=document.sha256,
            snippets=per_document[document.path.name],
        )
        for document in collection.documents
    )
    return findings.Findings(
        documents=documents,
        snippets=snippets,
        errata=errata,
        claims=tuple(claims),
        withdrawn=tuple(
            findings.Withdrawn(id=gone.id, reason=gone.reason, now=gone.now)
            for gone in sorted((*collection.withdrawn, *withdrawn), key=lambda gone: gone.id)
        ),
        totals=findings.Totals(
            documents=len(documents),
            snippets=len(snippets),
            distinct_snippets=len(collection.entries),
            right_snippets=sum(not snippet.errata for snippet in snippets),
            errata=len(errata),
            claims=len(claims),
            checks=len({check.id for entry in collection.entries for check in entry.checks}),
        ),
    )


def _merged(errata: Iterable[findings.Erratum]) -> tuple[findings.Erratum, ...]:
    """One erratum for each id, in their order, from its occurrences in the documents' order."""
    by_id: dict[str, list[findings.Erratum]] = {}
    for erratum in errata:
        by_id.setdefault(erratum.id, []).append(erratum)
    return tuple(
        first.model_copy(
            update={
                "places": tuple(place for occurrence in (first, *others) for place in occurrence.places),
                "elsewhere": tuple(findings.Occurrence(**other.model_dump(include=OCCURRENCE)) for other in others),
            }
        )
        for _, (first, *others) in sorted(by_id.items())
    )
