"""Multi-head attention (Vaswani et al. 2017, section 3.2.2)."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from reference.attention import attention, attention_with_weights
from reference.masks import Mask
from reference.validation import require_at_least, require_probability, require_sequences


class MultiHeadAttention(nn.Module):
    """`Concat(head_1, ..., head_H) W^O` with `head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)` and `d = D / H`.

    The H projections of each kind lie side by side in one `nn.Linear`. Self-attention is `module(x, x, x)`,
    cross-attention `module(x, memory, memory)`. The paper's projections have no bias: `bias=False`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        position: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor | None]] | None = None,
    ) -> None:
        """`ValueError` if `heads` does not divide `width` or `dropout` is no probability.

        `position` is how relative positions enter: it maps queries `(B, H, T, d)` and keys `(B, H, S, d)`, the queries
        being the last T of the S positions, to both and a bias of the scores, or None. See `reference.positions`.
        """
        super().__init__()
        require_at_least(1, width=width, heads=heads)
        require_probability(dropout=dropout)
        if width % heads:
            raise ValueError(f"width {width} cannot be split into {heads} heads: heads must divide width")
        self.width = width
        self.heads = heads
        self.dropout = dropout
        self.position = position
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)

    def forward(
        self,
        query: Float[Tensor, "B T D"],
        key: Float[Tensor, "B S D"],
        value: Float[Tensor, "B S D"],
        mask: Mask | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Attend with the fused kernel.

        `mask` is boolean, True = may attend, of rank 2 `(T, S)` or of rank 4, broadcasting to `(B, H, T, S)`;
        `ValueError` for any other.
        """
        return self.attend(query, *self.project(key, value), mask)

    def project(
        self, key: Float[Tensor, "B S D"], value: Float[Tensor, "B S D"]
    ) -> tuple[Float[Tensor, "B H S d"], Float[Tensor, "B H S d"]]:
        """Make the keys and values of all heads; a decoder keeps them from step to step."""
        require_sequences(self.width, key=key, value=value)
        return self._split(self.key(key)), self._split(self.value(value))

    def attend(
        self,
        query: Float[Tensor, "B T D"],
        keys: Float[Tensor, "B H S d"],
        values: Float[Tensor, "B H S d"],
        mask: Mask | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Attend what `project` has made, of this call or of earlier ones."""
        queries, keys, bias = self._placed(query, keys)
        heads = attention(queries, keys, values, mask, bias=bias, dropout=self._active_dropout)
        output: Tensor = self.output(self._merge(heads))
        return output

    def with_weights(
        self,
        query: Float[Tensor, "B T D"],
        key: Float[Tensor, "B S D"],
        value: Float[Tensor, "B S D"],
        mask: Mask | None = None,
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B H T S"]]:
        """Attend as `forward` does, and return the weights of each head as well (before dropout)."""
        keys, values = self.project(key, value)
        queries, keys, bias = self._placed(query, keys)
        heads, weights = attention_with_weights(queries, keys, values, mask, bias=bias, dropout=self._active_dropout)
        return self.output(self._merge(heads)), weights

    @property
    def _active_dropout(self) -> float:
        return self.dropout if self.training else 0.0

    def _placed(self, query: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        require_sequences(self.width, query=query)
        queries = self._split(self.query(query))
        return (queries, keys, None) if self.position is None else self.position(queries, keys)

    def _split(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B H T d"]:
        batch, length, width = x.shape
        return x.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def _merge(self, x: Float[Tensor, "B H T d"]) -> Float[Tensor, "B T D"]:
        return x.transpose(1, 2).flatten(-2)
