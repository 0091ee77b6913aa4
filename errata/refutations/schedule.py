"""Statements about learning-rate decay."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from errata.findings import Figure
from errata.refutations.measure import NOISE, normal, rounded
from errata.refutations.registry import Shown, refutation
from reference import exponential, inverse_time

EPOCHS, INITIAL, DECAY = 10, 0.001, 0.95

Rate = Callable[[int], float]


def printed_rate(epoch: int) -> float:
    """The printed formula, `initial_learning_rate / (1 + decay_rate * epoch)`."""
    return INITIAL / (1 + DECAY * epoch)


@refutation
def the_printed_decay_is_not_exponential(rate: Rate = printed_rate) -> Shown:
    """Divide each learning rate of the printed formula by the one before it: exponential decay has one factor."""
    rates = [rate(epoch) for epoch in range(EPOCHS)]
    factors = [after / before for before, after in pairwise(rates)]
    scheduled: dict[str, list[float]] = {}
    for name, schedule in (("exponential", exponential), ("inverse time", inverse_time)):
        optimizer = SGD([torch.zeros(1)], lr=INITIAL)
        factor = schedule(optimizer, DECAY).lr_lambdas[0]
        scheduled[name] = [INITIAL * factor(epoch) for epoch in range(EPOCHS)]
    return Shown(
        refuted=max(factors) - min(factors) > NOISE,
        numbers={
            "first factor": rounded(factors[0]),
            "last factor": rounded(factors[-1]),
            "factor of exponential decay at the printed rate": DECAY,
            "largest difference from inverse-time decay": rounded(
                max(abs(a - b) for a, b in zip(rates, scheduled["inverse time"], strict=True))
            ),
        },
        figure=Figure(
            kind="lines",
            title="Learning rate with the printed settings",
            x_label="epoch",
            y_label="learning rate",
            data={
                "x": list(range(EPOCHS)),
                "printed formula": [rounded(value) for value in rates],
                "exponential decay": [rounded(value) for value in scheduled["exponential"]],
            },
        ),
    )


def training_error(rate: Rate, epochs: int = 60) -> float:
    """The error on the training examples after descent, one example a step, with `rate(epoch)`."""
    inputs, targets = normal(20, 5), normal(20, seed=1)
    weights = torch.zeros(5, dtype=torch.float64)
    for epoch in range(epochs):
        for x, y in zip(inputs, targets, strict=True):
            weights = weights - rate(epoch) * (x @ weights - y) * x
    return float((inputs @ weights - targets).square().mean())


def decayed(epoch: int) -> float:
    """A rate that falls by a tenth each epoch."""
    return float(0.1 * 0.9**epoch)


@refutation
def decay_fits_the_training_examples_better(rate: Rate = decayed) -> Shown:
    """Train on the same few examples with a constant and with a falling rate, and measure the error on these examples.

    What works against overfitting leaves a larger error on them; decay removes the noise of the last steps.
    """
    constant, falling = training_error(lambda epoch: 0.1), training_error(rate)
    inputs, targets = normal(20, 5), normal(20, 1, seed=1)
    residual = inputs @ torch.linalg.lstsq(inputs, targets).solution - targets
    return Shown(
        refuted=falling < constant,
        numbers={
            "training error, constant rate": rounded(constant),
            "training error, falling rate": rounded(falling),
            "smallest possible training error": rounded(residual.square().mean()),
        },
    )


def rebuild(_: Optimizer, weights: Tensor) -> Optimizer:
    """What the printed loop does each epoch: make a new Adam."""
    return Adam([weights], lr=INITIAL)


@refutation
def a_new_optimizer_forgets(renew: Callable[[Optimizer, Tensor], Optimizer] = rebuild) -> Shown:
    """Train ten epochs of one step each and read how many steps Adam remembers at the end."""
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer: Optimizer = Adam([weights], lr=INITIAL)
    for epoch in range(EPOCHS):
        optimizer = renew(optimizer, weights)
        weights.grad = normal(3, seed=epoch)
        optimizer.step()
    remembered = int(optimizer.state[weights]["step"])
    return Shown(
        refuted=remembered < EPOCHS,
        numbers={"steps taken": EPOCHS, "steps that the optimizer remembers": remembered},
    )
