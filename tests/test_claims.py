"""Every false statement stands where it is said to stand, and its refutation still holds."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from errata import claims, curated, refutations
from errata.claims import CuratedClaim
from errata.errors import ErrataError
from errata.findings import Findings

ROOT = Path(__file__).parent.parent
COLLECTION = curated.load(ROOT)
CLAIMS = claims.load(ROOT, COLLECTION)
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


def test_a_refutation_that_no_longer_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = CLAIMS[0]
    shown = refutations.get(claim.refutation)()
    monkeypatch.setattr(refutations, "get", lambda name: lambda: replace(shown, refuted=False))
    with pytest.raises(ErrataError, match=f"{claim.id}: {claim.refutation} no longer refutes it"):
        claims.judge(claim, COLLECTION.documents)


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
    ],
)
def test_a_bad_entry_is_refused(tmp_path: Path, spoil: Callable[[str], str], message: str) -> None:
    shutil.copytree(ROOT / "snippets", tmp_path / "snippets")
    path = tmp_path / "snippets" / "claims.toml"
    before = path.read_text(encoding="utf-8")
    path.write_text(spoil(before), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != before
    with pytest.raises(ErrataError) as caught:
        claims.load(tmp_path, COLLECTION)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
