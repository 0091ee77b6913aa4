"""What the command for false alarms counts as one."""

import json
from dataclasses import replace

import pytest

from benchmarks.alarms import results
from benchmarks.alarms.implementation import Implementation, Verdict, judge
from errata.checks.ready import pytorch

RIGHT = Implementation("torch", pytorch.LAYER_NORM, shipped=True)
WRONG = Implementation("torch", replace(pytorch.LAYER_NORM, name="identity", call=lambda norm, x: x))
DIFFERENT = Implementation(
    "torch", pytorch.MULTI_HEAD_ATTENTION, known=pytorch.EXPECTED[pytorch.MULTI_HEAD_ATTENTION.name]
)


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return [judge(implementation, 2) for implementation in (RIGHT, WRONG, DIFFERENT)]


def test_failures_of_level_paper_are_alarms_and_the_others_are_differences(verdicts: list[Verdict]) -> None:
    right, wrong, different = verdicts
    assert (right.alarms, right.differences) == ((), ())
    assert {outcome.check.level for outcome in wrong.alarms} == {"paper"}
    assert different.alarms == ()
    assert [outcome.check.id for outcome in different.differences] == ["multi_head_attention.keyless-row-is-finite"]


def test_the_record_counts_them_and_gives_reasons(verdicts: list[Verdict]) -> None:
    record = results.record(verdicts, 2)
    totals = record["totals"]
    assert (totals["implementations"], totals["shipped adapters"]) == (3, 1)
    assert totals["alarms"] == len(verdicts[1].alarms) > 0
    assert "NaN" in record["implementations"][2]["differences"][0]["reason"]
    assert record["differences"]["multi_head_attention.keyless-row-is-finite"]["implementations"] == 1


def test_the_same_outcomes_give_the_same_bytes(verdicts: list[Verdict]) -> None:
    first, again = (results.record([judge(one.implementation, 2) for one in verdicts], 2) for _ in range(2))
    assert results.as_json(first) == results.as_json(again) == results.as_json(json.loads(results.as_json(first)))
    assert results.as_markdown(first) == results.as_markdown(again)


def test_alarms_are_read_first(verdicts: list[Verdict]) -> None:
    text = results.as_markdown(results.record(verdicts, 2)).decode()
    assert text.index("| identity | layer_norm.") < text.index("## Implementations")
    assert "## Alarms" not in results.as_markdown(results.record(verdicts[:1], 2)).decode()
