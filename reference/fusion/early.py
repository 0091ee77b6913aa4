"""Early fusion: the tokens of both modes are one sequence (Kim, Son and Kim 2021, section 3.1)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.encoder import Encoder
from reference.fusion.segments import SegmentEmbedding
from reference.masks import Mask


class EarlyFusion(nn.Module):
    """`encoder([text + t_type; image + v_type])`: from the first layer on, every token attends both modes.

    Each mode brings its positions along; the type vectors tell the encoder which mode a token is of.
    """

    def __init__(self, encoder: Encoder, width: int) -> None:
        """`ValueError` for a width below 1."""
        super().__init__()
        self.types = SegmentEmbedding(2, width)
        self.encoder = encoder

    def forward(
        self,
        text: Float[Tensor, "B T D"],
        image: Float[Tensor, "B P D"],
        text_mask: Mask | None = None,
        image_mask: Mask | None = None,
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B P D"]]:
        """Return the encoded tokens of each mode.

        The masks are `padding_mask`s, `(B, 1, 1, T)` and `(B, 1, 1, P)`; `ValueError` for a mask of another shape. An
        example without an image has an `image_mask` that is all False: its text is encoded as if alone.
        """
        lengths = [text.shape[1], image.shape[1]]
        masks = (_mode_mask(text, text_mask, "text_mask"), _mode_mask(image, image_mask, "image_mask"))
        mask = torch.cat(masks, dim=-1)
        modes = (torch.arange(sum(lengths), device=text.device) >= lengths[0]).long()
        joint = self.types(torch.cat((text, image), dim=1), modes[None])
        encoded_text, encoded_image = self.encoder(joint, mask).split(lengths, dim=1)
        return encoded_text, encoded_image


def _mode_mask(x: Tensor, mask: Mask | None, name: str) -> Tensor:
    """The mask `(B, 1, 1, S)` of a mode, all True where none is given."""
    shape = (x.shape[0], 1, 1, x.shape[1])
    if mask is None:
        return torch.ones(shape, dtype=torch.bool, device=x.device)
    if mask.shape != shape:
        raise ValueError(f"{name} must be a padding mask of shape {shape}, got {tuple(mask.shape)}")
    return mask
