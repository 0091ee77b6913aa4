"""Cross-attention fusion: two streams that attend each other (Lu et al. 2019, section 2.2, figures 1 and 2b)."""

from collections.abc import Iterable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from reference.encoder import EncoderLayer
from reference.feed_forward import FeedForward
from reference.multi_head_attention import MultiHeadAttention
from reference.residual import ResidualSublayer


class CrossAttentionBlock(nn.Module):
    """One mode's half of a co-attention layer: its queries ask the other mode; then the feed-forward network.

    Post-LN, as in BERT and ViLBERT.
    """

    def __init__(self, attention: MultiHeadAttention, feed_forward: FeedForward, *, dropout: float = 0.1) -> None:
        """`ValueError` for a dropout that is no probability."""
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.around_attention = ResidualSublayer(attention.width, dropout)
        self.around_feed_forward = ResidualSublayer(attention.width, dropout)

    def forward(
        self, x: Float[Tensor, "B T D"], other: Float[Tensor, "B S D"], mask: Bool[Tensor, "B 1 1 S"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """`mask` says which tokens of `other` are real; where none is, nothing of `other` comes in."""
        x = self.around_attention(x, lambda y: self.attention(y, other, other, mask))
        output: Tensor = self.around_feed_forward(x, self.feed_forward)
        return output


class CoAttentionLayer(nn.Module):
    """Both directions at once: each mode's keys and values go to the other mode's attention.

    Each reads the other as it came in. The image would otherwise answer a text that has seen it already.
    """

    def __init__(self, text_block: CrossAttentionBlock, image_block: CrossAttentionBlock) -> None:
        super().__init__()
        self.text_block = text_block
        self.image_block = image_block

    def forward(
        self,
        text: Float[Tensor, "B T D"],
        image: Float[Tensor, "B P D"],
        text_mask: Bool[Tensor, "B 1 1 T"] | None = None,
        image_mask: Bool[Tensor, "B 1 1 P"] | None = None,
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B P D"]]:
        """The text that has asked the image, and the image that has asked the text."""
        return self.text_block(text, image, image_mask), self.image_block(image, text, text_mask)


class CrossFusion(nn.Module):
    """Stages of one co-attention layer and, in each stream, one encoder layer of its own."""

    def __init__(self, stages: Iterable[tuple[CoAttentionLayer, EncoderLayer, EncoderLayer]]) -> None:
        """Each stage is (co-attention, layer of the text, layer of the image). `ValueError` for no stages."""
        super().__init__()
        stack = list(stages)
        if not stack:
            raise ValueError("a cross-attention fusion needs at least one stage, got none")
        self.exchanges = nn.ModuleList(exchange for exchange, _, _ in stack)
        self.text_layers = nn.ModuleList(text_layer for _, text_layer, _ in stack)
        self.image_layers = nn.ModuleList(image_layer for _, _, image_layer in stack)

    def forward(
        self,
        text: Float[Tensor, "B T D"],
        image: Float[Tensor, "B P D"],
        text_mask: Bool[Tensor, "B 1 1 T"] | None = None,
        image_mask: Bool[Tensor, "B 1 1 P"] | None = None,
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B P D"]]:
        """Return the vectors of each mode.

        The masks are `padding_mask`s. An example without an image has an `image_mask` that is all False: its text gets
        the same answer whatever stands in the place of the image, which gets no gradient from it.
        """
        for exchange, text_layer, image_layer in zip(self.exchanges, self.text_layers, self.image_layers, strict=True):
            text, image = exchange(text, image, text_mask, image_mask)
            text, image = text_layer(text, text_mask), image_layer(image, image_mask)
        return text, image
