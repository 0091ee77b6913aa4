"""Bare classes and functions, taken for what their names say."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from errata import checks
from errata.checks.ready import pytorch
from errata.checks.recognise import PYTORCHS_OWN, recognise
from errata.errors import ErrataError


class MultiHeadedAttention(nn.Module):
    def __init__(self, h, d_model, dropout):
        super().__init__()
        if d_model % h:
            raise ValueError
        self.h = h
        self.w_q, self.w_k, self.w_v, self.w_o = (nn.Linear(d_model, d_model) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, values, keys, query, mask):
        q, k, v = (
            w(x).unflatten(-1, (self.h, -1)).transpose(1, 2)
            for w, x in ((self.w_q, query), (self.w_k, keys), (self.w_v, values))
        )
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(mask == 0, float("-inf"))
        weights = self.dropout(scores.softmax(dim=-1))
        return self.w_o((weights @ v).transpose(1, 2).flatten(2)), weights


class CausalSelfAttention(nn.Module):
    def __init__(self, embed_dim, num_heads=2):
        super().__init__()
        self.inner = nn.MultiheadAttention(embed_dim, num_heads, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x)


class LayerNorm(nn.Module):
    def __init__(self, features, eps=1e-6):
        super().__init__()
        self.gamma, self.beta, self.eps = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features)), eps

    def forward(self, x):
        variance = x.var(dim=-1, keepdim=True, unbiased=False)
        return self.gamma * (x - x.mean(dim=-1, keepdim=True)) / torch.sqrt(variance + self.eps) + self.beta


class Mystery(nn.Module):
    def __init__(self, width):
        super().__init__()


class Attention(nn.Module):
    def __init__(self, d_model, n_heads, rope_base):
        super().__init__()

    def forward(self, q, k, v):
        return q


class EncoderBlock(nn.Module):
    def __init__(self, d_model, heads):
        super().__init__()


def scaled_dot_product_attention(q, k, v, mask=None, dropout=None):
    output = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return output, None


def test_multi_head_attention_with_its_arguments_in_any_order() -> None:
    adapter = recognise(MultiHeadedAttention, "m:MultiHeadedAttention")
    assert adapter.component == "multi_head_attention"
    assert adapter.weights == {"query": "w_q", "key": "w_k", "value": "w_v", "output": "w_o"}
    assert checks.run(adapter, levels={"paper"}, effort="quick").ok


def test_self_attention_without_a_mask() -> None:
    adapter = recognise(CausalSelfAttention, "m:CausalSelfAttention")
    assert (adapter.self_only, adapter.mask) == (True, "none")
    assert checks.run(adapter, levels={"paper"}, effort="quick").ok


def test_a_norm_and_a_function() -> None:
    for target in (LayerNorm, scaled_dot_product_attention):
        assert checks.run(recognise(target, "m:x"), levels={"paper"}, effort="quick").ok


def test_the_component_may_be_said() -> None:
    renamed = type("Block", (LayerNorm,), {})
    assert recognise(renamed, "m:Block", component="layer_norm").component == "layer_norm"
    with pytest.raises(ErrataError, match="no component is called 'layernorm'"):
        recognise(renamed, "m:Block", component="layernorm")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Mystery, "its name does not say what it is; say --component"),
        (Attention, "what its parameter 'rope_base' takes is not known"),
        (EncoderBlock, "none of its parameters d_model, heads is called like 'hidden'"),
        (3, "m:x is no class, no function and no adapter"),
        (torch.nn.functional.scaled_dot_product_attention, "errata.checks.ready.pytorch:SCALED_DOT_PRODUCT_ATTENTION"),
        (nn.MultiheadAttention, "there is --adapter errata.checks.ready.pytorch:MULTI_HEAD_ATTENTION"),
    ],
)
def test_what_is_not_settled_is_not_guessed(target, message: str) -> None:
    with pytest.raises(ErrataError, match=message):
        recognise(target, "m:x")


def test_parameters_that_are_not_told_are_not_guessed() -> None:
    with pytest.raises(ErrataError, match="m:max does not tell its parameters: write an adapter"):
        recognise(max, "m:max", component="attention")


@pytest.mark.parametrize("component", PYTORCHS_OWN)
def test_an_adapter_of_pytorchs_own_is_there(component: str) -> None:
    assert getattr(pytorch, PYTORCHS_OWN[component]).component == component


class BatchFirst(nn.Module):
    def __init__(self, embed_dim, num_heads, batch_first=False):
        super().__init__()
        self.inner = nn.MultiheadAttention(embed_dim, num_heads, batch_first=batch_first)

    def forward(self, query, key, value):
        return self.inner(query, key, value)


def test_batch_first_is_asked_for_where_it_can_be() -> None:
    adapter = recognise(BatchFirst, "m:BatchFirst", component="multi_head_attention")
    assert checks.run(adapter, levels={"paper"}, effort="quick").ok


def test_find_gives_adapters_as_they_are_and_remembers_where(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("somewhere")
    module.mine = checks.Attention(call=lambda q, k, v, mask: q)
    monkeypatch.setitem(sys.modules, "somewhere", module)
    assert checks.find("somewhere:mine").origin == {"address": "somewhere:mine"}
    with pytest.raises(ErrataError, match="is an adapter, which says itself what mask is"):
        checks.find("somewhere:mine", mask="additive")
    with pytest.raises(ErrataError, match="somewhere has no 'other'"):
        checks.find("somewhere:other")
    with pytest.raises(ErrataError, match="'somewhere' is no address"):
        checks.find("somewhere")
    with pytest.raises(ErrataError, match="nowhere_at_all cannot be imported"):
        checks.find("nowhere_at_all:x")
