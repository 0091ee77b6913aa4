"""Root mean square layer normalisation (Zhang and Sennrich 2019, section 4, equation 4)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.validation import require_at_least


class RMSNorm(nn.Module):
    """`gain * x / sqrt(mean(x^2) + eps)`, over the features of each position alone: without mean and bias.

    `eps` stands inside the root, so a row of zeros gives zeros and finite gradients.
    """

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        """`ValueError` for a width below 1 or a negative `eps`."""
        super().__init__()
        require_at_least(1, width=width)
        require_at_least(0, eps=eps)
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Normalise the last axis.

        Half precision is computed in float32, where squares do not overflow.
        """
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        mean_square = precise.square().mean(dim=-1, keepdim=True)
        return (self.gain * precise * torch.rsqrt(mean_square + self.eps)).to(x.dtype)
