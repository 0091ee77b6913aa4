from collections.abc import Callable

import pytest
import torch
from torch import nn

from reference.layer_norm import LayerNorm
from reference.rms_norm import RMSNorm


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_equals_torch_forward_and_gradients(
    equal: Callable[..., None], dtype: torch.dtype, shape: tuple[int, ...], scale: float, eps: float
) -> None:
    module = RMSNorm(7, eps).to(dtype)
    nn.init.normal_(module.gain)
    x = (scale * torch.randn(shape, dtype=dtype)).requires_grad_()
    cotangent = torch.randn(shape, dtype=dtype)
    results = []
    for output in (module(x), nn.functional.rms_norm(x, (7,), module.gain, eps)):
        results.append((output, *torch.autograd.grad(output, (x, module.gain), cotangent)))
    for ours, theirs in zip(*results, strict=True):
        equal(ours, theirs)


def test_closed_form() -> None:
    """Values 1 and 7: mean square 25."""
    assert RMSNorm(2, 0.0)(torch.tensor([1.0, 7.0])).tolist() == pytest.approx([0.2, 1.4])


def test_eps_stands_inside_the_root() -> None:
    assert RMSNorm(2, 24.0)(torch.tensor([1.0, 1.0])).tolist() == pytest.approx([0.2, 0.2])


def test_equals_layer_norm_where_the_mean_is_zero(dtype: torch.dtype, equal: Callable[..., None]) -> None:
    """Section 4: when the mean of the summed inputs is zero, the two are the same."""
    x = torch.randn(4, 7, dtype=dtype)
    x = x - x.mean(dim=-1, keepdim=True)
    equal(RMSNorm(7).to(dtype)(x), LayerNorm(7).to(dtype)(x))


def test_a_row_of_zeros_gives_zeros_and_finite_gradients() -> None:
    x = torch.zeros(3, requires_grad=True)
    output = RMSNorm(3)(x)
    output.sum().backward()
    assert output.tolist() == [0, 0, 0]
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_does_not_overflow(dtype: torch.dtype) -> None:
    x = torch.tensor([-3e4, 0.0, 3e4], dtype=dtype)
    output = RMSNorm(3).to(dtype)(x)
    assert output.dtype == dtype
    assert output.tolist() == pytest.approx([-(1.5**0.5), 0, 1.5**0.5], abs=0.01)


def test_positions_are_independent() -> None:
    x = torch.randn(2, 3, 4)
    before = RMSNorm(4)(x)
    x[0, 1] += torch.randn(4)
    changed = (RMSNorm(4)(x) != before).any(-1)
    assert changed.tolist() == [[False, True, False], [False, False, False]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0,), "width must be at least 1, got 0"), ((3, -1e-6), "eps must be at least 0, got -1e-06")],
)
def test_bad_arguments(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RMSNorm(*arguments)
