import pytest
import torch
from torch import Tensor, nn
from transformers import ViTConfig
from transformers.models.vit.modeling_vit import ViTEmbeddings

from reference.fusion import PatchEmbedding

HEIGHT, BREADTH, PATCH, C, D = 6, 9, 3, 2, 5
P = (HEIGHT // PATCH) * (BREADTH // PATCH)


def unfolded(module: PatchEmbedding, images: Tensor) -> Tensor:
    """Equation 1 as the paper writes it: flattened patches times a matrix, plus positions."""
    patches = nn.functional.unfold(images, PATCH, stride=PATCH).mT
    linear = module.projection.weight.flatten(1)
    return patches @ linear.T + module.projection.bias + module.positions


def test_the_convolution_is_the_product_with_flattened_patches() -> None:
    module = PatchEmbedding((HEIGHT, BREADTH), PATCH, C, D).double()
    images = torch.randn(4, C, HEIGHT, BREADTH, dtype=torch.float64)
    torch.testing.assert_close(module(images), unfolded(module, images), rtol=1e-12, atol=1e-12)


def test_patches_follow_row_by_row() -> None:
    module = PatchEmbedding((HEIGHT, BREADTH), PATCH, C, D)
    image = torch.randn(1, C, HEIGHT, BREADTH)
    columns = BREADTH // PATCH
    for patch in range(P):
        top, left = PATCH * (patch // columns), PATCH * (patch % columns)
        changed = image.clone()
        changed[:, :, top : top + PATCH, left : left + PATCH] += 1.0
        moved = (module(changed) - module(image)).abs().amax(dim=-1)[0] > 1e-6
        assert moved.nonzero().flatten().tolist() == [patch]


def test_equals_the_vision_transformer_of_transformers() -> None:
    config = ViTConfig(
        image_size=(HEIGHT, BREADTH), patch_size=PATCH, num_channels=C, hidden_size=D, hidden_dropout_prob=0.0
    )
    theirs = ViTEmbeddings(config).double().eval()
    ours = PatchEmbedding((HEIGHT, BREADTH), PATCH, C, D).double()
    ours.projection.load_state_dict(theirs.patch_embeddings.projection.state_dict())
    ours.positions.data.copy_(theirs.position_embeddings[0, 1:])
    images = torch.randn(3, C, HEIGHT, BREADTH, dtype=torch.float64)
    torch.testing.assert_close(ours(images), theirs(images)[:, 1:], rtol=1e-12, atol=1e-12)


def test_positions_are_learned_and_tell_equal_patches_apart() -> None:
    module = PatchEmbedding((HEIGHT, BREADTH), PATCH, C, D)
    output = module(torch.zeros(2, C, HEIGHT, BREADTH))
    assert len({tuple(vector.tolist()) for vector in output[0]}) == P
    output.sum().backward()
    assert torch.equal(module.positions.grad, torch.full((P, D), 2.0))
    assert 0.01 < module.positions.std() < 0.04


@pytest.mark.parametrize("size", [(HEIGHT + 1, BREADTH), (HEIGHT, BREADTH + 2), (BREADTH, HEIGHT), (3, 3)])
def test_images_of_another_size_are_refused(size: tuple[int, int]) -> None:
    module = PatchEmbedding((HEIGHT, BREADTH), PATCH, C, D)
    with pytest.raises(ValueError, match=r"images must be of size \(6, 9\), got \(\d+, \d+\)"):
        module(torch.zeros(1, C, *size))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((6, 8), 3, 2, 5), r"image_size \(6, 8\) cannot be cut into patches: 3 must divide both sides"),
        (((7, 9), 3, 2, 5), r"image_size \(7, 9\) cannot be cut into patches"),
        (((0, 9), 3, 2, 5), "height must be at least 1, got 0"),
        (((6, 0), 3, 2, 5), "breadth must be at least 1, got 0"),
        (((6, 9), 0, 2, 5), "patch_size must be at least 1, got 0"),
        (((6, 9), 3, 0, 5), "channels must be at least 1, got 0"),
        (((6, 9), 3, 2, 0), "width must be at least 1, got 0"),
    ],
)
def test_bad_sizes(arguments: tuple[tuple[int, int], int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PatchEmbedding(*arguments)
