"""A training that is interrupted and resumed.

``build(rate, decay, momentum, dropout)``, ``call(inputs, targets, interrupt)``. ``inputs`` is ``(U, B, n)``,
``targets`` ``(U, B)``: one pass over U batches, one update each. The candidate trains ``y = w . dropout(x)`` from w = 0
by gradient descent with ``momentum`` on the mean squared error; ``rate`` is multiplied by ``decay`` after each update.
After ``interrupt`` updates it saves a checkpoint and loses everything: model, optimizer, schedule and position are made
anew, and torch's generator is somewhere else. Then it loads the checkpoint and goes on. With ``interrupt`` = 0 nothing
happens to it. It answers ``output``, the weights after each update ``(U, n)``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks.case import Case
from errata.checks.evidence import Evidence, different, equal, holds
from errata.checks.literature import PYTORCH
from errata.checks.modules import Arguments
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class ResumeCase(Case):
    """One training; ``constant`` repeats one batch, so that the position in the data plays no part."""

    updates: int = 2
    interrupt: int = 1
    batch: int = 1
    size: int = 1
    rate: float = 0.1
    decay: float = 1.0
    momentum: float = 0.0
    dropout: float = 0.0
    constant: bool = True

    def data(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of all updates."""
        shape = (1 if self.constant else self.updates), self.batch
        inputs, targets = self.normal("inputs", *shape, self.size), self.normal("targets", *shape)
        return inputs.expand(self.updates, -1, -1).clone(), targets.expand(self.updates, -1).clone()

    def weights(self, candidate: Candidate, interrupt: int) -> Tensor:
        """After each update."""
        config = {"rate": self.rate, "decay": self.decay, "momentum": self.momentum, "dropout": self.dropout}
        inputs, targets = self.data()
        built = candidate.build(config, dtype=self.dtype)
        passed: Arguments = {"inputs": inputs, "targets": targets, "interrupt": interrupt}
        return built.call(passed, training=True, seed=self.seed).output


def resumed_as_if_nothing_happened(candidate: Candidate, case: ResumeCase) -> Evidence:
    """The interrupted training gives the weights of the uninterrupted one, bit for bit."""
    return equal(case.weights(candidate, case.interrupt), case.weights(candidate, 0))


DOMAIN = {
    "updates": (3, 4, 5),
    "interrupt": (1, 2),
    "batch": (1, 2, 3),
    "size": (1, 2, 3),
    "rate": (0.1, 0.01),
}

RUNS = "checkpoint.accepts-valid-input"
WEIGHTS = "checkpoint.restores-the-weights"

STATE = PYTORCH.says(
    "Saving and loading a general checkpoint",
    "It is important to also save the optimizer's state_dict, as this contains buffers and parameters that are updated"
    " as the model trains.",
)
MORE = PYTORCH.says("Saving and loading a general checkpoint", "you must save more than just the model's state_dict")
POSITION = PYTORCH.says("Saving and loading a general checkpoint", "the epoch you left off on")
GENERATOR = PYTORCH.says("torch.get_rng_state", "Returns the random number generator state")


@check(
    RUNS,
    "U updates give the weights after each, with and without an interruption",
    spec=MORE,
    level="paper",
    hint="Run it once: a missing import or name shows at once.",
    case=ResumeCase,
    domain=DOMAIN | {"interrupt": (0, 1, 2)},
)
def accepts_valid_input(candidate: Candidate, case: ResumeCase) -> Evidence:
    shape = tuple(case.weights(candidate, case.interrupt).shape)
    wanted = (case.updates, case.size)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    WEIGHTS,
    "the training goes on from the weights that it had",
    spec=MORE,
    level="paper",
    hint="Load the model's state, into the model that is trained.",
    case=ResumeCase,
    domain=DOMAIN,
    builds_on=[RUNS],
    tolerance=0.0,
)
def restores_the_weights(candidate: Candidate, case: ResumeCase) -> Evidence:
    return resumed_as_if_nothing_happened(candidate, case)


@check(
    "checkpoint.restores-the-moments",
    "the optimizer goes on with the momentum that it had",
    spec=STATE,
    level="paper",
    hint="Save and load the optimizer's state_dict as well.",
    case=ResumeCase,
    domain=DOMAIN | {"momentum": (0.9, 0.5)},
    builds_on=[WEIGHTS],
    tolerance=0.0,
)
def restores_the_moments(candidate: Candidate, case: ResumeCase) -> Evidence:
    return resumed_as_if_nothing_happened(candidate, case)


@check(
    "checkpoint.restores-the-schedule",
    "the learning rate goes on falling from where it was",
    spec=MORE,
    level="paper",
    hint="Save and load the scheduler's state_dict as well: the optimizer's holds the rate, not the step.",
    case=ResumeCase,
    domain=DOMAIN | {"decay": (0.5, 0.9)},
    builds_on=[WEIGHTS],
    tolerance=0.0,
)
def restores_the_schedule(candidate: Candidate, case: ResumeCase) -> Evidence:
    return resumed_as_if_nothing_happened(candidate, case)


@check(
    "checkpoint.restores-the-position",
    "the training goes on with the batch that comes next, not with the first one",
    spec=POSITION,
    level="convention",
    hint="Save how many batches of the epoch are done, and pass over them.",
    case=ResumeCase,
    domain=DOMAIN | {"constant": (False,)},
    builds_on=[WEIGHTS],
    tolerance=0.0,
)
def restores_the_position(candidate: Candidate, case: ResumeCase) -> Evidence:
    return resumed_as_if_nothing_happened(candidate, case)


@check(
    "checkpoint.trains-with-dropout",
    "dropout is on after the interruption as well: the updates are not those of the whole model",
    spec=GENERATOR,
    level="convention",
    hint="Call model.train() after loading.",
    case=ResumeCase,
    domain=DOMAIN | {"dropout": (0.5,)},
    builds_on=[RUNS],
)
def trains_with_dropout(candidate: Candidate, case: ResumeCase) -> Evidence:
    weights = case.weights(candidate, case.interrupt)
    before, (inputs, targets) = weights[:-1], case.data()
    error = torch.einsum("ubn,un->ub", inputs[1:], before) - targets[1:]
    whole = before - case.rate * 2 * torch.einsum("ubn,ub->un", inputs[1:], error) / case.batch
    resumed = slice(case.interrupt - 1, None)
    return different(weights[1:][resumed], whole[resumed], expected="updates that dropout has changed")


@check(
    "checkpoint.restores-the-random-state",
    "dropout goes on drawing where it was: the generator's state is part of the checkpoint",
    spec=GENERATOR,
    level="convention",
    hint="Save torch.get_rng_state(), and set it when everything else is loaded, right before the training goes on.",
    case=ResumeCase,
    domain=DOMAIN | {"dropout": (0.5,), "batch": (2, 3), "size": (2, 3)},
    builds_on=[WEIGHTS],
    tolerance=0.0,
)
def restores_the_random_state(candidate: Candidate, case: ResumeCase) -> Evidence:
    return resumed_as_if_nothing_happened(candidate, case)


@check(
    "checkpoint.resumes-bit-for-bit",
    "with momentum, schedule, dropout and changing batches at once, the weights are the same to the last bit",
    spec=MORE,
    level="convention",
    hint="Write floating numbers in full: a rounded text, or a narrower type, loses bits.",
    case=ResumeCase,
    domain=DOMAIN
    | {"momentum": (0.9,), "decay": (0.9,), "dropout": (0.5,), "constant": (False,), "dtype": ("float64", "float32")},
    builds_on=[WEIGHTS],
    tolerance=0.0,
)
def resumes_bit_for_bit(candidate: Candidate, case: ResumeCase) -> Evidence:
    interrupted, whole = case.weights(candidate, case.interrupt), case.weights(candidate, 0)
    same = equal(interrupted, whole)
    return same if interrupted.dtype == whole.dtype else Evidence(math.inf, str(whole.dtype), str(interrupted.dtype))
