"""A training loop with a schedule, accumulation, clipping and evaluation, on a linear model.

``build(rate, decay, dropout, max_norm)``, ``call(inputs, targets, counts, held_inputs, held_targets, every)``.
The candidate trains ``y = w . dropout(x)`` from w = 0 by plain gradient descent on the mean squared error, with
``rate`` multiplied by ``decay`` after each update, and the gradient's norm at most ``max_norm``. ``inputs`` is
``(U, A, B, n)``: U updates of A batches each, B examples a batch. ``targets`` and ``counts`` are ``(U, A, B)``; where
``counts`` is False there is padding, which takes no part. After ``every`` updates the candidate evaluates on all of
``held_inputs`` ``(E, n)`` and ``held_targets`` ``(E,)``. It answers ``output``, the weights after each update
``(U, n)``; ``losses``, what it reports for each update ``(U,)``; ``held_out_losses`` ``(U // every,)``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Candidate, Reply
from errata.checks import oracles
from errata.checks.case import Case
from errata.checks.evidence import Evidence, different, equal, holds
from errata.checks.literature import GOODFELLOW, GOYAL, PYTORCH
from errata.checks.modules import EVALUATION
from errata.checks.oracles import Array
from errata.checks.registry import check

UNCLIPPED = 1e9


@dataclass(frozen=True, kw_only=True)
class LoopCase(Case):
    """One training; ``padded`` leaves examples out, an uneven number in each batch."""

    updates: int = 1
    accumulation: int = 1
    batch: int = 1
    size: int = 1
    held_out: int = 1
    every: int = 1
    rate: float = 0.1
    decay: float = 1.0
    dropout: float = 0.0
    max_norm: float = UNCLIPPED
    padded: bool = False

    def data(self) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets, and which of them count: the first of each batch does, the last of all batches not."""
        shape = self.updates, self.accumulation, self.batch
        counts = torch.ones(shape, dtype=torch.bool)
        if self.padded:
            counts = self.booleans("counts", *shape)
            counts[..., 0], counts[:, -1, -1] = True, False
        return self.normal("inputs", *shape, self.size), self.normal("targets", *shape), counts

    def held_out_data(self, name: str = "held") -> tuple[Tensor, Tensor]:
        """What the candidate evaluates on."""
        return self.normal(f"{name}_inputs", self.held_out, self.size), self.normal(f"{name}_targets", self.held_out)

    def train(
        self, candidate: Candidate, data: tuple[Tensor, Tensor, Tensor], held: tuple[Tensor, Tensor] | None = None
    ) -> Reply:
        """One training."""
        names = ("inputs", "targets", "counts", "held_inputs", "held_targets")
        arguments = dict(zip(names, (*data, *(held or self.held_out_data())), strict=True))
        config = {"rate": self.rate, "decay": self.decay, "dropout": self.dropout, "max_norm": self.max_norm}
        built = candidate.build(config, dtype=self.dtype)
        return built.call(arguments | {"every": self.every}, training=True, seed=self.seed)


def errors(weights: Tensor, data: tuple[Tensor, Tensor, Tensor], update: int) -> tuple[Array, Array]:
    """Inputs of one update's examples that count, and the model's error on each."""
    inputs, targets, counts = (oracles.array(part[update]) for part in data)
    chosen = counts.astype(bool)
    return inputs[chosen], inputs[chosen] @ oracles.array(weights) - targets[chosen]


def gradient(weights: Tensor, data: tuple[Tensor, Tensor, Tensor], update: int) -> Array:
    """Of the mean squared error over all examples of one update that count."""
    inputs, error = errors(weights, data, update)
    step: Array = 2 * inputs.T @ error / len(error)
    return step


def starts(weights: Tensor) -> Tensor:
    """The weights before each update."""
    return torch.cat([torch.zeros_like(weights[:1]), weights[:-1]])


def follows(case: LoopCase, weights: Tensor, data: tuple[Tensor, Tensor, Tensor]) -> Evidence:
    """Each update is one step of gradient descent from the candidate's own weights before it."""
    expected = []
    for update, start in enumerate(starts(weights)):
        step = gradient(start, data, update)
        step *= min(1.0, case.max_norm / max(float(np.linalg.norm(step)), 1e-300))
        expected.append(oracles.array(start) - case.rate * case.decay**update * step)
    scale = case.rate * float(max((data[0].abs().max() * data[1].abs().max()).item(), 1.0))
    return equal(weights, torch.from_numpy(np.array(expected)), scale=scale)


DOMAIN = {
    "updates": (1, 2, 3),
    "accumulation": (1,),
    "batch": (1, 2, 3, 4),
    "size": (1, 2, 3),
    "held_out": (1, 2, 5),
    "every": (1, 2),
    "rate": (0.1, 0.01),
}
SEVERAL = DOMAIN | {"updates": (2, 3, 4)}
ACCUMULATED = DOMAIN | {"accumulation": (2, 3)}

RUNS = "training_loop.accepts-valid-input"
STEPS = "training_loop.first-update-follows-the-gradient"

MINIBATCH = GOODFELLOW.says("8.3.1, algorithm 8.1", "Sample a minibatch of m examples from the training set")
AFTERWARDS = PYTORCH.says("torch.optim", "Learning rate scheduling should be applied after optimizer's update")
HELD_OUT = GOODFELLOW.says("5.3", "One of these subsets is used to learn the parameters.")


@check(
    RUNS,
    "U updates give the weights after each, U losses, and one held-out loss per ``every`` updates",
    spec=MINIBATCH,
    level="paper",
    hint="Run it once: a missing import or name shows at once.",
    case=LoopCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: LoopCase) -> Evidence:
    reply = case.train(candidate, case.data())
    shapes = [tuple(reply.outputs[name].shape) for name in ("output", "losses", "held_out_losses")]
    wanted = [(case.updates, case.size), (case.updates,), (case.updates // case.every,)]
    return holds(shapes == wanted, expected=f"shapes {wanted}", actual=f"shapes {shapes}")


@check(
    STEPS,
    "the first update is a step against the mean gradient: w = -rate * (1/m) sum_i dL_i/dw",
    spec=GOODFELLOW.says("8.3.1, algorithm 8.1", "Apply update"),
    level="paper",
    hint="backward, then optimizer.step(), and only then scheduler.step().",
    case=LoopCase,
    domain=DOMAIN | {"updates": (1,), "decay": (1.0, 0.5)},
    builds_on=[RUNS],
)
def first_update_follows_the_gradient(candidate: Candidate, case: LoopCase) -> Evidence:
    data = case.data()
    return follows(case, case.train(candidate, data).output, data)


@check(
    "training_loop.every-update-has-a-gradient-of-its-own",
    "each update follows the gradient of its own batch alone: w(u) = w(u-1) - rate * dL_u/dw",
    spec=MINIBATCH,
    level="paper",
    hint="Call optimizer.zero_grad() before each backward: gradients add up until they are set to zero.",
    case=LoopCase,
    domain=SEVERAL,
    builds_on=[STEPS],
)
def every_update_has_a_gradient_of_its_own(candidate: Candidate, case: LoopCase) -> Evidence:
    data = case.data()
    return follows(case, case.train(candidate, data).output, data)


@check(
    "training_loop.rate-changes-once-per-update",
    "update u = 0, 1, ... uses rate * decay^u, however many batches it consists of",
    spec=AFTERWARDS,
    level="convention",
    hint="Step the scheduler once after each optimizer.step(), not after each batch and not in the evaluation.",
    case=LoopCase,
    domain=SEVERAL | {"accumulation": (1, 2), "decay": (0.5, 0.9)},
    builds_on=[STEPS],
)
def rate_changes_once_per_update(candidate: Candidate, case: LoopCase) -> Evidence:
    # A wrong factor of the whole gradient says nothing here: compared are the steps' sizes with each other.
    data = case.data()
    weights = case.train(candidate, data).output
    before = starts(weights)
    wanted = torch.stack([torch.from_numpy(gradient(start, data, update)) for update, start in enumerate(before)])
    rates = ((before - weights) * wanted).sum(dim=1) / wanted.square().sum(dim=1)
    expected = rates[0] * case.decay ** torch.arange(case.updates, dtype=torch.float64)
    return equal(rates, expected, scale=float(1 + weights.abs().max() / wanted.norm(dim=1).min()))


@check(
    "training_loop.accumulated-batches-equal-one-large-batch",
    "A batches of B examples give the update of one batch of A * B examples",
    spec=PYTORCH.says(
        "Automatic Mixed Precision examples", "Gradient accumulation adds gradients over an effective batch"
    ),
    level="convention",
    hint="Divide the accumulated gradient by the number of batches, and step the optimizer after the last of them.",
    case=LoopCase,
    domain=ACCUMULATED,
    builds_on=[STEPS],
)
def accumulated_batches_equal_one_large_batch(candidate: Candidate, case: LoopCase) -> Evidence:
    data = case.data()
    return follows(case, case.train(candidate, data).output, data)


@check(
    "training_loop.every-token-counts-the-same",
    "the gradient is the mean over all examples of an update that count, in whichever of its batches they are",
    spec=GOYAL.says("3", "Normalize the per-worker loss by total minibatch size kn, not per-worker size n."),
    level="convention",
    hint="Add up the summed losses and divide by the number of all tokens: a mean of the batches' means is another.",
    case=LoopCase,
    domain=DOMAIN | {"accumulation": (1, 2, 3), "batch": (2, 3, 4), "padded": (True,)},
    builds_on=[STEPS],
)
def every_token_counts_the_same(candidate: Candidate, case: LoopCase) -> Evidence:
    data = case.data()
    return follows(case, case.train(candidate, data).output, data)


@check(
    "training_loop.clips-the-gradient-of-the-update",
    "the step's length is at most rate * max_norm, and its direction that of the whole update's mean gradient",
    spec=PYTORCH.says("torch.nn.utils.clip_grad_norm_", "concatenated into a single vector"),
    level="convention",
    hint="Clip once, after all batches are accumulated and averaged, and before the optimizer steps.",
    case=LoopCase,
    domain=ACCUMULATED | {"accumulation": (1, 2, 3), "max_norm": (0.1, 1.0)},
    builds_on=[STEPS],
    tolerance=1e-4 / torch.finfo(torch.float64).eps,  # torch divides by the norm plus 1e-6
)
def clips_the_gradient_of_the_update(candidate: Candidate, case: LoopCase) -> Evidence:
    data = case.data()
    return follows(case, case.train(candidate, data).output, data)


@check(
    "training_loop.reports-the-mean-loss",
    "the loss of an update is the mean over all its examples that count, at the weights before it",
    spec=MINIBATCH,
    level="convention",
    hint="Weigh the batches' losses by how many tokens they have.",
    case=LoopCase,
    domain=DOMAIN | {"accumulation": (1, 2), "batch": (2, 3, 4), "padded": (False, True)},
    builds_on=[RUNS],
)
def reports_the_mean_loss(candidate: Candidate, case: LoopCase) -> Evidence:
    data = case.data()
    reply = case.train(candidate, data)
    before = starts(reply.output)
    expected = [(errors(start, data, update)[1] ** 2).mean() for update, start in enumerate(before)]
    return equal(reply.outputs["losses"], torch.tensor(np.array(expected)))


@check(
    "training_loop.evaluates-the-whole-model",
    "a held-out loss is the mean squared error of the weights at that time, without dropout",
    spec=EVALUATION,
    level="paper",
    hint="Call model.eval() before the evaluation, and average over the examples.",
    case=LoopCase,
    domain=SEVERAL | {"dropout": (0.5,)},
    where=lambda case: case.updates >= case.every,
    builds_on=[RUNS],
)
def evaluates_the_whole_model(candidate: Candidate, case: LoopCase) -> Evidence:
    inputs, targets = case.held_out_data()
    reply = case.train(candidate, case.data())
    weights = reply.output[case.every - 1 :: case.every]
    losses = (weights @ inputs.T - targets).square()
    return equal(reply.outputs["held_out_losses"], losses.mean(dim=1), scale=float(losses.max()))


@check(
    "training_loop.evaluation-does-not-train",
    "the weights do not depend on the held-out data",
    spec=HELD_OUT,
    level="paper",
    hint="Evaluate under torch.no_grad(), and call neither backward nor the optimizer there.",
    case=LoopCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def evaluation_does_not_train(candidate: Candidate, case: LoopCase) -> Evidence:
    data = case.data()
    first, second = (case.train(candidate, data, case.held_out_data(name)).output for name in ("held", "other"))
    return equal(second, first)


@check(
    "training_loop.trains-with-dropout-after-an-evaluation",
    "the updates that follow an evaluation are made in training mode: dropout changes them",
    spec=EVALUATION,
    level="convention",
    hint="Call model.train() again after the evaluation.",
    case=LoopCase,
    domain=SEVERAL | {"every": (1,), "dropout": (0.5,)},
    builds_on=[RUNS],
)
def trains_with_dropout_after_an_evaluation(candidate: Candidate, case: LoopCase) -> Evidence:
    data = case.data()
    weights = case.train(candidate, data).output
    whole = [
        oracles.array(start) - case.rate * gradient(start, data, update) for update, start in enumerate(starts(weights))
    ]
    return different(weights[1:], torch.from_numpy(np.array(whole))[1:], expected="updates that dropout has changed")
