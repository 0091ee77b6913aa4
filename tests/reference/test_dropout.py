import pytest
import torch

from reference import Dropout, dropout


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("probability", [0.002, 0.1, 0.9])
def test_kept_elements_are_scaled_and_the_rate_is_right(dtype: torch.dtype, probability: float) -> None:
    x = torch.full((300, 300), 2.0, dtype=dtype)
    y = dropout(x, probability)
    assert y.dtype == dtype
    assert set(y.unique().tolist()) == {0.0, (x[0, 0] * (1 / (1 - probability))).item()}
    deviation = (probability * (1 - probability) / x.numel()) ** 0.5
    assert (y == 0).double().mean().item() == pytest.approx(probability, abs=4 * deviation)


def test_elements_are_dropped_one_by_one() -> None:
    dropped = dropout(torch.ones(40, 40), 0.5) == 0
    for axis in (0, 1):
        assert dropped.any(axis).all()
        assert not dropped.all(axis).any()


def test_probability_one_gives_zeros_and_zero_gradient() -> None:
    x = torch.tensor([1.0, float("inf")], requires_grad=True)
    y = dropout(x, 1.0)
    y.sum().backward()
    assert y.tolist() == x.grad.tolist() == [0, 0]


def test_the_gradient_goes_through_the_same_elements() -> None:
    x = torch.randn(100, requires_grad=True)
    y = dropout(x, 0.3)
    y.sum().backward()
    torch.testing.assert_close(y, x * x.grad)


def test_module_is_random_in_training_and_the_identity_in_evaluation() -> None:
    x = torch.randn(50)
    module = Dropout(0.5)
    assert not torch.equal(module(x), module(x))
    assert torch.equal(module.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert repr(module) == "Dropout(probability=0.5)"


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(probability: float) -> None:
    message = f"dropout must be a probability between 0 and 1, got {probability}"
    with pytest.raises(ValueError, match=message):
        Dropout(probability)
    with pytest.raises(ValueError, match=message):
        dropout(torch.ones(1), probability)
