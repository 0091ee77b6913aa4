"""The command line, run as a user runs it: exit status, output, and errors of one line that leave nothing behind."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from errata import cli
from errata.checks import all_checks
from errata.defects import components

ROOT = Path(__file__).parent.parent
Run = Callable[..., "Done"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process, which has imported torch already."""

    def run(*arguments: str, folder: Path = ROOT) -> Done:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr("sys.argv", ["errata", *arguments])
        monkeypatch.setattr("sys.path", list(sys.path))
        try:
            cli.main()
            status: object = 0
        except SystemExit as end:
            status = end.code
        output = capsys.readouterr()
        return Done(status, output.out, output.err)

    return run


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the data of this checkout, to spoil."""
    for folder in ("snippets", "report"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(run: Run, checkout: Path, *arguments: str, says: tuple[str, ...]) -> None:
    """One line, exit status 2, and nothing written."""
    before = contents(checkout)
    done = run(*arguments, folder=checkout)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in says:
        assert part in done.stderr
    assert contents(checkout) == before


def test_extract_writes_what_is_committed(run: Run, checkout: Path) -> None:
    before = contents(checkout)
    for path in [*checkout.glob("snippets/0*"), checkout / "snippets" / "manifest.json"]:
        path.unlink()
    done = run("extract", folder=checkout)
    assert (done.returncode, done.stdout) == (0, "31 snippets, 21 distinct; see snippets/manifest.json\n")
    assert contents(checkout) == before


@pytest.mark.parametrize("kind", ["snippets", "errata", "claims", "checks", "defects"])
def test_list_prints_a_table_and_json(run: Run, kind: str) -> None:
    records = json.loads(run("list", kind, "--json").stdout)
    table = run("list", kind).stdout
    recorded = json.loads((ROOT / "report" / "errata.json").read_bytes()) | {
        "checks": all_checks(),
        "defects": [defect for component in components().values() for defect in component.defect],
    }
    assert len(records) == len(recorded[kind])
    assert all(record["id"] in table or record["id"] in table.replace("_", "") for record in records[:3])


def test_explain_shows_what_the_report_says(run: Run) -> None:
    erratum = json.loads((ROOT / "report" / "errata.json").read_bytes())["errata"][0]
    done = run("explain", erratum["id"])
    assert done.returncode == 0
    for part in (erratum["title"].replace("`", ""), erratum["check"], erratum["source"]["name"]):
        assert part in done.stdout


def test_explain_knows_checks_too(run: Run) -> None:
    assert "max(0, x" in run("explain", "feed_forward.matches-formula").stdout


def test_an_unknown_id_is_refused_with_the_nearest(run: Run, checkout: Path) -> None:
    assert_refused(run, checkout, "explain", "TE00l", says=("TE00l", "the nearest is TE", "`errata list` shows all"))


def test_the_report_is_missing(run: Run, checkout: Path) -> None:
    (checkout / "report" / "errata.json").unlink()
    assert_refused(run, checkout, "explain", "TE001", says=("report/errata.json", "run `errata report`"))


def test_the_record_is_corrupt(run: Run, checkout: Path) -> None:
    (checkout / "report" / "errata.json").write_text('{"schema": 1, "documents": 3}')
    assert_refused(run, checkout, "list", "errata", says=("report/errata.json", "documents", "run `errata report`"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda raw: raw + b"\xff\n", (":1326:", "not UTF-8", "save the document as UTF-8")),
        (lambda raw: raw + b"```python\nx = 1\n", (":1326:", "never closed", "add a line")),
        (lambda raw: raw + b"```python\nx = (\n```\n", (":1327:", "does not parse", "correct it")),
    ],
    ids=["not-utf-8", "unclosed-fence", "does-not-parse"],
)
def test_a_bad_document_is_refused(
    run: Run, checkout: Path, spoil: Callable[[bytes], bytes], says: tuple[str, ...]
) -> None:
    path = checkout / "snippets" / "documents" / "000_6d7691038350691f.txt"
    path.write_bytes(spoil(path.read_bytes()))
    assert_refused(run, checkout, "extract", says=(path.name, *says))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: "{", ("manifest.json", "run `errata extract`")),
        (lambda text: text.replace('"first_line"', '"line"', 1), ("manifest.json", "run `errata extract`")),
        (lambda text: text.replace('"sha256": "9', '"sha256": "8', 1), ("not the text", "run `errata extract`")),
    ],
    ids=["no-json", "missing-field", "wrong-hash"],
)
def test_a_corrupt_manifest_is_refused(
    run: Run, checkout: Path, spoil: Callable[[str], str], says: tuple[str, ...]
) -> None:
    path = checkout / "snippets" / "manifest.json"
    path.write_text(spoil(path.read_text()))
    assert_refused(run, checkout, "report", says=says)


CURATED = "snippets/errata/000_q26_residual_block.toml"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text.replace('old = "', 'old = "no such text ', 1), ("occurs 0 times", "quote a text")),
        (lambda text: text.replace('"TE039"', '"TE008"'), ("TE008 is already in", "take a new one")),
        (lambda text: text.replace("[binding]", "[bindings]"), ("binding: Field required", "CONTRIBUTING.md")),
        (lambda text: text + "[[errata", ("not TOML", "correct it there")),
        (lambda text: text.replace('check = "residual.zero', 'check = "residual.xzero'), ("not in its signature",)),
        (lambda text: text.replace('"residual.zero', '"residual.xzero'), ("no check is called", "errata list checks")),
        (lambda text: text.replace('component = "residual"', 'component = "resid"'), ("no component is called",)),
        (lambda text: text.replace('file = "000_q26', 'file = "000_q99'), ("there is no snippet 000_q99",)),
    ],
    ids=["old-text", "two-ids", "field", "toml", "signature", "check", "component", "snippet"],
)
def test_a_bad_curated_file_is_refused(
    run: Run, checkout: Path, spoil: Callable[[str], str], says: tuple[str, ...]
) -> None:
    path = checkout / CURATED
    before = path.read_text()
    path.write_text(spoil(before))
    assert path.read_text() != before
    assert_refused(run, checkout, "report", says=says)


@pytest.mark.parametrize(
    ("file", "addition", "says"),
    [
        ("kinds.toml", '[[kind]]\nid = "TE999"\n', ("no snippet has TE999", "withdraw it")),
        ("kinds.toml", '[[withdrawn]]\nid = "TE039"\nreason = "Gone."\n', ("TE039 is withdrawn and in",)),
        (
            "000_q26_residual_block.toml",
            '[[uses]]\ncomponent = "residual"\nadapter = ""\njoins = { other = "000_q99.py" }\n',
            ("there is no snippet 000_q99.py",),
        ),
        ("000_q26_residual_block.toml", '[[uses]]\ncomponent = "resid"\nadapter = ""\n', ("no component is called",)),
    ],
)
def test_a_bad_addition_to_the_curated_data_is_refused(
    run: Run, checkout: Path, file: str, addition: str, says: tuple[str, ...]
) -> None:
    path = checkout / "snippets" / "errata" / file
    path.write_text(f"{path.read_text()}\n{addition}")
    assert_refused(run, checkout, "report", says=says)


def test_a_snippet_about_which_nothing_is_written_is_refused(run: Run, checkout: Path) -> None:
    (checkout / CURATED).unlink()
    assert_refused(run, checkout, "report", says=("000_q26_residual_block.py", "add a file"))


def test_usage_errors_exit_with_2(run: Run) -> None:
    assert run("list", "nonsense").returncode == 2
    assert run("nonsense").returncode == 2


MINE = """
import torch
from errata import checks

def attention(query, key, value, mask=None):
    scores = query @ key.transpose(-1, -2)
    return (scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(dim=-1) @ value

def mystery(value):
    return value

adapter = checks.Attention(call=attention)
"""


@pytest.fixture
def users(tmp_path: Path) -> Iterator[Path]:
    """A folder with a module of somebody's."""
    (tmp_path / "mine_too.py").write_text(MINE)
    yield tmp_path
    sys.modules.pop("mine_too", None)


def test_check_reports_failures_and_replay_sees_them_again(run: Run, users: Path) -> None:
    checked = run(
        "check", "mine_too:attention", "--level", "paper", "--effort", "2", "--json", "out.json", folder=users
    )
    assert checked.returncode == 1
    first, *_ = checked.stdout.splitlines()
    assert first.startswith("attention, attention: ran ")
    assert "FAILED attention.matches-formula (paper)" in checked.stdout
    record = json.loads((users / "out.json").read_text())
    assert not record["ok"]
    again = run("replay", "out.json", folder=users)
    assert again.returncode == 1
    assert again.stdout.count("FAILED") == record["totals"]["failed"]
    (users / "mine_too.py").write_text(MINE.replace("transpose(-1, -2)", "transpose(-1, -2) / query.shape[-1] ** 0.5"))
    sys.modules.pop("mine_too")
    mended = run("replay", "out.json", folder=users)
    assert mended.returncode == 0
    assert mended.stdout.count("PASSED") == record["totals"]["failed"]


def test_check_takes_adapters_expected_failures_and_seeds(run: Run, users: Path) -> None:
    options = ("--adapter", "mine_too:adapter", "--level", "paper", "--effort", "quick", "--seed", "3")
    failing = [line.split()[1] for line in run("check", *options, folder=users).stdout.splitlines() if "FAILED" in line]
    expected = [text for id in failing for text in ("--expect", f"{id}=known")]
    accepted = run("check", *options, *expected, folder=users)
    assert accepted.returncode == 0
    assert f"{len(failing)} failed as expected" in accepted.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check",), "name one thing to check"),
        (("check", "mine_too:mystery"), "its name does not say what it is"),
        (("check", "mine_too:attention", "--effort", "huge"), "effort: 'huge' is none"),
        (("check", "mine_too:attention", "--level", "papers"), "levels: 'papers' is none"),
        (("check", "mine_too:attention", "--expect", "attention.matches-formula"), "write ID=REASON"),
        (("check", "mine_too:attention", "--mask", "upside-down"), "mask is 'upside-down'"),
        (("replay", "mine_too.py"), "mine_too.py: cannot be read"),
        (("replay", "none.json"), "none.json: cannot be read"),
    ],
)
def test_what_cannot_be_checked_is_one_line(run: Run, users: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments, folder=users)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in users.iterdir() if path.name != "__pycache__"] == ["mine_too.py"]


def test_a_case_without_an_address_asks_for_it(run: Run, users: Path) -> None:
    record = {"adapter": {}, "check": "attention.matches-formula", "case": {"queries": 2, "width": 2}}
    (users / "case.json").write_text(json.dumps(record))
    assert "name it with --adapter" in run("replay", "case.json", folder=users).stderr
    assert run("replay", "case.json", "--adapter", "mine_too:adapter", folder=users).returncode == 1
