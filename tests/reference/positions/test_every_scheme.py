"""What every relative scheme owes to the attention that it is part of."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reference import EncoderLayer, FeedForward, MultiHeadAttention, PositionalEncoding, causal_mask, combine_masks
from reference.positions import (
    AlibiBias,
    RelativeBias,
    RelativeKeys,
    RelativeMultiHeadAttention,
    RotaryEmbedding,
    alibi,
    key_offsets,
    relative,
    t5_bias,
)

B, T, H, D = 2, 6, 3, 12

SCHEMES: dict[str, Callable[[], MultiHeadAttention]] = {
    "relative-keys": lambda: MultiHeadAttention(D, H, position=RelativeKeys(D // H, 2)),
    "relative": lambda: RelativeMultiHeadAttention(D, H, 2),
    "t5": lambda: MultiHeadAttention(D, H, position=RelativeBias(H, buckets=8, max_distance=5)),
    "t5-causal": lambda: MultiHeadAttention(D, H, position=RelativeBias(H, buckets=4, bidirectional=False)),
    "rotary": lambda: MultiHeadAttention(D, H, position=RotaryEmbedding(D // H, length=2)),
    "rotary-half-split": lambda: MultiHeadAttention(D, H, position=RotaryEmbedding(D // H, interleaved=False)),
    "alibi": lambda: MultiHeadAttention(D, H, position=AlibiBias(H)),
}


@pytest.fixture(params=SCHEMES)
def module(request: pytest.FixtureRequest) -> MultiHeadAttention:
    """Weights are drawn anew, so large that no term is lost in rounding."""
    built = SCHEMES[request.param]().double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return built


def sequence(length: int = T) -> Tensor:
    return torch.randn(B, length, D, dtype=torch.float64)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


MASKS = {
    "none": None,
    "causal": causal_mask(T),
    "padding": torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0]], dtype=torch.bool)[:, None, None],
    "each-head": torch.arange(B * H * T * T).reshape(B, H, T, T) % 3 != 0,
}


@pytest.mark.parametrize("name", MASKS)
def test_fused_equals_eager_with_its_gradients(module: MultiHeadAttention, name: str) -> None:
    x = sequence().requires_grad_()
    outputs = module(x, x, x, MASKS[name]), module.with_weights(x, x, x, MASKS[name])[0]
    close(*outputs)
    cotangent = torch.randn_like(x)
    learned = [x, *module.parameters()]
    for fused, eager in zip(*(torch.autograd.grad(o, learned, cotangent) for o in outputs), strict=True):
        close(fused, eager)


@pytest.mark.parametrize("name", ["padding", "each-head"])
def test_masked_keys_have_no_weight(module: MultiHeadAttention, name: str) -> None:
    mask = MASKS[name]
    weights = module.with_weights(*3 * [sequence()], mask)[1]
    assert (weights[~mask.expand_as(weights)] == 0).all()
    close(weights.sum(-1), torch.ones(B, H, T, dtype=torch.float64))


def test_a_row_with_no_key_is_the_bias_of_the_output_and_passes_nothing_back(module: MultiHeadAttention) -> None:
    x = sequence().requires_grad_()
    mask = torch.ones(B, 1, T, T, dtype=torch.bool)
    mask[1] = False
    output = module(x, x, x, mask)[1]
    close(output, module.output.bias.expand(T, D))
    others = [parameter for name, parameter in module.named_parameters() if not name.startswith("output")]
    for gradient in torch.autograd.grad(output.sum(), [x, *others], allow_unused=True):
        assert gradient is None or (gradient == 0).all()


def test_order_has_influence(module: MultiHeadAttention) -> None:
    """Swapping two words changes what the last one receives from them; plain attention would not notice."""
    x = sequence()
    swapped = x[:, [0, 1, 2, 4, 3, 5]]
    assert (module(swapped, swapped, swapped) - module(x, x, x))[:, -1].abs().max() > 1e-3


def test_only_the_offset_counts(module: MultiHeadAttention) -> None:
    """Three words in front that nobody may attend move all positions by three, and change nothing."""
    x, causal = sequence(), causal_mask(T)
    longer = torch.cat((sequence(3), x), dim=1)
    hidden = torch.arange(T + 3) >= 3
    mask = combine_masks(causal_mask(T + 3), hidden[None])
    close(module(longer, longer, longer, mask)[:, 3:], module(x, x, x, causal))


def test_cached_steps_equal_the_full_forward_for_every_split(module: MultiHeadAttention) -> None:
    x, causal = sequence(), causal_mask(T)
    full = module(x, x, x, causal)
    keys, values = module.project(x, x)
    for end in range(1, T + 1):
        for start in range(end):
            step = module.attend(x[:, start:end], keys[:, :, :end], values[:, :, :end], causal[start:end, :end])
            close(step, full[:, start:end])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_stays_near_float64(module: MultiHeadAttention, dtype: torch.dtype) -> None:
    x = (sequence() / 4).to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.to(dtype))
    expected = module(*3 * [x.double()], MASKS["causal"])
    half = module.to(dtype)
    for output in (half(x, x, x, MASKS["causal"]), half.with_weights(x, x, x, MASKS["causal"])[0]):
        assert output.dtype == dtype
        error = (output.double() - expected).abs().max() / expected.abs().max()
        assert error < 4 * torch.finfo(dtype).eps


def test_more_queries_than_keys_are_refused(module: MultiHeadAttention) -> None:
    with pytest.raises(ValueError, match="got 6 queries"):
        module(sequence(), sequence(4), sequence(4))


def test_absolute_and_relative_positions_mix(module: MultiHeadAttention) -> None:
    """Question 18: sinusoids on the words and relative terms in the attention, by plain composition."""
    layer = EncoderLayer(module, FeedForward(D, 24), dropout=0.0).double()
    absolute = PositionalEncoding(D)
    x = sequence()
    longer, hidden = torch.cat((sequence(3), x), dim=1), (torch.arange(T + 3) >= 3)[None].expand(T + 3, -1)
    relative_alone = layer(longer, hidden)[:, 3:] - layer(x)
    mixed = layer(absolute(longer), hidden)[:, 3:] - layer(absolute(x))
    assert relative_alone.abs().max() < 1e-12
    assert mixed.abs().max() > 1e-3  # the absolute position is known as well


def test_all_is_done_on_the_device_of_the_input(module: MultiHeadAttention, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index on another device would do, but slowly."""
    devices = []

    def noted(targets: int, sources: int, *, device: torch.device | None = None) -> Tensor:
        devices.append(str(device))
        return key_offsets(targets, sources, device=device)

    for scheme in (alibi, relative, t5_bias):
        monkeypatch.setattr(scheme, "key_offsets", noted)
    x = sequence().to("meta")
    assert module.to("meta")(x, x, x).device.type == "meta"
    assert set(devices) <= {"meta"}
