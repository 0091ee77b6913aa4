"""The findings record: what was found, in one versioned JSON document from which every report is rendered."""

import json
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from errata.errors import ErrataError

Level = Literal["paper", "convention", "robustness"]
Severity = Literal["crash", "wrong-result", "silent-numerical", "misleading"]
Confidence = Literal["proved", "counterexample", "by-reading"]
Verdict = Literal["pass", "fail", "variant", "inconclusive"]
Applicability = Literal["safe", "changes-behaviour", "changes-interface"]
ClaimKind = Literal["false", "reversed", "self-contradiction", "wrong-formula", "invented-term", "unsupported"]
ClaimSeverity = Literal["misconception", "imprecise", "wording"]
Numbers = dict[str, float | int | str | bool]
Lines = tuple[int, int]


class Record(BaseModel):
    """A part of the findings."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Source(Record):
    """The sentence of the literature that demands a property."""

    name: str
    title: str
    url: str
    section: str
    quote: str


class Place(Record):
    """Where something stands: 1-based lines of the document, first and last."""

    document: str
    lines: Lines
    question: int | None
    snippet: str | None = None


class Influence(Record):
    """What varying one field of a counterexample does while the others are kept."""

    field: str
    value: Any
    fails: tuple[Any, ...]
    passes: tuple[Any, ...]


class Counterexample(Record):
    """The smallest case on which a check fails.

    `matters` lists the fields on which the failure depends; `place` is where an exception was raised.
    """

    case: dict[str, Any]
    expected: Any
    actual: Any
    place: str | None
    matters: tuple[Influence, ...]


class Document(Record):
    """A source text."""

    file: str
    sha256: str
    snippets: int


class Checks(Record):
    """What became of the checks of a snippet as it stands."""

    ran: int
    of: int
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    blocked: tuple[str, ...]


class Snippet(Record):
    """One code block or formula of a document; `lines` leave the fences out."""

    id: str
    file: str
    document: str
    question: int | None
    title: str
    lines: Lines
    sha256: str
    duplicate_of: str | None
    component: str
    verdict: Verdict
    errata: tuple[str, ...]
    checks: Checks
    variants: tuple[str, ...]
    note: str
    reference: str


class Occurrence(Record):
    """An erratum in one snippet: where it is, the case that shows it there and the patch that cures it.

    `places` are those of the snippet and of its repetitions, `lines` the guilty lines in the first one, and `excerpt`
    their text. `signature` lists every check that fails when all other errata of the snippet are repaired and this one
    is not.
    """

    snippet: str
    places: tuple[Place, ...]
    lines: Lines
    excerpt: str
    check: str
    statement: str
    level: Level
    hint: str
    source: Source
    signature: tuple[str, ...]
    counterexample: Counterexample
    patch: str
    reference: str


class Erratum(Occurrence):
    """One kind of bug: what it does and why it is wrong, as it occurs in its first snippet, and where else it occurs.

    `places` are those of all its snippets.
    """

    id: str
    title: str
    severity: Severity
    confidence: Confidence
    found_by: Literal["reading", "search"]
    applicability: Applicability
    what: str
    why: str
    summary_zh: str
    elsewhere: tuple[Occurrence, ...] = ()

    def occurrence_in(self, snippet: str) -> Occurrence:
        """The erratum as it occurs in a snippet or in the one that it repeats."""
        found = (o for o in self.elsewhere if any(place.snippet == snippet for place in o.places))
        return next(found, self)


class Figure(Record):
    """A picture of a measurement, as data.

    `data` holds for lines `{"x": [...], name: [...], ...}`, for bars `{name: value}`, for a heatmap `{"values": rows}`.
    """

    kind: Literal["lines", "bars", "heatmap"]
    title: str
    x_label: str
    y_label: str
    data: dict[str, Any]


class Adversary(Record):
    """A subject that would fool a careless measurement, and whether the statement was refuted of it."""

    name: str
    refuted: bool


class Claim(Record):
    """One false statement of the prose: what is true instead, and the measurement that refutes it.

    `quote` is the whole sentence in the first place, `wrong` the words in it that make it false. `evidence` are the
    numbers by name, and `if_true` what they are of a subject of which the statement is true; `measured` says how they
    come about; `errata` are those of code that does otherwise.
    """

    id: str
    topic: str
    places: tuple[Place, ...]
    quote: str
    wrong: tuple[str, ...]
    translation: str
    correction: str
    correction_zh: str
    kind: ClaimKind
    source: Source
    refutation: str
    measured: str
    evidence: Numbers
    if_true: Numbers
    adversary: Adversary
    figure: Figure | None
    verdict: Verdict
    severity: ClaimSeverity
    errata: tuple[str, ...]


class Withdrawn(Record):
    """An id that is no longer used: why, and the entry that says it now, if any."""

    id: str
    reason: str
    now: str | None


class Totals(Record):
    """How many there are."""

    documents: int
    snippets: int
    distinct_snippets: int
    right_snippets: int
    errata: int
    claims: int
    checks: int


class Findings(Record):
    """Everything that was found."""

    version: Literal[1] = Field(default=1, alias="schema")
    documents: tuple[Document, ...]
    snippets: tuple[Snippet, ...]
    errata: tuple[Erratum, ...]
    claims: tuple[Claim, ...]
    withdrawn: tuple[Withdrawn, ...]
    totals: Totals

    def to_json(self) -> bytes:
        """The record as it lies on disk."""
        return _json(self.model_dump(mode="json", by_alias=True))

    def figures(self) -> dict[str, Figure]:
        """The figures of the claims by name; several claims may rest on one measurement."""
        return {claim.refutation: claim.figure for claim in self.claims if claim.figure}

    @classmethod
    def from_json(cls, content: bytes, file: str) -> "Findings":
        """Read a record.

        Raises:
            ErrataError: when it is none.
        """
        try:
            return cls.model_validate_json(content)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise ErrataError(f"{file}: {where}: {first['msg']}; run `errata report`") from None


def json_schema() -> bytes:
    """The JSON Schema of the record."""
    return _json(Findings.model_json_schema(by_alias=True, mode="serialization"))


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()
