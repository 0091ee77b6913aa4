"""The corrected edition, read by the project's own means: as a text, as blocks that are copied, and as a notebook."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
import torch

from errata import claims, curated, edition, notebook
from errata.candidates import LocalCandidate, Source
from errata.checks import engine
from errata.errors import ErrataError
from errata.sources.document import Document
from errata.sources.markdown import questions, snippets
from errata.sources.snippet import Snippet

ROOT = Path(__file__).parent.parent
COLLECTION = curated.load(ROOT)
CLAIMS = claims.load(ROOT, COLLECTION).claim
TEXTS = edition.load(ROOT, COLLECTION, CLAIMS)
FILES = edition.files(COLLECTION, CLAIMS, TEXTS)
FOLDER = ROOT / "report" / "corrected"
DOCUMENTS = [pytest.param(document, id=document.path.name) for document in COLLECTION.documents]


def edition_of(document: Document) -> Document:
    raw = FILES[f"{document.path.stem}.md"]
    return Document(document.path, raw, raw.decode())


BLOCKS = [
    (printed, found)
    for document in COLLECTION.documents
    for printed, found in zip(
        [s for s in COLLECTION.snippets if s.document == document.path.name],
        snippets(edition_of(document)),
        strict=True,
    )
]
"""Each block as the document prints it, and as it is extracted from the edition."""
EACH_BLOCK = [pytest.param(printed, found, id=printed.name) for printed, found in BLOCKS]


def test_the_committed_edition_is_current() -> None:
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == FILES


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_diff_makes_the_edition_of_the_document(document: Document, tmp_path: Path) -> None:
    path = tmp_path / "snippets" / "documents" / document.path.name
    path.parent.mkdir(parents=True)
    shutil.copy(document.path, path)
    diff = FILES[f"{document.path.stem}.diff"]
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff, check=True)
    assert path.read_bytes() == FILES[f"{document.path.stem}.md"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_diff_holds_what_differs_and_no_more(document: Document, tmp_path: Path) -> None:
    other = tmp_path / "edition.md"
    other.write_bytes(FILES[f"{document.path.stem}.md"])
    command = ["git", "diff", "--no-index", "--numstat", str(document.path), str(other)]
    added, removed = subprocess.run(command, capture_output=True, text=True).stdout.split()[:2]
    ours = FILES[f"{document.path.stem}.diff"].decode().splitlines()[2:]
    assert sum(line[0] in "+-" for line in ours) <= int(added) + int(removed) + 20


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_question_with_a_correction_names_its_entries_once(document: Document) -> None:
    corrected = edition_of(document)
    wanted: dict[int | None, set[str]] = {}
    asked = questions(document)
    for claim in CLAIMS:
        for place in claim.places:
            if place.document == document.path.name:
                wanted.setdefault(asked[place.lines[0] - 1], set()).add(claim.id)
    for printed, _ in BLOCKS:
        if printed.document == document.path.name:
            ids = {erratum.id for erratum in COLLECTION.entry_of(printed).curated.errata}
            wanted.setdefault(printed.question, set()).update(ids)
    notes = [
        (question, re.findall(r"\[(T[EC]\d{3})\]\(\.\./(?:README|claims)\.md#t[ec]\d{3}\)", line))
        for question, line in zip(questions(corrected), corrected.lines, strict=True)
        if line.startswith("> **勘误**：")
    ]
    assert len({question for question, _ in notes}) == len(notes)
    assert all(len(set(ids)) == len(ids) for _, ids in notes)
    assert {question: set(ids) for question, ids in notes} == {q: ids for q, ids in wanted.items() if ids}


@pytest.mark.parametrize("claim", [pytest.param(claim, id=claim.id) for claim in CLAIMS])
def test_no_sentence_that_a_claim_refutes_is_left(claim: claims.CuratedClaim) -> None:
    """Neither where it stood nor anywhere else, and not the words that made it false."""
    text = "".join(FILES[f"{document.path.stem}.md"].decode() for document in COLLECTION.documents)
    for sentence in (claim.quote, *(place.quote for place in claim.places if place.quote), *claim.wrong):
        assert sentence not in text


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_text_is_clean(document: Document) -> None:
    text = FILES[f"{document.path.stem}.md"].decode()
    preface, _, body = text.partition("\n---\n")
    assert text.startswith("# ")
    assert "True" in preface
    for stray in ("<|", "\\[", "\\]", "）（", "遮罩", "遮挡"):
        assert stray not in body, stray
    assert re.findall(r"(?m)[ \t]+$", text) == []
    for line in re.sub(r"(?s)```.*?```", "", body).splitlines():
        assert line.count("（") == line.count("）"), line
        assert line.count("(") == line.count(")"), line
        assert re.sub(r"`[^`]*`", "", line).count("**") % 2 == 0, line


@pytest.mark.parametrize(("printed", "found"), EACH_BLOCK)
def test_a_block_of_the_edition_runs_when_it_is_copied_alone(printed: Snippet, found: Snippet) -> None:
    if printed.kind == "code":
        exec(compile(found.text, printed.file, "exec"), {"__name__": "copied"})


@pytest.mark.parametrize(("printed", "found"), EACH_BLOCK)
def test_a_block_of_the_edition_passes_all_its_checks(printed: Snippet, found: Snippet) -> None:
    entry = COLLECTION.entry_of(printed)
    source = Source.whole(found.text, printed.file)
    for way in entry.ways:
        results = engine.run(LocalCandidate(entry.program(way, source)), way.checks, examples=6, shrink=False)
        assert {result.check.id: str(result.counterexample) for result in results if not result.ok} == {}


def test_the_blocks_of_the_edition_work_together() -> None:
    """As a learner uses them: all run one after the other, then the masks go into every attention."""
    names: dict[str, Any] = {"__name__": "learner"}
    attentions: dict[str, Callable[..., torch.Tensor]] = {}
    masks = []
    for printed, found in BLOCKS:
        if printed.kind == "code":
            exec(compile(found.text, printed.file, "exec"), names)
            component = COLLECTION.entry_of(printed).curated.binding.component
            if component == "attention":
                attentions[printed.file] = names[printed.name.split("_", 2)[2]]
            elif component == "padding_mask":
                masks.append(names["create_mask"])
    query, value = torch.zeros(1, 4, 1), torch.tensor([1.0, 2.0, 100.0, 200.0])[None, :, None]
    assert len(masks) == 3
    assert len(attentions) == 7
    for create_mask in masks:
        for file, attend in attentions.items():
            width = {"d_k": 1} if "scaled_dot_product" in file else {}
            for length, mean in ((2, 1.5), (4, 75.75)):
                for lengths in (length, torch.tensor([length])):
                    answer = attend(query, query, value, mask=create_mask(lengths, 4), **width)
                    torch.testing.assert_close(answer, torch.full((1, 4, 1), mean))
            scores = names["hard_mask"](torch.zeros(1, 4, 4), create_mask(2, 4))
            assert scores[0, 0].tolist() == [0.0, 0.0, float("-inf"), float("-inf")]
    model = names["Transformer"](10, 8, 4, 8, 2).eval()
    ids = torch.tensor([[1, 2, 3, 0]])
    before, after = (model(ids, masks[0](3, 4)), model(ids.masked_fill(ids == 0, 9), masks[0](3, 4)))
    torch.testing.assert_close(after[:, :3], before[:, :3])


ATTENTIONS = [
    pytest.param(found, id=printed.name)
    for printed, found in BLOCKS
    if printed.kind == "code" and COLLECTION.entry_of(printed).curated.binding.component == "attention"
]


@pytest.mark.parametrize("found", ATTENTIONS)
def test_a_mask_of_rank_2_is_one_for_all_sequences(found: Snippet) -> None:
    """As PyTorch reads it, and the notes say: a padding mask (B, S) needs an axis for the queries, also where B = T."""
    names: dict[str, Any] = {}
    exec(compile(found.text, found.file, "exec"), names)
    attend = names[found.name.split("_", 2)[2]]
    width = {"d_k": 4} if "scaled_dot_product" in found.name else {}
    x = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(0))
    padding = torch.arange(3) < torch.tensor([1, 3, 2])[:, None]
    for_all, for_each = (attend(x, x, x, mask=mask, **width) for mask in (padding, padding[:, None]))
    reference = torch.nn.functional.scaled_dot_product_attention
    torch.testing.assert_close(for_all, reference(x, x, x, attn_mask=padding))
    torch.testing.assert_close(for_each, reference(x, x, x, attn_mask=padding[:, None]))
    assert (for_all - for_each).abs().max() > 0.5


def with_line(at: str, text: str) -> Callable[[str], str]:
    return lambda file: f'{file}\n[[line]]\nat = {at}\ntext = "{text}"\n'


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda text: text.replace("at = [", "at = [99999, ", 1),
            "line 99999: 000_6d7691038350691f.txt has 1325 lines",
        ),
        (with_line("[22]", "import"), "line 22 is one of a block; correct it by an erratum"),
        (with_line("[4, 17]", "x"), "line 17 (is another text than line 4|is written twice)"),
        (with_line("[7]", "x"), "line 7 is written twice; make the two one"),
        (with_line("[2]", ""), "line 2 is as in the document; leave it out"),
        (
            lambda text: re.sub(r"(?s)\[\[line\]\]\nat = \[7, .*?(?=\[\[line\]\])", "", text),
            "line 7 is not there, and TC",
        ),
    ],
)
def test_a_bad_line_is_refused(tmp_path: Path, spoil: Callable[[str], str], message: str) -> None:
    shutil.copytree(ROOT / "snippets", tmp_path / "snippets")
    path = tmp_path / "snippets" / "edition" / "000_6d7691038350691f.toml"
    before = path.read_text(encoding="utf-8")
    path.write_text(spoil(before), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != before
    with pytest.raises(ErrataError, match=message):
        edition.load(tmp_path, COLLECTION, CLAIMS)


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
            assert re.fullmatch(r"passes \d+ checks of \w+(, \w+)*\n", repaired)


@pytest.fixture
def in_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)


@pytest.mark.usefixtures("in_checkout")
def test_a_cell_that_is_still_wrong_is_refused() -> None:
    (entry,) = (entry for entry in COLLECTION.entries if entry.snippet.name == "000_q26_residual_block")
    text = f"import torch.nn as nn\n{entry.snippet.text}"
    with pytest.raises(ErrataError, match=r"residual.zero-branch-is-identity failed: "):
        notebook.corrected(entry.snippet.file, text)


@pytest.mark.usefixtures("in_checkout")
def test_a_cell_in_which_the_erratum_does_not_show_is_refused() -> None:
    (entry,) = (entry for entry in COLLECTION.entries if entry.snippet.name == "000_q26_residual_block")
    better = replace(entry, snippet=entry.snippet).snippet.text.replace("x = self.norm1(x)", "y = x; x = self.norm1(x)")
    with pytest.raises(ErrataError):
        notebook.original(entry.snippet.file, better.replace("x + x", "y + x"))
