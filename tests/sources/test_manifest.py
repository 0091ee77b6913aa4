import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from errata.errors import ErrataError
from errata.sources.manifest import extract, load

ROOT = Path(__file__).parents[2]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def project(root: Path, **documents: str) -> Path:
    folder = root / "snippets" / "documents"
    folder.mkdir(parents=True)
    for name, text in documents.items():
        (folder / f"{name}.md").write_bytes(text.encode())
    return root


# The two documents


def test_the_committed_snippets_are_what_the_documents_say(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "snippets" / "documents", tmp_path / "snippets" / "documents")
    manifest = extract(tmp_path)
    assert manifest == load(ROOT)
    again = tree(tmp_path / "snippets")
    assert again == {name: (ROOT / "snippets" / name).read_bytes() for name in again}
    assert {path.name for path in (ROOT / "snippets").iterdir() if path.is_file()} == {
        s.file for s in manifest.snippets
    } | {"manifest.json"}


def test_every_snippet_file_is_its_byte_range_of_the_document() -> None:
    for snippet in load(ROOT).snippets:
        raw = (ROOT / "snippets" / "documents" / snippet.document).read_bytes()
        start, end = snippet.byte_range
        assert raw[start:end] == (ROOT / "snippets" / snippet.file).read_bytes()
        lines = raw.decode().split("\n")
        assert "".join(f"{lines[number - 1]}\n" for number in snippet.line_map) == snippet.text
        assert set(snippet.columns) == {0}
        if snippet.kind == "code":
            assert (lines[snippet.first_line - 2], lines[snippet.last_line]) == ("```python", "```")
        else:
            assert (
                snippet.text
                == "\\[ \\text{Output} = \\text{LayerNorm}(\\text{Input} + \\text{Residual Connection}) \\]\n"
            )


def test_29_blocks_20_of_them_distinct_and_two_formulas() -> None:
    found = load(ROOT).snippets
    counts = Counter((s.document[:3], s.kind, s.duplicate_of is None) for s in found)
    assert counts == {
        ("000", "code", True): 20,
        ("000", "code", False): 9,
        ("004", "formula", True): 1,
        ("004", "formula", False): 1,
    }
    assert len({s.sha256 for s in found if s.kind == "code"}) == 20
    text = {s.file: s.text for s in found}
    assert len(text) == 31
    assert all(s.text == text[s.duplicate_of] for s in found if s.duplicate_of)


def test_names_questions_and_titles_of_the_two_documents() -> None:
    found = load(ROOT).snippets
    assert [s.name for s in found if s.duplicate_of is None] == [
        "000_q01_scaled_dot_product_attention",
        "000_q02_positional_encoding",
        "000_q03_multi_head_attention",
        "000_q04_feed_forward",
        "000_q05_transformer",
        "000_q07_positional_encoding",
        "000_q07_relative_position_encoding",
        "000_q12_masked_self_attention",
        "000_q14_multi_head_attention",
        "000_q18_positional_encoding",
        "000_q20_positional_encoding",
        "000_q23_hard_mask_soft_mask",
        "000_q25_layer_norm",
        "000_q26_residual_block",
        "000_q27_batch_norm",
        "000_q28_create_mask",
        "000_q29_learning_rate",
        "000_q36_multi_head_self_attention",
        "000_q38_masked_attention",
        "000_q43_masked_attention",
        "004_q29_formula",
    ]
    for snippet in found:
        lines = (ROOT / "snippets" / "documents" / snippet.document).read_text("utf-8").split("\n")
        headings = [line for line in lines[: snippet.first_line] if line.startswith("###")]
        assert headings[-1].lstrip("# ") == f"{snippet.question}. {snippet.title}"


# Writing


def test_the_manifest_is_readable_json_with_every_field(tmp_path: Path) -> None:
    root = project(tmp_path, b_2="# 2. 题\n\n> ```py\n> y = 1\n> ```\n", a_1="# 1. T\n```py\nx = 1\n```\n")
    extract(root)
    raw = (root / "snippets" / "manifest.json").read_bytes()
    assert raw.endswith(b"  ]\n}\n")
    assert '      "title": "题",\n'.encode() in raw
    listed = json.loads(raw)
    assert listed["schema"] == 1
    assert [entry["file"] for entry in listed["snippets"]] == ["a_q01_x.py", "b_q02_y.py"]
    entry = listed["snippets"][1]
    assert {key: value for key, value in entry.items() if "sha256" not in key} == {
        "file": "b_q02_y.py",
        "kind": "code",
        "language": "python",
        "document": "b_2.md",
        "question": 2,
        "title": "题",
        "first_line": 4,
        "last_line": 4,
        "line_map": [4],
        "columns": [2],
        "byte_range": [18, 26],
        "duplicate_of": None,
    }


def test_no_block_gives_an_empty_manifest(tmp_path: Path) -> None:
    extract(project(tmp_path, a="text\n"))
    assert load(tmp_path).snippets == ()


def test_files_keep_their_line_endings(tmp_path: Path) -> None:
    extract(project(tmp_path, a="```py\r\nx = 1\r\n```\r\n"))
    assert (tmp_path / "snippets" / "a_x.py").read_bytes() == b"x = 1\r\n"
    assert load(tmp_path).snippets[0].text == "x = 1\r\n"


def test_a_stale_snippet_goes_and_what_the_user_wrote_stays(tmp_path: Path) -> None:
    root = project(tmp_path, a="```py\nx = 1\n```\n```py\ny = 1\n```\n```py\nz = 1\n```\n")
    extract(root)
    folder = root / "snippets"
    (folder / "a_mine.py").write_text("mine = 1\n")
    (folder / "a_y.py").write_text("y = 'edited'\n")
    (folder / "documents" / "a.md").write_text("```py\nx = 1\n```\n")
    extract(root)
    assert sorted(path.name for path in folder.glob("*.*")) == ["a_mine.py", "a_x.py", "a_y.py", "manifest.json"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```py\nx = = 1\n```\n", r"^b\.md:2: this Python block does not parse"),
        ("```py\nx = 1\n", r"b\.md:1: this fence is never closed"),
    ],
)
def test_a_bad_document_changes_nothing(tmp_path: Path, text: str, problem: str) -> None:
    root = project(tmp_path, a="```py\nx = 1\n```\n")
    extract(root)
    (root / "snippets" / "documents" / "a.md").write_text("```py\ny = 1\n```\n")
    (root / "snippets" / "documents" / "b.md").write_text(text)
    before = tree(root)
    with pytest.raises(ErrataError, match=problem) as error:
        extract(root)
    assert "\n" not in str(error.value)
    assert tree(root) == before


def test_a_project_without_documents_says_so(tmp_path: Path) -> None:
    with pytest.raises(ErrataError, match="documents: no document here; put the documents"):
        extract(tmp_path)


# Reading


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "manifest.json"
        listed = json.loads(path.read_text("utf-8"))
        change(listed)
        path.write_text(json.dumps(listed), "utf-8")

    return apply


CORRUPT: list[tuple[str, Callable[[Path], object], str]] = [
    (
        "bad JSON",
        lambda f: (f / "manifest.json").write_text('{\n"schema": 1,\n!'),
        r"manifest\.json: Invalid JSON: .* line 3 .*",
    ),
    (
        "no UTF-8",
        lambda f: (f / "manifest.json").write_bytes(b'{"schema": "\xff"}'),
        r"manifest\.json: Invalid JSON: .*",
    ),
    (
        "no file",
        lambda f: (f / "manifest.json").unlink(),
        r"manifest\.json: cannot be read \(No such file or directory\)",
    ),
    ("no object", lambda f: (f / "manifest.json").write_text("[]"), r"manifest\.json: Input should be an object"),
    ("schema", edit(lambda m: m.update(schema=2)), r"manifest\.json: schema: Input should be 1"),
    (
        "missing field",
        edit(lambda m: m["snippets"][0].pop("columns")),
        r"manifest\.json: snippets\.0\.columns: Field required",
    ),
    (
        "unknown field",
        edit(lambda m: m["snippets"][0].update(color=1)),
        r"manifest\.json: snippets\.0\.color: Extra inputs .*",
    ),
    (
        "a path",
        edit(lambda m: m["snippets"][0].update(file="../a.py")),
        r"manifest\.json: snippets\.0\.file: String should .*",
    ),
    (
        "maps",
        edit(lambda m: m["snippets"][0].update(last_line=9)),
        r"manifest\.json: snippets\.0: .*maps of a_x\.py .*",
    ),
    (
        "hash",
        edit(lambda m: m["snippets"][0].update(sha256="0")),
        r"a_x\.py: not the text that manifest\.json vouches for",
    ),
    (
        "edited snippet",
        lambda f: (f / "a_x.py").write_text("x = 2\n"),
        r"a_x\.py: not the text that manifest\.json vouches for",
    ),
    ("missing snippet", lambda f: (f / "a_x.py").unlink(), r"a_x\.py: cannot be read \(No such file or directory\)"),
]


@pytest.mark.parametrize(("spoil", "problem"), [row[1:] for row in CORRUPT], ids=[row[0] for row in CORRUPT])
def test_a_corrupt_manifest_is_one_line_and_extract_repairs_it(
    tmp_path: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    root = project(tmp_path, a="```py\nx = 1\n```\n")
    good = extract(root)
    spoil(root / "snippets")
    with pytest.raises(ErrataError, match=rf"^{tmp_path}/snippets/{problem}; run `errata extract`$"):
        load(root)
    assert extract(root) == good == load(root)
