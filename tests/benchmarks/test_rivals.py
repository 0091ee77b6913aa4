import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.rivals import __main__ as command
from benchmarks.rivals import by_errata, harness, results
from benchmarks.rivals.harness import Outcome, Tool, first_failure, measure, passing
from benchmarks.rivals.views import BATCH, VIEWS, Names, View, Viewed
from errata.candidates import Program, Source
from errata.defects import components

RIGHT = "def call(x):\n    return 2 * x\n"


def program(text: str) -> Program:
    return Program("planted", (Source.whole(text, "planted.py"),), adapter="")


@dataclass(frozen=True)
class Planted:
    """A component that doubles, and wrong ways to do so."""

    defects: dict[str, str]

    @property
    def defect(self) -> list[Any]:
        return [SimpleNamespace(name=name, kills=()) for name in self.defects]

    def reference(self) -> Program:
        return program(RIGHT)

    def mutant(self, defect: Any) -> Program:
        return program(self.defects[defect.name])


PLANTED = Planted(
    {
        "halves": "def call(x):\n    return x / 2\n",
        "raises": "def call(x):\n    return undefined\n",
        "does-not-end": "def call(x):\n    while True:\n        pass\n",
        "wrong-at-zero-only": "def call(x):\n    return 2 * x + (x == 0)\n",
        "right": RIGHT,
    }
)


def judged(component: str, given: Program, _: Sequence[str] = ()) -> Iterator[tuple[str, bool]]:
    """A rival that doubles ones, and has a check that a right program fails."""
    if component == "double":
        call = Names(given)["call"]
        yield "too strict", False
        yield "ones", bool((call(torch.ones(2)) == 2).all())


def unable(component: str, given: Program, _: Sequence[str] = ()) -> list[tuple[str, bool]]:
    return []


FAKE = Tool("fake", "fake", judged)
UNABLE = Tool("unable", "unable", unable)
OURS = Tool("ours", None, lambda component, given, likely: [("never", True)])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "LONGEST", 0.2)


def measured() -> list[Outcome]:
    named: Any = {"double": PLANTED, "nobody-takes-it": PLANTED}
    return measure(named, [FAKE, UNABLE, OURS], processes=1, shown=lambda items, title: iter(items))


@pytest.mark.usefixtures("short")
def test_a_defect_is_found_by_a_check_that_the_reference_passes() -> None:
    (outcome,) = measured()
    assert outcome.component == "double"
    assert outcome.checks == {"fake": ("ones",), "ours": ("never",)}
    assert outcome.found == {
        "halves": {"fake": "ones"},
        "raises": {"fake": "NameError"},
        "does-not-end": {"fake": "TimeoutError"},
        "wrong-at-zero-only": {},
        "right": {},
    }


def test_a_check_that_the_reference_fails_does_not_count() -> None:
    assert passing(FAKE, "double", program(RIGHT)) == ("ones",)
    assert first_failure(FAKE, "double", program(RIGHT), ["ones"]) is None
    assert first_failure(FAKE, "double", program(RIGHT), ["ones", "too strict"]) == "too strict"


@pytest.mark.usefixtures("short")
def test_where_a_tool_is_not_applicable_is_counted_apart(tmp_path: Path) -> None:
    tools, outcomes = [FAKE, UNABLE, OURS], measured()
    for folder in (tmp_path / "one", tmp_path / "two"):
        results.publish("What.", tools, outcomes, folder)
    names = ["rivals.json", "rivals.md", "rivals.svg"]
    assert [(tmp_path / "one" / name).read_bytes() for name in names] == [
        (tmp_path / "two" / name).read_bytes() for name in names
    ]
    record = json.loads((tmp_path / "one" / "rivals.json").read_text())
    assert record["totals"] == {
        "fake": {"found": 3, "of": 5},
        "unable": {"found": 0, "of": 0},
        "ours": {"found": 0, "of": 5},
        "rivals together": {"found": 3, "of": 5},
    }
    table = (tmp_path / "one" / "rivals.md").read_text()
    assert "| double | 3 of 5 | n/a | 0 of 5 |" in table
    assert "| **of all** | 3 of 5 (60%) | 0 of 5 (0%) | 0 of 5 (0%) |" in table


def test_a_missing_rival_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "RIVALS", ("torch", "no-such-rival"))
    with pytest.raises(SystemExit) as stopped:
        command.main([])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: not installed: no-such-rival; run `pip install")


ALL = [pytest.param(name, view, id=f"{name}-{view.name}") for name, views in VIEWS.items() for view in views]


@pytest.mark.parametrize(("component", "view"), ALL)
def test_a_view_of_the_reference_is_what_it_says(component: str, view: View) -> None:
    assert [other.name for other in VIEWS[component]].count(view.name) == 1
    module = Viewed(view, components()[component].reference()).eval()
    batch = view.batch()
    output = module(**batch)
    assert output.equal(module(*batch.values()))
    assert len(output) == BATCH
    if view.shape:
        assert output.shape[1:] == view.shape
    if view.sequence:
        assert output.shape[:2] == batch["x"].shape[:2]
    if view.probabilities:
        torch.testing.assert_close(output.sum(dim=-1), torch.ones(output.shape[:-1]))


def test_ours_find_a_planted_defect_and_pass_the_reference() -> None:
    component = components()["causal_mask"]
    for judge in (by_errata.black_box, by_errata.with_weights):
        assert all(passed for _, passed in judge("causal_mask", component.reference()))
        for defect in component.defect:
            name, passed = next(iter(judge("causal_mask", component.mutant(defect), defect.kills)))
            assert name in defect.kills
            assert not passed
