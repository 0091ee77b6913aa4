"""Layer normalisation (Ba, Kiros and Hinton 2016, section 3, equation 3)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.validation import require_at_least


class LayerNorm(nn.Module):
    """`gain * (x - mean) / sqrt(variance + eps) + bias`, over the features of each position alone.

    The variance is biased: divided by D. `eps` stands inside the root, so a constant row gives `bias` and finite
    gradients.
    """

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        """`ValueError` for a width below 1 or a negative `eps`."""
        super().__init__()
        require_at_least(1, width=width)
        require_at_least(0, eps=eps)
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Normalise the last axis with the fused kernel."""
        return nn.functional.layer_norm(x, self.gain.shape, self.gain, self.bias, self.eps)

    def stepwise(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Normalise step by step; the eager twin of `forward`, equal to it up to rounding.

        Half precision is computed in float32, where squares do not overflow.
        """
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        centred = precise - precise.mean(dim=-1, keepdim=True)
        variance = centred.square().mean(dim=-1, keepdim=True)
        return (self.gain * centred / torch.sqrt(variance + self.eps) + self.bias).to(x.dtype)
