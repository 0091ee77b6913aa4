from collections.abc import Callable

import pytest
import torch
from torch import nn

from reference import LayerNorm


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_equals_torch_forward_and_gradients(
    equal: object, dtype: torch.dtype, shape: tuple[int, ...], scale: float, eps: float
) -> None:
    module = LayerNorm(7, eps).to(dtype)
    nn.init.normal_(module.gain)
    nn.init.normal_(module.bias)
    x = (scale * torch.randn(shape, dtype=dtype)).requires_grad_()
    leaves = (x, module.gain, module.bias)
    results = []
    for output in (module(x), nn.functional.layer_norm(x, (7,), module.gain, module.bias, eps)):
        cotangent = torch.linspace(-1, 1, output.numel(), dtype=dtype).reshape(shape)
        results.append((output, *torch.autograd.grad(output, leaves, cotangent)))
    for ours, theirs in zip(*results, strict=True):
        equal(ours, theirs)


def test_closed_form_has_the_biased_variance() -> None:
    """Values 0 and 2: mean 1, biased variance 1 (unbiased 2), so the result is -1 and 1."""
    output = LayerNorm(2, 0.0)(torch.tensor([0.0, 2.0]))
    assert output.tolist() == [-1, 1]


def test_eps_stands_inside_the_root() -> None:
    output = LayerNorm(2, 3.0)(torch.tensor([0.0, 2.0]))
    assert output.tolist() == [-0.5, 0.5]  # 1 / sqrt(1 + 3), not 1 / (1 + 3)


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [5.0, 5.0, 5.0], [-1e15, -1e15, -1e15]])
def test_a_constant_row_gives_the_bias_and_finite_gradients(row: list[float]) -> None:
    module = LayerNorm(3)
    nn.init.normal_(module.bias)
    x = torch.tensor(row, requires_grad=True)
    output = module(x)
    output.square().sum().backward()
    assert torch.equal(output, module.bias)
    assert x.grad.isfinite().all()


def test_width_one_gives_the_bias() -> None:
    assert LayerNorm(1)(torch.randn(4, 1)).tolist() == [[0]] * 4


def test_stepwise_is_its_eager_twin(dtype: torch.dtype, equal: Callable[..., None]) -> None:
    module = LayerNorm(7).to(dtype)
    nn.init.normal_(module.gain)
    nn.init.normal_(module.bias)
    x = torch.randn(3, 5, 7, dtype=dtype, requires_grad=True)
    inputs = [x, *module.parameters()]
    cotangent = torch.randn_like(x)
    fused, stepwise = module(x), module.stepwise(x)
    equal(stepwise, fused)
    gradients = (torch.autograd.grad(output, inputs, cotangent) for output in (stepwise, fused))
    for actual, expected in zip(*gradients, strict=True):
        equal(actual, expected, "gradient")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_does_not_overflow(dtype: torch.dtype) -> None:
    x = torch.tensor([-3e4, 0.0, 3e4], dtype=dtype)
    module = LayerNorm(3).to(dtype)
    for output in (module(x), module.stepwise(x)):
        assert output.dtype == dtype
        assert output.tolist() == pytest.approx([-(1.5**0.5), 0, 1.5**0.5], abs=0.01)


def test_positions_are_independent() -> None:
    x = torch.randn(2, 3, 4)
    before = LayerNorm(4)(x)
    x[0, 1] += torch.randn(4)
    changed = (LayerNorm(4)(x) != before).any(-1)
    assert changed.tolist() == [[False, True, False], [False, False, False]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0,), "width must be at least 1, got 0"), ((3, -1e-6), "eps must be at least 0, got -1e-06")],
)
def test_bad_arguments(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LayerNorm(*arguments)
