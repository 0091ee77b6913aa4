"""Adapters of what makes and applies masks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from errata.checks.adapters.adapter import Adapter
from errata.checks.adapters.conventions import require

MadeMask = Literal["true-is-attend", "true-is-masked", "one-is-attend", "additive"]
"""What an implementation makes: booleans of either polarity, the numbers 1 and 0, or 0 and -inf."""

LEAST_PENALTY = -1e4
"""What an additive mask holds where attention is forbidden is at most this."""


@dataclass(frozen=True, kw_only=True)
class MaskMaker(Adapter):
    """What makes masks.

    Attributes:
        mask: what the implementation answers with. Leading axes of size 1 are of no interest.
    """

    axes: ClassVar[int]

    mask: MadeMask = "true-is-attend"

    def __post_init__(self) -> None:
        """As in `Adapter`."""
        require(self.title, "mask", self.mask, MadeMask)
        super().__post_init__()

    def revert(self, outputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Adapter.revert`."""
        return {"output": as_attend(_without_leading_axes(outputs["output"], self.axes), self.mask)}


@dataclass(frozen=True, kw_only=True)
class CausalMask(MaskMaker):
    """Causal masks: ``call(length)`` gives ``(T, T)``, see `errata.checks.causal_mask`."""

    component: ClassVar[str] = "causal_mask"
    inputs: ClassVar[tuple[str, ...]] = ("length",)
    axes: ClassVar[int] = 2


@dataclass(frozen=True, kw_only=True)
class PaddingMask(MaskMaker):
    """Padding masks: ``call(lengths, max_length)`` gives ``(B, S, S)``, see `errata.checks.padding_mask`.

    A mask with one row for all queries, ``(B, S)``, ``(B, 1, S)`` or ``(B, 1, 1, S)``, is accepted too.
    """

    component: ClassVar[str] = "padding_mask"
    inputs: ClassVar[tuple[str, ...]] = ("lengths", "max_length")
    known_traits: ClassVar[frozenset[str]] = frozenset({"one-length"})
    axes: ClassVar[int] = 3

    def revert(self, outputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Adapter.revert`."""
        mask = as_attend(outputs["output"], self.mask)
        rows = mask[:, None] if mask.ndim == 2 else mask.squeeze(1) if mask.ndim == 4 else mask
        return {"output": rows.expand(-1, rows.shape[-1], -1)}


@dataclass(frozen=True, kw_only=True)
class SegmentMask(MaskMaker):
    """The mask of several sequences in one: ``call(segments)`` gives ``(B, T, T)``.

    See `errata.checks.segment_mask`.
    """

    component: ClassVar[str] = "segment_mask"
    inputs: ClassVar[tuple[str, ...]] = ("segments",)
    axes: ClassVar[int] = 3


@dataclass(frozen=True, kw_only=True)
class ScoreMask(Adapter):
    """Masks on scores: ``call(scores, mask, penalty)`` gives the hard and the soft one.

    See `errata.checks.score_mask`.
    """

    component: ClassVar[str] = "score_mask"
    inputs: ClassVar[tuple[str, ...]] = ("scores", "mask", "penalty")

    returns: tuple[str, ...] = ("output", "soft")


def as_attend(mask: Tensor, made: MadeMask) -> Tensor:
    """A mask as booleans, True = may attend.

    Raises:
        ValueError: when it does not hold what was promised.
    """
    if made.startswith("true"):
        if mask.dtype != torch.bool:
            raise ValueError(f"the mask is {mask.dtype}, not boolean: say mask='one-is-attend' or mask='additive'")
        return mask if made == "true-is-attend" else ~mask
    zero, other = mask == 0, mask == 1 if made == "one-is-attend" else mask <= LEAST_PENALTY
    if not bool((zero | other).all()):
        wanted = "1 or 0" if made == "one-is-attend" else f"0 or at most {LEAST_PENALTY:g}"
        raise ValueError(f"the mask holds {mask[~(zero | other)][0].item():g}; {wanted} was promised")
    return other if made == "one-is-attend" else zero


def _without_leading_axes(mask: Tensor, axes: int) -> Tensor:
    while mask.ndim > axes and mask.shape[0] == 1:
        mask = mask[0]
    return mask.squeeze(1) if mask.ndim == axes + 1 and mask.shape[1] == 1 else mask
