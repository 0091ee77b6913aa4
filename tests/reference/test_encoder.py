from collections.abc import Callable

import pytest
import torch
from torch import nn

from reference import (
    Dropout,
    Encoder,
    EncoderLayer,
    FeedForward,
    LayerNorm,
    MultiHeadAttention,
    causal_mask,
    combine_masks,
    padding_mask,
)
from reference.cache import KeyValueCache

B, S, D, H, INNER = 2, 5, 12, 3, 7
PADDING = padding_mask(torch.tensor([5, 2]), S)
CAUSAL = causal_mask(S)
MASKS = {
    "none": (None, {}),
    "causal": (CAUSAL, {"mask": ~CAUSAL}),
    "padding": (PADDING, {"src_key_padding_mask": ~PADDING[:, 0, 0]}),
    "both": (combine_masks(CAUSAL, PADDING), {"mask": ~CAUSAL, "src_key_padding_mask": ~PADDING[:, 0, 0]}),
}


def layer(pre_norm: bool = False, dropout: float = 0.0) -> EncoderLayer:
    return EncoderLayer(MultiHeadAttention(D, H), FeedForward(D, INNER), dropout=dropout, pre_norm=pre_norm)


def their_layer(pre_norm: bool, dtype: torch.dtype) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(D, H, INNER, 0.0, batch_first=True, norm_first=pre_norm, dtype=dtype)


@pytest.mark.parametrize("name", MASKS)
def test_layer_equals_torch(agree: Callable[..., None], dtype: torch.dtype, pre_norm: bool, name: str) -> None:
    ours, theirs = layer(pre_norm).to(dtype), their_layer(pre_norm, dtype)
    mask, their_masks = MASKS[name]
    their_masks = {{"mask": "src_mask"}.get(key, key): value for key, value in their_masks.items()}
    x = torch.randn(B, S, D, dtype=dtype)
    agree(ours, theirs, [x], lambda x: ours(x, mask), lambda x: theirs(x, **their_masks))


@pytest.mark.parametrize("name", MASKS)
def test_stack_equals_torch(agree: Callable[..., None], dtype: torch.dtype, pre_norm: bool, name: str) -> None:
    """Our stack has a final norm after pre-LN only; torch leaves that to the caller."""
    ours = Encoder(layer(pre_norm) for _ in range(2)).to(dtype)
    norm = nn.LayerNorm(D, dtype=dtype) if pre_norm else None
    theirs = nn.TransformerEncoder(their_layer(pre_norm, dtype), 2, norm, enable_nested_tensor=False)
    mask, their_masks = MASKS[name]
    x = torch.randn(B, S, D, dtype=dtype)
    agree(ours, theirs, [x], lambda x: ours(x, mask), lambda x: theirs(x, **their_masks))


def test_final_norm_exactly_after_pre_norm_layers(pre_norm: bool) -> None:
    assert isinstance(Encoder([layer(pre_norm)]).norm, LayerNorm if pre_norm else nn.Identity)


def test_padding_has_no_influence_at_all(pre_norm: bool) -> None:
    encoder = Encoder(layer(pre_norm) for _ in range(2))
    x = torch.randn(B, S, D)
    before = encoder(x, PADDING)
    x[1, 2:] += 5
    after = encoder(x, PADDING)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[1, :2], before[1, :2])


def test_one_vector_for_each_position() -> None:
    encoder = Encoder([layer()])
    for length in (1, 3, 9):
        assert encoder(torch.randn(B, length, D)).shape == (B, length, D)


def test_dropout_of_one_leaves_the_path_of_x(pre_norm: bool) -> None:
    x = torch.randn(B, S, D)
    norm = LayerNorm(D)
    torch.testing.assert_close(layer(pre_norm, 1.0)(x), x if pre_norm else norm(norm(x)))


def test_every_parameter_gets_a_gradient(pre_norm: bool) -> None:
    encoder = Encoder(layer(pre_norm, 0.1) for _ in range(2))
    encoder(torch.randn(B, S, D)).pow(3).sum().backward()
    # The bias of a key adds the same to every score of a row, so the softmax ignores it.
    without = [name for name, p in encoder.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9]
    assert [name for name in without if not name.endswith("key.bias")] == []


def test_a_layer_is_that_of_the_paper_by_default() -> None:
    module = EncoderLayer(MultiHeadAttention(D, H), FeedForward(D, INNER))
    assert {part.probability for part in module.modules() if isinstance(part, Dropout)} == {0.1}
    assert not module.pre_norm


def test_no_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="an encoder needs at least one layer, got none"):
        Encoder([])


def test_skipped_padding_changes_nothing_elsewhere(pre_norm: bool) -> None:
    encoder = Encoder(layer(pre_norm) for _ in range(2)).double()
    x = torch.randn(B, S, D, dtype=torch.float64)
    real = PADDING[:, 0, 0]
    results = []
    for skip_padding in (False, True):
        output = encoder(x, PADDING, skip_padding=skip_padding)[real]
        gradients = torch.autograd.grad(output.pow(3).sum(), list(encoder.parameters()))
        results.append((output, *gradients))
    for whole, skipped in zip(*results, strict=True):
        torch.testing.assert_close(skipped, whole, rtol=1e-9, atol=1e-9)


def seen_by_the_feed_forward(encoder: Encoder, mask: torch.Tensor | None, **options: bool) -> int:
    counts = []
    hook = encoder.layers[0].feed_forward.register_forward_hook(lambda _, inputs, __: counts.append(inputs[0].numel()))
    encoder(torch.randn(B, S, D), mask, **options)
    hook.remove()
    return counts[0] // D


@pytest.mark.parametrize("mask", [None, CAUSAL, combine_masks(CAUSAL, PADDING), PADDING[1:], PADDING | True])
def test_padding_is_skipped_only_where_it_is_asked_for_and_known(mask: torch.Tensor | None) -> None:
    encoder = Encoder([layer()])
    assert seen_by_the_feed_forward(encoder, PADDING, skip_padding=True) == 7
    assert seen_by_the_feed_forward(encoder, PADDING) == B * S
    assert seen_by_the_feed_forward(encoder, mask, skip_padding=True) == B * S


def test_a_mask_whose_values_cannot_be_seen_hides_no_work() -> None:
    encoder = Encoder([layer()]).to("meta")
    assert encoder(torch.empty(B, S, D, device="meta"), PADDING.to("meta"), skip_padding=True).shape == (B, S, D)


def test_skipped_positions_are_zero_after_post_norm_layers() -> None:
    output = Encoder([layer()])(torch.randn(B, S, D), PADDING, skip_padding=True)
    assert (output[~PADDING[:, 0, 0]] == 0).all()
    assert output[PADDING[:, 0, 0]].any()


def test_a_step_needs_one_cache_a_layer() -> None:
    encoder = Encoder([layer(), layer()])
    with pytest.raises(ValueError, match="zip"):
        encoder.step(torch.zeros(B, 1, D), [KeyValueCache()])
