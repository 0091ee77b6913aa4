"""Position-wise feed-forward network (Vaswani et al. 2017, section 3.3, equation 2)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.validation import require_at_least


class FeedForward(nn.Module):
    """`FFN(x) = max(0, x W_1 + b_1) W_2 + b_2`, to each position separately: one activation, between the two maps."""

    def __init__(self, width: int, inner_width: int, *, activation: Callable[[Tensor], Tensor] = torch.relu_) -> None:
        """`activation` is a function or a module. `ValueError` for a width below 1.

        It may work in place, as the default does: nobody else needs the hidden values, the widest of the model.
        """
        super().__init__()
        require_at_least(1, width=width, inner_width=inner_width)
        self.inner = nn.Linear(width, inner_width)
        self.activation = activation
        self.outer = nn.Linear(inner_width, width)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Map the last axis to `inner_width` and back."""
        output: Tensor = self.outer(self.activation(self.inner(x)))
        return output
