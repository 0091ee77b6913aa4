"""Metrics of classification, evaluated on counts."""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

from errata.findings import Figure
from errata.refutations.measure import rounded
from errata.refutations.registry import Adversary, Shown, refutation


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


def correlation(counts: Counts) -> float:
    """Matthews' correlation of prediction and truth."""
    tp, fn, fp, tn = counts
    return (tp * tn - fp * fn) / sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


NO_CORRECT_NEGATIVE = Counts(true_negative=0)
"""Where all correct samples are positive, so that it does not matter which are counted."""

LOOKS_POSSIBLE = Adversary(
    "a classifier with so few correct negatives that the wrong ratio looks possible: it is below 1",
    Counts(true_positive=5, false_negative=90, false_positive=10, true_negative=3),
    refuted=True,
)


@refutation(
    if_true=NO_CORRECT_NEGATIVE,
    adversary=LOOKS_POSSIBLE,
)
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


@refutation(
    if_true=NO_CORRECT_NEGATIVE,
    adversary=LOOKS_POSSIBLE,
)
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


Metric = Callable[[Counts], float]


def _other_negatives(metric: Metric) -> Shown:
    given = Counts()
    more = given._replace(true_negative=10 * given.true_negative)
    worse = given._replace(false_positive=200, true_negative=760)
    return Shown(
        refuted=metric(given) == metric(more),
        numbers={
            "the metric: 20 negatives taken for positives, 940 recognised": rounded(metric(given)),
            "20 taken for positives, 9400 recognised": rounded(metric(more)),
            "200 taken for positives, 760 recognised": rounded(metric(worse)),
        },
    )


@refutation(
    if_true=specificity,
    adversary=Adversary(
        "accuracy, which hardly moves with the negatives that are recognised: by less than 3 %", accuracy, refuted=False
    ),
)
def precision_does_not_see_true_negatives(metric: Metric = precision) -> Shown:
    """Recognise ten times as many negatives, then take ten times as many for positives, and look at precision.

    Specificity, which measures how negatives are classified, changes both times.
    """
    return _other_negatives(metric)


@refutation(
    if_true=accuracy,
    adversary=Adversary(
        "Matthews' correlation, which hardly moves with the negatives that are recognised: by less than 2 %",
        correlation,
        refuted=False,
    ),
)
def f1_does_not_see_true_negatives(metric: Metric = f1) -> Shown:
    """Recognise ten times as many negatives, then take ten times as many for positives, and look at F1.

    Accuracy, which weighs both classes, changes both times.
    """
    return _other_negatives(metric)


@refutation(
    if_true=Counts(true_positive=2, false_negative=1, false_positive=2, true_negative=1),
    adversary=Adversary(
        "a classifier with an accuracy so close to its precision that two digits show no difference",
        Counts(true_positive=80, false_negative=10, false_positive=20, true_negative=37),
        refuted=True,
    ),
)
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
