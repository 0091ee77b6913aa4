"""Proof of the errata by running.

An erratum is a set of edits of its snippet. With the edits of all errata the snippet passes every check of its
component; with all but one it fails exactly the checks of that one's signature. So every erratum is real, needed and
located, also when it lies behind a crash that hides it.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence

from errata import findings
from errata.candidates import Candidate, LocalCandidate
from errata.candidates.edit import edited
from errata.checks import engine, get
from errata.checks.engine import Counterexample, Result
from errata.curated import Collection, CuratedErratum, Entry, as_source
from errata.errors import ErrataError
from errata.sources.document import Document
from errata.sources.snippet import Snippet


class UnprovedError(ErrataError):
    """An erratum or a repaired snippet that does not behave as it is written down."""


def judge(entry: Entry, collection: Collection) -> tuple[list[findings.Snippet], list[findings.Erratum]]:
    """Run a snippet as it stands, repaired, and with each erratum alone.

    Raises:
        UnprovedError: when it does not behave as it is written down.
    """
    repaired = LocalCandidate(entry.program(entry.curated.errata))
    for result in engine.run(repaired, entry.checks):
        if not result.ok:
            seen = result.counterexample.evidence if result.counterexample else result.status
            raise UnprovedError(f"{entry.where}: repaired, {entry.snippet.file} still fails {result.check.id}: {seen}")
    errata = [_prove(erratum, entry, repaired, collection) for erratum in entry.curated.errata]
    results = engine.run(LocalCandidate(entry.program(())), entry.checks, shrink=False)
    return [_snippet(place, entry, results) for place in collection.places(entry)], errata


def _prove(erratum: CuratedErratum, entry: Entry, repaired: Candidate, collection: Collection) -> findings.Erratum:
    candidate = LocalCandidate(entry.all_but(erratum))
    results = engine.run(candidate, entry.checks, shrink=False)
    signature = tuple(result.check.id for result in results if result.status == "failed")
    if set(signature) != set(erratum.signature):
        raise UnprovedError(
            f"{entry.where}: {erratum.id} alone fails {', '.join(signature) or 'no check'}, "
            f"not {', '.join(erratum.signature)}; correct its signature or its edits"
        )
    failure = _smallest_failure(erratum, entry, candidate, repaired)
    return _record(erratum, entry, signature, failure, collection)


def _smallest_failure(
    erratum: CuratedErratum, entry: Entry, candidate: Candidate, repaired: Candidate
) -> Counterexample:
    """The erratum's counterexample, on which the repaired snippet passes."""
    check = get(erratum.check)
    found = engine.search(check, candidate).counterexample
    assert found is not None  # the same search has failed before, without shrinking
    if found.evidence.raised != erratum.raises:
        raise UnprovedError(
            f"{entry.where}: {erratum.id} alone raises {found.evidence.raised} in {erratum.check}, "
            f"not {erratum.raises}; correct `raises`"
        )
    smallest = engine.explain(check, candidate, found, control=repaired)
    if engine.fails(check, engine.replay(check, repaired, smallest.case)):
        raise UnprovedError(
            f"{entry.where}: {erratum.id}: repaired, it fails too on {smallest.case}; correct {check.id}"
        )
    return smallest


def _record(
    erratum: CuratedErratum,
    entry: Entry,
    signature: tuple[str, ...],
    failure: Counterexample,
    collection: Collection,
) -> findings.Erratum:
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
        signature=signature,
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
    repaired = edited(as_source(entry.snippet), erratum.edits, entry.where).text
    after = document.raw[:start] + repaired.encode() + document.raw[end:]
    path = f"snippets/documents/{document.path.name}"
    before_lines, after_lines = (raw.decode().splitlines(keepends=True) for raw in (document.raw, after))
    return "".join(difflib.unified_diff(before_lines, after_lines, f"a/{path}", f"b/{path}", n=1))


def _snippet(place: Snippet, entry: Entry, results: Sequence[Result]) -> findings.Snippet:
    ids = {
        status: tuple(r.check.id for r in results if r.status == status) for status in ("passed", "failed", "blocked")
    }
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
        checks=findings.Checks(ran=len(ids["passed"] + ids["failed"]), of=len(results), **ids),
        variants=entry.curated.variants,
        note=entry.curated.note,
        reference=entry.curated.reference,
    )


def collect(
    collection: Collection,
    judged: Iterable[tuple[list[findings.Snippet], list[findings.Erratum]]],
    claims: Sequence[findings.Claim],
) -> findings.Findings:
    """Put what was judged entry by entry into one record, in the documents' order."""
    parts = list(judged)
    by_file = {snippet.file: snippet for snippets, _ in parts for snippet in snippets}
    snippets = tuple(by_file[snippet.file] for snippet in collection.snippets)
    errata = tuple(sorted((erratum for _, errata in parts for erratum in errata), key=lambda erratum: erratum.id))
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
