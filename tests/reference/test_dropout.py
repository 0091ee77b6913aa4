from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from reference import Dropout, dropout, fast_dropout

Drop = Callable[[Tensor, float], Tensor]


@pytest.fixture(params=[dropout, fast_dropout], ids=["readable", "fast"])
def drop(request: pytest.FixtureRequest) -> Drop:
    """The two twins, of which all the same is true."""
    return request.param


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("probability", [0.002, 0.1, 0.9])
def test_kept_elements_are_scaled_and_the_rate_is_right(drop: Drop, dtype: torch.dtype, probability: float) -> None:
    x = torch.full((300, 300), 2.0, dtype=dtype)
    y = drop(x, probability)
    assert y.dtype == dtype
    assert set(y.unique().tolist()) == {0.0, (x[0, 0] * (1 / (1 - probability))).item()}
    deviation = (probability * (1 - probability) / x.numel()) ** 0.5
    assert (y == 0).double().mean().item() == pytest.approx(probability, abs=4 * deviation)


def test_elements_are_dropped_one_by_one(drop: Drop) -> None:
    dropped = drop(torch.ones(40, 40), 0.5) == 0
    for axis in (0, 1):
        assert dropped.any(axis).all()
        assert not dropped.all(axis).any()


def test_probability_one_gives_zeros_and_zero_gradient(drop: Drop) -> None:
    x = torch.tensor([1.0, float("inf")], requires_grad=True)
    y = drop(x, 1.0)
    y.sum().backward()
    assert y.tolist() == x.grad.tolist() == [0, 0]


def test_the_gradient_goes_through_the_same_elements(drop: Drop) -> None:
    x = torch.randn(100, requires_grad=True)
    y = drop(x, 0.3)
    y.sum().backward()
    torch.testing.assert_close(y, x * x.grad)


def test_probabilities_that_16_bits_cannot_tell_from_0_and_1(drop: Drop) -> None:
    assert drop(torch.ones(50), 1e-9).tolist() == pytest.approx([1.0] * 50)
    assert drop(torch.ones(50), 1 - 1e-9).tolist() == [0.0] * 50
    x = torch.ones(50)
    assert drop(x, 0.0) is x


def test_the_fast_twin_draws_one_word_for_four_elements() -> None:
    torch.manual_seed(1)
    fast_dropout(torch.ones(10), 0.3)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    torch.randint(-(2**63), 2**63 - 1, (3,))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_fast_twin_leaves_it_to_one_kernel_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(nn.functional, "dropout", lambda x, probability: asked.append((x, probability)) or x)
    x = torch.empty(3, device="meta")
    assert fast_dropout(x, 0.3) is x
    assert asked == [(x, 0.3)]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 1001])
def test_any_number_of_elements(drop: Drop, size: int) -> None:
    assert drop(torch.ones(size), 0.5).shape == (size,)


def test_the_four_parts_of_a_random_word_are_independent_and_fair(drop: Drop) -> None:
    """Elements i and i + 1, i + 2, i + 3 are dropped together as often as chance has it."""
    dropped = (drop(torch.ones(40_000), 0.3) == 0).double()
    for part in range(4):
        assert dropped[part::4].mean().item() == pytest.approx(0.3, abs=0.02)
        for other in range(part):
            assert (dropped[part::4] * dropped[other::4]).mean().item() == pytest.approx(0.09, abs=0.015)


def test_the_seed_decides(drop: Drop) -> None:
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(drop(torch.ones(64), 0.5))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_module_is_random_in_training_and_the_identity_in_evaluation() -> None:
    x = torch.randn(50)
    module = Dropout(0.5)
    assert not torch.equal(module(x), module(x))
    assert torch.equal(module.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert repr(module) == "Dropout(probability=0.5)"


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(drop: Drop, probability: float) -> None:
    message = f"dropout must be a probability between 0 and 1, got {probability}"
    with pytest.raises(ValueError, match=message):
        Dropout(probability)
    with pytest.raises(ValueError, match=message):
        drop(torch.ones(1), probability)
