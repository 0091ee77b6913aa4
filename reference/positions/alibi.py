"""ALiBi, attention with linear biases (Press et al. 2022, section 3)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.positions.offsets import key_offsets
from reference.validation import require_at_least


def alibi_slopes(heads: int) -> Float[Tensor, " H"]:
    """Make the slope of each head, in float64: `2^(-8h/H)` for h = 1..H, if H is a power of two.

    For another H the authors' code takes the slopes of the next smaller power n, and fills up with every other one of
    the slopes of 2n heads. `ValueError` for no heads.
    """
    require_at_least(1, heads=heads)
    power = 2 ** math.floor(math.log2(heads))
    exponents = torch.arange(1, power + 1, dtype=torch.float64) / power
    between = (torch.arange(heads - power, dtype=torch.float64) + 0.5) / power
    return 2.0 ** (-8 * torch.cat((exponents, between)))


class AlibiBias(nn.Module):
    """`-slope_h |s - t|` added to the scores, nothing learned: a `position` of `MultiHeadAttention`.

    The paper defines it for the keys at and before the query, so under a causal mask. Without one the distance counts
    in both directions alike, which is a common extension to encoders, not in the paper. Then the order must come from
    elsewhere: such scores cannot tell a sequence from its reverse.
    """

    def __init__(self, heads: int) -> None:
        """`ValueError` for no heads."""
        super().__init__()
        self.slopes = alibi_slopes(heads)  # no buffer, since `module.half()` would round them

    def forward(
        self, queries: Float[Tensor, "B H T d"], keys: Float[Tensor, "B H S d"]
    ) -> tuple[Float[Tensor, "B H T d"], Float[Tensor, "B H S d"], Float[Tensor, "1 H T S"]]:
        """Leave queries and keys, and make the bias of their scores. `ValueError` for more queries than keys."""
        precise = torch.promote_types(queries.dtype, torch.float32)
        distance = key_offsets(queries.shape[-2], keys.shape[-2], device=keys.device).abs().to(precise)
        slopes = self.slopes.to(distance)[:, None, None]
        return queries, keys, (-slopes * distance)[None].to(queries.dtype)
