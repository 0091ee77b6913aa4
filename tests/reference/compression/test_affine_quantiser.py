import numpy as np
import pytest
import torch
from torch import Tensor
from torchao.quantization.quant_primitives import MappingType, choose_qparams_affine, dequantize_affine, quantize_affine

from reference.compression import AffineQuantiser

KINDS = [(symmetric, axis, bits) for symmetric in (False, True) for axis in (None, 0, 1, -1) for bits in (2, 4, 8)]


def values(shape: tuple[int, ...] = (5, 7), shift: float = 0.0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64) * 3 + shift


@pytest.mark.parametrize(("symmetric", "axis", "bits"), KINDS)
@pytest.mark.parametrize("shift", [0.0, 4.0, -50.0])
def test_the_error_is_at_most_half_a_step(symmetric: bool, axis: int | None, bits: int, shift: float) -> None:
    x = values(shift=shift)
    quantiser = AffineQuantiser.covering(x, bits=bits, symmetric=symmetric, axis=axis)
    error = (quantiser.dequantise(quantiser.quantise(x)) - x).abs()
    assert (error <= quantiser.scale * (0.5 + 1e-12)).all()


@pytest.mark.parametrize(("symmetric", "axis", "bits"), KINDS)
def test_the_steps_are_those_of_the_formula(symmetric: bool, axis: int | None, bits: int) -> None:
    x = values(shift=1.0)
    quantiser = AffineQuantiser.covering(x, bits=bits, symmetric=symmetric, axis=axis)
    array = x.numpy()
    other = None if axis is None else 1 - axis % 2
    low, high = (f(array, axis=other, keepdims=True) for f in (np.min, np.max))
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    largest = 2 ** (bits - 1) - 1
    expected = np.maximum(-low, high) / largest if symmetric else (high - low) / (2 * largest + 1)
    assert quantiser.scale.shape == expected.shape
    np.testing.assert_allclose(quantiser.scale.numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize(("symmetric", "axis", "bits"), KINDS)
@pytest.mark.parametrize("shift", [0.0, 4.0, -50.0])
def test_zero_is_exact_and_its_integer_in_range(symmetric: bool, axis: int | None, bits: int, shift: float) -> None:
    x = values(shift=shift)
    quantiser = AffineQuantiser.covering(x, bits=bits, symmetric=symmetric, axis=axis)
    zeros = torch.zeros_like(x)
    integers = quantiser.quantise(zeros)
    assert torch.equal(integers, quantiser.zero_point.expand(x.shape))
    assert torch.equal(quantiser.dequantise(integers), zeros)
    assert (quantiser.zero_point >= quantiser.lowest).all()
    assert (quantiser.zero_point <= quantiser.highest).all()
    assert not symmetric or (quantiser.zero_point == 0).all()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_range_is_used_and_not_left(bits: int) -> None:
    x = values((1000,))
    whole = AffineQuantiser.covering(x, bits=bits).quantise(10 * x)
    assert (whole.min(), whole.max()) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    balanced = AffineQuantiser.covering(x, bits=bits, symmetric=True).quantise(10 * x)
    assert (balanced.min(), balanced.max()) == (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)


def test_values_beyond_the_range_saturate() -> None:
    quantiser = AffineQuantiser.covering(torch.tensor([-1.0, 3.0]))
    assert quantiser.quantise(torch.tensor([-100.0, 100.0])).tolist() == [-128, 127]
    ends = quantiser.dequantise(torch.tensor([-128, 127], dtype=torch.int8))
    torch.testing.assert_close(ends, torch.tensor([-1.0, 3.0]), rtol=0, atol=quantiser.scale.item() / 2)


def test_rounds_to_the_nearest() -> None:
    quantiser = AffineQuantiser.covering(torch.tensor([-127.0, 127.0]), symmetric=True)
    assert quantiser.quantise(torch.tensor([1.4, 1.6, -1.4, -1.6])).tolist() == [1, 2, -1, -2]


def test_each_channel_has_a_scale_of_its_own() -> None:
    x = values((2, 3))
    x[0] *= 1000
    small = AffineQuantiser.covering(x[1:])
    both = AffineQuantiser.covering(x, axis=0)
    assert torch.equal(both.quantise(x)[1:], small.quantise(x[1:]))
    assert both.scale.shape == (2, 1)


def test_a_constant_of_zeros_stays_zero() -> None:
    zeros = torch.zeros(2, 3)
    for symmetric in (False, True):
        quantiser = AffineQuantiser.covering(zeros, symmetric=symmetric, axis=0)
        assert torch.equal(quantiser.dequantise(quantiser.quantise(zeros)), zeros)
        assert (quantiser.scale == 1).all()


@pytest.mark.parametrize("axis", [None, 0])
def test_equals_torchao(axis: int | None) -> None:
    x = values().float()
    ours = AffineQuantiser.covering(x, axis=axis)
    block = (5, 7) if axis is None else (1, 7)
    scale, zero_point = choose_qparams_affine(x, MappingType.ASYMMETRIC, block, torch.int8)
    theirs = quantize_affine(x, block, scale, zero_point, torch.int8)
    torch.testing.assert_close(ours.scale.flatten(), scale.flatten())
    assert torch.equal(ours.zero_point.flatten(), zero_point.flatten())
    assert torch.equal(ours.quantise(x), theirs)
    torch.testing.assert_close(ours.dequantise(theirs), dequantize_affine(theirs, block, scale, zero_point, torch.int8))


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.zeros(2), {"bits": 1}, "bits must be at least 2, got 1"),
        (torch.zeros(2), {"bits": 9}, "bits must be at most 8, got 9"),
        (torch.zeros(0, 3), {}, r"values must be finite and at least one, got shape \(0, 3\)"),
        (torch.tensor([1.0, float("nan")]), {}, r"values must be finite and at least one, got shape \(2,\)"),
    ],
)
def test_bad_arguments(x: Tensor, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AffineQuantiser.covering(x, **options)


@pytest.mark.parametrize("symmetric", [False, True])
def test_constant_zero_has_a_scale_and_stays_zero(symmetric: bool) -> None:
    quantiser = AffineQuantiser.covering(torch.zeros(3), symmetric=symmetric)
    assert quantiser.scale.item() == 1
    assert quantiser.zero_point.item() == (0 if symmetric else -128)
    assert quantiser.dequantise(quantiser.quantise(torch.zeros(3))).tolist() == [0, 0, 0]
