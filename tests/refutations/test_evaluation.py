"""The metrics that the refutations compare are those of scikit-learn."""

import pytest
from sklearn import metrics

from errata.refutations import evaluation
from errata.refutations.evaluation import Counts

COUNTS = Counts()
TRUTH = [1] * COUNTS.true_positive + [1] * COUNTS.false_negative + [0] * COUNTS.false_positive
PREDICTED = [1] * COUNTS.true_positive + [0] * COUNTS.false_negative + [1] * COUNTS.false_positive
NEGATIVES = [0] * COUNTS.true_negative


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (evaluation.accuracy, metrics.accuracy_score),
        (evaluation.recall, metrics.recall_score),
        (evaluation.precision, metrics.precision_score),
        (evaluation.f1, metrics.f1_score),
        (evaluation.correlation, metrics.matthews_corrcoef),
    ],
)
def test_the_metric_is_that_of_scikit_learn(ours, theirs):
    assert ours(COUNTS) == pytest.approx(theirs(TRUTH + NEGATIVES, PREDICTED + NEGATIVES))


def test_specificity_is_the_recall_of_the_negatives():
    assert evaluation.specificity(COUNTS) == pytest.approx(
        metrics.recall_score(TRUTH + NEGATIVES, PREDICTED + NEGATIVES, pos_label=0)
    )
