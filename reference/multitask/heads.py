"""Heads of tasks: one answer for each token, or one for the whole sequence."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from reference.masks import Mask, require_boolean
from reference.pooling import mean_of_real
from reference.validation import require_at_least


def mean_pool(x: Float[Tensor, "B S D"], mask: Mask | None = None) -> Float[Tensor, "B D"]:
    """Average the vectors of the real tokens, those where the `padding_mask` is True; without any, 0.

    `ValueError` for a mask that is not boolean, or not of shape `(B, 1, 1, S)`: one that differs between queries does
    not say which tokens are real.
    """
    if mask is None:
        return x.mean(dim=1)
    require_boolean(mask)
    expected = (x.shape[0], 1, 1, x.shape[1])
    if mask.shape != expected:
        raise ValueError(f"mask must be a padding mask of shape {expected}, got {tuple(mask.shape)}")
    return mean_of_real(x, mask[:, 0, 0])


class TokenHead(nn.Module):
    """`y_s = encoding_s W + b` at every token, e.g. the logits of its tag."""

    def __init__(self, width: int, outputs: int) -> None:
        """`ValueError` for a width or a number of outputs below 1."""
        super().__init__()
        require_at_least(1, width=width, outputs=outputs)
        self.projection = nn.Linear(width, outputs)

    def forward(
        self, encoding: Float[Tensor, "B S D"], mask: Bool[Tensor, "B 1 1 S"] | None = None
    ) -> Float[Tensor, "B S outputs"]:
        """Answer at padding too, which the loss leaves out: `mask` is there because every head is called with one."""
        output: Tensor = self.projection(encoding)
        return output


class SequenceHead(nn.Module):
    """`y = mean_pool(encoding) W + b`, once for each sequence, e.g. the logits of its topic."""

    def __init__(self, width: int, outputs: int) -> None:
        """`ValueError` for a width or a number of outputs below 1."""
        super().__init__()
        require_at_least(1, width=width, outputs=outputs)
        self.projection = nn.Linear(width, outputs)

    def forward(
        self, encoding: Float[Tensor, "B S D"], mask: Bool[Tensor, "B 1 1 S"] | None = None
    ) -> Float[Tensor, "B outputs"]:
        """Padding takes no part."""
        output: Tensor = self.projection(mean_pool(encoding, mask))
        return output
