"""Loss weights learned as uncertainties (Kendall et al. 2018): ``build(regressions, classifications)`` and ``call``.

``call(losses, log_variances, present)`` with K losses, those of the regressions first, their log variances
``s = log sigma^2``, both ``(K,)``, and a boolean ``(K,)``, False for a task that has no loss in this batch. The answer
is the total, a scalar: the sum of ``c exp(-s) L + s / 2``, c = 1/2 for a regression, 1 for a classification, or twice
that: a factor changes no minimum. Traits: ``regression-only``, all tasks are weighed as regressions; ``absent-tasks``,
the candidate minds ``present``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Reply
from errata.checks import oracles
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import KENDALL
from errata.checks.registry import check

CONSTANT_FACTORS = (1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class UncertaintyCase(Case):
    """How many tasks there are of each kind, and how far the log variances lie from 0."""

    regressions: int = 1
    classifications: int = 0
    spread: float = 1.0

    @property
    def tasks(self) -> int:
        """How many there are."""
        return self.regressions + self.classifications

    def losses(self) -> Tensor:
        """Positive numbers, as squared errors and cross-entropies are."""
        return self.normal("losses", self.tasks).abs() + 0.1

    def log_variances(self) -> Tensor:
        """One for each task, on both sides of 0."""
        return self.spread * self.normal("log variances", self.tasks)

    def factors(self) -> Tensor:
        """c: 1/2 for a regression, 1 for a classification."""
        return torch.tensor([0.5] * self.regressions + [1.0] * self.classifications, dtype=torch.float64)

    def call(self, candidate: Candidate, log_variances: Tensor | None = None, present: Tensor | None = None) -> Reply:
        """The total and its gradients."""
        built = candidate.build(
            {"regressions": self.regressions, "classifications": self.classifications}, dtype=self.dtype
        )
        arguments: dict[str, Argument] = {
            "losses": self.losses(),
            "log_variances": self.log_variances() if log_variances is None else log_variances,
            "present": torch.ones(self.tasks, dtype=torch.bool) if present is None else present,
        }
        return built.call(arguments, training=True, cotangent=torch.ones((), dtype=getattr(torch, self.dtype)))

    def formula(self, present: Tensor | None = None) -> Tensor:
        """``sum_k c_k exp(-s_k) L_k + s_k / 2``."""
        s = oracles.array(self.log_variances())
        terms = oracles.array(self.factors()) * np.exp(-s) * oracles.array(self.losses()) + s / 2
        return torch.tensor(terms[slice(None) if present is None else present.numpy()].sum())


def gradient(reply: Reply, name: str) -> Tensor:
    """The gradient of an argument; zero if it has no influence."""
    return reply.gradients.get(name, torch.zeros_like(reply.arguments[name]))


def up_to_a_factor(actual: Tensor, expected: Tensor, *, scale: float = 1.0) -> Evidence:
    """Equal, or twice as large."""
    each = [equal(actual, factor * expected, scale=factor * scale) for factor in CONSTANT_FACTORS]
    return min(each, key=lambda evidence: evidence.deviation)


DOMAIN = {"regressions": (1, 2, 3), "spread": (1.0, 0.5), "scale": (1.0, 2.0)}
MIXED = DOMAIN | {"regressions": (0, 1, 2), "classifications": (1, 2)}

RUNS = "uncertainty_weighting.accepts-valid-input"
EQUATION_7 = KENDALL.says("3.2, equation 7", "learning the relative weight of the losses")
EQUATION_10 = KENDALL.says("3.2, equation 10", "the extension to classification likelihoods is more interesting")
LOG_VARIANCE = KENDALL.says("3.2", "In practice, we train the network to predict the log variance")
REGULARISER = KENDALL.says(
    "3.2",
    "The noise is discouraged from increasing too much (effectively ignoring the data) by the last term in the"
    " objective",
)


@check(
    RUNS,
    "K losses and K log variances of any sign give one finite number",
    spec=KENDALL.says("3.2", "The exponential mapping also allows us to regress unconstrained scalar values"),
    level="paper",
    hint="Learn s = log sigma^2 and use exp(-s); the logarithm of a learned variance fails once that is negative.",
    case=UncertaintyCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: UncertaintyCase) -> Evidence:
    total = case.call(candidate).output
    fine = total.shape == () and bool(total.isfinite())
    return holds(fine, expected="one finite number", actual=f"{total.tolist()}")


@check(
    "uncertainty_weighting.matches-equation-7",
    "regressions: the loss is sum_k exp(-s_k) L_k / 2 + s_k / 2, that is L / (2 sigma^2) + log sigma",
    spec=EQUATION_7,
    level="paper",
    hint="log sigma is s / 2, and 1 / sigma^2 is exp(-s). log(1 + sigma^2) is another method's.",
    case=UncertaintyCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def matches_equation_7(candidate: Candidate, case: UncertaintyCase) -> Evidence:
    return up_to_a_factor(case.call(candidate).output, case.formula())


@check(
    "uncertainty_weighting.matches-equation-10",
    "a classification's term is exp(-s) L + s / 2, that is L / sigma^2 + log sigma, without the half of a regression's",
    spec=EQUATION_10,
    level="paper",
    hint="The half belongs to the Gaussian likelihood. The softmax likelihood divides the logits by sigma^2.",
    case=UncertaintyCase,
    domain=MIXED,
    unless=["regression-only"],
    builds_on=[RUNS],
)
def matches_equation_10(candidate: Candidate, case: UncertaintyCase) -> Evidence:
    return up_to_a_factor(case.call(candidate).output, case.formula())


@check(
    "uncertainty_weighting.weights-of-the-losses",
    "dL / dL_k = exp(-s_k) / 2: the more uncertain the task, the smaller its weight",
    spec=KENDALL.says("3.2", "as the noise decreases, we have that the weight of the respective objective increases"),
    level="paper",
    hint="The weight is exp(-s), not exp(s); do not detach the losses.",
    case=UncertaintyCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def weights_of_the_losses(candidate: Candidate, case: UncertaintyCase) -> Evidence:
    expected = np.exp(-oracles.array(case.log_variances())) / 2
    return up_to_a_factor(gradient(case.call(candidate), "losses"), torch.from_numpy(expected))


@check(
    "uncertainty_weighting.gradient-of-the-log-variances",
    "dL / ds_k = (1 - exp(-s_k) L_k) / 2: both terms train the variance",
    spec=LOG_VARIANCE,
    level="paper",
    hint="Register s as a parameter, and detach or clamp neither exp(-s) nor s.",
    case=UncertaintyCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def gradient_of_the_log_variances(candidate: Candidate, case: UncertaintyCase) -> Evidence:
    weighted = np.exp(-oracles.array(case.log_variances())) * oracles.array(case.losses())
    expected = torch.from_numpy((1 - weighted) / 2)
    return up_to_a_factor(gradient(case.call(candidate), "log_variances"), expected, scale=float(weighted.max()))


@check(
    "uncertainty_weighting.minimum-at-the-tasks-own-loss",
    "at sigma_k^2 = 2 c_k L_k the gradient of s_k is 0: the variance settles at the task's own error",
    spec=REGULARISER,
    level="paper",
    hint="Without log sigma the weights fall to 0; with s in place of s / 2 they settle at half the error.",
    case=UncertaintyCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def minimum_at_the_tasks_own_loss(candidate: Candidate, case: UncertaintyCase) -> Evidence:
    settled = (2 * case.factors().to(case.losses().dtype) * case.losses()).log()
    return equal(gradient(case.call(candidate, settled), "log_variances"), torch.zeros(case.tasks), scale=1.0)


@check(
    "uncertainty_weighting.exact-at-extreme-variances",
    "the formula holds for log variances of some tens, large and small",
    spec=KENDALL.says("3.2", "as the loss avoids any division by zero"),
    level="robustness",
    hint="Multiply by exp(-s); do not add an epsilon to sigma^2, and do not clamp s.",
    case=UncertaintyCase,
    domain=DOMAIN | {"spread": (20.0, 30.0), "scale": (1.0,)},
    builds_on=[RUNS],
)
def exact_at_extreme_variances(candidate: Candidate, case: UncertaintyCase) -> Evidence:
    expected = np.exp(-oracles.array(case.log_variances())) / 2
    weights = oracles.array(gradient(case.call(candidate), "losses"))
    ratio = torch.from_numpy(weights / expected)
    return up_to_a_factor(ratio, torch.ones(case.tasks, dtype=torch.float64), scale=100.0)


@check(
    "uncertainty_weighting.absent-task-takes-no-part",
    "a task without a loss in this batch adds nothing, and its variance is not trained",
    spec=KENDALL.says("4", "Pixels which do not have an inverse depth label are ignored in the loss"),
    level="convention",
    hint="Leave its s / 2 out too: a loss of 0 would drive its variance down with every such batch.",
    case=UncertaintyCase,
    domain=DOMAIN | {"regressions": (2, 3)},
    needs=["absent-tasks"],
    builds_on=[RUNS],
)
def absent_task_takes_no_part(candidate: Candidate, case: UncertaintyCase) -> Evidence:
    present = torch.ones(case.tasks, dtype=torch.bool)
    present[int(case.integers("absent", 0, case.tasks))] = False
    reply = case.call(candidate, present=present)
    total = torch.cat((reply.output.view(1), gradient(reply, "log_variances")[~present]))
    return up_to_a_factor(total, torch.cat((case.formula(present).view(1), torch.zeros(1))))
