"""The encoder (Vaswani et al. 2017, section 3.1, figure 1 left)."""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor, nn

from reference.feed_forward import FeedForward
from reference.layer_norm import LayerNorm
from reference.masks import Mask
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

    def forward(self, x: Float[Tensor, "B S D"], mask: Mask | None = None) -> Float[Tensor, "B S D"]:
        """`mask` says which positions may attend which: `(S, S)` or broadcasting to `(B, H, S, S)`."""
        x = self.around_self_attention(x, lambda y: self.self_attention(y, y, y, mask))
        output: Tensor = self.around_feed_forward(x, self.feed_forward)
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

    def forward(self, x: Float[Tensor, "B S D"], mask: Mask | None = None) -> Float[Tensor, "B S D"]:
        """Encode S positions into S vectors, not into one."""
        for layer in self.layers:
            x = layer(x, mask)
        output: Tensor = self.norm(x)
        return output
