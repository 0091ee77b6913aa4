"""Sinusoidal positional encoding (Vaswani et al. 2017, section 3.5)."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from reference.dropout import Dropout
from reference.validation import require_at_least, require_sequences


def sinusoids_at(positions: Shaped[Tensor, "*P"], width: int) -> Float[Tensor, "*P D"]:
    """Encode any positions, also negative ones, in float64.

    `PE(pos, 2i) = sin(pos / 10000^(2i/D))`, `PE(pos, 2i+1) = cos(pos / 10000^(2i/D))`. An odd width ends with a sine.
    """
    require_at_least(1, width=width)
    even = torch.arange(0, width, 2, dtype=torch.float64, device=positions.device)
    angle = positions.to(torch.float64).unsqueeze(-1) / 10000.0 ** (even / width)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)[..., :width]


def sinusoids(length: int, width: int, *, dtype: torch.dtype | None = None) -> Float[Tensor, "T D"]:
    """Encode the positions 0..length-1 in `dtype`, by default the default dtype.

    Built in float64 and cast once: in float32 the angles of position 5000 are off by 4e-4 already.
    """
    require_at_least(0, length=length)
    return sinusoids_at(torch.arange(length), width).to(dtype or torch.get_default_dtype())


class PositionalEncoding(nn.Module):
    """`dropout(x + PE)`: adds row t of the table to position t of every sequence.

    The table is a cache, not a weight. It is no buffer either, since `module.double()` would widen rows that were
    rounded before. A longer sequence makes it grow, twofold at least, so that a sequence which grows by one seldom
    rebuilds it.
    """

    def __init__(self, width: int, dropout: float = 0.0, *, length: int = 512) -> None:
        """`length` is that of the first table. `ValueError` for a width below 1 or a dropout that is no probability."""
        super().__init__()
        self.width = width
        self.dropout = Dropout(dropout)
        self.table = sinusoids(length, width)

    def forward(self, x: Float[Tensor, "B T D"], start: int = 0) -> Float[Tensor, "B T D"]:
        """Add T rows, from row `start` on: a decoder that goes on after `start` positions.

        `ValueError` for a start below 0, and for another shape.
        """
        require_at_least(0, start=start)
        require_sequences(self.width, x=x)
        end, rows = start + x.shape[1], self.table.shape[0]
        fits = end <= rows
        if not fits or x.dtype != self.table.dtype or x.device != self.table.device:
            rows = rows if fits else max(end, 2 * rows)
            self.table = sinusoids(rows, self.width, dtype=x.dtype).to(x.device)
        output: Tensor = self.dropout(x + self.table[start:end])
        return output
