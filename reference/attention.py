"""Scaled dot-product attention, `softmax(Q K^T / sqrt(d)) V` (Vaswani et al. 2017, section 3.2.1, equation 1)."""

import math
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.dropout import dropout as drop
from reference.masks import Mask, hard_mask, may_steer, require_mask

# Added to the scores `(..., T, S)` before the softmax, and broadcast to them: how relative positions speak.
Bias: TypeAlias = Float[Tensor, "..."]


def attention(
    query: Float[Tensor, "*B T d"],
    key: Float[Tensor, "*B S d"],
    value: Float[Tensor, "*B S v"],
    mask: Mask | None = None,
    *,
    bias: Bias | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "*B T v"]:
    """Attend with the fused kernel: `softmax(Q K^T / sqrt(d) + bias) V`.

    `mask` is boolean, True = may attend, of rank 2 `(T, S)` or of the rank of the scores `(..., T, S)`; `ValueError`
    for any other. `dropout` acts on the weights at every call, so a module passes 0 in evaluation. A row with no key
    gives exactly 0 and zero gradient.
    """
    require_fitting(query, key, value)
    if mask is None:
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
    require_mask(mask, (*query.shape[:-1], key.shape[-2]))
    if bias is None and may_steer(mask) and bool(mask.any(dim=-1).all()):
        # Every row has a key, the usual case: the same without what a row with no key costs.
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    # Kernels differ on a row with no key: 0 or NaN. So it asks a zero query of every key, and its answer is dropped.
    keyless = ~mask.any(dim=-1, keepdim=True)
    kept = (~keyless).to(query.dtype)  # a factor, because a CPU multiplies several times faster than it fills
    query = query * kept
    allowed = mask | keyless
    scores_mask = allowed if bias is None else bias.masked_fill(~allowed, float("-inf"))
    output = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=scores_mask, dropout_p=dropout)
    return output * kept


def attention_with_weights(
    query: Float[Tensor, "*B T d"],
    key: Float[Tensor, "*B S d"],
    value: Float[Tensor, "*B S v"],
    mask: Mask | None = None,
    *,
    bias: Bias | None = None,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "*B T v"], Float[Tensor, "*B T S"]]:
    """Attend step by step and return `(output, weights)`; the eager twin of `attention`, equal to it up to rounding.

    The weights are those before dropout: each row sums to 1, or is 0 if it has no key. In half precision the scores are
    computed in float32, as the fused kernels do, so that they do not overflow. Errors as in `attention`.
    """
    require_fitting(query, key, value)
    scores = attention_scores(query, key, bias)
    weights = masked_softmax(scores, mask).to(value.dtype)
    return drop(weights, dropout) @ value, weights


def require_fitting(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise `ValueError` unless the shapes are `(..., T, d)`, `(..., S, d)` and `(..., S, v)`.

    Kernels do not all refuse others: one reads values that are not there, another broadcasts one sequence to many.
    """
    fit = query.ndim == key.ndim == value.ndim >= 2 and key.shape[:-1] == value.shape[:-1]
    if not fit or query.shape[:-2] != key.shape[:-2] or query.shape[-1] != key.shape[-1]:
        shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
        raise ValueError(f"query (..., T, d), key (..., S, d) and value (..., S, v) are wanted, got {shapes}")


def attention_scores(
    query: Float[Tensor, "*B T d"], key: Float[Tensor, "*B S d"], bias: Bias | None = None
) -> Float[Tensor, "*B T S"]:
    """Compute `Q K^T / sqrt(d) + bias`, in float32 at least."""
    precise = torch.promote_types(query.dtype, torch.float32)
    scores = query.to(precise) @ key.to(precise).transpose(-2, -1) / math.sqrt(query.shape[-1])
    return scores if bias is None else scores + bias


def masked_softmax(scores: Float[Tensor, "*B T S"], mask: Mask | None = None) -> Float[Tensor, "*B T S"]:
    """Softmax over the keys that each row may attend; a row with no key gives zeros and passes back zeros.

    Such a row is filled with 0 before the softmax, since that of -inf alone is NaN, and so is its gradient.
    """
    if mask is None:
        return torch.softmax(scores, dim=-1)
    keyless = ~mask.any(dim=-1, keepdim=True)
    weights = torch.softmax(hard_mask(scores, mask).masked_fill(keyless, 0.0), dim=-1)
    return weights.masked_fill(keyless, 0.0)
