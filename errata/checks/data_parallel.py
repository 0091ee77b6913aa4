"""The gradient that several processes compute together: ``call(weights, inputs, targets, counts, processes)``.

A batch of B examples, ``inputs`` ``(B, n)``, ``targets`` and ``counts`` ``(B,)``, is divided among ``processes``, which
may be simulated one after the other. Each computes the gradient of the squared errors of ``y = w . x`` on its part;
where ``counts`` is False there is padding, which takes no part. The candidate answers ``output``, the gradient that
every process applies ``(n,)``; ``loss``, the loss that it reports (a single number); ``visits``, how many processes
have seen each example ``(B,)``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate, Reply
from errata.checks import oracles
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import GOYAL
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class ParallelCase(Case):
    """One batch and the number of processes; ``padded`` leaves examples out."""

    batch: int = 2
    size: int = 1
    processes: int = 2
    padded: bool = False

    def data(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights, inputs, targets, and which examples count: at least the first."""
        counts = torch.ones(self.batch, dtype=torch.bool)
        if self.padded:
            counts = self.booleans("counts", self.batch)
            counts[0] = True
        inputs, targets = self.normal("inputs", self.batch, self.size), self.normal("targets", self.batch)
        return self.normal("weights", self.size), inputs, targets, counts

    def together(self, candidate: Candidate) -> Reply:
        """What the processes compute."""
        arguments = dict(zip(("weights", "inputs", "targets", "counts"), self.data(), strict=True))
        return candidate.build({}, dtype=self.dtype).call(arguments | {"processes": self.processes}, training=True)

    def alone(self) -> tuple[Tensor, Tensor]:
        """Gradient and loss that one process computes with the whole batch."""
        weights, inputs, targets, counts = (oracles.array(part) for part in self.data())
        error = (inputs @ weights - targets) * counts
        gradient = 2 * inputs.T @ error / counts.sum()
        return torch.from_numpy(gradient), torch.tensor((error**2).sum() / counts.sum())

    def gradient_is_that_of_one_process(self, candidate: Candidate) -> Evidence:
        """The gradients are equal up to rounding."""
        _, inputs, _, _ = self.data()
        scale = float(inputs.abs().max()) * float(self.alone()[1].sqrt()) + 1
        return equal(self.together(candidate).output, self.alone()[0], scale=scale)


EVEN = {"batch": (2, 4, 6), "size": (1, 2, 3), "processes": (2,), "scale": (1.0, 10.0)}
UNEVEN = EVEN | {"batch": (3, 5, 7), "processes": (2, 3)}

RUNS = "data_parallel.accepts-valid-input"

NORMALISED = GOYAL.says("3", "Normalize the per-worker loss by total minibatch size kn, not per-worker size n.")
DIVIDED = GOYAL.says(
    "3", "Use a single random shuffling of the training data (per epoch) that is divided amongst all k workers."
)


@check(
    RUNS,
    "the answer is a gradient for n weights, one loss, and a count for each example",
    spec=DIVIDED,
    level="paper",
    hint="Run it once: a missing import or name shows at once.",
    case=ParallelCase,
    domain=EVEN,
)
def accepts_valid_input(candidate: Candidate, case: ParallelCase) -> Evidence:
    reply = case.together(candidate)
    shapes = [tuple(reply.output.shape), reply.outputs["loss"].numel(), tuple(reply.outputs["visits"].shape)]
    wanted = [(case.size,), 1, (case.batch,)]
    return holds(shapes == wanted, expected=f"{wanted}", actual=f"{shapes}")


@check(
    "data_parallel.each-example-has-one-process",
    "the processes divide the batch: each example is seen by exactly one of them, also if there is a remainder",
    spec=DIVIDED,
    level="convention",
    hint="Give process r every k-th example from r on; cutting into equal parts loses the remainder.",
    case=ParallelCase,
    domain=EVEN | {"batch": (2, 3, 4, 5, 7), "processes": (2, 3)},
    builds_on=[RUNS],
)
def each_example_has_one_process(candidate: Candidate, case: ParallelCase) -> Evidence:
    visits = case.together(candidate).outputs["visits"]
    return holds(bool((visits == 1).all()), expected="each example once", actual=f"visits {printed(visits)}")


@check(
    "data_parallel.equal-parts-give-the-gradient-of-one-process",
    "with parts of the same size, the gradient is that of the whole batch: (1/B) sum_i dL_i/dw",
    spec=NORMALISED,
    level="paper",
    hint="Average the processes' mean gradients, or divide their sum by the size of the whole batch.",
    case=ParallelCase,
    domain=EVEN,
    builds_on=[RUNS],
)
def equal_parts_give_the_gradient_of_one_process(candidate: Candidate, case: ParallelCase) -> Evidence:
    return case.gradient_is_that_of_one_process(candidate)


@check(
    "data_parallel.unequal-parts-give-the-gradient-of-one-process",
    "with parts of different sizes, too, each example has the same weight",
    spec=NORMALISED,
    level="paper",
    hint="Divide by the number of examples of all processes: an average of the parts' means favours the smaller part.",
    case=ParallelCase,
    domain=UNEVEN,
    where=lambda case: case.batch % case.processes != 0,
    builds_on=[RUNS],
)
def unequal_parts_give_the_gradient_of_one_process(candidate: Candidate, case: ParallelCase) -> Evidence:
    return case.gradient_is_that_of_one_process(candidate)


@check(
    "data_parallel.every-token-counts-the-same",
    "with padding, the gradient is divided by the number of tokens in all processes",
    spec=NORMALISED,
    level="convention",
    hint="Add up the processes' counts of tokens, and divide the sum of the gradients by that.",
    case=ParallelCase,
    domain=EVEN | {"padded": (True,)},
    builds_on=[RUNS],
)
def every_token_counts_the_same(candidate: Candidate, case: ParallelCase) -> Evidence:
    return case.gradient_is_that_of_one_process(candidate)


@check(
    "data_parallel.more-processes-than-examples",
    "a process without any example takes part, and changes nothing",
    spec=NORMALISED,
    level="robustness",
    hint="A mean over nothing is NaN: sum, and divide once all counts are known.",
    case=ParallelCase,
    domain=EVEN | {"batch": (1, 2), "processes": (3, 4)},
    builds_on=[RUNS],
)
def more_processes_than_examples(candidate: Candidate, case: ParallelCase) -> Evidence:
    return case.gradient_is_that_of_one_process(candidate)


@check(
    "data_parallel.reports-the-loss-of-the-whole-batch",
    "the loss is the mean over the tokens of all processes",
    spec=NORMALISED,
    level="convention",
    hint="Reduce the sums of the losses and the counts over the processes before you divide.",
    case=ParallelCase,
    domain=EVEN | {"batch": (3, 4, 5), "padded": (False, True)},
    builds_on=[RUNS],
)
def reports_the_loss_of_the_whole_batch(candidate: Candidate, case: ParallelCase) -> Evidence:
    return equal(case.together(candidate).outputs["loss"].reshape(()), case.alone()[1])
