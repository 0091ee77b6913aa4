"""The snippets as the documents print them.

One item for each erratum of each snippet, strictly expected to fail for its recorded reason. Run
`pytest -m original --runxfail` to see them fail.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from errata import curated, proof
from errata.candidates import LocalCandidate
from errata.checks import engine, get
from errata.findings import Findings, Snippet
from errata.render.words import original_fails

ROOT = Path(__file__).parent.parent
COLLECTION = curated.load(ROOT)
RECORD = Findings.from_json((ROOT / "report" / "errata.json").read_bytes(), "report/errata.json")
ERRATA = {erratum.id: erratum for erratum in RECORD.errata}

WRONG = [pytest.param(s, id, id=f"{s.id}-{id}") for s in RECORD.snippets for id in s.errata]
RIGHT = [pytest.param(s, id=s.id) for s in RECORD.snippets if not s.errata]

pytestmark = pytest.mark.original


def entry_of(snippet: Snippet) -> curated.Entry:
    """The entry, standing where this snippet stands: a duplicate's tracebacks show its own lines."""
    (own,) = (s for s in COLLECTION.snippets if s.file == snippet.file)
    return replace(COLLECTION.entry_of(own), snippet=own)


@pytest.mark.xfail(raises=pytest.fail.Exception, strict=True, reason="the document prints it so")
@pytest.mark.parametrize(("snippet", "id"), WRONG)
def test_original(snippet: Snippet, id: str) -> None:
    erratum, entry = ERRATA[id], entry_of(snippet)
    occurrence = erratum.occurrence_in(snippet.file)
    check, recorded = get(occurrence.check), occurrence.counterexample
    (written,) = (e for e in entry.curated.errata if e.id == id)

    evidence = proof.replay(entry, entry.all_but(written), check, check.case.from_json(recorded.case))

    if engine.fails(check, evidence):
        # Another reason than the recorded one is an error of ours, not an expected failure.
        assert (evidence.expected, evidence.actual) == (recorded.expected, recorded.actual)
        (place,) = (p for p in erratum.places if p.snippet == snippet.file)
        pytest.fail(original_fails(erratum, place), pytrace=False)


@pytest.mark.parametrize("snippet", RIGHT)
def test_original_is_right(snippet: Snippet) -> None:
    entry = entry_of(snippet)
    results = [
        result
        for way in entry.ways
        for result in engine.run(LocalCandidate(entry.program(way, entry.corrected(()))), way.checks)
    ]
    assert {r.check.id: r.counterexample for r in results if r.status not in ("passed", "not-applicable")} == {}
    assert tuple(r.check.id for r in results if r.status == "passed") == snippet.checks.passed
