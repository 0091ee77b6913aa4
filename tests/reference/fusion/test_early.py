import pytest
import torch
from torch import Tensor

from reference import Encoder, EncoderLayer, FeedForward, MultiHeadAttention, padding_mask
from reference.fusion import EarlyFusion, PatchEmbedding

B, T, P, D = 3, 4, 5, 8
TEXT_MASK = padding_mask(torch.tensor([4, 2, 3]), T)
IMAGE_MASK = padding_mask(torch.tensor([5, 3, 0]), P)
REAL_TEXT, REAL_IMAGE = TEXT_MASK[:, 0, 0], IMAGE_MASK[:, 0, 0]


@pytest.fixture
def fusion() -> EarlyFusion:
    layers = [EncoderLayer(MultiHeadAttention(D, 2), FeedForward(D, 16), dropout=0.0) for _ in range(2)]
    return EarlyFusion(Encoder(layers), D).double()


def modes() -> tuple[Tensor, Tensor]:
    return torch.randn(B, T, D, dtype=torch.float64), torch.randn(B, P, D, dtype=torch.float64)


def test_is_one_encoder_over_the_concatenation_of_typed_tokens(fusion: EarlyFusion) -> None:
    text, image = modes()
    joint = torch.cat((text + fusion.types.weight[0], image + fusion.types.weight[1]), dim=1)
    expected = fusion.encoder(joint, torch.cat((TEXT_MASK, IMAGE_MASK), dim=-1))
    encoded_text, encoded_image = fusion(text, image, TEXT_MASK, IMAGE_MASK)
    assert torch.equal(torch.cat((encoded_text, encoded_image), dim=1), expected)
    assert encoded_text.shape == (B, T, D)


def test_padding_of_each_mode_takes_no_part(fusion: EarlyFusion) -> None:
    text, image = modes()
    before = fusion(text, image, TEXT_MASK, IMAGE_MASK)
    text[~REAL_TEXT], image[~REAL_IMAGE] = 5.0, -5.0
    after = fusion(text, image, TEXT_MASK, IMAGE_MASK)
    for old, new, real in zip(before, after, (REAL_TEXT, REAL_IMAGE), strict=True):
        assert torch.equal(new[real], old[real])


def test_without_masks_all_tokens_are_real(fusion: EarlyFusion) -> None:
    text, image = modes()
    everything = (padding_mask(torch.full((B,), T), T), padding_mask(torch.full((B,), P), P))
    for mine, theirs in zip(fusion(text, image), fusion(text, image, *everything), strict=True):
        assert torch.equal(mine, theirs)


def test_a_text_without_an_image_is_encoded_as_if_alone(fusion: EarlyFusion) -> None:
    text, image = (x.requires_grad_() for x in modes())
    encoded, _ = fusion(text, image, TEXT_MASK, IMAGE_MASK)
    alone = fusion.encoder(text + fusion.types.weight[0], TEXT_MASK)
    torch.testing.assert_close(encoded[2], alone[2], rtol=1e-12, atol=1e-12)
    encoded[REAL_TEXT].pow(3).sum().backward()
    assert torch.equal(image.grad[~REAL_IMAGE], torch.zeros_like(image.grad[~REAL_IMAGE]))
    assert (image.grad[REAL_IMAGE].abs().amax(dim=-1) > 0).all()
    assert text.grad.isfinite().all()


def test_types_tell_the_modes_apart(fusion: EarlyFusion) -> None:
    x, y = torch.randn(B, T, D, dtype=torch.float64), torch.randn(B, T, D, dtype=torch.float64)
    (as_text, _), (_, as_image) = fusion(x, y), fusion(y, x)
    assert (as_text - as_image).abs().max() > 1e-4
    torch.nn.init.zeros_(fusion.types.weight)
    (as_text, _), (_, as_image) = fusion(x, y), fusion(y, x)
    torch.testing.assert_close(as_text, as_image)


def test_two_patches_that_change_places_change_the_answer_to_the_text(fusion: EarlyFusion) -> None:
    patches = PatchEmbedding((4, 6), 2, 1, D).double()
    text, image = torch.randn(1, T, D, dtype=torch.float64), torch.randn(1, 1, 4, 6, dtype=torch.float64)
    exchanged = image.clone()
    exchanged[..., :2, :2], exchanged[..., 2:, 4:] = image[..., 2:, 4:], image[..., :2, :2]
    before, after = fusion(text, patches(image))[0], fusion(text, patches(exchanged))[0]
    assert ((after - before).abs().amax(dim=-1) > 1e-7).all()
    torch.nn.init.zeros_(patches.positions)
    torch.testing.assert_close(fusion(text, patches(image))[0], fusion(text, patches(exchanged))[0])


@pytest.mark.parametrize("name", ["text_mask", "image_mask"])
def test_masks_that_are_no_padding_masks_are_refused(fusion: EarlyFusion, name: str) -> None:
    length = T if name == "text_mask" else P
    with pytest.raises(
        ValueError, match=rf"{name} must be a padding mask of shape \(3, 1, 1, {length}\), got \(3, 2\)"
    ):
        fusion(*modes(), **{name: torch.ones(3, 2, dtype=torch.bool)})
    with pytest.raises(ValueError, match="a mask must be boolean"):
        fusion(*modes(), **{name: torch.ones(3, 1, 1, length)})


def test_bad_width(fusion: EarlyFusion) -> None:
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        EarlyFusion(fusion.encoder, 0)


def test_there_are_two_types_and_all_is_done_on_the_device_of_the_text(fusion: EarlyFusion) -> None:
    assert fusion.types.weight.shape == (2, D)
    devices = []
    fusion.types.register_forward_pre_hook(lambda _, inputs: devices.extend(x.device.type for x in inputs))
    encoded = fusion.to("meta")(*(x.to("meta") for x in modes()))
    assert {*devices, *(x.device.type for x in encoded)} == {"meta"}
