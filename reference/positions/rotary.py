"""Rotary position embedding (Su et al. 2021, "RoFormer", sections 3.2.2 and 3.4.2)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.validation import require_at_least


def rotary_table(length: int, width: int, base: float = 10000.0) -> Float[Tensor, "2 T p"]:
    """Make cosine and sine of `m base^(-2i/d)` for positions m < `length` and pairs i < d/2, in float64 (equation 15).

    `ValueError` for a negative length, an odd width, and a base below 1.
    """
    require_at_least(0, length=length)
    require_at_least(2, width=width)
    require_at_least(1, base=base)
    if width % 2:
        raise ValueError(f"width must be even, because features are turned in pairs, got {width}")
    frequency = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(length)[:, None] * frequency
    return torch.stack((angle.cos(), angle.sin()))


def rotate_interleaved(x: Float[Tensor, "*B T d"], table: Float[Tensor, "2 T p"]) -> Float[Tensor, "*B T d"]:
    """Turn the pairs of features (0, 1), (2, 3), ... as in equation 34, RoFormer and GPT-J."""
    turned = turned_pairs(x[..., 0::2], x[..., 1::2], table)
    return torch.stack(turned, dim=-1).flatten(-2).to(x.dtype)


def rotate_half_split(x: Float[Tensor, "*B T d"], table: Float[Tensor, "2 T p"]) -> Float[Tensor, "*B T d"]:
    """Turn the pairs of features (0, d/2), (1, d/2 + 1), ... as GPT-NeoX and Hugging Face's Llama do."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat(turned_pairs(first, second, table), dim=-1).to(x.dtype)


def turned_pairs(
    first: Float[Tensor, "*B T p"], second: Float[Tensor, "*B T p"], table: Float[Tensor, "2 T p"]
) -> tuple[Float[Tensor, "*B T p"], Float[Tensor, "*B T p"]]:
    """Turn the points (first, second) by the angles of the table, in the more precise of the two types."""
    cosine, sine = table
    return first * cosine - second * sine, first * sine + second * cosine


class RotaryEmbedding(nn.Module):
    """Turns queries and keys by angles that grow with their positions: a `position` of `MultiHeadAttention`.

    Pair i of a vector at position m turns by `m base^(-2i/d)`. So the score of a query at m and a key at n depends on
    `n - m` alone, no vector changes its length, and values stay as they are. The two layouts are equal up to the order
    of the features, but weights that were trained with one do not fit the other.

    A cache holds keys that are not turned yet, and every call turns all of them: for one query that is about as much
    work as its attention. Half precision is turned in float32 and rounded once. The table grows as that of
    `PositionalEncoding`, and is no buffer for the same reason.
    """

    def __init__(self, width: int, *, interleaved: bool = True, base: float = 10000.0, length: int = 512) -> None:
        """`width` is that of a head, `length` that of the first table. Errors as in `rotary_table`."""
        super().__init__()
        self.width = width
        self.base = base
        self.rotate = rotate_interleaved if interleaved else rotate_half_split
        self.table = rotary_table(length, width, base).to(torch.get_default_dtype())

    def forward(
        self, queries: Float[Tensor, "B H T d"], keys: Float[Tensor, "B H S d"]
    ) -> tuple[Float[Tensor, "B H T d"], Float[Tensor, "B H S d"], None]:
        """Turn the keys as positions 0..S-1 and the queries as the last T of them; there is no bias.

        `ValueError` for more queries than keys and for vectors of another width.
        """
        targets, sources, width = queries.shape[-2], *keys.shape[-2:]
        if targets > sources:
            raise ValueError(f"the queries must be the last of the keys, got {targets} queries and {sources} keys")
        if width != self.width:
            raise ValueError(f"width of a head must be {self.width}, got {width}")
        table = self._table_for(keys)
        return self.rotate(queries, table[:, sources - targets :]), self.rotate(keys, table), None

    def _table_for(self, keys: Float[Tensor, "B H S d"]) -> Float[Tensor, "2 S p"]:
        length, rows = keys.shape[-2], self.table.shape[1]
        precise = torch.promote_types(keys.dtype, torch.float32)
        if length > rows or self.table.dtype != precise or self.table.device != keys.device:
            rows = rows if length <= rows else max(length, 2 * rows)
            self.table = rotary_table(rows, self.width, self.base).to(keys.device, precise)
        return self.table[:, :length]
