"""The results of one run, as JSON and as Markdown: the same outcomes give the same bytes."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import alarms
from benchmarks.alarms.implementation import Verdict
from benchmarks.alarms.transformers_models import LEFT_OUT
from benchmarks.measure import versions
from errata.checks import Outcome
from errata.checks.report import RAN, differing

Record = dict[str, Any]

BUGS: Sequence[Mapping[str, str]] = (
    {
        "library": "bert-pytorch",
        "what": "its LayerNorm divides by the standard deviation of a sample (n - 1), and adds eps outside the root",
        "smallest case": "layer_norm.output-variance-is-one fails at any width",
    },
    {
        "library": "curated-transformers",
        "what": "it imports requests, and does not say that it needs it",
        "smallest case": "import curated_transformers.models",
    },
    {
        "library": "memory-efficient-attention-pytorch",
        "what": "memory_efficient_attention can be differentiated by backward() alone, not by torch.autograd.grad",
        "smallest case": "attention.gradients-reach-its-inputs raises",
    },
    {
        "library": "rotary-embedding-torch",
        "what": "a width of 2 divides by zero",
        "smallest case": "RotaryEmbedding(dim=2)",
    },
    {
        "library": "transformers",
        "what": "FSMT has no causal mask while use_cache is on, as it is by default: a token changes earlier logits",
        "smallest case": "decoder_input_ids [[5, 3]] and [[5, 4]]: the logits at 0 differ",
    },
    {
        "library": "transformers",
        "what": "MPNet takes id 1 for padding, whatever pad_token_id is, and puts such tokens at position 1",
        "smallest case": "input_ids [[3, 1, 4]] have the position_ids [[2, 1, 3]]",
    },
    {
        "library": "transformers",
        "what": "in float64, Gemma 2, XLM and FlauBERT give NaN where a row has no key: the least float64, which their "
        "masks hold, is -inf in the softmax's float32",
        "smallest case": "one layer of Gemma 2, attention_mask [[0, 1, 1]]",
    },
    {
        "library": "x-transformers",
        "what": "a width of 2 divides by zero",
        "smallest case": "x_transformers.x_transformers.RotaryEmbedding(2)",
    },
)
"""Mistakes of the libraries themselves that the checks found on the way, each with its smallest case."""


def record(verdicts: Sequence[Verdict], effort: object) -> Record:
    """Everything as JSON has it."""
    described = [_implementation(verdict) for verdict in verdicts]
    return {
        "schema": 1,
        "name": "alarms",
        "description": alarms.__doc__.strip(),
        "effort": effort,
        "versions": versions(sorted({one["library"] for one in described})),
        "totals": {
            "implementations": len(described),
            "shipped adapters": sum(one["shipped"] for one in described),
            "checks run": sum(one["ran"] for one in described),
            "alarms": sum(len(one["alarms"]) for one in described),
            "differences": sum(len(one["differences"]) for one in described),
        },
        "libraries": dict(sorted(Counter(one["library"] for one in described).items())),
        "differences": _counted(outcome for verdict in verdicts for outcome in verdict.differences),
        "bugs": [dict(bug) for bug in BUGS],
        "left out": dict(sorted(LEFT_OUT.items())),
        "implementations": described,
    }


def _implementation(verdict: Verdict) -> Record:
    report, known = verdict.report, verdict.implementation.known
    return {
        "library": verdict.implementation.library,
        "name": report.adapter.name,
        "component": report.adapter.component,
        "shipped": verdict.implementation.shipped,
        "ran": sum(report.totals[kind] for kind in RAN),
        "of": len(report.outcomes),
        "alarms": [_failure(outcome, known) for outcome in verdict.alarms],
        "differences": [_failure(outcome, known) for outcome in verdict.differences],
    }


def _failure(outcome: Outcome, known: Mapping[str, str]) -> Record:
    found = outcome.counterexample
    failure: Record = {"check": outcome.check.id, "level": outcome.check.level, "outcome": outcome.kind}
    if outcome.check.id in known:
        failure["reason"] = known[outcome.check.id]
    return failure | ({"case": differing(found.case)} if found else {})


def _counted(outcomes: Iterable[Outcome]) -> Record:
    counts = Counter((outcome.check.id, outcome.check.level) for outcome in outcomes)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {id: {"level": level, "implementations": count} for (id, level), count in ordered}


def first_line(record: Record) -> str:
    """The totals in one sentence."""
    totals = record["totals"]
    return (
        f"{totals['alarms']} alarms at level paper over {totals['implementations']} implementations and "
        f"{totals['checks run']} checks run; {totals['differences']} failures at the other levels"
    )


def as_json(record: Record) -> bytes:
    """The record."""
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


def as_markdown(record: Record) -> bytes:
    """The record for people."""
    lines = ["# False alarms", "", record["description"], "", f"**{first_line(record)}.**", ""]
    if record["totals"]["alarms"]:
        lines += ["## Alarms", "", *_table(("implementation", "check"), _alarms(record)), ""]
    lines += ["## Implementations", ""]
    counts = [(name, record["versions"].get(name, ""), count) for name, count in record["libraries"].items()]
    lines += [*_table(("library", "version", "implementations"), counts), ""]
    rows = [
        (one["name"], one["component"], f"{one['ran']} of {one['of']}", len(one["alarms"]), len(one["differences"]))
        for one in record["implementations"]
    ]
    lines += [*_table(("implementation", "component", "checks", "alarms", "differences"), rows), ""]
    lines += ["## Failures at the other levels", ""]
    counts = [(id, entry["level"], entry["implementations"]) for id, entry in record["differences"].items()]
    lines += [*_table(("check", "level", "implementations"), counts), ""]
    lines += ["## Mistakes of the libraries", ""]
    lines += [*_table(("library", "what", "smallest case"), [tuple(bug.values()) for bug in record["bugs"]]), ""]
    lines += ["## Left out", "", *_table(("architecture", "why"), record["left out"].items()), ""]
    return "\n".join(lines).encode()


def _alarms(record: Record) -> list[tuple[str, str]]:
    return [(one["name"], alarm["check"]) for one in record["implementations"] for alarm in one["alarms"]]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    return [f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)]
