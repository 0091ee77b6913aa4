import json
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks import measure
from benchmarks.measure import Comparison, Goal, Settings, compare, compare_memory, publish, show, start, versions

ROUNDS = {"ours": [2.0, 4.0, 6.0], "peer": [4.0, 4.0, 4.0], "bound": [1.0, 2.0, 6.0]}


def comparison(*goals: Goal) -> Comparison:
    return Comparison("step", "ms", ROUNDS, goals)


def test_ratio_is_that_of_the_medians_with_quartiles_over_the_rounds() -> None:
    peer, bound = comparison().ratios()
    assert (peer.peer, peer.of, peer.ratio, peer.low, peer.high) == ("peer", "time", 1.0, 0.75, 1.25)
    assert (bound.ratio, bound.low, bound.high) == (2.0, 1.5, 2.0)
    assert peer.goal is peer.met is None


@pytest.mark.parametrize(("at_most", "met"), [(1.1, True), (1.0, True), (0.9, False)])
def test_a_bound_on_time_is_met_from_below(at_most: float, met: bool) -> None:
    ratio = comparison(Goal("peer", at_most=at_most)).ratios()[0]
    assert (ratio.goal, ratio.met) == (at_most, met)


@pytest.mark.parametrize(("at_least", "met"), [(0.4, True), (0.5, True), (0.6, False)])
def test_a_bound_on_speed_is_met_from_above(at_least: float, met: bool) -> None:
    ratio = comparison(Goal("bound", at_least=at_least)).ratios()[1]
    assert (ratio.of, ratio.ratio, ratio.goal, ratio.met) == ("speed", 0.5, at_least, met)


def test_one_round_has_no_spread() -> None:
    ratio = Comparison("memory", "MiB", {"ours": [3.0], "peer": [4.0]}).ratios()[0]
    assert (ratio.of, ratio.ratio, ratio.low, ratio.high) == ("memory", 0.75, 0.75, 0.75)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Goal("peer"), "one of at_most and at_least"),
        (lambda: Goal("peer", 1.0, 1.0), "one of at_most and at_least"),
        (lambda: comparison(Goal("nobody", at_most=1.0)), "names 'nobody', known are"),
        (lambda: comparison(Goal("ours", at_most=1.0)), "names 'ours', known are"),
        (lambda: Comparison("step", "ms", {"ours": [1.0]}), "needs two contestants"),
        (lambda: Comparison("step", "ms", {"ours": [1.0], "peer": []}), "different numbers of rounds"),
    ],
)
def test_bad_comparisons_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_contestants_take_turns_and_each_round_begins_with_the_next() -> None:
    calls = ""

    def run(name: str) -> None:
        nonlocal calls
        calls += name

    contestants = {name: partial(run, name) for name in "abc"}
    compare("turns", contestants, rounds=4, warm_up=1)
    assert calls == "cab" + "abc" + "bca" + "cab" + "abc"
    calls = ""
    compare("turns", contestants, rounds=1, warm_up=0, repeats=2)
    assert calls == "aabbcc"


def test_each_call_is_timed_between_two_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, events = iter([10.0, 13.0, 20.0, 21.0]), []

    def clock() -> float:
        events.append("clock")
        return next(seconds)

    monkeypatch.setattr(measure.time, "perf_counter", clock)
    contestants = {"ours": lambda: events.append("ours"), "peer": lambda: events.append("peer")}
    result = compare("waits", contestants, rounds=1, warm_up=0, settle=lambda: events.append("wait"))
    assert events == ["wait", "clock", "ours", "wait", "clock", "wait", "clock", "peer", "wait", "clock"]
    assert result.measurements == {"ours": [3000.0], "peer": [1000.0]}


def test_the_record_says_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(rounds=3, threads=2, out=tmp_path / "new")
    compared = [comparison(Goal("peer", at_most=0.9), Goal("bound", at_least=0.4))]
    publish("name", "What.\n\nHow.\n", compared, settings, packages=["torch", "no-such-package"], notes={"peak": 7})
    record = json.loads((tmp_path / "new" / "name.json").read_text(encoding="utf-8"))
    assert (record["schema"], record["name"], record["description"]) == (1, "name", "What.\n\nHow.")
    assert record["environment"]["threads"] == 2
    assert record["environment"]["versions"] == {"torch": torch.__version__, "no-such-package": "missing"}
    assert record["notes"] == {"peak": 7}
    [only] = record["comparisons"]
    assert only["contestants"][0] == {"name": "ours", "median": 4.0, "rounds": [2.0, 4.0, 6.0]}
    names = ["peer", "of", "ratio", "low", "high", "goal", "met"]
    assert only["ratios"] == [
        dict(zip(names, ["peer", "time", 1.0, 0.75, 1.25, 0.9, False], strict=True)),
        dict(zip(names, ["bound", "speed", 0.5, 0.5, 0.75, 0.4, True], strict=True)),
    ]
    printed = capsys.readouterr().out
    assert "≤ 0.90" in printed
    assert "≥ 0.40" in printed


def test_the_plot_is_the_same_for_the_same_measurements(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        measure.draw([comparison(Goal("peer", at_most=0.9))], tmp_path / name)
    svg = (tmp_path / "one.svg").read_bytes()
    assert svg == (tmp_path / "two.svg").read_bytes()
    assert b"step, time to bound" in svg
    assert b"<dc:date>" not in svg


def test_the_table_has_a_row_for_each_contestant() -> None:
    console = Console(width=120, record=True, file=StringIO())
    show([comparison(Goal("peer", at_most=0.9))], console)
    text = console.export_text()
    for words in ("ours", "peer", "bound", "0.750 … 1.250", "missed"):
        assert words in text


def test_the_command_line_sets_the_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        settings = start("What.", rounds=5, arguments=["--threads", "1", "--out", str(tmp_path)])
        assert settings == Settings(rounds=5, threads=1, out=tmp_path)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("given", [(), ("tiny",), ("tiny", "slow")])
def test_switches_are_those_given(given: tuple[str, ...]) -> None:
    threads = ["--threads", str(torch.get_num_threads())]
    arguments = [*threads, *(f"--{flag}" for flag in given)]
    settings = start("What.", rounds=5, flags={"tiny": "Small.", "slow": "Long."}, arguments=arguments)
    assert settings.flags == frozenset(given)


def fill(mebibytes: int) -> Callable[[], object]:
    return partial(torch.ones, mebibytes * 2**18)


def test_peak_memory_is_that_of_the_contestant_alone() -> None:
    builds = {"ours": partial(fill, 64), "peer": partial(fill, 256)}
    result = compare_memory("fill", builds, warm_up=dict.fromkeys(builds, partial(fill, 1)))
    assert result.unit == "MiB"
    assert result.measurements["ours"][0] == pytest.approx(64, abs=12)
    assert result.measurements["peer"][0] == pytest.approx(256, abs=12)


def test_versions_are_those_installed() -> None:
    assert versions(["torch"]) == {"torch": torch.__version__}
