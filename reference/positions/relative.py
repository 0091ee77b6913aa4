"""Relative positions in the attention (Shaw et al. 2018, "Self-Attention with Relative Position Representations").

For each offset `s - t`, clipped at a distance k, there is a learned vector `a^K` that is added to the key s when the
query t asks, and one `a^V` that is added to its value (equations 3 and 4). A pair has an offset, a word has none: that
is why neither can be added to the word vectors. All heads share the two tables of 2k + 1 rows.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.attention import attention_scores, masked_softmax
from reference.dropout import dropout as drop
from reference.masks import Mask
from reference.multi_head_attention import MultiHeadAttention
from reference.positions.offsets import key_offsets
from reference.validation import require_at_least


def clipped_rows(
    targets: int, sources: int, distance: int, *, device: torch.device | None = None
) -> Int[Tensor, "T S"]:
    """Find the row of each pair in a table of `2 distance + 1` rows: `clip(s - t, distance) + distance`."""
    return key_offsets(targets, sources, device=device).clamp(-distance, distance) + distance


def relative_key_term(
    queries: Float[Tensor, "B H T d"], table: Float[Tensor, "R d"], rows: Int[Tensor, "T S"]
) -> Float[Tensor, "B H T S"]:
    """Compute `q_t . a^K_ts`, the second term of equation 5. Its `a^K` holds T S d numbers."""
    return torch.einsum("bhtd,tsd->bhts", queries, table[rows])


def fast_relative_key_term(
    queries: Float[Tensor, "B H T d"], table: Float[Tensor, "R d"], rows: Int[Tensor, "T S"]
) -> Float[Tensor, "B H T S"]:
    """Compute `relative_key_term` from the product with each row of the table, of which every pair picks one."""
    products = queries @ table.T
    return products.gather(-1, rows.expand(*queries.shape[:2], *rows.shape))


def relative_value_term(
    weights: Float[Tensor, "B H T S"], table: Float[Tensor, "R d"], rows: Int[Tensor, "T S"]
) -> Float[Tensor, "B H T d"]:
    """Compute `sum_s alpha_ts a^V_ts`, the second term of equation 3. Its `a^V` holds T S d numbers."""
    return torch.einsum("bhts,tsd->bhtd", weights, table[rows])


def fast_relative_value_term(
    weights: Float[Tensor, "B H T S"], table: Float[Tensor, "R d"], rows: Int[Tensor, "T S"]
) -> Float[Tensor, "B H T d"]:
    """Compute `relative_value_term` from the weight that falls on each row of the table."""
    of_rows = weights.new_zeros(*weights.shape[:3], table.shape[0])
    return of_rows.scatter_add(-1, rows.expand_as(weights), weights) @ table


class RelativeKeys(nn.Module):
    """The term of the keys alone, `q_t . a^K_ts / sqrt(d)`: a `position` of `MultiHeadAttention`.

    It is a bias, so it works on the fused path too. Shaw et al. found translations no worse than with both terms
    (section 4.3, table 3).
    """

    def __init__(self, width: int, distance: int) -> None:
        """`width` is that of a head. `ValueError` for a width below 1 or a negative distance."""
        super().__init__()
        require_at_least(1, width=width)
        require_at_least(0, distance=distance)
        self.distance = distance
        self.table = nn.Parameter(torch.empty(2 * distance + 1, width))
        nn.init.xavier_uniform_(self.table)

    def forward(
        self, queries: Float[Tensor, "B H T d"], keys: Float[Tensor, "B H S d"]
    ) -> tuple[Float[Tensor, "B H T d"], Float[Tensor, "B H S d"], Float[Tensor, "B H T S"]]:
        """Leave queries and keys, and make the bias of their scores. `ValueError` for more queries than keys."""
        rows = clipped_rows(queries.shape[-2], keys.shape[-2], self.distance, device=keys.device)
        return queries, keys, fast_relative_key_term(queries / math.sqrt(queries.shape[-1]), self.table, rows)


class RelativeMultiHeadAttention(MultiHeadAttention):
    """Self-attention with both terms of Shaw et al. 2018.

    `z_t = sum_s alpha_ts (x_s W^V + a^V_ts)` with `alpha_t = softmax_s(x_t W^Q (x_s W^K + a^K_ts)^T / sqrt(d))`. The
    second term of the values needs the weights, which a fused kernel keeps to itself; so there is one path.
    """

    position: RelativeKeys

    def __init__(self, width: int, heads: int, distance: int, *, dropout: float = 0.0, bias: bool = True) -> None:
        """`ValueError` as in `MultiHeadAttention`, and for a negative distance."""
        super().__init__(width, heads, dropout=dropout, bias=bias)
        self.distance = distance
        self.position = RelativeKeys(width // heads, distance)
        self.relative_values = nn.Parameter(torch.empty(2 * distance + 1, width // heads))
        nn.init.xavier_uniform_(self.relative_values)

    def attend(
        self,
        query: Float[Tensor, "B T D"],
        keys: Float[Tensor, "B H S d"],
        values: Float[Tensor, "B H S d"],
        mask: Mask | None = None,
    ) -> Float[Tensor, "B T D"]:
        """See `MultiHeadAttention.attend`. The queries are the last T of the S positions; `ValueError` if T > S."""
        return self._attend_with_weights(query, keys, values, mask)[0]

    def with_weights(
        self,
        query: Float[Tensor, "B T D"],
        key: Float[Tensor, "B S D"],
        value: Float[Tensor, "B S D"],
        mask: Mask | None = None,
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B H T S"]]:
        """See `MultiHeadAttention.with_weights`."""
        return self._attend_with_weights(query, *self.project(key, value), mask)

    def _attend_with_weights(
        self, query: Tensor, keys: Tensor, values: Tensor, mask: Mask | None
    ) -> tuple[Tensor, Tensor]:
        queries, keys, bias = self.position(self._split(self.query(query)), keys)
        scores = attention_scores(queries, keys, bias)
        weights = masked_softmax(scores, mask).to(values.dtype)
        kept = drop(weights, self._active_dropout)
        rows = clipped_rows(query.shape[1], keys.shape[-2], self.distance, device=keys.device)
        heads = kept @ values + fast_relative_value_term(kept, self.relative_values, rows)
        return self.output(self._merge(heads)), weights
