from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torchmetrics.functional import classification as torchmetrics

from reference.evaluation import (
    PrecisionRecallF1,
    accuracy,
    confusion_matrix,
    macro_average,
    micro_average,
    per_class,
)

PADDING = -100


@st.composite
def corpora(draw: Callable) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Predictions, labels and the number of classes: classes absent from either or both, padding, one class alone."""
    classes = draw(st.integers(1, 5))
    some = st.sets(st.integers(0, classes - 1), min_size=1).flatmap(lambda ids: st.sampled_from(sorted(ids)))
    size = draw(st.integers(1, 25))
    labels = draw(st.lists(some | st.just(PADDING), min_size=size, max_size=size))
    labels[draw(st.integers(0, size - 1))] = draw(some)
    predictions = draw(st.lists(some, min_size=size, max_size=size))
    return torch.tensor(predictions), torch.tensor(labels), classes


def numpy(scores: PrecisionRecallF1) -> np.ndarray:
    return torch.stack(list(scores)).numpy()


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(corpora())
@settings(max_examples=80, deadline=None)
def test_all_metrics_are_those_of_scikit_learn(corpus: tuple[torch.Tensor, torch.Tensor, int]) -> None:
    predictions, labels, classes = corpus
    matrix = confusion_matrix(predictions, labels, classes, ignored=PADDING)
    real = labels != PADDING
    y, z = labels[real].numpy(), predictions[real].numpy()
    every = list(range(classes))
    assert (matrix.numpy() == sklearn.confusion_matrix(y, z, labels=every)).all()
    assert accuracy(matrix).item() == pytest.approx(sklearn.accuracy_score(y, z), abs=1e-12)
    for ours, options in (
        (per_class(matrix), {"average": None, "labels": every}),
        (micro_average(matrix), {"average": "micro"}),
        (macro_average(matrix), {"average": "macro"}),
    ):
        theirs = sklearn.precision_recall_fscore_support(y, z, zero_division=0, **options)[:3]
        np.testing.assert_allclose(numpy(ours), np.array(theirs), atol=1e-12)


@given(corpora())
@settings(max_examples=60, deadline=None)
def test_all_metrics_are_those_of_torchmetrics(corpus: tuple[torch.Tensor, torch.Tensor, int]) -> None:
    predictions, labels, classes = corpus
    classes = max(classes, 2)  # torchmetrics knows no fewer
    matrix = confusion_matrix(predictions, labels, classes, ignored=PADDING)
    for ours, average in (
        (per_class(matrix), "none"),
        (micro_average(matrix), "micro"),
        (macro_average(matrix), "macro"),
    ):
        options = {"num_classes": classes, "average": average, "ignore_index": PADDING}
        theirs = [
            torchmetrics.multiclass_precision(predictions, labels, **options),
            torchmetrics.multiclass_recall(predictions, labels, **options),
            torchmetrics.multiclass_f1_score(predictions, labels, **options),
        ]
        np.testing.assert_allclose(numpy(ours), torch.stack(theirs).numpy(), atol=1e-6)


def test_f1_is_made_of_precision_and_recall_and_not_of_accuracy() -> None:
    matrix = torch.tensor([[940, 20], [10, 30]])  # of 1000: 30 hits, 20 false alarms, 10 misses
    precision, recall, f1 = (metric[1].item() for metric in per_class(matrix))
    assert (precision, recall) == (30 / 50, 30 / 40)
    assert f1 == pytest.approx(2 / (1 / precision + 1 / recall), rel=1e-15)
    assert f1 == pytest.approx(60 / 90, rel=1e-15)
    assert 2 / (1 / accuracy(matrix).item() + 1 / recall) == pytest.approx(0.8459, abs=1e-4)  # what the document says


def test_rows_of_the_matrix_are_labels_and_columns_predictions() -> None:
    matrix = confusion_matrix(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 1]), 2)
    assert matrix.tolist() == [[0, 2], [1, 0]]


def test_sequences_count_as_their_tokens() -> None:
    predictions, labels = torch.randint(4, (3, 5)), torch.randint(4, (3, 5))
    assert confusion_matrix(predictions, labels, 4).equal(confusion_matrix(predictions.flatten(), labels.flatten(), 4))


def test_what_is_predicted_at_padding_does_not_matter() -> None:
    labels = torch.tensor([[1, 2, 0, 0], [2, 0, 0, 0]])
    right, garbage = labels.clone(), torch.where(labels == 0, torch.tensor(99), labels)
    for predictions in (right, garbage):
        assert accuracy(confusion_matrix(predictions, labels, 3, ignored=0)) == 1
        assert confusion_matrix(predictions, labels, 3, ignored=0).sum() == 3


def test_small_integer_types_do_not_overflow() -> None:
    labels = torch.arange(100, dtype=torch.int8)
    assert confusion_matrix(labels, labels, 100).equal(torch.eye(100, dtype=torch.int64))


def test_matrices_of_batches_add_up() -> None:
    predictions, labels = torch.randint(3, (4, 6)), torch.randint(3, (4, 6))
    parts = [confusion_matrix(*batch, 3, ignored=2) for batch in zip(predictions, labels, strict=True)]
    assert sum(parts).equal(confusion_matrix(predictions, labels, 3, ignored=2))


def test_the_two_macro_f1_differ_and_ours_is_the_mean_of_the_classes() -> None:
    matrix = torch.tensor([[8, 2, 0], [6, 1, 3], [0, 0, 5]])
    precision, recall, f1 = (metric.item() for metric in macro_average(matrix))
    assert f1 == pytest.approx(per_class(matrix).f1.mean().item(), rel=1e-15)
    assert 2 * precision * recall / (precision + recall) > f1 + 0.02


def test_a_class_that_occurs_nowhere_is_zero_by_itself_and_leaves_the_macro_average_alone() -> None:
    matrix = torch.tensor([[3, 1], [1, 3]])
    wider = torch.zeros(3, 3, dtype=torch.int64)
    wider[:2, :2] = matrix
    assert [metric[2].item() for metric in per_class(wider)] == [0, 0, 0]
    assert macro_average(wider) == macro_average(matrix)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: confusion_matrix(torch.tensor([0]), torch.tensor([[0]]), 2),
            r"predictions \(1,\) and labels \(1, 1\)",
        ),
        (
            lambda: confusion_matrix(torch.tensor([2]), torch.tensor([0]), 2),
            r"predictions must lie within 0\.\.1, got 2",
        ),
        (lambda: confusion_matrix(torch.tensor([0]), torch.tensor([-1]), 2), r"labels must lie within 0\.\.1, got -1"),
        (lambda: confusion_matrix(torch.tensor([0]), torch.tensor([0]), 0), "classes must be at least 1, got 0"),
        (lambda: accuracy(torch.zeros(2, 2, dtype=torch.int64)), "at least one label that is not ignored"),
        (lambda: per_class(torch.zeros(2, 2, dtype=torch.int64)), "at least one label that is not ignored"),
        (lambda: micro_average(torch.zeros(2, 2, dtype=torch.int64)), "at least one label that is not ignored"),
        (lambda: macro_average(torch.zeros(2, 2, dtype=torch.int64)), "at least one label that is not ignored"),
    ],
)
def test_bad_arguments(call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_batch_of_padding_alone_adds_nothing() -> None:
    assert not confusion_matrix(torch.tensor([1, 0]), torch.tensor([9, 9]), 2, ignored=9).any()
