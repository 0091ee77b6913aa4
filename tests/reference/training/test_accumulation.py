import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from reference.training.accumulation import accumulate_gradients
from reference.training.loss import sequence_cross_entropy
from reference.training.optimizers import gradient_descent

PADDING = 0
LABELS = torch.tensor([[3, 1, 4, 2], [2, PADDING, PADDING, PADDING], [1, 4, PADDING, PADDING]])
INPUTS = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def model() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(5, 6).double()


def losses(linear: nn.Linear, sizes: list[int], reduction: str = "sum") -> Iterator[Tensor]:
    for inputs, labels in zip(INPUTS.split(sizes), LABELS.split(sizes), strict=True):
        yield sequence_cross_entropy(linear(inputs), labels, padding_id=PADDING, reduction=reduction)


@pytest.mark.parametrize("sizes", [[3], [1, 2], [2, 1], [1, 1, 1]])
def test_parts_of_unequal_numbers_of_tokens_equal_the_whole_batch(sizes: list[int]) -> None:
    whole, parts = model(), model()
    expected = sequence_cross_entropy(whole(INPUTS), LABELS, padding_id=PADDING)
    expected.backward()
    mean = accumulate_gradients(losses(parts, sizes), tokens=7)
    assert mean.item() == pytest.approx(expected.item(), rel=1e-12)
    assert not mean.requires_grad
    for ours, theirs in zip(parts.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-12, atol=1e-15)


def test_the_mean_of_means_would_be_another_gradient() -> None:
    whole, parts = model(), model()
    sequence_cross_entropy(whole(INPUTS), LABELS, padding_id=PADDING).backward()
    accumulate_gradients(losses(parts, [1, 1, 1], "mean"), tokens=3)
    assert (parts.weight.grad - whole.weight.grad).abs().max() > 0.01


def trained(sizes: list[int], together: bool) -> Tensor:
    """The weight after three passes over the data, with one step a pass or one step a part."""
    linear = model()
    optimizer = gradient_descent(linear.parameters(), 0.1)
    for _ in range(3):
        whole = losses(linear, sizes)
        for parts in [whole] if together else ([part] for part in whole):
            optimizer.zero_grad()
            accumulate_gradients(parts, tokens=7)
            optimizer.step()
    return linear.weight.detach()


def test_accumulated_over_all_data_it_is_gradient_descent_and_not_stochastic() -> None:
    descent = trained([3], together=True)
    assert torch.allclose(trained([1, 1, 1], together=True), descent, rtol=1e-12, atol=1e-15)
    assert (trained([1, 1, 1], together=False) - descent).abs().max() > 1e-4


def test_one_graph_at_a_time_is_alive() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def watched() -> Iterator[Tensor]:
        for loss in losses(model(), [1, 1, 1]):
            assert all(reference() is None for reference in alive[:-1])
            alive.append(weakref.ref(loss))
            yield loss

    accumulate_gradients(watched(), tokens=7)
    assert len(alive) == 3


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="tokens must be at least 1, got 0"):
        accumulate_gradients(losses(model(), [3]), tokens=0)
    with pytest.raises(ValueError, match="losses must hold at least one loss, got none"):
        accumulate_gradients([], tokens=1)
