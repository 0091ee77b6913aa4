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
    assert [e.model_dump(mode="json") for e in RECORD.errata if e.snippet == entry.snippet.file] == [
        e.model_dump(mode="json") for e in errata
    ]


ENTRY = next(entry for entry in COLLECTION.entries if entry.snippet.file == "000_q26_residual_block.py")
(ERRATUM,) = ENTRY.curated.errata


def entry_with(**changes: object) -> curated.Entry:
    """The residual block's entry with its erratum written down differently."""
    erratum = ERRATUM.model_copy(update=changes)
    return replace(ENTRY, curated=ENTRY.curated.model_copy(update={"errata": (erratum,)}))


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
    extra = ERRATUM.model_copy(update={"id": "TE999", "edits": (Edit(line=1, old="class", new="class "),)})
    needless = replace(ENTRY, curated=ENTRY.curated.model_copy(update={"errata": (ERRATUM, extra)}))
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
    done = subprocess.run(command, cwd=ROOT, input=erratum.patch, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
