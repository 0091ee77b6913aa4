"""Learned absolute positions (Gehring et al. 2017, section 3.1; Vaswani et al. 2017, section 3.5; BERT)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.dropout import Dropout
from reference.validation import require_at_least, require_sequences


class LearnedPositionalEncoding(nn.Module):
    """`dropout(x + P)`: adds row t of a learned table to position t of every sequence.

    A table knows no position beyond its last row, where sinusoids go on for ever; Vaswani et al. found no other
    difference. It starts small, normal with deviation 0.02, as in BERT.
    """

    def __init__(self, width: int, dropout: float = 0.0, *, length: int = 512) -> None:
        """`ValueError` for a width or a length below 1 and for a dropout that is no probability."""
        super().__init__()
        require_at_least(1, width=width, length=length)
        self.dropout = Dropout(dropout)
        self.table = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.table, std=0.02)

    def forward(self, x: Float[Tensor, "B T D"], start: int = 0) -> Float[Tensor, "B T D"]:
        """Add rows start..start+T-1, where `start` positions were handled before.

        `ValueError` for a negative start and for a sequence that ends beyond the table.
        """
        require_at_least(0, start=start)
        require_sequences(self.table.shape[1], x=x)
        end, rows = start + x.shape[1], self.table.shape[0]
        if end > rows:
            raise ValueError(f"a sequence of length {end} goes beyond the learned table, which has length {rows}")
        output: Tensor = self.dropout(x + self.table[start:end])
        return output
