"""A decoder-only language model (Radford et al. 2018, section 3.1): a causal stack of self-attention alone."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reference.cache import GrowingTensor, KeyValueCache
from reference.embedding import tied_linear
from reference.encoder import Encoder, EncoderLayer
from reference.feed_forward import FeedForward
from reference.masks import Mask, causal_mask, combine_masks, padding_mask_from_ids, require_mask
from reference.multi_head_attention import MultiHeadAttention
from reference.text_embedding import TextEmbedding
from reference.training.loss import sequence_cross_entropy
from reference.validation import require_at_least


@dataclass
class TextState:
    """What a language model keeps from step to step: the caches of its layers, and which positions are real."""

    layers: list[KeyValueCache]
    real: GrowingTensor = field(default_factory=lambda: GrowingTensor(axis=1))

    @property
    def length(self) -> int:
        """T, the number of positions so far."""
        return self.real.length

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Go on with these sequences of the batch."""
        self.real.select(rows)
        for layer in self.layers:
            layer.select(rows)


class LanguageModel(nn.Module):
    """Ids to logits: position t of the output scores the id at t + 1.

    A decoder layer without a memory to attend is an `EncoderLayer` under a causal mask. Padding may stand at either
    end: positions count the real tokens. `tied` makes the token embedding the output projection, `pre_norm` moves the
    norms, see `ResidualSublayer`. Each layer is initialised on its own.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        width: int = 768,
        heads: int = 12,
        inner_width: int = 3072,
        layers: int = 12,
        dropout: float = 0.1,
        pre_norm: bool = False,
        tied: bool = True,
        padding_id: int = 0,
    ) -> None:
        """`ValueError` for sizes below 1 and heads that do not divide the width."""
        super().__init__()
        require_at_least(1, layers=layers)

        def layer() -> EncoderLayer:
            parts = MultiHeadAttention(width, heads), FeedForward(width, inner_width, activation=nn.GELU())
            return EncoderLayer(*parts, dropout=dropout, pre_norm=pre_norm)

        self.padding_id = padding_id
        self.embedding = TextEmbedding(vocabulary, width, dropout)
        self.decoder = Encoder(layer() for _ in range(layers))
        self.output = tied_linear(self.embedding.token) if tied else nn.Linear(width, vocabulary)

    def forward(self, ids: Int[Tensor, "B T"], mask: Mask | None = None) -> Float[Tensor, "B T V"]:
        """Score the next id at every position, all positions at once.

        `mask` is a padding mask `(B, 1, 1, T)`, by default made from `padding_id`. The causal mask is always added.
        """
        real = self._real(ids, mask)
        attended = combine_masks(causal_mask(ids.shape[1], device=ids.device), real[:, None, None])
        logits: Tensor = self.output(self.decoder(self.embedding(ids, real), attended))
        return logits

    def loss(
        self, ids: Int[Tensor, "B T"], labels: Int[Tensor, "B T"], mask: Mask | None = None, *, ignored: int = -100
    ) -> Float[Tensor, ""]:
        """Average `-log p(label)` over the labels other than `ignored`, in nats; label t is what follows id t."""
        return sequence_cross_entropy(self(ids, mask), labels, padding_id=ignored)

    def start(self) -> TextState:
        """Make the empty caches of all layers for `step`."""
        return TextState([KeyValueCache() for _ in self.decoder.layers])

    def step(self, ids: Int[Tensor, "B T"], state: TextState, mask: Mask | None = None) -> Float[Tensor, "B T V"]:
        """Score the next id at T further positions, one or many: as `forward` does, but computing these alone.

        `state` comes from `start` and goes on with each step. `mask` is that of these positions.
        """
        start = state.length
        seen = state.real.append(self._real(ids, mask))
        position = torch.arange(seen.shape[1], device=ids.device)
        attended = combine_masks(position <= position[start:, None], seen[:, None, None])
        logits: Tensor = self.output(self.decoder.step(self.embedding(ids, seen), state.layers, attended))
        return logits

    def _real(self, ids: Int[Tensor, "B T"], mask: Mask | None) -> Bool[Tensor, "B T"]:
        if mask is None:
            mask = padding_mask_from_ids(ids, self.padding_id)
        batch, length = ids.shape
        require_mask(mask, (batch, 1, 1, length))
        return mask.expand(batch, 1, 1, length)[:, 0, 0]
