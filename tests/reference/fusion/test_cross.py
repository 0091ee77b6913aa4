import pytest
import torch
from torch import Tensor, nn

from reference import Dropout, EncoderLayer, FeedForward, MultiHeadAttention, padding_mask
from reference.fusion import CoAttentionLayer, CrossAttentionBlock, CrossFusion, PatchEmbedding

B, T, P, D, H, INNER = 3, 4, 5, 8, 2, 16
TEXT_MASK = padding_mask(torch.tensor([4, 2, 3]), T)
IMAGE_MASK = padding_mask(torch.tensor([5, 3, 0]), P)
REAL_TEXT, REAL_IMAGE = TEXT_MASK[:, 0, 0], IMAGE_MASK[:, 0, 0]


def block(dropout: float = 0.0) -> CrossAttentionBlock:
    return CrossAttentionBlock(MultiHeadAttention(D, H), FeedForward(D, INNER), dropout=dropout)


def encoder_layer() -> EncoderLayer:
    return EncoderLayer(MultiHeadAttention(D, H), FeedForward(D, INNER), dropout=0.0)


@pytest.fixture
def exchange() -> CoAttentionLayer:
    return CoAttentionLayer(block(), block()).double()


@pytest.fixture
def fusion() -> CrossFusion:
    stages = [(CoAttentionLayer(block(), block()), encoder_layer(), encoder_layer()) for _ in range(2)]
    return CrossFusion(stages).double()


def modes() -> tuple[Tensor, Tensor]:
    return torch.randn(B, T, D, dtype=torch.float64), torch.randn(B, P, D, dtype=torch.float64)


def by_torch(ours: CrossAttentionBlock, x: Tensor, other: Tensor, real: Tensor) -> Tensor:
    """The block from torch's own parts, with our weights."""
    theirs = nn.MultiheadAttention(D, H, batch_first=True, dtype=torch.float64)
    linears = (ours.attention.query, ours.attention.key, ours.attention.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([linear.weight for linear in linears]))
        theirs.in_proj_bias.copy_(torch.cat([linear.bias for linear in linears]))
        theirs.out_proj.load_state_dict(ours.attention.output.state_dict())
    answer, _ = theirs(x, other, other, key_padding_mask=~real, need_weights=False)
    first, second = ours.around_attention.norm, ours.around_feed_forward.norm
    x = nn.functional.layer_norm(x + answer, (D,), first.gain, first.bias)
    inner = nn.functional.linear(x, ours.feed_forward.inner.weight, ours.feed_forward.inner.bias).relu()
    outer = nn.functional.linear(inner, ours.feed_forward.outer.weight, ours.feed_forward.outer.bias)
    return nn.functional.layer_norm(x + outer, (D,), second.gain, second.bias)


def test_both_directions_equal_torch(exchange: CoAttentionLayer) -> None:
    for parameter in exchange.parameters():
        nn.init.normal_(parameter, std=0.3)
    text, image = modes()
    lengths = padding_mask(torch.tensor([5, 3, 1]), P)  # torch gives NaN for an image without a token
    new_text, new_image = exchange(text, image, TEXT_MASK, lengths)
    torch.testing.assert_close(
        new_text, by_torch(exchange.text_block, text, image, lengths[:, 0, 0]), rtol=1e-10, atol=1e-12
    )
    torch.testing.assert_close(
        new_image, by_torch(exchange.image_block, image, text, REAL_TEXT), rtol=1e-10, atol=1e-12
    )


def test_a_token_sees_the_other_mode_and_itself_alone(exchange: CoAttentionLayer) -> None:
    """Also the image: it asks the text as it came in, not the text that has seen the other patches."""
    text, image = modes()
    _, before = exchange(text, image)
    image[:, 0] += 1.0
    _, after = exchange(text, image)
    assert torch.equal(after[:, 1:], before[:, 1:])


def test_padding_of_each_mode_takes_no_part(fusion: CrossFusion) -> None:
    text, image = modes()
    before = fusion(text, image, TEXT_MASK, IMAGE_MASK)
    text[~REAL_TEXT], image[~REAL_IMAGE] = 5.0, -5.0
    after = fusion(text, image, TEXT_MASK, IMAGE_MASK)
    for old, new, real in zip(before, after, (REAL_TEXT, REAL_IMAGE), strict=True):
        assert torch.equal(new[real], old[real])


def test_each_real_token_of_one_mode_moves_each_of_the_other(fusion: CrossFusion) -> None:
    text, image = modes()
    before = fusion(text, image)
    text[:, 1] += 1.0
    assert ((fusion(text, image)[1] - before[1]).abs().amax(dim=-1) > 1e-9).all()
    text[:, 1] -= 1.0
    image[:, 2] += 1.0
    assert ((fusion(text, image)[0] - before[0]).abs().amax(dim=-1) > 1e-9).all()


def test_without_an_image_nothing_comes_from_its_place(fusion: CrossFusion) -> None:
    text, image = (x.requires_grad_() for x in modes())
    encoded, _ = fusion(text, image, TEXT_MASK, IMAGE_MASK)
    with torch.no_grad():
        other, _ = fusion(text, image + 3.0, TEXT_MASK, IMAGE_MASK)
    assert torch.equal(encoded[2], other[2])
    encoded[2].pow(3).sum().backward()
    assert torch.equal(image.grad, torch.zeros_like(image))
    assert text.grad.isfinite().all()
    for exchange in fusion.exchanges:
        for linear in (exchange.text_block.attention.key, exchange.text_block.attention.value):
            assert torch.equal(linear.weight.grad, torch.zeros_like(linear.weight))


def test_without_any_token_all_stays_finite(fusion: CrossFusion) -> None:
    nothing = padding_mask(torch.zeros(B, dtype=torch.int64), T), padding_mask(torch.zeros(B, dtype=torch.int64), P)
    text, image = (x.requires_grad_() for x in modes())
    outputs = fusion(text, image, *nothing)
    torch.cat(outputs, dim=1).pow(3).sum().backward()
    gradients = [text.grad, image.grad, *(p.grad for p in fusion.parameters())]
    assert all(x.isfinite().all() for x in (*outputs, *gradients))


def test_two_patches_that_change_places_change_the_answer_to_the_text(fusion: CrossFusion) -> None:
    patches = PatchEmbedding((4, 6), 2, 1, D).double()
    text, image = torch.randn(1, T, D, dtype=torch.float64), torch.randn(1, 1, 4, 6, dtype=torch.float64)
    exchanged = image.clone()
    exchanged[..., :2, :2], exchanged[..., 2:, 4:] = image[..., 2:, 4:], image[..., :2, :2]
    before, after = fusion(text, patches(image))[0], fusion(text, patches(exchanged))[0]
    assert ((after - before).abs().amax(dim=-1) > 1e-7).all()


def test_every_parameter_gets_a_gradient(fusion: CrossFusion) -> None:
    torch.cat(fusion(*modes()), dim=1).pow(3).sum().backward()
    without = [name for name, p in fusion.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9]
    assert [name for name in without if not name.endswith("key.bias")] == []  # the softmax ignores a key's bias


def test_dropout_acts_in_training_alone() -> None:
    layer = block(dropout=0.5)
    text, image = torch.randn(B, T, D), torch.randn(B, P, D)
    assert not torch.equal(layer(text, image), layer(text, image))
    layer.eval()
    assert torch.equal(layer(text, image), layer(text, image))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="a cross-attention fusion needs at least one stage, got none"):
        CrossFusion([])
    with pytest.raises(ValueError, match=r"dropout must be a probability between 0 and 1, got 2\.0"):
        block(dropout=2.0)


@pytest.mark.parametrize(("options", "probability"), [({}, 0.1), ({"dropout": 0.3}, 0.3)])
def test_dropout_is_as_asked_and_otherwise_that_of_the_paper(options: dict[str, float], probability: float) -> None:
    asked = CrossAttentionBlock(MultiHeadAttention(D, H), FeedForward(D, INNER), **options)
    dropouts = [part.probability for part in asked.modules() if isinstance(part, Dropout)]
    assert dropouts == [probability] * 2


def test_a_stage_without_one_of_its_parts_is_no_stage(fusion: CrossFusion) -> None:
    del fusion.text_layers[1]
    with pytest.raises(ValueError, match="zip"):
        fusion(*modes())
