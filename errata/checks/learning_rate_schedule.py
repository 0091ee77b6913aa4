"""A decaying learning rate over one optimiser: ``build(initial, decay)``, ``call(gradients)``.

``gradients`` is ``(E, n)``. The candidate trains n weights, all 0 at first, with Adam (default betas and epsilon) for E
epochs of one step each, epoch e with gradient e. It answers ``output``, the rates it used ``(E,)``, and ``weights``,
those after each epoch ``(E, n)``. Traits: ``exponential`` or ``inverse-time``, the closed form that the candidate
claims; without either, both are accepted.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Candidate, Reply
from errata.checks import oracles
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import KINGMA, PYTORCH
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class ScheduleCase(Case):
    """One training: its length, the number of weights, and the two parameters of the schedule."""

    epochs: int = 1
    size: int = 1
    initial: float = 0.1
    decay: float = 0.5

    def gradients(self) -> Tensor:
        """A gradient for each epoch."""
        return self.normal("gradients", self.epochs, self.size)

    def train(self, candidate: Candidate, gradients: Tensor) -> Reply:
        """One training."""
        built = candidate.build({"initial": self.initial, "decay": self.decay}, dtype=self.dtype)
        return built.call({"gradients": gradients}, training=True)

    def rates(self, candidate: Candidate) -> Tensor:
        """The rates of one training."""
        return self.train(candidate, self.gradients()).output


DOMAIN = {
    "epochs": (1, 2, 3, 6),
    "size": (1, 2, 3),
    "initial": (0.1, 0.001, 1.0),
    "decay": (0.5, 0.9, 0.95),
    "scale": (1.0, 10.0),
}
SEVERAL = DOMAIN | {"epochs": (2, 3, 6)}

RUNS = "learning_rate_schedule.accepts-valid-input"
APPLIED = "learning_rate_schedule.rate-is-applied"
INITIAL = "learning_rate_schedule.starts-at-the-initial-rate"

UPDATE = KINGMA.says("2, algorithm 1", "Update biased first moment estimate")
PER_EPOCH = PYTORCH.says(
    "torch.optim.lr_scheduler.ExponentialLR", "Decays the learning rate of each parameter group by gamma every epoch"
)
STEPSIZE = KINGMA.says("2, algorithm 1", "Stepsize")


@check(
    RUNS,
    "E epochs give E learning rates, and the weights after each",
    spec=PER_EPOCH,
    level="paper",
    hint="Run it once: a model, an optimiser or an import that is never defined shows at once.",
    case=ScheduleCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: ScheduleCase) -> Evidence:
    reply = case.train(candidate, case.gradients())
    shapes = [tuple(reply.output.shape), tuple(reply.outputs["weights"].shape)]
    return holds(
        shapes == [(case.epochs,), (case.epochs, case.size)],
        expected=f"rates ({case.epochs},) and weights ({case.epochs}, {case.size})",
        actual=f"rates {shapes[0]} and weights {shapes[1]}",
    )


@check(
    INITIAL,
    "the first epoch uses the initial rate: rate(0) = initial",
    spec=STEPSIZE,
    level="paper",
    hint="Count epochs from 0, and step the scheduler after the epoch.",
    case=ScheduleCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def starts_at_the_initial_rate(candidate: Candidate, case: ScheduleCase) -> Evidence:
    return equal(case.rates(candidate)[:1], torch.tensor([case.initial], dtype=torch.float64))


@check(
    "learning_rate_schedule.decays",
    "each rate is positive and smaller than the one before it: 0 < rate(e + 1) < rate(e)",
    spec=PER_EPOCH,
    level="paper",
    hint="Compute the rate from the epoch, within the loop, and step the scheduler once an epoch.",
    case=ScheduleCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def decays(candidate: Candidate, case: ScheduleCase) -> Evidence:
    rates = case.rates(candidate)
    falling = bool((rates > 0).all() and (rates.diff() < 0).all())
    return holds(falling, expected="positive rates, each below the one before it", actual=printed(rates))


@check(
    "learning_rate_schedule.closed-form",
    "rate(e) is initial * decay^e, if the decay is exponential, or initial / (1 + decay * e), if it is inverse-time",
    spec=PER_EPOCH,
    level="paper",
    hint="Exponential: initial * decay ** epoch, a constant ratio. Both start from the initial rate, not the last one.",
    case=ScheduleCase,
    domain=SEVERAL,
    builds_on=[INITIAL],
)
def closed_form(candidate: Candidate, case: ScheduleCase) -> Evidence:
    epoch = torch.arange(case.epochs, dtype=torch.float64)
    forms = {
        "exponential": case.initial * case.decay**epoch,
        "inverse-time": case.initial / (1 + case.decay * epoch),
    }
    rates = case.rates(candidate)
    claimed = [rate for name, rate in forms.items() if name in candidate.traits] or list(forms.values())
    return min((equal(rates, expected) for expected in claimed), key=lambda evidence: evidence.deviation)


@check(
    APPLIED,
    "under a constant gradient, epoch e moves each weight by rate(e) against the gradient's sign: the rate is used",
    spec=STEPSIZE,
    level="paper",
    hint="Write the rate into the optimiser's param_groups, or let a scheduler do so; a variable alone does nothing.",
    case=ScheduleCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def rate_is_applied(candidate: Candidate, case: ScheduleCase) -> Evidence:
    constant = case.gradients()
    constant[1:] = constant[:1]
    reply = case.train(candidate, constant)
    expected = oracles.adam(oracles.array(reply.output), oracles.array(constant))
    return equal(reply.outputs["weights"], torch.from_numpy(expected))


@check(
    "learning_rate_schedule.optimiser-keeps-its-state",
    "the weights follow one Adam, whose moments live on when the rate changes",
    spec=UPDATE,
    level="paper",
    hint="Make the optimiser once, before the loop: a new Adam every epoch starts from zero moments.",
    case=ScheduleCase,
    domain=SEVERAL,
    builds_on=[APPLIED],
)
def optimiser_keeps_its_state(candidate: Candidate, case: ScheduleCase) -> Evidence:
    gradients = case.gradients()
    reply = case.train(candidate, gradients)
    expected = oracles.adam(oracles.array(reply.output), oracles.array(gradients))
    return equal(reply.outputs["weights"], torch.from_numpy(expected), scale=float(np.sum(oracles.array(reply.output))))
