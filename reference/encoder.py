"""The encoder (Vaswani et al. 2017, section 3.1, figure 1 left)."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from reference.cache import KeyValueCache
from reference.feed_forward import FeedForward
from reference.layer_norm import LayerNorm
from reference.masks import Mask, may_steer
from reference.multi_head_attention import MultiHeadAttention
from reference.residual import ResidualSublayer


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network, each inside a residual sublayer."""

    def __init__(
        self,
        self_attention: MultiHeadAttention,
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
        self.feed_forward = feed_forward
        self.around_self_attention = ResidualSublayer(self.width, dropout, pre_norm=pre_norm)
        self.around_feed_forward = ResidualSublayer(self.width, dropout, pre_norm=pre_norm)

    def forward(
        self, x: Float[Tensor, "B S D"], mask: Mask | None = None, *, skip_padding: bool = False
    ) -> Float[Tensor, "B S D"]:
        """`mask` says which positions may attend which: `(S, S)` or broadcasting to `(B, H, S, S)`.

        `skip_padding` is for callers who use no position that a mask `(B, 1, 1, S)` hides: see `only_attended`.
        """

        def feed_forward(x: Tensor) -> Tensor:
            output: Tensor = self.around_feed_forward(x, self.feed_forward)
            return output

        x = self.around_self_attention(x, lambda y: self.self_attention(y, y, y, mask))
        return only_attended(feed_forward, x, mask) if skip_padding else feed_forward(x)

    def step(self, x: Float[Tensor, "B T D"], cache: KeyValueCache, mask: Mask | None = None) -> Float[Tensor, "B T D"]:
        """Do what `forward` does under a causal mask at T further positions, and keep their keys and values in `cache`.

        `mask` is `(T, P)` or `(B, H, T, P)` for the P positions so far, these included.
        """
        own = self.self_attention
        y = self.around_self_attention(x, lambda y: own.attend(y, *cache.append(*own.project(y, y)), mask))
        output: Tensor = self.around_feed_forward(y, self.feed_forward)
        return output


class Encoder(nn.Module):
    """A stack of layers, and after pre-LN layers the final norm.

    Build each layer on its own: copies of one layer would start equal.
    """

    def __init__(self, layers: Iterable[EncoderLayer]) -> None:
        """`ValueError` for no layers."""
        super().__init__()
        stack = list(layers)
        if not stack:
            raise ValueError("an encoder needs at least one layer, got none")
        self.layers = nn.ModuleList(stack)
        self.norm = LayerNorm(stack[-1].width) if stack[-1].pre_norm else nn.Identity()

    @property
    def stack(self) -> Iterable[EncoderLayer]:
        """The layers, with their type."""
        return cast(Iterable[EncoderLayer], self.layers)

    def forward(
        self, x: Float[Tensor, "B S D"], mask: Mask | None = None, *, skip_padding: bool = False
    ) -> Float[Tensor, "B S D"]:
        """Encode S positions into S vectors, not into one; `skip_padding` as in `EncoderLayer`."""
        for layer in self.layers:
            x = layer(x, mask, skip_padding=skip_padding)
        output: Tensor = self.norm(x)
        return output

    def step(
        self, x: Float[Tensor, "B T D"], caches: Sequence[KeyValueCache], mask: Mask | None = None
    ) -> Float[Tensor, "B T D"]:
        """Do what `forward` does at T further positions; one cache for each layer, `mask` as in `EncoderLayer.step`."""
        for layer, cache in zip(self.stack, caches, strict=True):
            x = layer.step(x, cache, mask)
        states: Tensor = self.norm(x)
        return states


def only_attended(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "B S D"], mask: Mask | None
) -> Float[Tensor, "B S D"]:
    """Apply a position-wise function where a mask `(B, 1, 1, S)` lets attend, and give 0 at the other positions.

    It is applied everywhere if the mask hides nothing, has another shape, or must not steer the program.
    """
    batch, length, width = x.shape
    if mask is None or mask.shape != (batch, 1, 1, length) or not may_steer(mask) or bool(mask.all()):
        return function(x)
    attended = mask.flatten().nonzero().squeeze(1)
    result = function(x.reshape(1, -1, width).index_select(1, attended))
    return result.new_zeros(1, batch * length, width).index_copy(1, attended, result).reshape(x.shape)
