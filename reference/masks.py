"""Masks: who may attend to whom. Boolean, True = may attend.

Source: Vaswani et al. 2017, section 3.2.3 ("masking out (setting to -inf) all values in the input of the softmax which
correspond to illegal connections").
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from reference.validation import require_at_least

# A mask is boolean. The annotation leaves the dtype open so that `require_mask` can refuse another one with its remedy.
Mask: TypeAlias = Shaped[Tensor, "..."]


def require_boolean(mask: Mask) -> None:
    """Raise `ValueError` unless `mask` is boolean: in a float mask 1 may mean "keep", "block" or "add 1"."""
    if mask.dtype != torch.bool:
        raise ValueError(f"a mask must be boolean, True = may attend, got {mask.dtype}: give mask != 0 or mask == 0")


def require_mask(mask: Mask, scores_shape: Sequence[int]) -> None:
    """Raise `ValueError` unless `mask` is boolean and broadcasts to scores `(..., T, S)` in one way only.

    Its rank is 2, `(T, S)`, or that of the scores; each axis has size 1 or the size of the scores. A rank between the
    two would broadcast by accident: `(B, T, S)` against `(B, H, T, S)` takes sequences for heads.
    """
    require_boolean(mask)
    rank = len(scores_shape)
    if mask.ndim not in (2, rank):
        raise ValueError(
            f"a mask of rank {mask.ndim} is ambiguous for scores of rank {rank}: give rank 2 (T, S) or rank {rank}, "
            f"e.g. mask.unsqueeze(1) for one mask per sequence or mask.unsqueeze(0) for one per head"
        )
    for given, expected in zip(mask.shape, scores_shape[-mask.ndim :], strict=True):
        if given != 1 and given != expected:
            raise ValueError(f"a mask of shape {tuple(mask.shape)} does not broadcast to scores {tuple(scores_shape)}")


def may_steer(mask: Mask) -> bool:
    """Whether the values of a mask may decide what is run: on a CPU.

    A graph has no values yet, and for those on an accelerator the program would have to wait.
    """
    return mask.device.type == "cpu" and not torch.compiler.is_compiling()


def causal_mask(length: int, *, device: torch.device | None = None) -> Bool[Tensor, "T T"]:
    """Let position t attend positions 0..t: `mask[t, s] = (s <= t)`. `ValueError` for a negative length."""
    require_at_least(0, length=length)
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def padding_mask(lengths: Shaped[Tensor, " B"], max_length: int) -> Bool[Tensor, "B 1 1 S"]:
    """Let everybody attend the first `lengths[b]` positions of sequence b: `mask[b, 0, 0, s] = (s < lengths[b])`.

    `ValueError` for lengths that are no integers or not within 0..`max_length`. The check reads the values: call this
    outside a compiled or exported graph, and hand the mask in.
    """
    require_at_least(0, max_length=max_length)
    if lengths.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        raise ValueError(f"lengths must be integers, got {lengths.dtype}")
    lengths = lengths.long()  # max_length need not fit into a smaller type
    if ((lengths < 0) | (lengths > max_length)).any():
        raise ValueError(f"lengths must lie within 0..{max_length}, got {lengths.tolist()}")
    positions = torch.arange(max_length, device=lengths.device)
    return (positions < lengths[:, None])[:, None, None, :]


def padding_mask_from_ids(ids: Int[Tensor, "B S"], padding_id: int) -> Bool[Tensor, "B 1 1 S"]:
    """Let everybody attend each position whose id is not `padding_id`, wherever the padding stands.

    `ValueError` for ids that are not of shape `(B, S)`.
    """
    if ids.ndim != 2:
        raise ValueError(f"ids must have the shape (B, S), got {tuple(ids.shape)}")
    return (ids != padding_id)[:, None, None, :]


def combine_masks(first: Mask, *others: Mask) -> Mask:
    """Let attend where every mask lets attend (logical and).

    Ranks are 2 or one other rank, as in `require_mask`. `ValueError` for other mixtures, for dtypes other than
    boolean, and for shapes that do not broadcast.
    """
    combined = first
    require_boolean(combined)
    for mask in others:
        require_boolean(mask)
        if mask.ndim != combined.ndim and 2 not in (mask.ndim, combined.ndim):
            raise ValueError(f"masks of rank {combined.ndim} and {mask.ndim} are ambiguous together: unsqueeze one")
        try:
            combined = combined & mask
        except RuntimeError as error:
            shapes = f"{tuple(combined.shape)} and {tuple(mask.shape)}"
            raise ValueError(f"masks of shape {shapes} do not broadcast") from error
    return combined


def hard_mask(scores: Float[Tensor, "*B T S"], mask: Mask) -> Float[Tensor, "*B T S"]:
    """Forbid: the scores where `mask` is True, -inf elsewhere, so that the softmax gives exactly 0 there.

    A row with no key becomes all -inf, whose softmax is NaN: `masked_softmax` treats such rows. Errors: `require_mask`.
    """
    require_mask(mask, scores.shape)
    return scores.masked_fill(~mask, float("-inf"))


def soft_mask(scores: Float[Tensor, "*B T S"], mask: Mask, penalty: float) -> Float[Tensor, "*B T S"]:
    """Discourage: `scores - penalty` where `mask` is False, which divides the odds of these keys by `exp(penalty)`.

    The dtype is that of the scores, and they stay as they are where `mask` is True. `ValueError` for a negative
    penalty, and as `require_mask`.
    """
    require_at_least(0, penalty=penalty)
    require_mask(mask, scores.shape)
    return torch.where(mask, scores, scores - penalty)
