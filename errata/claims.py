"""The false statements of the documents' prose: curated by hand, refuted by running."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pydantic

from errata import findings, refutations
from errata.checks import literature
from errata.checks.literature import Work
from errata.curated import Collection, Withdrawn
from errata.errors import ErrataError
from errata.sources.document import Document
from errata.sources.markdown import question_of
from errata.tables import Table, read


class CuratedPlace(Table):
    """Where a statement stands: 1-based lines of the document, first and last, and its sentence if it differs."""

    document: str
    lines: findings.Lines
    quote: str | None = None


class CuratedSource(Table):
    """The sentence that says otherwise; ``work`` is a name in `errata.checks.literature`."""

    work: str
    section: str
    quote: str

    def record(self) -> findings.Source:
        """The source as the findings know it."""
        work = getattr(literature, self.work, None)
        if not isinstance(work, Work):
            raise ErrataError(f"snippets/claims: no work {self.work!r}; add it to errata/checks/literature.py")
        return findings.Source(name=work.name, title=work.title, url=work.url, section=self.section, quote=self.quote)


class CuratedClaim(Table):
    """One statement as it is written down; see `findings.Claim` for the fields.

    Attributes:
        wrong: words of the sentence that make it false, in every place; none of them stands in the corrected edition.
    """

    id: Annotated[str, pydantic.Field(pattern=r"^TC\d{3}$")]
    topic: str
    kind: findings.ClaimKind
    verdict: findings.Verdict
    severity: findings.ClaimSeverity
    quote: str
    wrong: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    translation: str
    correction: str
    correction_zh: str
    refutation: str
    errata: tuple[str, ...] = ()
    places: tuple[CuratedPlace, ...]
    source: CuratedSource


class CuratedClaims(Table):
    """One file of `snippets/claims/`: what is refuted by the module of `errata/refutations/` of the same name."""

    claim: tuple[CuratedClaim, ...]
    withdrawn: tuple[Withdrawn, ...] = ()


def load(root: Path, collection: Collection) -> CuratedClaims:
    """Read `snippets/claims/` and hold it against the documents and the errata's ids; all files as one, by id.

    Raises:
        ErrataError: when a quotation is not at its lines, an id is there twice, or a name is unknown.
    """
    seen: dict[str, CuratedClaim] = {}
    withdrawn: list[Withdrawn] = []
    for path in sorted((root / "snippets" / "claims").glob("*.toml")):
        table = read(path, CuratedClaims)
        withdrawn += table.withdrawn
        for claim in table.claim:
            where = f"{path}: {claim.id}"
            if claim.id in seen:
                raise ErrataError(f"{where}: there are two claims {claim.id}; ids are unique, take a new one")
            seen[claim.id] = claim
            _validate(claim, where, path.stem, collection)
    for gone in withdrawn:
        if gone.id in seen:
            raise ErrataError(f"{root / 'snippets' / 'claims'}: {gone.id} is withdrawn and in use; take a new id")
    return CuratedClaims(claim=tuple(seen[id] for id in sorted(seen)), withdrawn=tuple(withdrawn))


def _validate(claim: CuratedClaim, where: str, module: str, collection: Collection) -> None:
    claim.source.record()
    measure = refutations.get(claim.refutation).measure
    if measure.__module__.rpartition(".")[2] != module:
        raise ErrataError(f"{where}: {claim.refutation} is in {measure.__module__}; move the claim to that file")
    lines = {document.path.name: document.lines for document in collection.documents}
    for place in claim.places:
        if place.document not in lines:
            raise ErrataError(f"{where}: no document {place.document}; see snippets/documents/")
        first, last = place.lines
        sentence = place.quote or claim.quote
        if sentence not in "".join(lines[place.document][first - 1 : last]):
            raise ErrataError(
                f"{where}: the quotation is not in {place.document}, lines {first}-{last}; correct either"
            )
        for words in claim.wrong:
            if words not in sentence:
                raise ErrataError(f"{where}: {words!r} is not in the sentence of line {first}; correct either")
    if claim.places[0].quote is not None:
        raise ErrataError(f"{where}: the first place has the claim's own quotation; leave its `quote` out")
    for id in claim.errata:
        if id not in collection.erratum_ids:
            raise ErrataError(f"{where}: no erratum is called {id!r}; `errata list errata` shows all")


def judge(claim: CuratedClaim, documents: Sequence[Document]) -> findings.Claim:
    """Run a claim's refutation.

    Raises:
        ErrataError: when the measurement does not contradict the statement, or would also contradict the truth.
    """
    refutation, outcome = refutations.get(claim.refutation), refutations.outcome(claim.refutation)
    by_name = {document.path.name: document for document in documents}
    return findings.Claim(
        id=claim.id,
        topic=claim.topic,
        places=tuple(
            findings.Place(
                document=place.document,
                lines=place.lines,
                question=question_of(by_name[place.document], place.lines[0]),
            )
            for place in claim.places
        ),
        quote=claim.quote,
        wrong=claim.wrong,
        translation=claim.translation,
        correction=claim.correction,
        correction_zh=claim.correction_zh,
        kind=claim.kind,
        source=claim.source.record(),
        refutation=claim.refutation,
        measured=refutation.measured,
        evidence=dict(outcome.shown.numbers),
        if_true=dict(outcome.if_true.numbers),
        adversary=findings.Adversary(name=refutation.adversary.name, refuted=refutation.adversary.refuted),
        figure=outcome.shown.figure,
        verdict=claim.verdict,
        severity=claim.severity,
        errata=claim.errata,
    )
