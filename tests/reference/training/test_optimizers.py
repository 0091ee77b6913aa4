from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from reference import Transformer, noam
from reference.training.optimizers import adam, adamw, decay_groups, gradient_descent

GRADIENTS = np.random.default_rng(0).normal(size=(12, 3))
START = np.array([1.0, -2.0, 0.5])


def path(build: Callable[[list[nn.Parameter]], Optimizer]) -> np.ndarray:
    """The weights after each step under `GRADIENTS`."""
    weight = nn.Parameter(torch.from_numpy(START.copy()))
    optimizer = build([weight])
    steps = []
    for gradient in GRADIENTS:
        weight.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        steps.append(weight.detach().numpy().copy())
    return np.array(steps)


def test_gradient_descent_subtracts_the_gradients() -> None:
    expected = START - 0.1 * np.cumsum(GRADIENTS, axis=0)
    assert path(lambda p: gradient_descent(p, 0.1)) == pytest.approx(expected, rel=1e-12)


def test_momentum_sums_decaying_gradients() -> None:
    decayed = [sum(0.9 ** (n - i) * GRADIENTS[i] for i in range(n + 1)) for n in range(12)]
    expected = START - 0.1 * np.cumsum(decayed, axis=0)
    assert path(lambda p: gradient_descent(p, 0.1, momentum=0.9)) == pytest.approx(expected, rel=1e-12)


def adam_steps(beta1: float, beta2: float, eps: float) -> np.ndarray:
    """The moments as sums over the past, each divided by the sum of its weights."""
    steps = []
    for n in range(1, 13):
        ages = np.arange(n - 1, -1, -1)[:, None]
        first = (beta1**ages * GRADIENTS[:n]).sum(axis=0) / (beta1**ages).sum()
        second = (beta2**ages * GRADIENTS[:n] ** 2).sum(axis=0) / (beta2**ages).sum()
        steps.append(first / (np.sqrt(second) + eps))
    return np.array(steps)


def test_adam_has_the_constants_of_the_paper() -> None:
    expected = START - 0.1 * np.cumsum(adam_steps(0.9, 0.98, 1e-9), axis=0)
    assert path(lambda p: adam(p, 0.1)) == pytest.approx(expected, rel=1e-10)


def test_adam_takes_its_rate_from_the_schedule_of_the_paper() -> None:
    optimizer = adam([nn.Parameter(torch.zeros(1))])
    noam(optimizer, 512, 4000)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(512**-0.5 * 4000**-1.5)


def test_adamw_decays_apart_from_the_moments() -> None:
    model = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(START))
    optimizer = adamw(model, 0.1, weight_decay=0.2)
    expected = START
    for gradient, step in zip(GRADIENTS, adam_steps(0.9, 0.98, 1e-9), strict=True):
        model.weight.grad = torch.from_numpy(gradient[None].copy())
        optimizer.step()
        expected = expected * (1 - 0.1 * 0.2) - 0.1 * step
        assert model.weight.detach().numpy()[0] == pytest.approx(expected, rel=1e-10)


def test_without_a_gradient_only_affine_weights_shrink() -> None:
    model = Transformer(7, 7, width=8, heads=2, inner_width=16, layers=1, tied=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    adamw(model, 0.1, weight_decay=0.5).step()
    for name, parameter in model.named_parameters():
        spared = name.endswith(("bias", "gain")) or "embedding" in name
        assert parameter.unique().item() == pytest.approx(1.0 if spared else 0.95), name


def test_groups_hold_each_trained_parameter_once() -> None:
    model = Transformer(7, 7, width=8, heads=2, inner_width=16, layers=1)
    model.source_embedding.weight.requires_grad_(False)
    model.output.weight.requires_grad_(False)
    decaying, others = decay_groups(model, 0.1)
    grouped = [*decaying["params"], *others["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {parameter for parameter in model.parameters() if parameter.requires_grad}
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_a_momentum_outside_its_interval_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match="momentum must be at least 0 and below 1, got"):
        gradient_descent([nn.Parameter(torch.zeros(1))], 0.1, momentum)


def test_a_negative_decay_is_refused() -> None:
    with pytest.raises(ValueError, match=r"weight_decay must be at least 0, got -0\.1"):
        adamw(nn.Linear(1, 1), 0.1, weight_decay=-0.1)
