"""Dropout: ``build(probability)``, ``call(x)`` in training or evaluation; the probability is that of dropping.

Inverted dropout scales in training; the original scales in evaluation. What the paper demands holds for both: the
expected output in training is the output in evaluation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.candidates.candidate import Scalar
from errata.checks import modules
from errata.checks.evidence import Evidence, equal, holds, refuses
from errata.checks.literature import PYTORCH, SRIVASTAVA
from errata.checks.modules import ModuleCase
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class DropoutCase(ModuleCase):
    """One call."""

    probability: float = 0.5
    batch: int = 1
    positions: int = 1
    width: int = 1

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"probability": self.probability}

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call: all drawn."""
        return {"x": self.x()}

    def x(self) -> Tensor:
        """Drawn contents without a zero: what is zero afterwards was dropped."""
        drawn = self.normal("x", self.batch, self.positions, self.width)
        return torch.where(drawn.abs() < 0.1 * self.scale, self.scale, drawn)

    def trained(self, candidate: Candidate, seed: int | None = None) -> Tensor:
        """The output of one call in training."""
        seed = self.seed if seed is None else seed
        return self.build(candidate).call(self.inputs(), training=True, seed=seed).output


DOMAIN = {
    "probability": (0.5, 0.1, 0.25, 0.8),
    "batch": (1, 2, 3),
    "positions": (1, 2, 4),
    "width": (1, 2, 5),
    "scale": (1.0, 0.1, 10.0),
}

SOME = DOMAIN | {"batch": (3,), "positions": (4,), "width": (5,)}
"""Enough entries that two masks are never equal by chance."""

MANY = DOMAIN | {"batch": (16,), "positions": (16,), "width": (16,)}
"""So many entries that a share of them is close to its probability."""

SIX_SIGMA = 6 * (16 * 16 * 16) ** -0.5
"""How far the mean of `MANY` draws may be from its expectation, in deviations of one draw: beyond it once in 10^9."""

RETAINED = SRIVASTAVA.says("1", "each unit is retained with a fixed probability p independent of other units")
EXPECTED = SRIVASTAVA.says(
    "1",
    "is the same as the actual output at test time",
)
EVALUATION = SRIVASTAVA.says("1", "use a single neural net at test time without dropout")
SCALED = PYTORCH.says("torch.nn.Dropout", "the outputs are scaled by a factor of")
IDENTITY = PYTORCH.says("torch.nn.Dropout", "during evaluation the module simply computes an identity function")
RUNS = "dropout.accepts-valid-input"
RATE = "dropout.drops-with-its-probability"
INDEPENDENT = "dropout.elements-are-dropped-independently"


def share(condition: Tensor) -> float:
    """The share of entries that are true."""
    return condition.double().mean().item()


@check(
    RUNS,
    "in training dropout answers every tensor with one of the same shape",
    spec=RETAINED,
    level="paper",
    hint="Run it once: a missing import, or a mask of another shape, shows at once.",
    case=DropoutCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: DropoutCase) -> Evidence:
    actual, shape = tuple(case.trained(candidate).shape), tuple(case.x().shape)
    return holds(actual == shape, expected=f"shape {shape}", actual=f"shape {actual}")


@check(
    RATE,
    "in training each element is zero with the given probability",
    spec=RETAINED,
    level="paper",
    hint="The argument is the probability of dropping: keep where a uniform number is at least p.",
    case=DropoutCase,
    domain=MANY | {"probability": (0.25, 0.1, 0.5, 0.8)},
    builds_on=[RUNS],
)
def drops_with_its_probability(candidate: Candidate, case: DropoutCase) -> Evidence:
    dropped = share(case.trained(candidate) == 0)
    # As wide as if whole rows were dropped: whether they are is another question.
    near = abs(dropped - case.probability) < 4 * SIX_SIGMA * 0.5
    return holds(near, expected=f"a share of zeros near {case.probability}", actual=f"{dropped:.3f}")


@check(
    INDEPENDENT,
    "each element is dropped on its own: two neighbours along any axis are both zero with probability p^2",
    spec=RETAINED,
    level="paper",
    hint="Draw the mask in the shape of the input, not one number for a row, a column or an example.",
    case=DropoutCase,
    domain=MANY | {"probability": (0.5, 0.25)},
    builds_on=[RATE],
)
def elements_are_dropped_independently(candidate: Candidate, case: DropoutCase) -> Evidence:
    dropped = case.trained(candidate) == 0
    pairs = [share(dropped & dropped.roll(1, dims=axis)) for axis in range(3)]
    # Pairs share elements, which at most doubles their deviation.
    near = all(abs(pair - case.probability**2) < 2 * SIX_SIGMA * 0.5 for pair in pairs)
    shown = ", ".join(f"{pair:.3f}" for pair in pairs)
    return holds(near, expected=f"pairs of zeros along each axis near {case.probability**2:.3g}", actual=shown)


@check(
    "dropout.expectation-equals-evaluation",
    "the mean over training's draws is the output in evaluation",
    spec=EXPECTED,
    level="paper",
    hint="Divide what is kept by 1 - p in training, or multiply by 1 - p in evaluation; not both, not neither.",
    case=DropoutCase,
    domain=MANY,
    builds_on=[INDEPENDENT],
)
def expectation_equals_evaluation(candidate: Candidate, case: DropoutCase) -> Evidence:
    ones = {"x": torch.ones(case.batch, case.positions, case.width, dtype=torch.float64)}
    instance = case.build(candidate)
    training = instance.call(ones, training=True, seed=case.seed).output.mean().item()
    evaluation = instance.call(ones).output.mean().item()
    one = (case.probability / (1 - case.probability)) ** 0.5
    near = abs(training - evaluation) < SIX_SIGMA * one
    return holds(near, expected=f"a mean near {evaluation:.3f} in training", actual=f"{training:.3f}")


@check(
    "dropout.kept-values-are-scaled",
    "in training every element is 0 or x / (1 - p)",
    spec=SCALED,
    level="convention",
    hint="Scale by 1 / (1 - p), with p the probability of dropping.",
    case=DropoutCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def kept_values_are_scaled(candidate: Candidate, case: DropoutCase) -> Evidence:
    output = case.trained(candidate)
    return equal(output, torch.where(output == 0, 0.0, case.x() / (1 - case.probability)))


@check(
    "dropout.evaluation-is-identity",
    "in evaluation the output is the input",
    spec=IDENTITY,
    level="convention",
    hint="Act only if self.training; what training scaled, evaluation need not.",
    case=DropoutCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def evaluation_is_identity(candidate: Candidate, case: DropoutCase) -> Evidence:
    return equal(case.build(candidate).call(case.inputs()).output, case.x())


@check(
    "dropout.evaluation-is-deterministic",
    "in evaluation nothing is dropped at random: the same input gives the same output",
    spec=EVALUATION,
    level="paper",
    hint="Act only if self.training: a function that is always given training=True never stops dropping.",
    case=DropoutCase,
    domain=SOME,
    builds_on=[RUNS],
)
def evaluation_is_deterministic(candidate: Candidate, case: DropoutCase) -> Evidence:
    return modules.is_deterministic(candidate, case)


@check(
    "dropout.calls-draw-their-own-masks",
    "each call in training draws a mask of its own",
    spec=SRIVASTAVA.says(
        "1", "For each presentation of each training case, a new thinned network is sampled and trained"
    ),
    level="paper",
    hint="Draw the mask in forward, from torch's generator, not once in __init__ and not from a fixed seed.",
    case=DropoutCase,
    domain=SOME,
    builds_on=[RATE],
)
def calls_draw_their_own_masks(candidate: Candidate, case: DropoutCase) -> Evidence:
    return modules.drops_in_training(candidate, case)


@check(
    "dropout.gradient-has-the-same-mask",
    "the gradient passes through the mask of the forward pass: x * gradient = cotangent * output",
    spec=SRIVASTAVA.says(
        "5.1", "Forward and backpropagation for that training case are done only on this thinned network"
    ),
    level="paper",
    hint="Multiply by the mask; do not overwrite values under no_grad or through .data.",
    case=DropoutCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def gradient_has_the_same_mask(candidate: Candidate, case: DropoutCase) -> Evidence:
    x = case.x()
    cotangent = case.normal("cotangent", *x.shape)
    reply = case.build(candidate).call({"x": x}, training=True, seed=case.seed, cotangent=cotangent)
    gradient = reply.gradients.get("x", torch.zeros_like(x))
    return equal(x * gradient, cotangent * reply.output, scale=case.scale**2)


@check(
    "dropout.probability-zero-is-identity",
    "with probability 0 training changes nothing",
    spec=RETAINED,
    level="robustness",
    hint="Compare the uniform number with p so that p = 0 drops nothing.",
    case=DropoutCase,
    domain=DOMAIN | {"probability": (0.0,)},
    builds_on=[RUNS],
)
def probability_zero_is_identity(candidate: Candidate, case: DropoutCase) -> Evidence:
    return equal(case.trained(candidate), case.x())


@check(
    "dropout.probability-one-gives-zeros",
    "with probability 1 training gives zeros, not 0/0",
    spec=RETAINED,
    level="robustness",
    hint="1 / (1 - p) is infinite at p = 1: treat it apart.",
    case=DropoutCase,
    domain=DOMAIN | {"probability": (1.0,)},
    builds_on=[RUNS],
)
def probability_one_gives_zeros(candidate: Candidate, case: DropoutCase) -> Evidence:
    return equal(case.trained(candidate), torch.zeros_like(case.x()))


@check(
    "dropout.impossible-probability-is-refused",
    "a probability below 0 or above 1 is an error",
    spec=RETAINED,
    level="robustness",
    hint="Raise ValueError in the constructor.",
    case=DropoutCase,
    domain=DOMAIN | {"probability": (1.5, -0.5)},
    builds_on=[RUNS],
)
def impossible_probability_is_refused(candidate: Candidate, case: DropoutCase) -> Evidence:
    def use() -> object:
        return case.build(candidate).call(case.inputs(), training=True)

    return refuses(use, expected=f"an error for the probability {case.probability}")


@check(
    "dropout.arguments-are-not-changed",
    "the tensor that is passed in keeps its values",
    spec=RETAINED,
    level="robustness",
    hint="Multiply by the mask instead of writing zeros into the input.",
    case=DropoutCase,
    domain=SOME,
    builds_on=[RUNS],
)
def arguments_are_not_changed(candidate: Candidate, case: DropoutCase) -> Evidence:
    reply = case.build(candidate).call(case.inputs(), training=True, seed=case.seed)
    same = reply.arguments["x"].equal(case.x())
    return holds(same, expected="the argument as it was", actual="other values in the argument")
