"""Positions beyond the sinusoids: learned ones for the words, relative ones for the attention.

They are what questions 2, 7, 18 and 20 of the first document name, which adds relative positions to the words as well.

A word has a position, so an absolute encoding is added to its vector: `LearnedPositionalEncoding`, beside the
sinusoids of `PositionalEncoding`. A pair of words has an offset, so a relative encoding is part of their score, and
enters `MultiHeadAttention` as its `position`:

| scheme | what it does with the offset `s - t` | learned |
|---|---|---|
| `RelativeKeys`, `RelativeMultiHeadAttention` (Shaw et al. 2018) | adds a vector to the key, and to the value | yes |
| `RelativeBias` (T5) | adds a number to the score, one for each head and bucket of offsets | yes |
| `RotaryEmbedding` (Su et al. 2021) | turns query and key, whose product keeps the offset alone | no |
| `AlibiBias` (Press et al. 2022) | subtracts the distance, times a slope for each head | no |

Absolute and relative positions mix by plain composition: add `PositionalEncoding` to the words, and give the attention
a `position`. Shaw et al. report that the mixture "yields no further improvement in translation quality".
"""

from reference.positions.alibi import AlibiBias, alibi_slopes
from reference.positions.learned import LearnedPositionalEncoding
from reference.positions.offsets import key_offsets
from reference.positions.relative import (
    RelativeKeys,
    RelativeMultiHeadAttention,
    clipped_rows,
    fast_relative_key_term,
    fast_relative_value_term,
    relative_key_term,
    relative_value_term,
)
from reference.positions.rotary import RotaryEmbedding, rotary_table, rotate_half_split, rotate_interleaved
from reference.positions.t5_bias import RelativeBias, relative_bucket

__all__ = [
    "AlibiBias",
    "LearnedPositionalEncoding",
    "RelativeBias",
    "RelativeKeys",
    "RelativeMultiHeadAttention",
    "RotaryEmbedding",
    "alibi_slopes",
    "clipped_rows",
    "fast_relative_key_term",
    "fast_relative_value_term",
    "key_offsets",
    "relative_bucket",
    "relative_key_term",
    "relative_value_term",
    "rotary_table",
    "rotate_half_split",
    "rotate_interleaved",
]
