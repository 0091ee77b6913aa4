"""Everything in the README runs."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from errata import cli
from errata.findings import Findings
from errata.render.words import original_fails

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [(token.info, token.content) for token in MarkdownIt().parse(TEXT) if token.type == "fence"]
RECORD = Findings.from_json((ROOT / "report" / "errata.json").read_bytes(), "report/errata.json")


@pytest.mark.parametrize("code", [code for info, code in BLOCKS if info == "python"])
def test_python_runs(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {})


def test_the_failing_original_fails_so() -> None:
    (shown,) = (text for info, text in BLOCKS if info == "text")
    (erratum,) = (erratum for erratum in RECORD.errata if erratum.id == "TE039")
    assert shown == original_fails(erratum, erratum.places[0]) + "\n"


def test_its_commands_are_those_that_exist() -> None:
    commands = [line for info, block in BLOCKS if info == "sh" for line in block.splitlines()]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in commands:
        words = command.split()
        assert words[0] in ("make", "python3", "errata", ".venv/bin/pip", ".venv/bin/errata", ".venv/bin/python"), (
            command
        )
        if words[0] == "make":
            assert words[1] in targets


def test_its_checks_of_your_own_code_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (code for info, code in BLOCKS if info == "python" and "class MyMHA" in code)
    folder = tmp_path / "mypackage"
    folder.mkdir()
    (folder / "module.py").write_text(block.split("def copy_into")[0])
    (folder / "adapters.py").write_text(block.split("known = ")[0] + "\n\nmha = adapter\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *sys.path])
    commands = [line.split() for info, text in BLOCKS if info == "sh" for line in text.splitlines()]
    for words in (words for words in commands if words[0] == "errata"):
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 1, words  # the scale is wrong on purpose


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_table_answers_every_question_once() -> None:
    rows = re.findall(r"^\| ([12]: [^|]+) \|", TEXT, re.MULTILINE)
    answered = Counter(
        (int(document), int(question))
        for row in rows
        for document, questions in re.findall(r"([12]): ([\d, ]+)", row)
        for question in questions.split(",")
    )
    assert answered == Counter((document, n) for document, last in ((1, 50), (2, 30)) for n in range(1, last + 1))
