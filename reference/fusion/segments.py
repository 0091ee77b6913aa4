"""Several sequences in one: who belongs to which (Devlin et al. 2019, section 3)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reference.validation import require_at_least


class SegmentEmbedding(nn.Module):
    """`x_s + E[segment_s]`: a learned vector tells every token which sequence it comes from."""

    def __init__(self, segments: int, width: int) -> None:
        """`ValueError` for a number of segments or a width below 1."""
        super().__init__()
        require_at_least(1, segments=segments, width=width)
        self.weight = nn.Parameter(torch.empty(segments, width))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Float[Tensor, "B S D"], segments: Int[Tensor, "#B S"]) -> Float[Tensor, "B S D"]:
        """Add the vector of each token's segment; one that does not exist raises `IndexError`."""
        return x + nn.functional.embedding(segments, self.weight)


def segment_mask(segments: Int[Tensor, "B S"]) -> Bool[Tensor, "B 1 S S"]:
    """Let each token attend its own segment alone: `mask[b, 0, t, s] = (segments[b, t] == segments[b, s])`.

    Sequences packed side by side are then encoded as if each were alone, given that their positions start anew.
    Without this mask they attend each other, as the two sentences of BERT do.
    """
    return (segments[:, :, None] == segments[:, None, :])[:, None]
