"""The corrected edition: every correction is in it, and nothing else has changed."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import nbclient
import nbformat
import pytest

from errata import claims, curated, edition, notebook
from errata.errors import ErrataError
from errata.sources.document import Document
from errata.sources.markdown import snippets

ROOT = Path(__file__).parent.parent
COLLECTION = curated.load(ROOT)
ERRATA = [erratum.id for entry in COLLECTION.entries for erratum in entry.curated.errata]
CLAIMS = claims.load(ROOT, COLLECTION)
FILES = edition.files(COLLECTION, CLAIMS)
FOLDER = ROOT / "report" / "corrected"


def test_the_committed_edition_is_current() -> None:
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == FILES


def test_every_entry_marks_its_places() -> None:
    text = "".join(content.decode() for name, content in FILES.items() if name.endswith(".md"))
    places = {claim.id: len(claim.places) for claim in CLAIMS}
    for id in (*ERRATA, *places):
        assert text.count(f"#{id.lower()})") >= places.get(id, 1), id


@pytest.mark.parametrize("document", [pytest.param(d, id=d.path.name) for d in COLLECTION.documents])
def test_without_its_marks_and_corrections_it_is_the_document(document: Document) -> None:
    """Undo every change by text alone, from the far end."""
    corrected = FILES[f"{document.path.stem}.md"].decode()
    corrected = re.sub(r"\n> 勘误：\[TE.*\n", "", corrected)
    for claim in CLAIMS:
        if any(place.document == document.path.name for place in claim.places):
            link = f"（[{claim.id}](../claims.md#{claim.id.lower()})）"
            corrected = corrected.replace(claim.correction_zh + link, claim.quote)
    printed = [s for s in COLLECTION.snippets if s.document == document.path.name]
    for found, snippet in zip(snippets(Document(document.path, corrected.encode(), corrected)), printed, strict=True):
        corrected = corrected.replace(found.text, snippet.text)
    assert corrected.encode() == document.raw


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".diff")])
def test_the_diff_applies_to_the_original(name: str) -> None:
    done = subprocess.run(["git", "apply", "--check", str(FOLDER / name)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_corrections_that_overlap_are_refused() -> None:
    first = CLAIMS[0]
    inside = first.model_copy(update={"id": "TC999", "quote": first.quote[2:-2]})
    with pytest.raises(ErrataError, match=r"the corrections .* overlap"):
        edition.files(COLLECTION, [*CLAIMS, inside])


def test_the_notebook_runs_from_top_to_bottom() -> None:
    (name,) = (name for name in FILES if name.endswith(".ipynb"))
    book = nbformat.reads(FILES[name].decode(), as_version=4)
    nbclient.NotebookClient(book, timeout=170, resources={"metadata": {"path": str(FOLDER)}}).execute()
    outputs = {
        cell.source.split("\n")[0]: "".join(o.text for o in cell.outputs)
        for cell in book.cells[1:]
        if cell.cell_type == "code"
    }
    for entry in COLLECTION.entries:
        if entry.snippet.kind == "code":
            shown = outputs[f"%%original {entry.snippet.file}"]
            assert all(f"{erratum.id}: {erratum.title}" in shown for erratum in entry.curated.errata)
            repaired = outputs.get(f"%%corrected {entry.snippet.file}", shown)
            assert re.fullmatch(r"passes \d+ checks of \w+\n", repaired)


@pytest.fixture
def in_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)


@pytest.mark.usefixtures("in_checkout")
def test_a_cell_that_is_still_wrong_is_refused() -> None:
    (entry,) = (entry for entry in COLLECTION.entries if entry.snippet.name == "000_q26_residual_block")
    with pytest.raises(ErrataError, match=r"residual.zero-branch-is-identity failed: "):
        notebook.corrected(entry.snippet.file, entry.snippet.text)


@pytest.mark.usefixtures("in_checkout")
def test_a_cell_in_which_the_erratum_does_not_show_is_refused() -> None:
    (entry,) = (entry for entry in COLLECTION.entries if entry.snippet.name == "000_q26_residual_block")
    better = replace(entry, snippet=entry.snippet).snippet.text.replace("x = self.norm1(x)", "y = x; x = self.norm1(x)")
    with pytest.raises(ErrataError):
        notebook.original(entry.snippet.file, better.replace("x + x", "y + x"))
