"""Statements about learning-rate decay."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import ExponentialLR

from errata.findings import Figure
from errata.refutations.measure import NOISE, normal, rounded
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation

EPOCHS, INITIAL, DECAY = 10, 0.001, 0.95
"""The settings of the printed loop."""

Train = Callable[[Optimizer], object]
"""What is done in an epoch with its optimizer."""

Loop = Callable[[nn.Module, Train], object]
"""Runs ten epochs on a model."""


def printed_loop(model: nn.Module, train: Train, *repairs: tuple[str, str]) -> None:
    """The printed block, verbatim, with `train(optimizer)` in the place of its comment "train here"."""
    printed("000_q29_learning_rate.py", ("# 进行训练", "train(optimizer)"), *repairs, model=model, train=train)


def exponential_loop(model: nn.Module, train: Train) -> None:
    """One Adam for all epochs, whose rate torch multiplies by the printed decay rate after each."""
    optimizer = Adam(model.parameters(), lr=INITIAL)
    scheduler = ExponentialLR(optimizer, gamma=DECAY)
    for _ in range(EPOCHS):
        train(optimizer)
        scheduler.step()


def gentle_loop(model: nn.Module, train: Train) -> None:
    """The printed block with a decay rate of 0.001 instead of 0.95."""
    printed_loop(model, train, ("decay_rate = 0.95", "decay_rate = 0.001"))


def rates_of(loop: Loop) -> list[float]:
    """The learning rate of each epoch."""
    rates: list[float] = []

    def step(optimizer: Optimizer) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()

    loop(nn.Linear(1, 1), step)
    return rates


@refutation(
    if_true=exponential_loop,
    adversary=Adversary(
        "the printed formula with a decay rate of 0.001, whose factors are nearly the same", gentle_loop, refuted=True
    ),
)
def the_printed_decay_is_not_exponential(loop: Loop = printed_loop) -> Shown:
    """Run the printed loop and divide each learning rate by the one before: exponential decay has one factor."""
    rates = rates_of(loop)
    factors = [after / before for before, after in pairwise(rates)]
    return Shown(
        refuted=max(factors) - min(factors) > NOISE,
        numbers={
            "first factor": rounded(factors[0]),
            "last factor": rounded(factors[-1]),
            "learning rate of the last epoch": rounded(rates[-1]),
        },
        figure=Figure(
            kind="lines",
            title="Learning rate with the printed settings",
            x_label="epoch",
            y_label="learning rate",
            data={
                "x": list(range(EPOCHS)),
                "printed formula": [rounded(rate) for rate in rates],
                "exponential decay": [rounded(rate) for rate in rates_of(exponential_loop)],
            },
        ),
    )


Rate = Callable[[int], float]
"""From an epoch to its learning rate."""


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


def stops_early(epoch: int) -> float:
    """A rate that is as good as 0 after the first epoch."""
    return float(0.1 * 0.001**epoch)


def falls_late(epoch: int) -> float:
    """A rate that stays for 50 of 60 epochs and is a tenth of it in the last ones."""
    return 0.1 if epoch < 50 else 0.01


@refutation(
    if_true=stops_early,
    adversary=Adversary(
        "a rate that falls in the last epochs only: for most of the training nothing differs", falls_late, refuted=True
    ),
)
def decay_fits_the_training_examples_better(rate: Rate = decayed) -> Shown:
    """Train on the same few examples with a constant and with a falling rate, and measure the error on these examples.

    What works against overfitting leaves a larger error on them; decay removes the noise of the last steps. Only a
    rate that falls so fast that training ends too soon leaves a larger one.
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


def reloading_loop(model: nn.Module, train: Train) -> None:
    """A new Adam each epoch, which takes over the state of the one before."""
    optimizer = Adam(model.parameters(), lr=INITIAL)
    for epoch in range(EPOCHS):
        state = optimizer.state_dict()
        optimizer = Adam(model.parameters())
        optimizer.load_state_dict(state)
        optimizer.param_groups[0]["lr"] = INITIAL / (1 + DECAY * epoch)
        train(optimizer)


@refutation(
    if_true=exponential_loop,
    adversary=Adversary("a new Adam each epoch that loads the state of the last one", reloading_loop, refuted=False),
)
def a_new_optimizer_forgets(loop: Loop = printed_loop) -> Shown:
    """Run the printed loop with one step in each epoch and read how many steps Adam remembers at the end."""
    model = nn.Linear(3, 1)
    used: list[Optimizer] = []

    def step(optimizer: Optimizer) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        used.append(optimizer)

    loop(model, step)
    remembered = int(used[-1].state[model.weight]["step"])
    return Shown(
        refuted=remembered < len(used),
        numbers={"steps taken": len(used), "steps that the optimizer remembers": remembered},
    )
