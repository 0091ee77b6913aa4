"""Images as sequences: patch embeddings (Dosovitskiy et al. 2021, section 3.1, equation 1)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.validation import require_at_least


class PatchEmbedding(nn.Module):
    """`z = [x_1 E; ...; x_P E] + E_pos`: every patch, flattened, times one matrix, plus its learned position.

    A convolution whose stride is its kernel is that product: it meets each pixel once. The patches follow each other
    row by row. The paper learns one vector for each place in that row, and found no gain in two-dimensional positions.
    Its class token is left out: beside a text, the text has tokens that may answer.
    """

    def __init__(self, image_size: tuple[int, int], patch_size: int, channels: int, width: int) -> None:
        """`image_size` is (height, width). `ValueError` if `patch_size` does not divide both, and for sizes below 1."""
        super().__init__()
        height, breadth = image_size
        require_at_least(1, height=height, breadth=breadth, patch_size=patch_size, channels=channels, width=width)
        if height % patch_size or breadth % patch_size:
            raise ValueError(f"image_size {image_size} cannot be cut into patches: {patch_size} must divide both sides")
        self.image_size = image_size
        patches = (height // patch_size) * (breadth // patch_size)
        self.projection = nn.Conv2d(channels, width, kernel_size=patch_size, stride=patch_size)
        self.positions = nn.Parameter(torch.empty(patches, width))
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, images: Float[Tensor, "B C height breadth"]) -> Float[Tensor, "B P D"]:
        """Embed images of the one size that has positions; `ValueError` for another: a convolution would crop it."""
        if images.shape[2:] != self.image_size:
            raise ValueError(f"images must be of size {self.image_size}, got {tuple(images.shape[2:])}")
        output: Tensor = self.projection(images).flatten(2).mT + self.positions
        return output
