"""The checks as a suite: outcomes, reports, repro lines, pytest, manners."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from errata import checks
from errata.checks import ConformanceError
from errata.errors import ErrataError


def attention(query, key, value, mask):
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1).nan_to_num() @ value


def unscaled(query, key, value, mask):
    return attention(query * query.shape[-1] ** 0.5, key, value, mask)


def without_mask(query, key, value):
    return attention(query, key, value, None)


RIGHT = checks.Attention(call=attention)
UNSCALED = checks.Attention(call=unscaled)
PAPER = {"paper"}


def outcomes(report: checks.Report) -> dict[str, str]:
    return {outcome.check.id.removeprefix("attention."): outcome.kind for outcome in report.outcomes}


def test_a_right_implementation_passes_every_check_of_the_paper() -> None:
    report = checks.run(RIGHT, levels=PAPER)
    assert report.ok
    report.raise_if_failed()
    assert set(outcomes(report).values()) == {"passed", "not-applicable"}


def test_each_outcome() -> None:
    def crashing(query, key, value, mask):
        if mask is not None:
            raise IndexError("no mask, please")
        return attention(query, key, value, None)

    ids = ["attention.accepts-a-boolean-mask", "attention.keeps-the-dtype", "attention.matches-formula"]
    found = outcomes(
        checks.run(
            checks.Attention(call=lambda q, k, v, mask: crashing(q.double() * 2, k.double(), v.double(), mask)),
            expected_failures={ids[1]: "computes in float64", "attention.evaluation-is-deterministic": "once it did"},
            effort="quick",
        )
    )
    assert found["accepts-a-boolean-mask"] == "error"
    assert found["keeps-the-dtype"] == "expected-failure"
    assert found["matches-formula"] == "failed"
    assert found["evaluation-is-deterministic"] == "unexpected-pass"
    assert found["masked-matches-formula"] == "blocked"
    assert found["returned-weights-are-those-used"] == "not-applicable"
    assert found["order-of-keys-does-not-matter"] == "passed"


def test_an_unexpected_pass_alone_fails_the_run() -> None:
    report = checks.run(RIGHT, levels=PAPER, effort="quick", expected_failures={"attention.matches-formula": "once"})
    assert [outcome.kind for outcome in report.failures] == ["unexpected-pass"]
    with pytest.raises(ConformanceError, match="expected to fail because once: take it off the expected failures"):
        report.raise_if_failed()


def test_the_first_line_counts_what_ran_and_says_what_would_unlock_more() -> None:
    report = checks.run(checks.Attention(call=without_mask, mask="none"), levels=PAPER, effort="quick")
    total = len([check for check in checks.checks_of("attention") if check.level == "paper"])
    ran = sum(kind == "passed" for kind in outcomes(report).values())
    assert 0 < ran < total
    assert report.first_line == (
        f"ran {ran} of {total}: {ran} passed; {total - ran} not applicable (returns would unlock 1 more)"
    )


def test_a_failure_shows_case_distances_what_matters_and_the_remedy() -> None:
    with pytest.raises(ConformanceError) as caught:
        checks.run(UNSCALED, levels=PAPER).raise_if_failed()
    text = str(caught.value)
    assert "FAILED attention.matches-formula (paper)" in text
    assert "softmax(QK^T / sqrt(d_k)) V" in text
    assert "smallest case: queries=2, width=2" in text
    assert "width matters: fails at 2, 3, 4; passes at 1" in text
    assert "off by" in text
    assert "hint: Compare the factor 1/sqrt(d_k)" in text


def test_the_line_that_a_failure_prints_runs_when_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebody.py").write_text(
        "def attention(query, key, value, mask):\n    return (query @ key.transpose(-1, -2)).softmax(dim=-1) @ value\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    report = checks.run(checks.find("somebody:attention"), levels=PAPER, effort="quick")
    lines = [line.split("again: ")[1] for line in str(report).splitlines() if "again: " in line]
    assert len(lines) == len(report.failures) > 0
    for line in lines:
        with pytest.raises(ConformanceError, match="FAILED"):
            exec(line, {})


def test_the_line_of_an_adapter_in_a_function_uses_the_name_adapter() -> None:
    adapter = checks.Attention(call=lambda q, k, v, mask: unscaled(q, k, v, mask))
    report = checks.run(adapter, levels=PAPER, effort="quick")
    (line,) = [line.split("again: ")[1] for line in str(report).splitlines() if "again: " in line][:1]
    assert "checks.replay(adapter, " in line
    with pytest.raises(ConformanceError):
        exec(line, {"adapter": adapter})
    exec(line, {"adapter": RIGHT})


def test_replay_refuses_what_does_not_belong_together() -> None:
    with pytest.raises(ErrataError, match="no check of attention"):
        checks.replay(RIGHT, "layer_norm.matches-formula")
    with pytest.raises(ErrataError, match="has no field 'querys'"):
        checks.replay(RIGHT, "attention.matches-formula", querys=2)
    with pytest.raises(ErrataError, match="does not apply"):
        checks.replay(RIGHT, "attention.returned-weights-are-those-used")


def test_unknown_ids_levels_and_efforts_are_errors() -> None:
    with pytest.raises(
        ErrataError, match=r"no check 'attention\.matches-formulas'; the nearest is attention\.matches-formula"
    ):
        checks.run(RIGHT, expected_failures={"attention.matches-formulas": "a slip"})
    with pytest.raises(ErrataError, match="say why"):
        checks.run(RIGHT, expected_failures={"attention.matches-formula": " "})
    with pytest.raises(ErrataError, match="'papers' is none"):
        checks.run(RIGHT, levels={"papers"})
    for effort in ("huge", 0, -1):
        with pytest.raises(ErrataError, match="effort"):
            checks.run(RIGHT, effort=effort)


def test_json_holds_every_outcome_and_what_a_replay_needs() -> None:
    report = checks.run(UNSCALED, levels=PAPER, effort="quick")
    record = json.loads(report.to_json())
    assert record["totals"]["failed"] == len(report.failures)
    failed = next(outcome for outcome in record["outcomes"] if outcome["outcome"] == "failed")
    assert failed["replay"]["check"] == failed["check"]
    assert failed["replay"]["case"] == failed["case"]
    assert record["summary"] == report.first_line


SCRIPT = """
import sys, torch
from errata import checks
torch.manual_seed(int(sys.argv[1]))
exec(sys.argv[2])
unscaled = lambda q, k, v, mask: (q @ k.transpose(-1, -2)).softmax(-1) @ v
report = checks.run(checks.Attention(call=unscaled), levels={"paper"}, effort="quick")
sys.stdout.buffer.write(report.to_json())
"""


def test_two_processes_find_the_same_and_write_nothing(tmp_path: Path) -> None:
    written = []
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "constants.py").write_text("A = 3\nB = 16383\nC = 7\n")
    for number, extra in (("1", "pass"), ("2", "sys.path.insert(0, ''); import constants")):
        environment = {**os.environ, "PYTHONHASHSEED": number, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-W", "error", "script.py", number, extra]
        written.append(subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True).stdout)
    assert written[0] == written[1] != b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["constants.py", "script.py"]


USERS_TEST = """
from errata import checks
import torch

def attention(query, key, value, mask):
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return (scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(dim=-1) @ value

mine = checks.Attention(call=attention)
EXPECTED = {
    "attention.keyless-row-is-zero": "we forbid empty rows",
    "attention.mask-works-in-half-precision": "we train in float32",
    "attention.number-mask-keeps-its-meaning": "masks are boolean here",
    "attention.keyless-row-gradients-are-finite": "not so",
}

@checks.parametrize(mine, levels=LEVELS, expected_failures=EXPECTED, effort="quick")
def test_mine(check):
    check()
"""


def run_pytest(folder: Path, text: str, *options: str) -> str:
    (folder / "test_mine.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        "--strict-markers",
        "-rA",
        *options,
    ]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_pytest_gets_one_item_a_check(tmp_path: Path, options: tuple[str, ...]) -> None:
    text = run_pytest(tmp_path, USERS_TEST.replace("LEVELS", '{"paper", "convention"}'), *options)
    applicable = [
        c for c in checks.checks_of("attention") if c.level != "robustness" and "attention-weights" not in c.needs
    ]
    assert f"{len(applicable)} passed" in text or f"{len(applicable) - 1} passed, 1 xfailed" in text
    assert "PASSED test_mine.py::test_mine[attention.matches-formula]" in text
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]


def test_pytest_holds_expected_failures_strictly(tmp_path: Path) -> None:
    text = run_pytest(tmp_path, USERS_TEST.replace("LEVELS", '{"robustness"}'))
    assert "XFAIL test_mine.py::test_mine[attention.keyless-row-is-zero] - we forbid empty rows" in text
    assert (
        "XFAIL test_mine.py::test_mine[attention.keyless-row-gradients-are-finite] - not so" in text
    )  # it builds on the one before
    assert "[XPASS(strict)]" not in text
    text = run_pytest(
        tmp_path,
        USERS_TEST.replace("LEVELS", '{"convention"}').replace("number-mask", "accepts-a-boolean"[:0] + "number-mask"),
    )
    assert "FAILED" not in text or "XPASS(strict)" in text


def test_a_failing_item_says_what_the_report_says(tmp_path: Path) -> None:
    text = run_pytest(tmp_path, USERS_TEST.replace("LEVELS", '{"paper"}').replace("/ query.shape[-1] ** 0.5", ""))
    assert "FAILED test_mine.py::test_mine[attention.matches-formula]" in text
    assert "hint: Compare the factor 1/sqrt(d_k)" in text
    assert "again: from errata import checks; checks.replay(" in text


def test_a_suite_of_no_checks_is_an_error() -> None:
    with pytest.raises(ErrataError, match="no check of causal_mask applies at robustness"):
        checks.parametrize(checks.CausalMask(call=lambda length: None), levels={"robustness"})


def test_a_run_changes_nothing_in_the_process() -> None:
    def restless(query, key, value, mask):
        torch.set_default_dtype(torch.float16)
        torch.manual_seed(1)
        torch.set_grad_enabled(False)
        warnings.warn("noise", stacklevel=1)
        print("noise")
        return attention(query, key, value, mask)

    torch.manual_seed(5)
    before, filters = torch.get_rng_state(), list(warnings.filters)
    checks.run(checks.Attention(call=restless), effort="quick")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert list(warnings.filters) == filters
