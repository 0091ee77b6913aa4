"""Dependency depth, on computations of which it is known."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from errata.refutations.depth import longest_chain, step_by_step
from errata.refutations.measure import normal, seeded


def test_the_longest_chain_follows_what_waits_for_what() -> None:
    x = torch.ones(3, requires_grad=True)
    side_by_side = torch.stack([x.sin(), x.cos(), x.exp()])
    in_series = x.sin().cos().exp()
    assert longest_chain(in_series) - longest_chain(x.sin()) == 2
    assert longest_chain(side_by_side) - longest_chain(x.sin()) == 1


def test_nothing_recorded_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was recorded"):
        longest_chain(torch.ones(3))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_recurrence_waits_as_often_as_it_has_words(kind: Callable[..., nn.RNNBase]) -> None:
    module = seeded(lambda: kind(4, 5, batch_first=True)).double()
    layer = step_by_step(module)
    torch.testing.assert_close(layer(normal(2, 7, 4)), module(normal(2, 7, 4))[0])
    four, five, nine = (longest_chain(layer(normal(1, length, 4))) for length in (4, 5, 9))
    assert nine - four == 5 * (five - four) > 0


def test_a_fused_recurrent_kernel_is_refused() -> None:
    """It is one operation for any number of words."""
    module = nn.LSTM(4, 4, batch_first=True)
    with pytest.raises(ValueError, match="hides its steps"):
        longest_chain(module(torch.ones(1, 3, 4, requires_grad=True))[0])


def test_a_loop_over_words_that_do_not_wait_is_no_longer_for_more_of_them() -> None:
    layer = nn.Linear(4, 4)
    short, long = (
        longest_chain(torch.cat([layer(word) for word in torch.ones(length, 1, 4).unbind()])) for length in (4, 9)
    )
    assert short == long
