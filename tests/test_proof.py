"""Every erratum is real, needed and located, and the committed report says what running it says."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from errata import cli, curated, proof
from errata.candidates.edit import Edit
from errata.errors import ErrataError
from errata.findings import Erratum, Findings, json_schema

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
    recorded = {e.id: e for e in RECORD.errata if any(place.snippet == entry.snippet.file for place in e.places)}
    assert recorded.keys() == {e.id for e in errata}
    for found in errata:
        known = recorded[found.id]
        mine = [place for place in known.places if place.snippet in files]
        assert known.occurrence_in(entry.snippet.file).model_copy(update={"places": tuple(mine)}).model_dump(
            mode="json", include=proof.OCCURRENCE
        ) == found.model_dump(mode="json", include=proof.OCCURRENCE)
        words = set(Erratum.model_fields) - proof.OCCURRENCE - {"elsewhere"}
        assert known.model_dump(include=words) == found.model_dump(include=words)


def test_an_erratum_of_several_snippets_is_one_entry_with_all_its_places() -> None:
    for erratum in RECORD.errata:
        listed = [snippet.file for snippet in RECORD.snippets if erratum.id in snippet.errata]
        assert [place.snippet for place in erratum.places] == listed or set(listed) == {
            place.snippet for place in erratum.places
        }
        for other in erratum.elsewhere:
            assert set(other.places) <= set(erratum.places)
            assert erratum.occurrence_in(other.snippet) == other
        assert erratum.occurrence_in(erratum.snippet) == erratum
    missing = next(erratum for erratum in RECORD.errata if erratum.id == "TE001")
    assert len({place.snippet for place in missing.places}) == 23


ENTRY = next(entry for entry in COLLECTION.entries if entry.snippet.file == "000_q26_residual_block.py")
(ERRATUM,) = (erratum for erratum in ENTRY.curated.errata if erratum.id == "TE039")
OTHERS = tuple(erratum for erratum in ENTRY.curated.errata if erratum is not ERRATUM)


def entry_with(**changes: object) -> curated.Entry:
    """The residual block's entry with one erratum written down differently."""
    erratum = ERRATUM.model_copy(update=changes)
    return replace(ENTRY, curated=ENTRY.curated.model_copy(update={"errata": (erratum, *OTHERS)}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edits": ERRATUM.edits[:1]}, "repaired, 000_q26_residual_block.py still fails residual"),
        ({"signature": ERRATUM.signature[:1]}, "TE039 alone fails residual.*, not residual.zero-branch-is-identity; "),
        ({"raises": "NameError"}, "TE039 alone raises None in residual.zero-branch-is-identity, not NameError"),
    ],
)
def test_what_does_not_behave_as_it_is_written_down_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(proof.UnprovedError, match=message):
        proof.judge(entry_with(**changes), COLLECTION)


def test_an_erratum_that_is_not_needed_is_refused() -> None:
    extra = ERRATUM.model_copy(update={"id": "TE999", "edits": (Edit(line=2, old="def", new="def "),)})
    needless = replace(ENTRY, curated=ENTRY.curated.model_copy(update={"errata": (*ENTRY.curated.errata, extra)}))
    with pytest.raises(proof.UnprovedError, match="TE999 alone fails no check"):
        proof.judge(needless, COLLECTION)


def test_the_report_is_rendered_from_the_record() -> None:
    rendered = cli.render(RECORD)
    assert {name: (ROOT / "report" / name).read_bytes() for name in rendered} == rendered
    committed = {str(path.relative_to(ROOT / "report")) for path in (ROOT / "report").rglob("*") if path.is_file()}
    # The edition is made of the documents, and the proof of strength of the checks: other tests hold them.
    others = {name for name in committed if name.startswith("corrected/") or name == "strength.md"}
    assert committed - others == set(rendered)


def test_the_record_round_trips_and_satisfies_its_schema() -> None:
    content = (ROOT / "report" / "errata.json").read_bytes()
    assert Findings.from_json(content, "").to_json() == content
    committed = (ROOT / "errata" / "findings.schema.json").read_bytes()
    assert json_schema() == committed, "run make schema"
    jsonschema.validate(json.loads(content), json.loads(committed), cls=jsonschema.Draft202012Validator)


def test_what_to_use_instead_exists() -> None:
    assert [entry.where for entry in COLLECTION.entries if not (ROOT / entry.curated.reference).is_file()] == []


def test_a_record_of_another_shape_is_refused() -> None:
    with pytest.raises(ErrataError, match=r"^errata.json: documents: .*; run `errata report`$"):
        Findings.from_json(b'{"schema": 1}', "errata.json")


@pytest.mark.parametrize("erratum", [pytest.param(e, id=e.id) for e in RECORD.errata])
def test_a_patch_applies_to_the_document(erratum: Erratum) -> None:
    command = ["git", "apply", "--check", "-"]
    for occurrence in (erratum, *erratum.elsewhere):
        done = subprocess.run(command, cwd=ROOT, input=occurrence.patch, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


def test_an_adapter_cannot_make_up_for_a_missing_import() -> None:
    """The adapters of question 29 import torch, and the block still fails without its own import."""
    (entry,) = (e for e in COLLECTION.entries if e.snippet.name == "000_q29_learning_rate")
    assert "import torch" in entry.curated.binding.adapter
    assert "TE001" in {erratum.id for erratum in entry.curated.errata}
