"""The arguments that all searches share."""

import torch
from jaxtyping import Int
from torch import Tensor

from reference.validation import require_at_least


def length_limits(max_length: int | Int[Tensor, " B"], start: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Give every sequence its greatest length. `ValueError` for a length below 1."""
    limits = torch.as_tensor(max_length, device=start.device).expand(len(start))
    require_at_least(1, max_length=int(limits.min()) if len(limits) else 1)
    return limits


def require_in_vocabulary(vocabulary: int, **ids: int) -> None:
    """Raise `ValueError` for the first id outside 0..`vocabulary` - 1."""
    for name, id in ids.items():
        if not 0 <= id < vocabulary:
            raise ValueError(f"{name} must lie within 0..{vocabulary - 1}, the vocabulary, got {id}")
