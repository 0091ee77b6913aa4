"""Metrics of classification, evaluated on counts."""

from collections.abc import Callable
from typing import NamedTuple

from errata.findings import Figure
from errata.refutations.measure import rounded
from errata.refutations.registry import Shown, refutation


class Counts(NamedTuple):
    """A confusion matrix: predictions that are right or wrong, by what was predicted."""

    true_positive: int = 30
    false_negative: int = 10
    false_positive: int = 20
    true_negative: int = 940


def accuracy(counts: Counts) -> float:
    """The share of all samples that are classified correctly."""
    return (counts.true_positive + counts.true_negative) / sum(counts)


def recall(counts: Counts) -> float:
    """The share of the positive samples that are found."""
    return counts.true_positive / (counts.true_positive + counts.false_negative)


def precision(counts: Counts) -> float:
    """The share of the positive predictions that are right."""
    return counts.true_positive / (counts.true_positive + counts.false_positive)


def specificity(counts: Counts) -> float:
    """The share of the negative samples that are recognised as negative."""
    return counts.true_negative / (counts.true_negative + counts.false_positive)


def f1(counts: Counts) -> float:
    """`2 TP / (2 TP + FP + FN)`."""
    return 2 * counts.true_positive / (2 * counts.true_positive + counts.false_positive + counts.false_negative)


def harmonic_mean(first: float, second: float) -> float:
    """`2 / (1 / first + 1 / second)`."""
    return 2 / (1 / first + 1 / second)


@refutation
def recall_counts_true_positives_only(counts: Counts = Counts()) -> Shown:  # noqa: B008  (immutable)
    """Divide all correct samples by the positive samples, as stated, and hold the ratio against recall."""
    stated = (counts.true_positive + counts.true_negative) / (counts.true_positive + counts.false_negative)
    return Shown(
        refuted=stated != recall(counts),
        numbers={
            "correct samples by positive samples": rounded(stated),
            "recall, TP / (TP + FN)": rounded(recall(counts)),
        },
    )


@refutation
def precision_counts_true_positives_only(counts: Counts = Counts()) -> Shown:  # noqa: B008
    """Divide all correct samples by the positive predictions, as stated, and hold the ratio against precision."""
    stated = (counts.true_positive + counts.true_negative) / (counts.true_positive + counts.false_positive)
    return Shown(
        refuted=stated != precision(counts),
        numbers={
            "correct samples by positive predictions": rounded(stated),
            "precision, TP / (TP + FP)": rounded(precision(counts)),
        },
    )


def _ten_times_the_negatives(metric: Callable[[Counts], float], name: str) -> Shown:
    few = Counts()
    many = few._replace(true_negative=10 * few.true_negative)
    return Shown(
        refuted=metric(few) == metric(many) and specificity(few) != specificity(many),
        numbers={
            f"{name} with {few.true_negative} correct negatives": rounded(metric(few)),
            f"{name} with {many.true_negative} correct negatives": rounded(metric(many)),
            f"specificity with {few.true_negative} correct negatives": rounded(specificity(few)),
            f"specificity with {many.true_negative} correct negatives": rounded(specificity(many)),
        },
    )


@refutation
def precision_does_not_see_true_negatives(metric: Callable[[Counts], float] = precision) -> Shown:
    """Recognise ten times as many negative samples and look whether precision notices; specificity does."""
    return _ten_times_the_negatives(metric, "precision")


@refutation
def f1_does_not_see_true_negatives(metric: Callable[[Counts], float] = f1) -> Shown:
    """Recognise ten times as many negative samples and look whether F1 notices; specificity does."""
    return _ten_times_the_negatives(metric, "F1")


@refutation
def f1_is_made_of_precision(counts: Counts = Counts()) -> Shown:  # noqa: B008
    """Take the harmonic mean of accuracy and recall, as stated, and that of precision and recall."""
    stated = harmonic_mean(accuracy(counts), recall(counts))
    right = harmonic_mean(precision(counts), recall(counts))
    return Shown(
        refuted=abs(stated - f1(counts)) > 1e-12 > abs(right - f1(counts)),
        numbers={
            "harmonic mean of accuracy and recall": rounded(stated),
            "harmonic mean of precision and recall": rounded(right),
            "F1, 2 TP / (2 TP + FP + FN)": rounded(f1(counts)),
        },
        figure=Figure(
            kind="bars",
            title="Five metrics of one classifier: 30 TP, 10 FN, 20 FP, 940 TN",
            x_label="metric",
            y_label="value",
            data={
                "accuracy": rounded(accuracy(counts)),
                "recall": rounded(recall(counts)),
                "precision": rounded(precision(counts)),
                "F1": rounded(f1(counts)),
                "stated F1": rounded(stated),
            },
        ),
    )
