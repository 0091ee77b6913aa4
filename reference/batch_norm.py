"""Batch normalisation over sequences (Ioffe and Szegedy 2015, algorithms 1 and 2)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.masks import Mask, require_boolean
from reference.validation import require_at_least, require_probability


class BatchNorm(nn.Module):
    """`gain * (x - mean) / sqrt(variance + eps) + bias`, over all positions of the batch for each feature alone.

    Training normalises with the biased variance of the batch and moves the running statistics towards it by `momentum`,
    the variance unbiased, `n / (n - 1)`; evaluation uses the running statistics.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, width: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        """`ValueError` for a width below 1, a negative `eps`, or a `momentum` outside [0, 1]."""
        super().__init__()
        require_at_least(1, width=width)
        require_at_least(0, eps=eps)
        require_probability(momentum=momentum)
        self.eps = eps
        self.momentum = momentum
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_variance", torch.ones(width))

    def forward(self, x: Float[Tensor, "*N D"], mask: Mask | None = None) -> Float[Tensor, "*N D"]:
        """Normalise `(B, T, D)` or `(N, D)`.

        `mask`, of shape `(B, T)` or `(N,)`, is True at positions that count and False at padding. `ValueError` for
        another shape or dtype, and in training for fewer than two positions.
        """
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.training:
            mean, variance = self._observe(precise, mask)
        else:
            mean, variance = self.running_mean, self.running_variance
        return (self.gain * (precise - mean) / torch.sqrt(variance + self.eps) + self.bias).to(x.dtype)

    def _observe(self, x: Float[Tensor, "*N D"], mask: Mask | None) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        if mask is None:
            mask = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
        require_boolean(mask)
        if mask.shape != x.shape[:-1]:
            raise ValueError(f"a mask of shape {tuple(mask.shape)} does not name the positions of x {tuple(x.shape)}")
        if mask.numel() < 2:
            raise ValueError(f"training needs two positions or more for a variance, got x of shape {tuple(x.shape)}")
        padding = ~mask.flatten().unsqueeze(-1)
        positions = x.flatten(0, -2)
        count = mask.sum()
        mean = positions.masked_fill(padding, 0.0).sum(dim=0) / count.clamp(min=1)
        variance = (positions - mean).masked_fill(padding, 0.0).square().sum(dim=0) / count.clamp(min=1)
        with torch.no_grad():
            # A tensor, not an `if`: with fewer than two positions that count, the running statistics stay as they are.
            step = self.momentum * (count > 1).to(mean.dtype)
            self.running_mean += step * (mean - self.running_mean)
            self.running_variance += step * (variance * count / (count - 1).clamp(min=1) - self.running_variance)
        return mean, variance
