"""Token embeddings and their use as the output projection (Vaswani et al. 2017, section 3.4)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.masks import may_steer
from reference.validation import require_at_least


class TokenEmbedding(nn.Module):
    """`sqrt(D) * weight[id]`.

    The weights start with deviation `1 / sqrt(D)`: the scaled vectors then have the size of the positional encoding,
    and tied logits that of 1.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        """`ValueError` for a vocabulary or a width below 1."""
        super().__init__()
        require_at_least(1, vocabulary=vocabulary, width=width)
        self.weight = nn.Parameter(torch.empty(vocabulary, width))
        self.scale = math.sqrt(width)
        nn.init.normal_(self.weight, std=1 / self.scale)

    def forward(self, ids: Int[Tensor, "*B T"]) -> Float[Tensor, "*B T D"]:
        """Look up each id. `ValueError` for an id outside the vocabulary, where it can be seen: see `may_steer`."""
        vocabulary = len(self.weight)
        if may_steer(ids) and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
            raise ValueError(f"ids must lie within 0..{vocabulary - 1}, got {int(ids.min())}..{int(ids.max())}")
        return self.scale * nn.functional.embedding(ids, self.weight)


def tied_linear(embedding: TokenEmbedding) -> nn.Linear:
    """Make the projection `(..., D) -> (..., vocabulary)` that shares the weight of `embedding` and has no bias."""
    vocabulary, width = embedding.weight.shape
    linear = nn.Linear(width, vocabulary, bias=False, device="meta")  # no storage: the weight comes from the embedding
    linear.weight = embedding.weight
    return linear
