"""Relative positions: a vector for each pair (query t, key s), which depends on the offset `s - t` alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from reference.positional_encoding import sinusoids_at
from reference.validation import require_at_least


def relative_sinusoids(length: int, width: int, *, dtype: torch.dtype | None = None) -> Float[Tensor, "T T D"]:
    """Encode the offset of every pair: `table[t, s] = PE(s - t)`, so the table is Toeplitz and its diagonal is `PE(0)`.

    Such vectors belong to the keys inside attention, `score[t, s] = q_t . (k_s + table[t, s]) / sqrt(d)` (Shaw et al.
    2018, equation 4, where they are learned), not to the words: a pair has an offset, a word has none. So `width` is
    the width of a head. `ValueError` for a negative length or a width below 1.
    """
    require_at_least(0, length=length)
    position = torch.arange(length)
    offset = position[None, :] - position[:, None]
    return sinusoids_at(offset, width).to(dtype or torch.get_default_dtype())
