"""Every erratum is real, needed and located, and the committed report says what running it says."""

from pathlib import Path

import pytest

from errata import curated, proof
from errata.findings import Findings

ROOT = Path(__file__).parent.parent
COLLECTION = curated.load(ROOT)
RECORD = Findings.from_json((ROOT / "report" / "errata.json").read_bytes(), "report/errata.json")


@pytest.mark.parametrize("entry", [pytest.param(e, id=e.snippet.name) for e in COLLECTION.entries])
def test_the_record_is_what_running_says(entry: curated.Entry) -> None:
    snippets, errata = proof.judge(entry, COLLECTION)
    files = {snippet.file for snippet in snippets}
    assert [s.model_dump(mode="json") for s in RECORD.snippets if s.file in files] == [
        s.model_dump(mode="json") for s in snippets
    ]
    assert [e.model_dump(mode="json") for e in RECORD.errata if e.snippet == entry.snippet.file] == [
        e.model_dump(mode="json") for e in errata
    ]
