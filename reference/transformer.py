"""The full encoder-decoder model (Vaswani et al. 2017, section 3, figure 1)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.cache import DecodingState
from reference.decoder import Decoder, DecoderLayer
from reference.embedding import TokenEmbedding, tied_linear
from reference.encoder import Encoder, EncoderLayer
from reference.feed_forward import FeedForward
from reference.masks import Mask, causal_mask, combine_masks, padding_mask_from_ids
from reference.multi_head_attention import MultiHeadAttention
from reference.positional_encoding import PositionalEncoding
from reference.validation import require_at_least


class Transformer(nn.Module):
    """Source ids and target ids to logits: position t of the output scores the target id at t + 1.

    `tied` shares one matrix between both embeddings and the output projection (section 3.4). `pre_norm` moves the
    norms, see `ResidualSublayer`. Each layer is initialised on its own.
    """

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        *,
        width: int = 512,
        heads: int = 8,
        inner_width: int = 2048,
        layers: int = 6,
        dropout: float = 0.1,
        attention_bias: bool = True,
        pre_norm: bool = False,
        tied: bool = False,
        padding_id: int = 0,
    ) -> None:
        """`ValueError` for sizes below 1, heads that do not divide the width, and tied vocabularies of two sizes."""
        super().__init__()
        require_at_least(1, layers=layers)
        if tied and source_vocabulary != target_vocabulary:
            raise ValueError(f"tied needs one vocabulary, got sizes {source_vocabulary} and {target_vocabulary}")

        def attention() -> MultiHeadAttention:
            return MultiHeadAttention(width, heads, bias=attention_bias)

        def encoder_layer() -> EncoderLayer:
            return EncoderLayer(attention(), FeedForward(width, inner_width), dropout=dropout, pre_norm=pre_norm)

        def decoder_layer() -> DecoderLayer:
            parts = attention(), attention(), FeedForward(width, inner_width)
            return DecoderLayer(*parts, dropout=dropout, pre_norm=pre_norm)

        self.padding_id = padding_id
        self.source_embedding = TokenEmbedding(source_vocabulary, width)
        self.target_embedding = self.source_embedding if tied else TokenEmbedding(target_vocabulary, width)
        self.positional_encoding = PositionalEncoding(width, dropout)
        self.encoder = Encoder(encoder_layer() for _ in range(layers))
        self.decoder = Decoder(decoder_layer() for _ in range(layers))
        self.output = tied_linear(self.target_embedding) if tied else nn.Linear(width, target_vocabulary)

    @classmethod
    def base(cls, vocabulary: int, *, padding_id: int = 0) -> "Transformer":
        """Build the base model of table 3: N = 6, D = 512, H = 8, d_ff = 2048, dropout 0.1.

        One tied vocabulary (section 3.4), and projections without bias (section 3.2.2).
        """
        return cls(vocabulary, vocabulary, attention_bias=False, tied=True, padding_id=padding_id)

    def forward(
        self,
        source: Int[Tensor, "B S"],
        target: Int[Tensor, "B T"],
        source_mask: Mask | None = None,
        target_mask: Mask | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Score the next target id at every target position, all positions at once.

        The masks are padding masks `(B, 1, 1, S)` and `(B, 1, 1, T)`, by default made from `padding_id`; if lengths are
        known, give `padding_mask(lengths, S)`. The causal mask is always added.
        """
        if source_mask is None:
            source_mask = padding_mask_from_ids(source, self.padding_id)
        memory = self.encode(source, source_mask, skip_padding=True)  # the same mask hides what is left out
        return self.decode(target, memory, source_mask, target_mask)

    def encode(
        self, source: Int[Tensor, "B S"], source_mask: Mask, *, skip_padding: bool = False
    ) -> Float[Tensor, "B S D"]:
        """Turn source ids into the memory; `skip_padding` saves work at positions that nobody will attend."""
        x = self.positional_encoding(self.source_embedding(source))
        memory: Tensor = self.encoder(x, source_mask, skip_padding=skip_padding)
        return memory

    def decode(
        self,
        target: Int[Tensor, "B T"],
        memory: Float[Tensor, "B S D"],
        source_mask: Mask,
        target_mask: Mask | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Turn target ids and the memory into logits."""
        if target_mask is None:
            target_mask = padding_mask_from_ids(target, self.padding_id)
        mask = combine_masks(causal_mask(target.shape[1], device=target.device), target_mask)
        x = self.positional_encoding(self.target_embedding(target))
        logits: Tensor = self.output(self.decoder(x, memory, mask, source_mask))
        return logits

    def start(self, source: Int[Tensor, "B S"], source_mask: Mask | None = None) -> DecodingState:
        """Encode the source, and project its keys and values for all layers: once for all steps. Masks as above."""
        mask = padding_mask_from_ids(source, self.padding_id) if source_mask is None else source_mask
        caches = self.decoder.start(self.encode(source, mask))
        return DecodingState(caches, mask.expand(len(source), -1, -1, -1))

    def step(
        self, target: Int[Tensor, "B T"], state: DecodingState, target_mask: Mask | None = None
    ) -> Float[Tensor, "B T V"]:
        """Score the next id at T further positions, one or many: as `forward` does, but computing these alone.

        `state` comes from `start` and goes on with each step. `target_mask` is that of these positions.
        """
        if target_mask is None:
            target_mask = padding_mask_from_ids(target, self.padding_id)
        start = state.length
        seen = state.target_mask.append(target_mask)
        position = torch.arange(seen.shape[-1], device=target.device)
        mask = combine_masks(position <= position[start:, None], seen)
        x = self.positional_encoding(self.target_embedding(target), start)
        logits: Tensor = self.output(self.decoder.step(x, state.layers, mask, state.source_mask))
        return logits
