import inspect
import math

import pytest
import torch
from torch import Tensor

from reference.multitask import TaskKind, UncertaintyWeighting, labelled_losses

KINDS: dict[str, TaskKind] = {"depth": "regression", "labels": "classification"}


def weighting(**log_variances: float) -> UncertaintyWeighting:
    module = UncertaintyWeighting(KINDS).double()
    for task, value in log_variances.items():
        module.log_variances[task].data.fill_(value)
    return module


def losses() -> dict[str, Tensor]:
    return {
        "depth": torch.tensor(3.0, dtype=torch.float64, requires_grad=True),
        "labels": torch.tensor(0.7, dtype=torch.float64, requires_grad=True),
    }


def test_the_loss_is_that_of_equations_7_and_10() -> None:
    depth, labels = math.exp(0.4), math.exp(-1.3)  # sigma^2
    expected = 3.0 / (2 * depth) + 0.7 / labels + math.log(math.sqrt(depth)) + math.log(math.sqrt(labels))
    assert weighting(depth=0.4, labels=-1.3)(losses()).item() == pytest.approx(expected, rel=1e-14)


def test_a_regression_is_the_gaussian_likelihood_up_to_a_constant() -> None:
    target, mean = torch.tensor(1.0, dtype=torch.float64), torch.tensor(-0.5, dtype=torch.float64)
    for log_variance in (-2.0, 0.0, 1.5):
        sigma = math.exp(log_variance / 2)
        likelihood = torch.distributions.Normal(mean, sigma).log_prob(target)
        total = weighting(depth=log_variance)({"depth": (target - mean).square()})
        assert total.item() == pytest.approx(-likelihood.item() - 0.5 * math.log(2 * math.pi), rel=1e-12)


def test_gradients_of_losses_and_log_variances() -> None:
    module, given = weighting(depth=0.4, labels=-1.3), losses()
    module(given).backward()
    assert given["depth"].grad.item() == pytest.approx(0.5 * math.exp(-0.4), rel=1e-14)
    assert given["labels"].grad.item() == pytest.approx(math.exp(1.3), rel=1e-14)
    assert module.log_variances["depth"].grad.item() == pytest.approx(0.5 - 0.5 * math.exp(-0.4) * 3.0, rel=1e-14)
    assert module.log_variances["labels"].grad.item() == pytest.approx(0.5 - math.exp(1.3) * 0.7, rel=1e-14)


def test_training_finds_the_variance_of_each_task() -> None:
    module = weighting()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        module({task: loss.detach() for task, loss in losses().items()}).backward()
        optimizer.step()
    assert module.log_variances["depth"].exp().item() == pytest.approx(3.0, rel=1e-6)
    assert module.log_variances["labels"].exp().item() == pytest.approx(2 * 0.7, rel=1e-6)


def test_variances_start_at_one_and_are_trained() -> None:
    module = UncertaintyWeighting(KINDS)
    assert {name: value.item() for name, value in module.named_parameters()} == {
        "log_variances.depth": 0.0,
        "log_variances.labels": 0.0,
    }


def test_the_variance_of_an_unlabelled_task_stays() -> None:
    module = weighting(labels=1.0)
    absent = labelled_losses(
        {"depth": torch.nn.functional.mse_loss, "labels": torch.nn.functional.cross_entropy},
        {"depth": torch.zeros(2, 1), "labels": torch.zeros(2, 3)},
        {"depth": torch.ones(2, 1), "labels": torch.zeros(2, dtype=torch.int64)},
        {"depth": torch.tensor([True, False]), "labels": torch.tensor([False, False])},
    )
    module(absent).backward()
    assert module.log_variances["depth"].grad is not None
    assert module.log_variances["labels"].grad is None


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="kinds must name at least one task, got none"):
        UncertaintyWeighting({})
    plain = inspect.unwrap(UncertaintyWeighting.__init__)  # the tests' own type checks would come first
    with pytest.raises(ValueError, match=r"kinds\['x'\] must be one of \['classification', 'regression'\], got 'r'"):
        plain(UncertaintyWeighting.__new__(UncertaintyWeighting), {"x": "r"})
    with pytest.raises(ValueError, match="losses must name at least one task, got none"):
        weighting()({})
    with pytest.raises(ValueError, match=r"losses must be of the tasks \['depth', 'labels'\], got \['x'\]"):
        weighting()({"x": torch.tensor(1.0)})
