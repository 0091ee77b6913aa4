"""Each refutation holds, and would not where the stated and the true metric agree."""

from collections.abc import Callable
from typing import Any

import pytest

from errata.refutations import Shown, evaluation
from errata.refutations.evaluation import Counts, accuracy, precision, specificity

CASES: list[tuple[Callable[..., Shown], Any]] = [
    (evaluation.recall_counts_true_positives_only, Counts(true_negative=0)),
    (evaluation.precision_counts_true_positives_only, Counts(true_negative=0)),
    (evaluation.precision_does_not_see_true_negatives, specificity),
    (evaluation.f1_does_not_see_true_negatives, accuracy),
    (evaluation.f1_is_made_of_precision, Counts(2, 1, 2, 1)),
]


@pytest.mark.parametrize(("measure", "as_stated"), CASES, ids=[measure.__name__ for measure, _ in CASES])
def test_refutes_what_is_false_and_not_what_is_true(measure: Callable[..., Shown], as_stated: Any) -> None:
    assert measure().refuted
    assert not measure(as_stated).refuted


def test_accuracy_and_precision_agree_in_the_last_case() -> None:
    assert accuracy(Counts(2, 1, 2, 1)) == precision(Counts(2, 1, 2, 1))
