"""The relative bias of T5 (Raffel et al. 2020, section 2.1)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.positions.offsets import key_offsets
from reference.validation import require_at_least


def relative_bucket(
    offsets: Int[Tensor, "*P"], buckets: int = 32, max_distance: int = 128, *, bidirectional: bool = True
) -> Int[Tensor, "*P"]:
    """Sort offsets `s - t` into buckets: half of them for one distance each, half for ranges that grow geometrically.

    Of n buckets, distance x has bucket x if `x < e = n // 2`, else `e + (n - e) log(x / e) / log(max_distance / e)`,
    rounded down, and the last one from `max_distance` on. Bidirectional, the keys behind the query and those ahead of
    it have half of the buckets each. Otherwise every key ahead is in bucket 0: the causal mask hides it.
    """
    distance, first = (-offsets).clamp(min=0), torch.zeros_like(offsets)
    if bidirectional:
        buckets //= 2
        distance, first = offsets.abs(), buckets * (offsets > 0)
    exact = buckets // 2
    ratio = distance.clamp(min=exact).to(torch.float64) / exact
    # A whole number of steps may come out a rounding error short, which must not lead into the bucket before.
    steps = ratio.log() / math.log(max_distance / exact) * (buckets - exact) + 1e-9
    far = (exact + steps.to(offsets.dtype)).clamp(max=buckets - 1)
    return first + torch.where(distance < exact, distance, far)


class RelativeBias(nn.Module):
    """A learned number for each head and bucket of offsets, added to the scores: a `position` of `MultiHeadAttention`.

    T5 has one such table for all layers of a stack: give the same module to each. It also leaves out the `1 / sqrt(d)`
    of the scores, which is kept here, and starts with smaller projections instead.
    """

    def __init__(self, heads: int, *, buckets: int = 32, max_distance: int = 128, bidirectional: bool = True) -> None:
        """`ValueError` for no heads, too few buckets for the formula, an odd half, or a distance within the exact half.

        `bidirectional` is for encoders, its contrary for decoders with their causal mask.
        """
        super().__init__()
        require_at_least(1, heads=heads)
        require_at_least(4 if bidirectional else 2, buckets=buckets)
        if bidirectional and buckets % 2:
            raise ValueError(f"buckets must be even, half of them for each direction, got {buckets}")
        exact = buckets // (4 if bidirectional else 2)
        require_at_least(exact + 1, max_distance=max_distance)
        self.buckets = buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.table = nn.Parameter(torch.empty(buckets, heads))
        nn.init.normal_(self.table, std=0.02)

    def forward(
        self, queries: Float[Tensor, "B H T d"], keys: Float[Tensor, "B H S d"]
    ) -> tuple[Float[Tensor, "B H T d"], Float[Tensor, "B H S d"], Float[Tensor, "1 H T S"]]:
        """Leave queries and keys, and make the bias of their scores. `ValueError` for more queries than keys."""
        offsets = key_offsets(queries.shape[-2], keys.shape[-2], device=keys.device)
        rows = relative_bucket(offsets, self.buckets, self.max_distance, bidirectional=self.bidirectional)
        return queries, keys, self.table[rows].movedim(-1, 0)[None].to(queries.dtype)
