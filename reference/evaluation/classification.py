"""Accuracy, precision, recall and F1 from a confusion matrix (Manning, Raghavan and Schütze 2008, 8.3 and 13.6).

Confusion matrices of batches add up to that of the whole; metrics of batches do not average to it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reference.validation import require_at_least


class PrecisionRecallF1(NamedTuple):
    """Three metrics, of each class `(C,)` or averaged `()`, in float64."""

    precision: Float[Tensor, "*C"]
    recall: Float[Tensor, "*C"]
    f1: Float[Tensor, "*C"]


def confusion_matrix(
    predictions: Int[Tensor, "..."], labels: Int[Tensor, "..."], classes: int, *, ignored: int | None = None
) -> Int[Tensor, "C C"]:
    """Count how often label i is predicted as class j: `matrix[i, j]`.

    Both are class ids of one shape, `(N,)` or `(B, T)`. Where the label is `ignored`, such as at padding, the position
    takes no part, whatever is predicted there. `ValueError` for two shapes and for other ids outside 0..`classes` - 1.
    """
    require_at_least(1, classes=classes)
    if predictions.shape != labels.shape:
        raise ValueError(f"predictions {tuple(predictions.shape)} and labels {tuple(labels.shape)} need one shape")
    counted = torch.ones_like(labels, dtype=torch.bool) if ignored is None else labels != ignored
    predictions, labels = predictions[counted].long(), labels[counted].long()
    for name, ids in (("predictions", predictions), ("labels", labels)):
        outside = ids[(ids < 0) | (ids >= classes)]
        if outside.numel():
            raise ValueError(f"{name} must lie within 0..{classes - 1}, got {outside[0]}")
    return torch.bincount(labels * classes + predictions, minlength=classes**2).view(classes, classes)


def accuracy(confusion: Int[Tensor, "C C"]) -> Float[Tensor, ""]:
    """Divide what is classified rightly by all: `sum_c TP_c / N`. `ValueError` for an empty matrix."""
    _require_counts(confusion)
    return confusion.diagonal().sum().double() / confusion.sum()


def per_class(confusion: Int[Tensor, "C C"]) -> PrecisionRecallF1:
    """Precision `TP / (TP + FP)`, recall `TP / (TP + FN)` and F1 of each class against all others.

    F1 is the harmonic mean of precision and recall: `2 TP / (2 TP + FP + FN)`. A quotient 0 / 0 counts as 0: precision
    of a class that is never predicted, recall of one that never occurs. `ValueError` for an empty matrix.
    """
    _require_counts(confusion)
    return _precision_recall_f1(*_outcomes(confusion))


def micro_average(confusion: Int[Tensor, "C C"]) -> PrecisionRecallF1:
    """Pool the counts of all classes, then divide once: every position has the same weight.

    With one label a position, each error is one FP and one FN, so all three equal the accuracy. `ValueError` for an
    empty matrix.
    """
    _require_counts(confusion)
    return _precision_recall_f1(*(counts.sum() for counts in _outcomes(confusion)))


def macro_average(confusion: Int[Tensor, "C C"]) -> PrecisionRecallF1:
    """Average each metric over the classes: every class has the same weight. `ValueError` for an empty matrix.

    A class that is neither a label nor predicted takes no part. The averaged F1 is the mean of the classes' F1, as in
    scikit-learn and torchmetrics; the harmonic mean of macro precision and macro recall, also called macro F1, is
    another number, and never smaller (Opitz and Burst 2019).
    """
    occurs = confusion.sum(dim=0) + confusion.sum(dim=1) > 0
    return PrecisionRecallF1(*(metric[occurs].mean() for metric in per_class(confusion)))


def _outcomes(confusion: Int[Tensor, "C C"]) -> tuple[Tensor, Tensor, Tensor]:
    """True positives, false positives and false negatives of each class."""
    hits = confusion.diagonal()
    return hits, confusion.sum(dim=0) - hits, confusion.sum(dim=1) - hits


def _precision_recall_f1(hits: Tensor, false_alarms: Tensor, misses: Tensor) -> PrecisionRecallF1:
    def share(part: Tensor, whole: Tensor) -> Tensor:
        return part.double() / whole.clamp(min=1)  # counts are whole numbers: where the whole is 0, so is the part

    return PrecisionRecallF1(
        precision=share(hits, hits + false_alarms),
        recall=share(hits, hits + misses),
        f1=share(2 * hits, 2 * hits + false_alarms + misses),
    )


def _require_counts(confusion: Int[Tensor, "C C"]) -> None:
    if not confusion.any():
        raise ValueError("a metric needs at least one label that is not ignored, got a confusion matrix of zeros")
