"""Adapters of attention together with what stands in front of it."""

from dataclasses import replace

import torch
from torch import nn

from errata import checks
from errata.checks.adapters import Adapter


class Attention(nn.Module):
    """PyTorch's, whose own axes are sequence-first."""

    def __init__(self, width: int, heads: int, *, inverted: bool = False) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(width, heads)
        self.inverted = inverted

    def forward(self, query, key, value, lengths=None, mask=None):
        ignored = None if lengths is None else (torch.arange(len(key)) >= lengths[:, None]) ^ self.inverted
        return self.inner(query, key, value, key_padding_mask=ignored, attn_mask=mask, need_weights=False)[0]


def causal(module: Attention, query, key, value):
    hidden = torch.ones(len(query), len(query), dtype=torch.bool).triu(1)
    return module(query, key, value, mask=hidden)


def encoded(module: Attention, x):
    x = x + torch.arange(len(x))[:, None, None]
    return module(x, x, x)


PADDED = checks.PaddedAttention(
    build=Attention,
    call=lambda module, query, key, value, lengths: module(query, key, value, lengths),
    layout="sequence-first",
)
CAUSAL = checks.CausalAttention(build=Attention, call=causal, layout="sequence-first")
ENCODED = checks.EncodedAttention(build=Attention, call=encoded, layout="sequence-first")


def failing(adapter: Adapter) -> list[str]:
    return [outcome.check.id for outcome in checks.run(adapter, effort="quick").failures]


def test_right_implementations_pass() -> None:
    assert [failing(adapter) for adapter in (PADDED, CAUSAL, ENCODED)] == [[], [], []]


def test_one_sequence_in_place_of_three() -> None:
    padded = replace(PADDED, call=lambda module, x, lengths: module(x, x, x, lengths), self_only=True)
    assert failing(padded) == []
    assert failing(replace(CAUSAL, call=lambda module, x: causal(module, x, x, x), self_only=True)) == []


def test_a_mask_that_the_next_block_reads_the_other_way_round_is_found() -> None:
    assert "padded_attention.attends-the-words-alone" in failing(
        replace(PADDED, build=lambda width, heads: Attention(width, heads, inverted=True))
    )


def test_causal_attention_without_a_mask_is_found() -> None:
    unmasked = replace(CAUSAL, call=lambda module, query, key, value: module(query, key, value))
    assert failing(unmasked) == ["causal_attention.future-has-no-influence"]


def test_functions_need_no_build() -> None:
    def call(query, key, value):
        return nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)

    assert failing(checks.CausalAttention(call=call, traits=frozenset({"no-projections"}))) == []


def test_positions_along_the_batch_are_found() -> None:
    wrong = replace(ENCODED, layout="batch-first")
    assert "encoded_attention.batch-examples-are-independent" in failing(wrong)
