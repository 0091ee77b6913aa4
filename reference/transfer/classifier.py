"""A classifier on a pretrained encoder: its states, pooled over the real tokens, and a new head."""

from collections.abc import Callable

from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from reference.dropout import Dropout
from reference.masks import Mask
from reference.pooling import mean_of_real
from reference.transformer import Transformer
from reference.validation import require_at_least


class PooledClassifier(nn.Module):
    """`dropout(pool(encoder(source))) W + b`, where padding takes no part: the encoder masks it, the pool skips it.

    `pool` is `mean_of_real`, `first_real`, or any other function of the states `(B, S, D)` and of `real`, `(B, S)`.
    Fine-tune the head alone on a `Frozen(encoder)`, or all of it at a small learning rate.
    """

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        classes: int,
        *,
        pool: Callable[[Tensor, Tensor], Tensor] = mean_of_real,
        dropout: float = 0.0,
    ) -> None:
        """`encoder(source, mask)` answers `(B, S, width)`, such as `SourceEncoder`.

        `ValueError` for sizes below 1 and for a dropout that is no probability.
        """
        super().__init__()
        require_at_least(1, width=width, classes=classes)
        self.encoder = encoder
        self.pool = pool
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, source: Shaped[Tensor, "B S *D"], real: Bool[Tensor, "B S"]) -> Float[Tensor, "B C"]:
        """Score the classes of each sequence; `real` is False at padding."""
        states = self.encoder(source, real[:, None, None, :])
        logits: Tensor = self.head(self.dropout(self.pool(states, real)))
        return logits


class SourceEncoder(nn.Module):
    """The encoder's half of a Transformer, with its embedding: ids to states. It shares the weights."""

    def __init__(self, transformer: Transformer) -> None:
        super().__init__()
        self.source_embedding = transformer.source_embedding
        self.positional_encoding = transformer.positional_encoding
        self.encoder = transformer.encoder

    def forward(self, source: Int[Tensor, "B S"], mask: Mask) -> Float[Tensor, "B S D"]:
        """Encode as `Transformer.encode` does."""
        states: Tensor = self.encoder(self.positional_encoding(self.source_embedding(source)), mask)
        return states
