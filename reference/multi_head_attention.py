"""Multi-head attention (Vaswani et al. 2017, section 3.2.2)."""

from jaxtyping import Float
from torch import Tensor, nn

from reference.attention import attention, attention_with_weights
from reference.masks import Mask
from reference.validation import require_at_least, require_probability


class MultiHeadAttention(nn.Module):
    """`Concat(head_1, ..., head_H) W^O` with `head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)` and `d = D / H`.

    The H projections of each kind lie side by side in one `nn.Linear`. Self-attention is `module(x, x, x)`,
    cross-attention `module(x, memory, memory)`. The paper's projections have no bias: `bias=False`.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, bias: bool = True) -> None:
        """`ValueError` if `heads` does not divide `width` or `dropout` is no probability."""
        super().__init__()
        require_at_least(1, width=width, heads=heads)
        require_probability(dropout=dropout)
        if width % heads:
            raise ValueError(f"width {width} cannot be split into {heads} heads: heads must divide width")
        self.width = width
        self.heads = heads
        self.dropout = dropout
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
        heads = attention(*self._project(query, key, value), mask, dropout=self._active_dropout)
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
        heads, weights = attention_with_weights(*self._project(query, key, value), mask, dropout=self._active_dropout)
        return self.output(self._merge(heads)), weights

    @property
    def _active_dropout(self) -> float:
        return self.dropout if self.training else 0.0

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value))

    def _split(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B H T d"]:
        batch, length, width = x.shape
        return x.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def _merge(self, x: Float[Tensor, "B H T d"]) -> Float[Tensor, "B T D"]:
        return x.transpose(1, 2).flatten(-2)
