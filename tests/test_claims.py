"""Every false statement stands where it is said to stand, and its refutation still holds."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from errata import claims, curated, refutations
from errata.claims import CuratedClaim
from errata.errors import ErrataError
from errata.findings import Findings

ROOT = Path(__file__).parent.parent
COLLECTION = curated.load(ROOT)
LOADED = claims.load(ROOT, COLLECTION)
CLAIMS = LOADED.claim
RECORD = Findings.from_json((ROOT / "report" / "errata.json").read_bytes(), "report/errata.json")
RECORDED = {claim.id: claim for claim in RECORD.claims}


@pytest.mark.parametrize("claim", [pytest.param(claim, id=claim.id) for claim in CLAIMS])
def test_a_claim_is_refuted_as_recorded(claim: CuratedClaim) -> None:
    found = claims.judge(claim, COLLECTION.documents)
    assert found.model_dump(mode="json") == RECORDED[claim.id].model_dump(mode="json")


def test_the_record_has_every_claim() -> None:
    assert list(RECORDED) == [claim.id for claim in CLAIMS]


def test_every_refutation_refutes_a_claim() -> None:
    assert set(refutations.names()) == {claim.refutation for claim in CLAIMS}


def test_every_id_is_in_use_or_withdrawn_with_its_reason() -> None:
    for letters, used, withdrawn in (
        ("TC", {claim.id for claim in CLAIMS}, LOADED.withdrawn),
        ("TE", COLLECTION.erratum_ids, COLLECTION.withdrawn),
    ):
        gone = {entry.id: entry for entry in withdrawn}
        assert len(gone) == len(withdrawn)
        assert not used & gone.keys()
        numbers = sorted(int(id[2:]) for id in used | gone.keys())
        assert [f"{letters}{n:03}" for n in range(1, numbers[-1] + 1)] == sorted(used | gone.keys())
        for entry in withdrawn:
            assert entry.reason.endswith("."), entry.id
            assert entry.now is None or entry.now in used, entry.id
    assert {entry.id for entry in RECORD.withdrawn} == {e.id for e in (*LOADED.withdrawn, *COLLECTION.withdrawn)}


@pytest.mark.parametrize("claim", [pytest.param(claim, id=claim.id) for claim in CLAIMS])
def test_a_claim_quotes_whole_sentences(claim: CuratedClaim) -> None:
    """From a sentence's beginning to its end: a heading, an item of a list, or what stands between two full stops."""
    lines = {document.path.name: document.lines for document in COLLECTION.documents}
    for place in claim.places:
        text = "".join(lines[place.document][place.lines[0] - 1 : place.lines[1]])
        sentence = place.quote or claim.quote
        before, _, after = text.partition(sentence)
        assert re.search(r"(^|。|：|\n|\*\*|[.\-#] )\s*(\*\*)?$", before), (claim.id, before[-20:])
        assert sentence[-1] in "。？：`" or not after.strip(" \n*") or after.startswith("\n"), (claim.id, after[:20])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace('quote = "', 'quote = "不', 1), "TC001: the quotation is not in 000_"),
        (lambda text: text.replace("lines = [7, 7]", "lines = [8, 8]"), "lines 8-8; correct either"),
        (lambda text: text.replace('"TC002"', '"TC001"', 1), "there are two claims TC001"),
        (lambda text: text.replace('work = "VASWANI"', 'work = "NOBODY"', 1), "no work 'NOBODY'"),
        (lambda text: text.replace('refutation = "', 'refutation = "x', 1), "no refutation is called 'x"),
        (lambda text: text.replace("errata = []", 'errata = ["TE999"]', 1), "no erratum is called 'TE999'"),
        (lambda text: text.replace('document = "000_', 'document = "999_', 1), "no document 999_"),
        (lambda text: text.replace('wrong = ["', 'wrong = ["不', 1), "is not in the sentence of line 7"),
        (
            lambda text: re.sub(
                r'refutation = "\w+"', 'refutation = "a_convolution_takes_everything_at_once"', text, count=1
            ),
            "move the claim to that file",
        ),
        (lambda text: f'{text}\n[[withdrawn]]\nid = "TC001"\nreason = "Gone."\n', "TC001 is withdrawn and in use"),
    ],
)
def test_a_bad_entry_is_refused(tmp_path: Path, spoil: Callable[[str], str], message: str) -> None:
    shutil.copytree(ROOT / "snippets", tmp_path / "snippets")
    path = tmp_path / "snippets" / "claims" / "attention.toml"
    before = path.read_text(encoding="utf-8")
    path.write_text(spoil(before), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != before
    with pytest.raises(ErrataError) as caught:
        claims.load(tmp_path, COLLECTION)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
