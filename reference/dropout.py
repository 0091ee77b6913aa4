"""Inverted dropout (Srivastava et al. 2014; Vaswani et al. 2017, section 5.4)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.validation import require_probability


def dropout(x: Float[Tensor, "..."], probability: float) -> Float[Tensor, "..."]:
    """Zero each element with `probability` and divide the others by `1 - probability`, so that the mean stays.

    `y = x * kept / (1 - probability)` with `kept ~ Bernoulli(1 - probability)`. At probability 1 all is 0.
    `ValueError` for a probability outside [0, 1].
    """
    require_probability(dropout=probability)
    if probability == 0:
        return x
    keep = 1 - probability
    kept = torch.empty_like(x, dtype=torch.bool).bernoulli_(keep)
    return x.masked_fill(~kept, 0.0) * (1 / keep if keep else 0.0)


class Dropout(nn.Module):
    """Dropout in training, the identity in evaluation: the scale belongs to training, so evaluation needs none."""

    def __init__(self, probability: float) -> None:
        """`ValueError` for a probability outside [0, 1]."""
        super().__init__()
        require_probability(dropout=probability)
        self.probability = probability

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Any shape to the same shape."""
        return dropout(x, self.probability) if self.training else x

    def extra_repr(self) -> str:
        """Show the probability in `repr`."""
        return f"probability={self.probability}"
