"""Each refutation holds, and would not for an optimizer or a penalty of which the statement is true."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn
from torch.optim import SGD, Adam, RMSprop

from errata.refutations import Shown, optimisation


def sgd(**options):
    return lambda weights: SGD(weights, lr=0.1, **options)


def steadier_with_fewer(gradients, chosen):
    return gradients.mean(dim=0) * (1 + len(chosen) / len(gradients))


def smaller_with_dropout(probability):
    return nn.Linear(16, round(64 * (1 - probability)))


CASES: list[tuple[Callable[..., Shown], Any]] = [
    (optimisation.fewer_samples_make_the_gradient_noisier, steadier_with_fewer),
    (optimisation.adam_does_not_scale_with_the_gradient, sgd()),
    (optimisation.momentum_leaves_the_learning_rate_alone, lambda weights: Adam(weights, lr=0.1)),
    (optimisation.momentum_accumulates_rather_than_averages, sgd(momentum=0.9, dampening=0.9)),
    (optimisation.adaptive_rates_read_gradients_not_parameters, lambda w: RMSprop(w, lr=0.1, weight_decay=0.1)),
    (optimisation.adaptive_rates_read_gradients_not_parameters, lambda w: Adam(w, lr=0.1)),
    (optimisation.l2_regularisation_is_the_squared_norm, lambda weight: 0.1 * weight / weight.norm()),
    (optimisation.dropout_adds_no_term_to_the_loss, lambda error, weights: error + weights[0].square().sum()),
    (optimisation.dropout_makes_no_model_smaller, smaller_with_dropout),
]


@pytest.mark.parametrize(("measure", "as_stated"), CASES, ids=[measure.__name__ for measure, _ in CASES])
def test_refutes_what_is_false_and_not_what_is_true(measure: Callable[..., Shown], as_stated: Any) -> None:
    assert measure().refuted
    assert not measure(as_stated).refuted
