"""The false statements of the documents' prose: curated by hand, refuted by running."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pydantic

from errata import findings, refutations
from errata.checks import literature
from errata.checks.literature import Work
from errata.curated import Collection
from errata.errors import ErrataError
from errata.sources.document import Document
from errata.sources.markdown import question_of
from errata.tables import Table, read


class CuratedPlace(Table):
    """Where a statement stands: 1-based lines of the document, first and last."""

    document: str
    lines: findings.Lines


class CuratedSource(Table):
    """The sentence that says otherwise; ``work`` is a name in `errata.checks.literature`."""

    work: str
    section: str
    quote: str

    def record(self) -> findings.Source:
        """The source as the findings know it."""
        work = getattr(literature, self.work, None)
        if not isinstance(work, Work):
            raise ErrataError(f"snippets/claims.toml: no work {self.work!r}; add it to errata/checks/literature.py")
        return findings.Source(name=work.name, title=work.title, url=work.url, section=self.section, quote=self.quote)


class CuratedClaim(Table):
    """One statement as it is written down; see `findings.Claim` for the fields."""

    id: Annotated[str, pydantic.Field(pattern=r"^TC\d{3}$")]
    topic: str
    kind: findings.ClaimKind
    verdict: findings.Verdict
    quote: str
    translation: str
    correction: str
    correction_zh: str
    refutation: str
    errata: tuple[str, ...] = ()
    places: tuple[CuratedPlace, ...]
    source: CuratedSource


class CuratedClaims(Table):
    """The file."""

    claim: tuple[CuratedClaim, ...]


def load(root: Path, collection: Collection) -> tuple[CuratedClaim, ...]:
    """Read `snippets/claims.toml` and hold it against the documents and the errata's ids.

    Raises:
        ErrataError: when a quotation is not at its lines, an id is there twice, or a name is unknown.
    """
    path = root / "snippets" / "claims.toml"
    claims = read(path, CuratedClaims).claim
    lines = {document.path.name: document.lines for document in collection.documents}
    errata = {erratum.id for entry in collection.entries for erratum in entry.curated.errata}
    seen: set[str] = set()
    for claim in claims:
        if claim.id in seen:
            raise ErrataError(f"{path}: there are two claims {claim.id}; ids are unique, take a new one")
        seen.add(claim.id)
        claim.source.record()
        refutations.get(claim.refutation)
        for place in claim.places:
            if place.document not in lines:
                raise ErrataError(f"{path}: {claim.id}: no document {place.document}; see snippets/documents/")
            first, last = place.lines
            if claim.quote not in "".join(lines[place.document][first - 1 : last]):
                where = f"{place.document}, lines {first}-{last}"
                raise ErrataError(f"{path}: {claim.id}: the quotation is not in {where}; correct either")
        for id in claim.errata:
            if id not in errata:
                raise ErrataError(f"{path}: {claim.id}: no erratum is called {id!r}; `errata list errata` shows all")
    return claims


def judge(claim: CuratedClaim, documents: Sequence[Document]) -> findings.Claim:
    """Run a claim's refutation.

    Raises:
        ErrataError: when the measurement does not contradict the statement.
    """
    measure = refutations.get(claim.refutation)
    shown = measure()
    if not shown.refuted:
        raise ErrataError(f"snippets/claims.toml: {claim.id}: {claim.refutation} no longer refutes it: {shown.numbers}")
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
        translation=claim.translation,
        correction=claim.correction,
        correction_zh=claim.correction_zh,
        kind=claim.kind,
        source=claim.source.record(),
        refutation=claim.refutation,
        measured=inspect.getdoc(measure) or "",
        evidence=dict(shown.numbers),
        figure=shown.figure,
        verdict=claim.verdict,
        errata=claim.errata,
    )
