"""The decoder (Vaswani et al. 2017, section 3.1, figure 1 right)."""

from collections.abc import Iterable, Sequence
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from reference.cache import DecoderLayerCache
from reference.feed_forward import FeedForward
from reference.layer_norm import LayerNorm
from reference.masks import Mask
from reference.multi_head_attention import MultiHeadAttention
from reference.residual import ResidualSublayer


class DecoderLayer(nn.Module):
    """Masked self-attention, attention to the encoder's output ("memory"), and the feed-forward network."""

    def __init__(
        self,
        self_attention: MultiHeadAttention,
        cross_attention: MultiHeadAttention,
        feed_forward: FeedForward,
        *,
        dropout: float = 0.1,
        pre_norm: bool = False,
    ) -> None:
        """`ValueError` for a dropout that is no probability."""
        super().__init__()
        self.width = self_attention.width
        self.pre_norm = pre_norm
        self.self_attention = self_attention
        self.cross_attention = cross_attention
        self.feed_forward = feed_forward
        self.around_self_attention = ResidualSublayer(self.width, dropout, pre_norm=pre_norm)
        self.around_cross_attention = ResidualSublayer(self.width, dropout, pre_norm=pre_norm)
        self.around_feed_forward = ResidualSublayer(self.width, dropout, pre_norm=pre_norm)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B S D"],
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Attend the target, then the memory.

        `mask` is that of self-attention, `(T, T)` or `(B, H, T, T)`: causal, where the model shall predict.
        `memory_mask` is `(T, S)` or `(B, H, T, S)`. The memory goes in as it is: only x passes through the norms of
        this layer.
        """
        x = self.around_self_attention(x, lambda y: self.self_attention(y, y, y, mask))
        x = self.around_cross_attention(x, lambda y: self.cross_attention(y, memory, memory, memory_mask))
        output: Tensor = self.around_feed_forward(x, self.feed_forward)
        return output

    def start(self, memory: Float[Tensor, "B S D"]) -> DecoderLayerCache:
        """Project the memory's keys and values, once for all steps."""
        return DecoderLayerCache(*self.cross_attention.project(memory, memory))

    def step(
        self,
        x: Float[Tensor, "B T D"],
        cache: DecoderLayerCache,
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Do what `forward` does at T further positions, and keep their keys and values in `cache`.

        `mask` is `(T, P)` or `(B, H, T, P)` for the P positions so far, these included.
        """
        own, cross = self.self_attention, self.cross_attention
        y = self.around_self_attention(x, lambda y: own.attend(y, *cache.past.append(*own.project(y, y)), mask))
        y = self.around_cross_attention(
            y, lambda y: cross.attend(y, cache.memory_keys, cache.memory_values, memory_mask)
        )
        output: Tensor = self.around_feed_forward(y, self.feed_forward)
        return output


class Decoder(nn.Module):
    """A stack of layers, and after pre-LN layers the final norm."""

    def __init__(self, layers: Iterable[DecoderLayer]) -> None:
        """`ValueError` for no layers."""
        super().__init__()
        stack = list(layers)
        if not stack:
            raise ValueError("a decoder needs at least one layer, got none")
        self.layers = nn.ModuleList(stack)
        self.norm = LayerNorm(stack[-1].width) if stack[-1].pre_norm else nn.Identity()

    @property
    def stack(self) -> Iterable[DecoderLayer]:
        """The layers, with their type."""
        return cast(Iterable[DecoderLayer], self.layers)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        memory: Float[Tensor, "B S D"],
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Every layer attends the same memory: the output of the encoder's last layer."""
        for layer in self.layers:
            x = layer(x, memory, mask, memory_mask)
        output: Tensor = self.norm(x)
        return output

    def start(self, memory: Float[Tensor, "B S D"]) -> list[DecoderLayerCache]:
        """Make the caches of all layers for `step`."""
        return [layer.start(memory) for layer in self.stack]

    def step(
        self,
        x: Float[Tensor, "B T D"],
        caches: Sequence[DecoderLayerCache],
        mask: Mask | None = None,
        memory_mask: Mask | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Do what `forward` does at T further positions; masks as in `DecoderLayer.step`."""
        for layer, cache in zip(self.stack, caches, strict=True):
            x = layer.step(x, cache, mask, memory_mask)
        output: Tensor = self.norm(x)
        return output
