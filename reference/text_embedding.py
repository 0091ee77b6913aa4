"""Tokens of padded texts as vectors (Vaswani et al. 2017, sections 3.4 and 3.5), wherever the padding stands."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reference.dropout import Dropout
from reference.embedding import TokenEmbedding
from reference.positional_encoding import sinusoids_at


class TextEmbedding(nn.Module):
    """`dropout(token + PE(position))`, where positions count the real tokens: padding at the left moves nobody."""

    def __init__(self, vocabulary: int, width: int, dropout: float = 0.0) -> None:
        """`ValueError` for sizes below 1 or a dropout that is no probability."""
        super().__init__()
        self.width = width
        self.token = TokenEmbedding(vocabulary, width)
        self.dropout = Dropout(dropout)

    def forward(self, ids: Int[Tensor, "B T"], real: Bool[Tensor, "B P"]) -> Float[Tensor, "B T D"]:
        """Embed the last T of P positions; `real` is False where one is padding."""
        x = self.token(ids)
        before = real.shape[1] - ids.shape[1]
        position = (real.cumsum(dim=1) - 1).clamp(min=0)[:, before:]  # padding on the left has no position of its own
        output: Tensor = self.dropout(x + sinusoids_at(position, self.width).to(x.dtype))
        return output
