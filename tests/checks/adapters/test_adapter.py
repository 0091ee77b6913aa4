"""Adapters: one for each component, conventions, and what a bad one is told."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from errata import checks, defects
from errata.candidates import LocalCandidate
from errata.checks import adapters, engine
from errata.checks.adapters import AdaptedCandidate, Adapter
from errata.errors import ErrataError

CLASSES = [
    kind for name in adapters.__all__ if issubclass(kind := getattr(adapters, name), Adapter) and kind is not Adapter
]
QUICK = {"effort": "quick", "levels": {"paper", "convention"}}


class MultiHead(nn.Module):
    """By the book, in the conventions that its fields name."""

    def __init__(self, width: int, heads: int, *, masked: str = "true-is-attend", sequence_first: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError("heads do not divide the width")
        self.heads, self.masked, self.sequence_first = heads, masked, sequence_first
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, query, key, value, mask=None):
        if self.sequence_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        parts = zip(self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), (query, key, value), strict=True)
        q, k, v = (nn.functional.linear(x, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2) for w, b, x in parts)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if mask is not None and self.masked == "additive":
            scores = scores + mask
        elif mask is not None:
            attend = mask if self.masked == "true-is-attend" else ~mask
            scores = scores.masked_fill(~attend, float("-inf"))
        weights = scores.softmax(dim=-1)
        output = self.out((weights @ v).transpose(1, 2).flatten(2))
        return (output.transpose(0, 1) if self.sequence_first else output), weights


def set_weights(module: MultiHead, weights) -> None:
    for packed, kind in ((module.qkv.weight, "weight"), (module.qkv.bias, "bias")):
        packed.copy_(torch.cat([weights[f"{name}.{kind}"] for name in ("query", "key", "value")]))
    module.out.weight.copy_(weights["output.weight"])
    module.out.bias.copy_(weights["output.bias"])


ADAPTER = checks.MultiHeadAttention(
    build=MultiHead,
    call=lambda module, query, key, value, mask: module(query, key, value, mask),
    set_weights=set_weights,
    returns=("output", "weights"),
)


def failing(adapter: Adapter, **options) -> dict[str, str]:
    return {outcome.check.id: outcome.kind for outcome in checks.run(adapter, **(QUICK | options)).failures}


def test_every_component_has_one_adapter_class() -> None:
    components = {check.component for check in checks.all_checks()}
    assert sorted(kind.component for kind in CLASSES) == sorted(components)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.component)
def test_an_adapter_class_passes_what_its_checks_pass_and_knows_their_traits(kind: type[Adapter]) -> None:
    component = defects.components()[kind.component]
    local = LocalCandidate(component.reference())
    asked = {"build": set(), "call": set()}

    class Watched(LocalCandidate):
        def build(self, config, **options):
            asked["build"] |= config.keys()
            instance = super().build(config, **options)
            target = instance.target

            def watched(*built, **arguments):
                asked["call"] |= arguments.keys()
                return target(*built, **arguments)

            return replace(instance, target=watched)

    engine.run(Watched(component.reference()), checks.checks_of(kind.component), examples=2, shrink=False)
    optional = {"chunks", "labels", "eager"} if issubclass(kind, adapters.models.Model) else set()
    assert asked["build"] == set(kind.sizes)
    assert asked["call"] - optional == set(kind.inputs)
    wanted = {trait for check in checks.checks_of(kind.component) for trait in check.needs | check.unless}
    by_field = {"weights", "attention-weights", "self-only", "no-mask", "converted-mask", "pre-norm", "post-norm"} | {
        "cache",
        "loss",
        "eager",
    }
    assert wanted - by_field <= kind.known_traits
    assert local.traits - by_field <= kind.known_traits


def test_a_right_implementation_passes() -> None:
    assert failing(ADAPTER) == {}


@pytest.mark.parametrize(
    ("own", "stated"),
    [
        ({"masked": "true-is-masked"}, {"mask": "true-is-masked"}),
        ({"masked": "additive"}, {"mask": "additive"}),
        ({"sequence_first": True}, {"layout": "sequence-first"}),
    ],
)
def test_a_convention_that_is_stated_raises_no_alarm_and_a_wrong_one_does(own, stated) -> None:
    def build(width, heads):
        return MultiHead(width, heads, **own)

    assert failing(replace(ADAPTER, build=build, **stated)) == {}
    assert failing(replace(ADAPTER, build=build)) != {}


@pytest.mark.parametrize("shape", ["(B, H, T, S)", "(B, T, S)", "(B*H, T, S)"])
def test_masks_in_other_shapes(shape: str) -> None:
    seen = set()

    def call(module, query, key, value, mask):
        batch, heads, queries, keys = len(query), module.heads, query.shape[1], key.shape[1]
        wanted = {"(B, H, T, S)": (batch, heads, queries, keys), "(B, T, S)": (batch, queries, keys)}
        if mask is not None:
            seen.add(mask.shape == wanted.get(shape, (batch * heads, queries, keys)))
            mask = mask.reshape(batch, -1, queries, keys)
        return module(query, key, value, mask)

    assert failing(replace(ADAPTER, call=call, mask_shape=shape)) == {}
    assert seen == {True}


def test_self_attention_and_attention_without_a_mask() -> None:
    def call(module, x):
        return module(x, x, x)

    assert failing(replace(ADAPTER, call=call, self_only=True, mask="none")) == {}


def test_weights_by_name_and_by_hand_say_the_same() -> None:
    class Plain(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.core = MultiHead(width, heads)
            self.wq, self.wk, self.wv, self.wo = (nn.Linear(width, width) for _ in range(4))
            del self.core.qkv, self.core.out

        def forward(self, query, key, value, mask):
            core = self.core
            q, k, v = (
                w(x).unflatten(-1, (core.heads, -1)).transpose(1, 2)
                for w, x in ((self.wq, query), (self.wk, key), (self.wv, value))
            )
            output = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            return self.wo(output.transpose(1, 2).flatten(2))

    named = checks.MultiHeadAttention(
        build=Plain,
        call=lambda module, *inputs: module(*inputs),
        weights={"query": "wq", "key": "wk", "value": "wv", "output": "wo"},
    )
    assert "multi_head_attention.matches-formula" not in failing(named, levels={"paper"})
    swapped = replace(named, weights={"query": "wk", "key": "wq", "value": "wv", "output": "wo"})
    assert "multi_head_attention.one-head-is-attention" in failing(swapped, levels={"paper"})


def test_set_weights_unlocks_the_checks_that_compare_with_the_formula() -> None:
    black_box = checks.run(replace(ADAPTER, set_weights=None), **QUICK)
    needing = [check for check in checks.checks_of("multi_head_attention") if check.needs == {"weights"}]
    count = sum(check.level in QUICK["levels"] for check in needing)
    assert black_box.unlocked_by() == {"set_weights": count}
    assert f"(set_weights would unlock {count} more)" in black_box.first_line


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"call": lambda module: module}, r"call is called with \(built, query, key, value, mask\), by position"),
        ({"build": lambda width: None}, r"build is called with \(width, heads\), by position, and takes \(width\)"),
        ({"call": 3}, "call is 3, not a callable"),
        ({"mask": "inverted"}, "mask is 'inverted'; choose one of 'true-is-attend'"),
        ({"layout": "time-first"}, "layout is 'time-first'"),
        ({"traits": frozenset({"fast"})}, "'fast' is no trait of it"),
        ({"weights": {"query": "wq"}}, "give weights or set_weights, not both"),
        ({"returns": ("weights",)}, "name one of them 'output'"),
    ],
)
def test_a_bad_adapter_is_refused_at_once(fields, message: str) -> None:
    with pytest.raises(ErrataError, match=message):
        replace(ADAPTER, **fields)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda module, *inputs: None, r"call was given query a float32 tensor \(1, 1, 1\).* and returned None"),
        (
            lambda module, *inputs: module(*inputs)[0],
            r"returned a float32 tensor \(1, 1, 1\); returns=\('output', 'weights'\)",
        ),
        (lambda module, *inputs: (module(*inputs)[0], "x"), r"returned a tuple of a float32 tensor \(1, 1, 1\), 'x'"),
    ],
)
def test_an_adapter_that_returns_something_else_is_told_what_it_was_given(call, message: str) -> None:
    with pytest.raises(ErrataError, match=message):
        checks.run(replace(ADAPTER, call=call), **QUICK)


def test_set_weights_needs_a_module() -> None:
    with pytest.raises(ErrataError, match=r"build returned 3; set_weights needs an nn\.Module"):
        AdaptedCandidate(replace(ADAPTER, build=lambda width, heads: 3)).build({"width": 4, "heads": 2})


def test_layers_with_weights_must_say_where_the_norm_stands() -> None:
    with pytest.raises(ErrataError, match="say norm='post' or norm='pre'"):
        checks.EncoderLayer(build=lambda *sizes: None, call=lambda *inputs: None, weights={"feed_forward": "ffn"})


def test_a_positional_encoding_may_add_itself_to_its_input() -> None:
    class Adding(nn.Module):
        def __init__(self, width):
            super().__init__()
            frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
            angle = torch.arange(6000, dtype=torch.float64)[:, None] * frequency
            table = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]
            self.register_buffer("table", table.to(torch.get_default_dtype()))
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x + self.table[: len(x), None])

    adapter = checks.PositionalEncoding(build=Adding, call=lambda module, x: module(x), layout="sequence-first")
    assert checks.run(adapter).ok
    assert not checks.run(replace(adapter, layout="batch-first"), effort="quick").ok


@pytest.mark.parametrize(
    ("made", "stated"),
    [
        (lambda length: torch.ones(length, length).tril(), "one-is-attend"),
        (lambda length: torch.ones(length, length).tril().log()[None, None], "additive"),
        (lambda length: torch.ones(1, length, length, dtype=torch.bool).triu(1), "true-is-masked"),
    ],
)
def test_made_masks_of_every_convention(made, stated: str) -> None:
    assert checks.run(checks.CausalMask(call=made, mask=stated), effort="quick").ok
    report = checks.run(checks.CausalMask(call=made), effort="quick")
    assert not report.ok


def test_an_additive_mask_that_hardly_masks_is_no_mask() -> None:
    report = checks.run(checks.CausalMask(call=lambda n: -torch.ones(n, n).triu(1), mask="additive"), effort="quick")
    assert "the mask holds -1; 0 or at most -10000 was promised" in str(report)
