from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reference.training.fused_cross_entropy import fused_cross_entropy
from reference.training.loss import sequence_cross_entropy

PADDING = 0
TARGET = torch.tensor([[3, 1, 4, 2], [2, 4, PADDING, PADDING], [1, PADDING, PADDING, PADDING]])
Equal = Callable[..., None]


def both(
    target: Tensor, dtype: torch.dtype, scale: float = 1.0, **options: object
) -> tuple[list[Tensor], list[Tensor]]:
    """Value and gradient of the loss and of its twin, under an upstream gradient that is not 1."""
    drawn = (scale * torch.randn(*target.shape, 6, dtype=torch.float64)).to(dtype)
    answers = []
    for loss in (fused_cross_entropy, sequence_cross_entropy):
        logits = drawn.clone().requires_grad_()
        value = loss(logits, target, **options)
        (-3 * value).backward()
        answers.append([value.detach(), logits.grad])
    return answers[0], answers[1]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("padding_id", [PADDING, -100, 5])
def test_it_equals_its_twin(
    smoothing: float, reduction: str, padding_id: int, dtype: torch.dtype, equal: Equal
) -> None:
    target = TARGET.masked_fill(TARGET == PADDING, padding_id)
    options = {"padding_id": padding_id, "label_smoothing": smoothing, "reduction": reduction}
    for ours, theirs in zip(*both(target, dtype, **options), strict=True):
        equal(ours, theirs)


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_it_equals_its_twin_at_any_size_of_the_logits(scale: float, dtype: torch.dtype, equal: Equal) -> None:
    for ours, theirs in zip(*both(TARGET, dtype, scale, padding_id=PADDING, label_smoothing=0.1), strict=True):
        equal(ours, theirs)


def test_half_precision_keeps_its_type() -> None:
    for ours, theirs in zip(*both(TARGET, torch.bfloat16, padding_id=PADDING, label_smoothing=0.1), strict=True):
        assert ours.dtype == theirs.dtype == torch.bfloat16
        assert torch.allclose(ours.float(), theirs.float(), rtol=0.02, atol=0.02)


def test_under_autocast_the_loss_is_computed_in_float32(equal: Equal) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for ours, theirs in zip(*both(TARGET, torch.bfloat16, padding_id=PADDING, label_smoothing=0.1), strict=True):
            assert ours.dtype == theirs.dtype
            equal(ours.float(), theirs.float())


def test_padding_alone_gives_zero_and_zero_gradients() -> None:
    (value, gradient), _ = both(torch.full_like(TARGET, PADDING), torch.float64, padding_id=PADDING)
    assert value.item() == 0
    assert (gradient == 0).all()


def test_the_gradient_is_exactly_zero_at_padding() -> None:
    (_, gradient), _ = both(TARGET, torch.float32, padding_id=PADDING, label_smoothing=0.1)
    assert (gradient[TARGET == PADDING] == 0).all()
    assert (gradient[TARGET != PADDING] != 0).all()


def test_the_gradient_is_that_of_the_value() -> None:
    logits = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: fused_cross_entropy(x, TARGET, padding_id=PADDING, label_smoothing=0.1), logits
    )


def test_it_may_be_gone_back_through_twice() -> None:
    logits = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    loss = fused_cross_entropy(logits, TARGET, padding_id=PADDING)
    first, second = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for _ in range(2))
    assert first.equal(second)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1])
def test_a_smoothing_outside_the_unit_interval_is_refused(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing must be a probability between 0 and 1, got"):
        both(TARGET, torch.float64, padding_id=PADDING, label_smoothing=smoothing)


@pytest.mark.parametrize("stranger", [6, -1])
def test_an_id_outside_the_vocabulary_is_refused(stranger: int) -> None:
    with pytest.raises(RuntimeError, match="out of bounds"):
        both(TARGET.masked_fill(TARGET == 4, stranger), torch.float64, padding_id=PADDING)


def test_its_defaults_are_those_of_its_twin() -> None:
    for ours, theirs in zip(*both(TARGET, torch.float64, padding_id=PADDING), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_single_token_and_a_vocabulary_of_one_are_no_special_cases() -> None:
    target = torch.tensor([[2, PADDING, PADDING, PADDING]])
    for ours, theirs in zip(*both(target, torch.float64, padding_id=PADDING), strict=True):
        torch.testing.assert_close(ours, theirs)
    logits = torch.randn(1, 2, 1)
    assert fused_cross_entropy(logits, torch.tensor([[0, -100]]), padding_id=-100).item() == 0
