import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from reference.training.loss import sequence_cross_entropy, sequence_squared_error

PADDING = 0
TARGET = torch.tensor([[3, 1, 4, 2], [2, 4, PADDING, PADDING], [1, PADDING, PADDING, PADDING]])


def logits(dtype: torch.dtype = torch.float64, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(3, 4, 6, dtype=torch.float64)).to(dtype).requires_grad_()


def smoothed(values: Tensor, target: Tensor, right: float, wrong: float) -> np.ndarray:
    """The loss at each position, term by term: probability `right` for the target and `wrong` for each other entry."""
    scores = values.detach().double().numpy()
    log_probabilities = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    losses = np.zeros(target.shape)
    for place in np.ndindex(*target.shape):
        for k, log_probability in enumerate(log_probabilities[place]):
            losses[place] -= (right if k == target[place] else wrong) * log_probability
    return losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_is_the_closed_form_averaged_over_the_tokens(smoothing: float) -> None:
    values = logits()
    expected = smoothed(values, TARGET, 1 - smoothing + smoothing / 6, smoothing / 6)
    loss = sequence_cross_entropy(values, TARGET, padding_id=PADDING, label_smoothing=smoothing)
    assert loss.item() == pytest.approx(expected[TARGET != PADDING].mean(), rel=1e-12)


@pytest.mark.parametrize("padding_id", [5, -100])
def test_any_id_may_stand_for_padding(padding_id: int) -> None:
    values = logits()
    expected = sequence_cross_entropy(values, TARGET, padding_id=PADDING)
    target = TARGET.masked_fill(TARGET == PADDING, padding_id)
    assert sequence_cross_entropy(values, target, padding_id=padding_id).item() == expected.item()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_are_the_probabilities_minus_the_labels_over_the_tokens(smoothing: float) -> None:
    values = logits()
    sequence_cross_entropy(values, TARGET, padding_id=PADDING, label_smoothing=smoothing).backward()
    labels = (1 - smoothing) * F.one_hot(TARGET, 6).double() + smoothing / 6
    present = (TARGET != PADDING)[..., None]
    expected = (values.softmax(-1) - labels) * present / 7
    assert torch.allclose(values.grad, expected, rtol=0, atol=1e-15)
    assert (values.grad[TARGET == PADDING] == 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_reductions_agree(smoothing: float) -> None:
    values = logits()
    each, total, mean = (
        sequence_cross_entropy(values, TARGET, padding_id=PADDING, label_smoothing=smoothing, reduction=reduction)
        for reduction in ("none", "sum", "mean")
    )
    assert each.shape == TARGET.shape
    assert (each[TARGET == PADDING] == 0).all()
    assert each.sum().item() == pytest.approx(total.item(), rel=1e-12)
    assert mean.item() == pytest.approx(total.item() / 7, rel=1e-12)


def test_the_mean_is_that_of_torch_when_there_is_a_token() -> None:
    values = logits()
    theirs = F.cross_entropy(values.flatten(0, 1), TARGET.flatten(), ignore_index=PADDING, label_smoothing=0.1)
    ours = sequence_cross_entropy(values, TARGET, padding_id=PADDING, label_smoothing=0.1)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-14)


def test_spreading_over_the_wrong_entries_alone_is_a_larger_smoothing() -> None:
    values = logits()
    expected = smoothed(values, TARGET, 0.9, 0.1 / 5)[TARGET != PADDING].mean()
    ours = sequence_cross_entropy(values, TARGET, padding_id=PADDING, label_smoothing=0.1 * 6 / 5)
    assert ours.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_padding_alone_gives_zero_and_zero_gradients(smoothing: float, reduction: str) -> None:
    values = logits()
    target = torch.full_like(TARGET, PADDING)
    loss = sequence_cross_entropy(
        values, target, padding_id=PADDING, label_smoothing=smoothing, reduction=reduction
    ).sum()
    loss.backward()
    assert loss.item() == 0
    assert (values.grad == 0).all()


def test_large_logits_stay_finite(dtype: torch.dtype) -> None:
    values = logits(dtype, scale=1e4)
    loss = sequence_cross_entropy(values, TARGET, padding_id=PADDING, label_smoothing=0.1)
    loss.backward()
    assert loss.dtype == dtype
    assert loss.isfinite()
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_a_smoothing_outside_the_unit_interval_is_refused(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing must be a probability between 0 and 1, got"):
        sequence_cross_entropy(logits(), TARGET, padding_id=PADDING, label_smoothing=smoothing)


@pytest.mark.parametrize("stranger", [6, -1])
def test_an_id_outside_the_vocabulary_is_refused(stranger: int) -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        sequence_cross_entropy(logits(), TARGET.masked_fill(TARGET == 4, stranger), padding_id=PADDING)


PRESENT = torch.tensor([[True, True, True], [False, True, False]])


def test_squared_error_is_the_closed_form() -> None:
    prediction, target = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    expected = ((prediction - target)[PRESENT].numpy() ** 2).mean()
    assert sequence_squared_error(prediction, target, PRESENT).item() == pytest.approx(expected, rel=1e-14)
    everything = torch.ones_like(PRESENT)
    theirs = F.mse_loss(prediction, target).item()
    assert sequence_squared_error(prediction, target, everything).item() == pytest.approx(theirs, rel=1e-14)


def test_nan_at_absent_positions_has_no_influence() -> None:
    prediction, target = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    expected = sequence_squared_error(prediction, target, PRESENT)
    prediction[~PRESENT] = float("nan")
    target[~PRESENT] = float("inf")
    loss = sequence_squared_error(prediction.requires_grad_(), target, PRESENT)
    loss.backward()
    assert loss.item() == expected.item()
    assert (prediction.grad[~PRESENT] == 0).all()
    assert prediction.grad.isfinite().all()


def test_nothing_present_gives_zero_and_zero_gradients() -> None:
    prediction = torch.randn(2, 3, 4, requires_grad=True)
    loss = sequence_squared_error(prediction, torch.randn(2, 3, 4), torch.zeros_like(PRESENT))
    loss.backward()
    assert loss.item() == 0
    assert (prediction.grad == 0).all()


def test_one_number_is_divided_by_one() -> None:
    present = torch.tensor([[True, False]])
    assert sequence_squared_error(torch.tensor([[[3.0], [9.0]]]), torch.zeros(1, 2, 1), present).item() == 9.0


def test_a_single_token_is_divided_by_one() -> None:
    target = torch.tensor([[2, PADDING]])
    values = torch.randn(1, 2, 6)
    expected = F.cross_entropy(values[0, :1], target[0, :1])
    torch.testing.assert_close(sequence_cross_entropy(values, target, padding_id=PADDING), expected)
