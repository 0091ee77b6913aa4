"""Offsets of keys from queries: all that a relative position may depend on."""

import torch
from jaxtyping import Int
from torch import Tensor


def key_offsets(targets: int, sources: int, *, device: torch.device | None = None) -> Int[Tensor, "T S"]:
    """Say how far each of S keys lies ahead of each of T queries: `offset[t, s] = s - (S - T + t)`.

    The queries are the last T of the S positions. So one rule serves a whole sequence, T = S, and a step of cached
    decoding, T = 1. `ValueError` for more queries than keys: such queries have no place among them.
    """
    if targets > sources:
        raise ValueError(f"relative positions need the queries among the keys, got {targets} queries, {sources} keys")
    positions = torch.arange(sources, device=device)
    return positions[None, :] - positions[sources - targets :, None]
