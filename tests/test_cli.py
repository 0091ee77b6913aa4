"""The command line, run as a user runs it: exit status, output, and errors of one line that leave nothing behind."""

import json
import shutil
from collections.abc import Callable
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
        (lambda text: text.replace('"TE', '"TE001" #', 1), ("TE001 is already in", "take a new one")),
        (lambda text: text.replace("[binding]", "[bindings]"), ("binding: Field required", "CONTRIBUTING.md")),
        (lambda text: text + "[[errata", ("not TOML", "correct it there")),
        (lambda text: text.replace('check = "residual.', 'check = "residual.x', 1), ("not in its signature",)),
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


def test_a_snippet_about_which_nothing_is_written_is_refused(run: Run, checkout: Path) -> None:
    (checkout / CURATED).unlink()
    assert_refused(run, checkout, "report", says=("000_q26_residual_block.py", "add a file"))


def test_usage_errors_exit_with_2(run: Run) -> None:
    assert run("list", "nonsense").returncode == 2
    assert run("nonsense").returncode == 2
