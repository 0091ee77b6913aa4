import pytest
import torch
from torch import nn

from reference.training.clipping import clip_gradients


def parameters(*gradients: list[float]) -> list[nn.Parameter]:
    made = [nn.Parameter(torch.zeros(len(gradient), dtype=torch.float64)) for gradient in gradients]
    for parameter, gradient in zip(made, gradients, strict=True):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    return made


def test_long_gradients_are_scaled_by_one_factor() -> None:
    some = parameters([3.0, 0.0], [0.0, -4.0])
    norm = clip_gradients(some, 1.0)
    assert norm.item() == pytest.approx(5.0)
    assert some[0].grad.tolist() == pytest.approx([0.6, 0.0], rel=1e-5)
    assert some[1].grad.tolist() == pytest.approx([0.0, -0.8], rel=1e-5)


def test_short_gradients_stay_as_they_are() -> None:
    some = parameters([3.0, 0.0], [0.0, -4.0])
    assert clip_gradients(iter(some), 5.1).item() == pytest.approx(5.0)
    assert [parameter.grad.tolist() for parameter in some] == [[3.0, 0.0], [0.0, -4.0]]


def test_parameters_without_a_gradient_are_left_out() -> None:
    some = [*parameters([3.0, 4.0]), nn.Parameter(torch.ones(1))]
    assert clip_gradients(some, 10.0).item() == pytest.approx(5.0)
    assert some[1].grad is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_refused_and_nothing_is_changed(value: float) -> None:
    some = parameters([3.0, 4.0], [value])
    with pytest.raises(RuntimeError, match="non-finite"):
        clip_gradients(some, 1.0)
    assert some[0].grad.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("max_norm", [0.0, -1.0, float("nan")])
def test_a_norm_that_is_not_positive_is_refused(max_norm: float) -> None:
    with pytest.raises(ValueError, match="max_norm must be positive, got"):
        clip_gradients(parameters([1.0]), max_norm)
