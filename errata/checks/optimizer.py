"""Optimizers: ``build(rule, rate, momentum, beta1, beta2, epsilon, decay)``, ``call(start, gradients)``.

The candidate moves n weights from ``start`` by the gradients ``(E, n)``, one step each, and answers the weights after
each step ``(E, n)``. Traits say which rules it knows: ``gradient-descent``, ``momentum``, ``adam``, ``adamw``; ``rule``
names the one to use, and it takes of the other arguments those that the rule has. Adam's constants are those of Vaswani
et al. 2017, section 5.3.

Variants that the literature knows are accepted: a velocity that holds the learning rate or is dampened, Nesterov's
momentum, Adam's epsilon before or after the bias correction, and a decay of AdamW with or without the learning rate,
before or after the step.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal
from errata.checks.literature import ADAMW, GOODFELLOW, KINGMA, MOMENTUM
from errata.checks.oracles import Array, array
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class OptimizerCase(Case):
    """One training with given gradients, which do not depend on the weights."""

    steps: int = 1
    size: int = 1
    rate: float = 0.1
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-9
    decay: float = 0.1

    def start(self) -> Tensor:
        """The weights before the first step."""
        return self.normal("start", self.size)

    def gradients(self) -> Tensor:
        """Drawn gradients, none of them so small that epsilon decides about its sign."""
        drawn = self.normal("gradients", self.steps, self.size)
        return torch.where(drawn.abs() < 0.1 * self.scale, self.scale, drawn)

    def path(self, candidate: Candidate, rule: str, gradients: Tensor | None = None) -> Tensor:
        """The weights after each step under ``rule``."""
        names = ("rate", "momentum", "beta1", "beta2", "epsilon", "decay")
        built = candidate.build({"rule": rule} | {name: getattr(self, name) for name in names}, dtype=self.dtype)
        given = self.gradients() if gradients is None else gradients
        return built.call({"start": self.start(), "gradients": given}, training=True).output


Join = Callable[[Array, Array], Array]
"""The weights after a step, from those before it and the step itself."""


def walked(case: OptimizerCase, steps: Iterable[Array], join: Join) -> Tensor:
    """The path of the moves ``rate * step``."""
    weights, path = array(case.start()), []
    for step in steps:
        weights = join(weights, case.rate * step)
        path.append(weights)
    return torch.from_numpy(np.array(path))


def plainly(weights: Array, step: Array) -> Array:
    """No decay."""
    return weights - step


def shrinking(kept: float, after: bool) -> Join:
    """Only ``kept`` of the weights remains, taken before or ``after`` the step."""
    return lambda weights, step: kept * (weights - step) if after else kept * weights - step


def velocities(case: OptimizerCase) -> list[list[Array]]:
    """What momentum puts in the gradient's place: ``v = mu v + g``, averages of the gradients, and Nesterov's."""
    mu, forms = case.momentum, []
    for share, first in ((1.0, 1.0), (1 - mu, 1 - mu), (1 - mu, 1.0)):  # torch's dampening spares the first gradient
        velocity = np.zeros(case.size)
        plain, nesterov = [], []
        for number, gradient in enumerate(array(case.gradients())):
            velocity = mu * velocity + (share if number else first) * gradient
            plain.append(velocity)
            nesterov.append(mu * velocity + share * gradient)
        forms += [plain, nesterov]
    return forms


def adam_steps(case: OptimizerCase) -> list[list[Array]]:
    """Adam's moves over the rate (Kingma and Ba 2015): algorithm 1, and the order of computation at the end of 2."""
    first, second = np.zeros(case.size), np.zeros(case.size)
    algorithm, reordered = [], []
    for n, gradient in enumerate(array(case.gradients()), start=1):
        first = case.beta1 * first + (1 - case.beta1) * gradient
        second = case.beta2 * second + (1 - case.beta2) * gradient**2
        unbiased, root = first / (1 - case.beta1**n), np.sqrt(1 - case.beta2**n)
        algorithm.append(unbiased / (np.sqrt(second) / root + case.epsilon))
        reordered.append(unbiased * root / (np.sqrt(second) + case.epsilon))
    return [algorithm, reordered]


def nearest(path: Tensor, right: Iterable[Tensor]) -> Evidence:
    """Compare with the nearest of the paths that are right."""
    return min((equal(path, form, scale=10.0) for form in right), key=lambda evidence: evidence.deviation)


ONE_STEP: dict[str, Sequence[Any]] = {
    "size": (1, 2, 3),
    "rate": (0.1, 0.5, 0.01),
    "scale": (1.0, 0.1, 10.0),
}
DOMAIN = ONE_STEP | {"steps": (1, 2, 3, 6)}
SEVERAL = ONE_STEP | {"steps": (2, 3, 6)}
MOMENTA: dict[str, Sequence[Any]] = {"momentum": (0.9, 0.5)}

EPSILON_OF_ADAM = 1e-5 / torch.finfo(torch.float64).eps
"""Tolerance of what is exact but for Adam's epsilon."""

DESCENDS = "optimizer.gradient-descent-subtracts-the-gradient"
CORRECTED = "optimizer.adam-first-step-is-the-rate"
SCALE_FREE = "optimizer.adam-does-not-scale-with-the-gradient"
CLOSED_FORM = "optimizer.adam-closed-form"
DECOUPLED = "optimizer.adamw-decay-is-decoupled"

UPDATE = KINGMA.says("2, algorithm 1", "Update biased first moment estimate")
DECAY = ADAMW.says(
    "abstract",
    "L2 regularization and weight decay regularization are equivalent for standard stochastic gradient descent "
    "(when rescaled by the learning rate), but as we demonstrate this is not the case for adaptive gradient algorithms",
)


@check(
    DESCENDS,
    "gradient descent: w - rate * g at each step",
    spec=GOODFELLOW.says("4.3", "by moving x in small steps with the opposite sign of the derivative"),
    level="paper",
    hint="Subtract the rate times the gradient of this step: no sum, no mean, no sign.",
    case=OptimizerCase,
    domain=DOMAIN,
    needs=["gradient-descent"],
)
def gradient_descent_subtracts_the_gradient(candidate: Candidate, case: OptimizerCase) -> Evidence:
    path = case.path(candidate, "gradient-descent")
    return nearest(path, [walked(case, array(case.gradients()), plainly)])


@check(
    "optimizer.momentum-accumulates-gradients",
    "momentum: v = mu * v + g and w - rate * v, or a known variant",
    spec=MOMENTUM.says(
        "2", "accumulates a velocity vector in directions of persistent reduction in the objective across iterations"
    ),
    level="paper",
    hint="Keep the velocity between the steps, and multiply it by mu before the gradient is added.",
    case=OptimizerCase,
    domain=DOMAIN | MOMENTA,
    needs=["momentum"],
)
def momentum_accumulates_gradients(candidate: Candidate, case: OptimizerCase) -> Evidence:
    right = (walked(case, velocity, plainly) for velocity in velocities(case))
    return nearest(case.path(candidate, "momentum"), right)


@check(
    CORRECTED,
    "Adam's first step moves each weight by the rate against its gradient's sign, up to epsilon",
    spec=KINGMA.says("2, algorithm 1", "Compute bias-corrected first moment estimate"),
    level="paper",
    hint="Divide the moments by 1 - beta^n with n = 1 at the first step.",
    case=OptimizerCase,
    domain=ONE_STEP,
    needs=["adam"],
    tolerance=EPSILON_OF_ADAM,
)
def adam_first_step_is_the_rate(candidate: Candidate, case: OptimizerCase) -> Evidence:
    step = case.path(candidate, "adam")[0] - case.start()
    return equal(step, -case.rate * case.gradients()[0].sign())


@check(
    SCALE_FREE,
    "Adam with all gradients 1000 times as large takes the same path, up to epsilon",
    spec=KINGMA.says("abstract", "is invariant to diagonal rescaling of the gradients"),
    level="paper",
    hint="Divide the first moment by the root of the second one.",
    case=OptimizerCase,
    domain=SEVERAL,
    needs=["adam"],
    tolerance=EPSILON_OF_ADAM,
)
def adam_does_not_scale_with_the_gradient(candidate: Candidate, case: OptimizerCase) -> Evidence:
    larger = case.path(candidate, "adam", 1000 * case.gradients())
    return equal(larger, case.path(candidate, "adam"), scale=10.0)


@check(
    CLOSED_FORM,
    "Adam: m and v are decaying means of g and g^2, and w - rate * m^ / (sqrt(v^) + epsilon)",
    spec=UPDATE,
    level="paper",
    hint="Look at the betas, at which moment is squared, and whether the moments live on between the steps.",
    case=OptimizerCase,
    domain=DOMAIN,
    needs=["adam"],
    builds_on=[CORRECTED],
)
def adam_closed_form(candidate: Candidate, case: OptimizerCase) -> Evidence:
    return nearest(case.path(candidate, "adam"), (walked(case, steps, plainly) for steps in adam_steps(case)))


@check(
    DECOUPLED,
    "AdamW without a gradient shrinks all weights by one factor: w * (1 - rate * decay)^n, or w * (1 - decay)^n",
    spec=DECAY,
    level="paper",
    hint="Multiply the weights; a decay that is added to the gradient is rescaled by Adam to a step of size rate.",
    case=OptimizerCase,
    domain=DOMAIN | {"decay": (0.1, 0.5)},
    needs=["adamw"],
)
def adamw_decay_is_decoupled(candidate: Candidate, case: OptimizerCase) -> Evidence:
    path = case.path(candidate, "adamw", torch.zeros_like(case.gradients()))
    n = torch.arange(1, case.steps + 1, dtype=torch.float64)[:, None]
    right = (case.start() * (1 - decay) ** n for decay in (case.rate * case.decay, case.decay))
    return nearest(path, right)


@check(
    "optimizer.adamw-closed-form",
    "AdamW: Adam's step, whose moments know nothing of the decay, and the decay",
    spec=DECAY,
    level="paper",
    hint="Compute the moments from the gradient of the loss alone.",
    case=OptimizerCase,
    domain=DOMAIN | {"decay": (0.1, 0.5)},
    needs=["adamw"],
    builds_on=[DECOUPLED],
)
def adamw_closed_form(candidate: Candidate, case: OptimizerCase) -> Evidence:
    decays = (case.rate * case.decay, case.decay)
    joined = [shrinking(1 - decay, after) for decay in decays for after in (False, True)]
    right = (walked(case, steps, join) for steps in adam_steps(case) for join in joined)
    return nearest(case.path(candidate, "adamw"), right)
