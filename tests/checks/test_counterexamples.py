"""What the printed blocks give on small cases that a reader can work out, and what is right there."""

from pathlib import Path
from typing import Any

import pytest

from errata.candidates import LocalCandidate, Program, Source
from errata.checks import checks_of, engine, get

SNIPPETS = Path(__file__).parents[2] / "snippets"
IMPORTS = "import numpy as np\nimport torch\nimport torch.nn as nn\n"

ATTENTION = "def call(query, key, value, mask):\n    return {}\n"
MULTI_HEAD = """
def build(width, heads):
    return MultiHeadAttention(width, heads)

def call(module, query, key, value, mask):
    return module(query, key, value, mask)
"""
PROJECTIONS = {name: f"{name}_linear" for name in ("query", "key", "value")} | {"output": "out_linear"}
RESIDUAL = "def build(width):\n    return ResidualBlock(width)\n\ndef call(block, x):\n    return block(x)\n"
BATCH_NORM = "def build(width):\n    return BatchNorm(width)\n\ndef call(norm, x):\n    return norm(x)\n"
PADDING = "def call(lengths, max_length):\n    return ~create_mask(lengths.item(), max_length)[None]\n"

SUM = {"x = self.norm1(x)": "residual = x\n        x = self.norm1(x)", "return x + x": "return residual + x"}
RUNNING = {
    "self.beta = nn.Parameter(torch.zeros(d_model))": """self.beta = nn.Parameter(torch.zeros(d_model))
        self.register_buffer("running_mean", torch.zeros(d_model))
        self.register_buffer("running_var", torch.ones(d_model))""",
    "x.mean([1], keepdim=True)": "x.mean([0, 1], keepdim=True)",
    "x.var([1], keepdim=True)": "x.var([0, 1], keepdim=True, unbiased=False)",
    "        x = (x": """        if self.training:
            positions = x.detach().flatten(0, -2)
            self.running_mean.lerp_(positions.mean(0), 0.1)
            self.running_var.lerp_(positions.var(0), 0.1)
        else:
            mean, var = self.running_mean, self.running_var
        x = (x""",
}


def block(
    name: str,
    adapter: str,
    repairs: dict[str, str] | None = None,
    weights: dict[str, str] | None = None,
    trait: str = "",
) -> LocalCandidate:
    text = IMPORTS + next(SNIPPETS.glob(f"000_{name}_*.py")).read_text(encoding="utf-8")
    for old, new in (repairs or {}).items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return LocalCandidate(Program(name, (Source.whole(text, name),), adapter, weights or {}, frozenset({trait} - {""})))


Q1 = block("q01", ATTENTION.format("scaled_dot_product_attention(query, key, value, query.size(-1), mask)"))
Q3 = block("q03", MULTI_HEAD, weights=PROJECTIONS)
Q25 = block(
    "q25",
    "def build(width, eps):\n    return LayerNorm(width, eps)\n\ndef call(norm, x):\n    return norm(x)\n",
    {"x.var(-1, keepdim=True)": "x.var(-1, keepdim=True, unbiased=False)"},
)
Q27 = block("q27", BATCH_NORM)
Q28 = block("q28", PADDING, {"expand(seq_len, max_len)": "expand(max_len, max_len)"})


@pytest.mark.parametrize(
    ("candidate", "id", "case", "right", "printed"),
    [
        (
            Q1,
            "attention.half-precision-scores-do-not-overflow",
            {"queries": 2, "width": 4, "dtype": "float16"},
            [[[1.0] * 4] * 2],
            [[["nan"] * 4] * 2],
        ),
        (
            Q3,
            "multi_head_attention.half-precision-scores-do-not-overflow",
            {"queries": 2, "head_width": 4, "heads": 2, "dtype": "float16"},
            [[[1.0] * 8] * 2],
            [[["nan"] * 8] * 2],
        ),
        (
            Q3,
            "multi_head_attention.indivisible-width-is-refused",
            {"queries": 2, "heads": 2},
            [[[2.5, 3.5, 4.5]] * 2],
            [[[3.0, 4.0, 3.0], [4.0, 3.0, 4.0]]],
        ),
        (
            Q25,
            "layer_norm.survives-half-precision",
            {"width": 3, "eps": 1e-5, "dtype": "float16", "values": {"x": [1000.0, -1000.0, -1000.0]}},
            [[[1.414, -0.707, -0.707]]],
            [[[0.0, 0.0, 0.0]]],
        ),
        (
            Q27,
            "batch_norm.fresh-evaluation-is-the-identity",
            {"batch": 1, "values": {"x": [0.0, 1.0]}},
            [[[0.0], [1.0]]],
            [[[-0.7071], [0.7071]]],
        ),
        (
            Q28,
            "padding_mask.hides-the-padding",
            {"length": 1, "padding": 3},
            [[True, False, False, False]],
            [[True, True, True, True]],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_small_case_shows_the_right_answer_and_the_printed_one(
    candidate: LocalCandidate, id: str, case: dict[str, Any], right: Any, printed: Any
) -> None:
    check = get(id)
    evidence = engine.replay(check, candidate, check.case(**case))
    assert engine.fails(check, evidence)
    assert (evidence.expected, evidence.actual) == (right, printed)


def test_keys_of_another_batch_size_are_dealt_out() -> None:
    check = get("multi_head_attention.keys-of-another-batch-size-are-refused")
    one, none = [[1.0]], [0.0]
    values = {f"{name}.weight": one for name in PROJECTIONS} | {f"{name}.bias": none for name in PROJECTIONS}
    values |= {"query": [0.0, 0.0], "key": [0.0] * 4, "value": [0.0, 0.0, 0.0, 1.0]}
    evidence = engine.replay(check, Q3, check.case(batch=2, queries=1, keys=4, values=values))
    assert (evidence.expected, evidence.actual) == ([[[0.25]], [[0.25]]], [[[0.0]], [[0.5]]])


def test_a_mask_of_one_example_is_taken_for_one_head() -> None:
    candidate = block("q43", ATTENTION.format("masked_attention(query, key, value, mask)"), trait="heads-axis")
    check = get("attention.heads-axis-mask-is-per-example-or-refused")
    zeros = [[[[0.0]] * 2] * 2] * 2
    values = {"query": zeros, "key": zeros, "value": [[[[0.0], [1.0]]] * 2] * 2}
    first, second = [True, False], [False, True]
    values["mask"] = [[first, first], [second, second]]
    evidence = engine.replay(check, candidate, check.case(batch=2, heads=2, queries=2, values=values))
    assert evidence.expected == [[[[0.0]] * 2] * 2, [[[1.0]] * 2] * 2]
    assert evidence.actual == [[[[0.0]] * 2, [[1.0]] * 2]] * 2


def test_nan_that_is_zeroed_after_the_softmax_is_found() -> None:
    softmax = "torch.softmax(attn_scores, dim=-1)"
    adapter = ATTENTION.format("scaled_dot_product_attention(query, key, value, query.size(-1), mask)")
    candidate = block("q01", adapter, {softmax: f"{softmax}.nan_to_num()"})
    check = get("attention.keyless-row-passes-anomaly-detection")
    evidence = engine.replay(check, candidate, check.case())
    assert evidence.raised == "RuntimeError"
    assert "SoftmaxBackward0" in evidence.actual
    keyless = [other for other in checks_of("attention") if "keyless" in other.id]
    failed = [result.check.id for result in engine.run(candidate, keyless, examples=3) if result.status == "failed"]
    assert failed == [check.id]


@pytest.mark.parametrize(("activation", "passes"), [("x", False), ("torch.relu(x)", True)])
def test_two_linear_maps_and_norms_are_an_odd_function(activation: str, passes: bool) -> None:
    dropped = {"x = self.dropout(x)": f"x = self.dropout({activation})"}
    candidate = block("q26", RESIDUAL, SUM | dropped, trait="feed-forward-branch")
    check = get("residual.branch-is-not-odd")
    assert engine.fails(check, engine.replay(check, candidate, check.case())) is not passes


@pytest.mark.parametrize(
    "id", ["accepts-input-of-another-precision", "half-precision-statistics-stay-finite", "runs-under-autocast"]
)
def test_running_statistics_by_lerp_break_in_lower_precision(id: str) -> None:
    check = get(f"batch_norm.{id}")
    candidate = block("q27", BATCH_NORM, RUNNING)
    assert engine.fails(check, engine.replay(check, candidate, check.case(dtype="float16")))


@pytest.mark.parametrize(
    ("exponent", "seen"), [("0 * j", [1.0, 1.0]), ("2 * j", [1.0, 1e-4]), ("j / 2", [1.0, 0.1]), ("j", None)]
)
def test_frequencies_are_shown_beside_those_of_the_paper(exponent: str, seen: list[float] | None) -> None:
    source = f"""
import torch

def table(length, width):
    j = torch.arange(0, width, 2, dtype=torch.float64)
    angles = torch.arange(length)[:, None] / 10000 ** ({exponent} / width)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
"""
    adapter = "def call(length, width):\n    return table(length, width)\n"
    candidate = LocalCandidate(Program("a table", (Source.whole(source, "table"),), adapter))
    check = get("positional_encoding.frequencies-fall-geometrically")
    evidence = engine.replay(check, candidate, check.case(length=3, width=4))
    assert engine.fails(check, evidence) is (seen is not None)
    assert evidence.expected == [1.0, 0.01]
    assert evidence.actual == (seen or [1.0, 0.01])
