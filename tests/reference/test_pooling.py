from collections.abc import Callable

import pytest
import torch

from reference.pooling import first_real, mean_of_real

POOLS = pytest.mark.parametrize("pool", [mean_of_real, first_real])
REAL = torch.tensor([[True, True, False, False], [True, True, True, True], [False, False, True, False]])


def test_the_mean_is_over_real_positions_alone() -> None:
    states = torch.randn(3, 4, 5, dtype=torch.float64)
    expected = torch.stack([states[b, REAL[b]].mean(dim=0) for b in range(3)])
    assert torch.allclose(mean_of_real(states, REAL), expected, rtol=1e-14)


def test_the_first_is_the_first_real_position_wherever_it_stands() -> None:
    states = torch.randn(3, 4, 5)
    assert first_real(states, REAL).equal(torch.stack([states[0, 0], states[1, 0], states[2, 2]]))


@POOLS
def test_padding_has_no_influence_not_even_nan_and_gets_no_gradient(pool: Callable) -> None:
    states = torch.randn(3, 4, 5)
    expected = pool(states, REAL)
    states[~REAL] = torch.nan
    states.requires_grad_()
    pooled = pool(states, REAL)
    assert pooled.equal(expected)
    pooled.sum().backward()
    assert not states.grad[~REAL].any()
    assert states.grad[REAL].isfinite().all()


@POOLS
def test_padding_alone_gives_zero(pool: Callable) -> None:
    assert pool(torch.randn(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool)).equal(torch.zeros(2, 4))


def test_the_mean_does_not_know_the_order_and_the_first_knows_only_the_first() -> None:
    states, real = torch.randn(1, 4, 5, dtype=torch.float64), torch.ones(1, 4, dtype=torch.bool)
    assert torch.allclose(mean_of_real(states.flip(1), real), mean_of_real(states, real), rtol=1e-14)
    assert first_real(states.flip(1), real).equal(states[:, 3])
    others = states.clone()
    others[:, 1:] += 1
    assert first_real(others, real).equal(first_real(states, real))
