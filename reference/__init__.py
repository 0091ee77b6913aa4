"""The Transformer of "Attention Is All You Need" (Vaswani et al. 2017), correct and small enough to copy.

Axes, the same letters everywhere:

| letter | axis |
|---|---|
| `B` | batch |
| `T` | target positions: those that ask (queries) |
| `S` | source positions: those that are asked (keys, values) |
| `H` | heads |
| `D` | model width |
| `d` | head width, `D / H` |
| `v` | value width, where it may differ from `d` |

Masks are boolean and True means "may attend". They broadcast to the scores `(B, H, T, S)`; a mask has rank 2, `(T, S)`,
or the rank of the scores. A query that may attend no key receives exactly 0 and passes back exactly 0.

Annotations bind shapes. Bad sizes, dtypes of masks and probabilities raise `ValueError`.
"""

from reference.attention import attention, attention_with_weights, masked_softmax
from reference.batch_norm import BatchNorm
from reference.decoder import Decoder, DecoderLayer
from reference.dropout import Dropout, dropout, fast_dropout
from reference.embedding import TokenEmbedding, tied_linear
from reference.encoder import Encoder, EncoderLayer
from reference.feed_forward import FeedForward
from reference.language_model import LanguageModel
from reference.layer_norm import LayerNorm
from reference.masks import (
    Mask,
    causal_mask,
    combine_masks,
    hard_mask,
    padding_mask,
    padding_mask_from_ids,
    soft_mask,
)
from reference.multi_head_attention import MultiHeadAttention
from reference.positional_encoding import PositionalEncoding, sinusoids, sinusoids_at
from reference.relative_position import relative_sinusoids
from reference.residual import ResidualSublayer
from reference.rms_norm import RMSNorm
from reference.schedule import cosine_with_restarts, exponential, inverse_time, noam
from reference.text_embedding import TextEmbedding
from reference.transformer import Transformer

__all__ = [
    "BatchNorm",
    "Decoder",
    "DecoderLayer",
    "Dropout",
    "Encoder",
    "EncoderLayer",
    "FeedForward",
    "LanguageModel",
    "LayerNorm",
    "Mask",
    "MultiHeadAttention",
    "PositionalEncoding",
    "RMSNorm",
    "ResidualSublayer",
    "TextEmbedding",
    "TokenEmbedding",
    "Transformer",
    "attention",
    "attention_with_weights",
    "causal_mask",
    "combine_masks",
    "cosine_with_restarts",
    "dropout",
    "exponential",
    "fast_dropout",
    "hard_mask",
    "inverse_time",
    "masked_softmax",
    "noam",
    "padding_mask",
    "padding_mask_from_ids",
    "relative_sinusoids",
    "sinusoids",
    "sinusoids_at",
    "soft_mask",
    "tied_linear",
]
