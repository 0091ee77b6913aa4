"""Early stopping: ``build(patience, minimum_improvement)``, ``call(losses, weights)``.

Evaluation e = 0, 1, ... finds the model with the weights in row e of ``weights`` ``(E, n)``, written into one and the
same parameter, and the held-out loss ``losses[e]``. The candidate answers ``output``, the weights of the model that
training hands back ``(n,)``, and ``seen``, after how many evaluations it stops (a whole number; E if it does not).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate, Reply
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import GOODFELLOW
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class StoppingCase(Case):
    """One training: how many evaluations it is good for, and the two settings."""

    evaluations: int = 1
    size: int = 1
    patience: int = 1
    minimum_improvement: float = 0.0

    def losses(self) -> Tensor:
        """A held-out loss for each evaluation."""
        return self.normal("losses", self.evaluations).abs()

    def watch(self, candidate: Candidate, losses: Tensor) -> Reply:
        """The candidate's decisions."""
        config = {"patience": self.patience, "minimum_improvement": self.minimum_improvement}
        weights = self.normal("weights", len(losses), self.size)
        return candidate.build(config, dtype=self.dtype).call({"losses": losses, "weights": weights}, training=True)

    def stop(self, losses: Tensor, patience: int) -> int:
        """How many evaluations algorithm 7.1 sees."""
        best_loss, failures = math.inf, 0
        for number, loss in enumerate(losses.tolist()):
            if loss < best_loss - self.minimum_improvement:
                best_loss, failures = loss, 0
            else:
                failures += 1
            if failures == patience:
                return number + 1
        return len(losses)


DOMAIN = {"evaluations": (1, 2, 3, 6, 9), "size": (1, 2, 3), "patience": (1, 2, 3)}
LONG = DOMAIN | {"evaluations": (6, 9, 12)}

RUNS = "early_stopping.accepts-valid-input"

STOPS = GOODFELLOW.says(
    "7.8",
    "The algorithm terminates when no parameters have improved over the best recorded validation error for some"
    " pre-specified number of iterations.",
)
BEST = GOODFELLOW.says(
    "7.8", "When the training algorithm terminates, we return these parameters, rather than the latest parameters."
)
COPY = GOODFELLOW.says(
    "7.8", "Every time the error on the validation set improves, we store a copy of the model parameters."
)


def seen(reply: Reply) -> int:
    """After how many evaluations the candidate stopped."""
    return int(reply.outputs["seen"])


def stops_when(candidate: Candidate, case: StoppingCase, losses: Tensor, *, exactly: bool = False) -> Evidence:
    """The candidate sees as many evaluations as the algorithm does.

    Some libraries stop when the patience is exceeded, not when it is reached; only where the statement is about
    just that do the two differ.
    """
    allowed = {case.stop(losses, patience) for patience in (case.patience, case.patience + (not exactly))}
    actual = seen(case.watch(candidate, losses))
    expected = f"stops after {' or '.join(map(str, sorted(allowed)))} of {len(losses)}"
    return holds(actual in allowed, expected=expected, actual=f"after {actual}")


def falling(case: StoppingCase, step: float) -> Tensor:
    """Losses that fall by ``step`` an evaluation."""
    losses = 10.0 - step * torch.arange(case.evaluations, dtype=torch.float64)
    return losses.to(getattr(torch, case.dtype))


@check(
    RUNS,
    "the answer is n weights and one number of evaluations, from 1 to E",
    spec=STOPS,
    level="paper",
    hint="Run it once: a missing import or name shows at once.",
    case=StoppingCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: StoppingCase) -> Evidence:
    reply = case.watch(candidate, case.losses())
    count = seen(reply)
    good = reply.output.shape == (case.size,) and 1 <= count <= case.evaluations
    actual = f"shape {tuple(reply.output.shape)}, {count}"
    return holds(good, expected=f"shape ({case.size},), 1 to {case.evaluations}", actual=actual)


@check(
    "early_stopping.goes-on-while-the-loss-falls",
    "a loss that falls from one evaluation to the next stops nothing",
    spec=STOPS,
    level="paper",
    hint="Stop when the held-out loss no longer falls: a lower loss is the better one.",
    case=StoppingCase,
    domain=LONG,
    builds_on=[RUNS],
)
def goes_on_while_the_loss_falls(candidate: Candidate, case: StoppingCase) -> Evidence:
    return stops_when(candidate, case, case.losses().sort(descending=True).values)


@check(
    "early_stopping.stops-when-the-patience-is-spent",
    "a loss that only rises stops it after 1 + patience evaluations",
    spec=STOPS,
    level="convention",
    hint="Count the evaluations without improvement, and stop as soon as there are patience of them.",
    case=StoppingCase,
    domain=LONG,
    builds_on=[RUNS],
)
def stops_when_the_patience_is_spent(candidate: Candidate, case: StoppingCase) -> Evidence:
    return stops_when(candidate, case, case.losses().sort().values, exactly=True)


@check(
    "early_stopping.an-improvement-renews-the-patience",
    "only evaluations without improvement in a row count: the count starts anew with each new best loss",
    spec=STOPS,
    level="paper",
    hint="Set the counter back to 0 at each improvement.",
    case=StoppingCase,
    domain=LONG | {"patience": (2, 3)},
    builds_on=[RUNS],
)
def an_improvement_renews_the_patience(candidate: Candidate, case: StoppingCase) -> Evidence:
    # Falls, and at every second evaluation rises a little: never twice in a row without a new best.
    steps = torch.arange(case.evaluations, dtype=torch.float64)
    losses = 10.0 - steps + 1.5 * (steps % 2)
    return stops_when(candidate, case, losses.to(getattr(torch, case.dtype)))


@check(
    "early_stopping.compares-with-the-best-loss",
    "an evaluation is an improvement if it is below all before it, not just below the last one",
    spec=STOPS,
    level="paper",
    hint="Keep the best loss so far, and compare with that.",
    case=StoppingCase,
    domain=LONG,
    builds_on=[RUNS],
)
def compares_with_the_best_loss(candidate: Candidate, case: StoppingCase) -> Evidence:
    # The best comes first; then a jump, and from there it falls again but stays above the first.
    losses = torch.linspace(3.0, 2.0, case.evaluations)
    losses[0] = 1.0
    return stops_when(candidate, case, losses.to(getattr(torch, case.dtype)))


@check(
    "early_stopping.gives-back-the-best-weights",
    "the weights that are handed back are those of the lowest loss seen",
    spec=BEST,
    level="paper",
    hint="Load the stored weights at the end, whether it stopped early or not.",
    case=StoppingCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def gives_back_the_best_weights(candidate: Candidate, case: StoppingCase) -> Evidence:
    losses = case.losses()
    reply = case.watch(candidate, losses)
    best = int(losses[: seen(reply)].argmin())
    return equal(reply.output, case.normal("weights", case.evaluations, case.size)[best])


@check(
    "early_stopping.an-equal-loss-is-no-improvement",
    "a loss that stays the same spends the patience",
    spec=STOPS,
    level="convention",
    hint="Ask for less than the best loss, not for less or equal.",
    case=StoppingCase,
    domain=LONG,
    builds_on=[RUNS],
)
def an_equal_loss_is_no_improvement(candidate: Candidate, case: StoppingCase) -> Evidence:
    return stops_when(candidate, case, case.losses()[:1].expand(case.evaluations).clone())


@check(
    "early_stopping.a-small-improvement-is-none",
    "an improvement by no more than the minimum spends the patience",
    spec=STOPS,
    level="convention",
    hint="Compare with the best loss less the minimum improvement.",
    case=StoppingCase,
    domain=LONG | {"minimum_improvement": (2.0,)},
    builds_on=[RUNS],
)
def a_small_improvement_is_none(candidate: Candidate, case: StoppingCase) -> Evidence:
    return stops_when(candidate, case, falling(case, 0.1))


@check(
    "early_stopping.small-improvements-add-up",
    "the best loss stays until it is undercut by the minimum: two small improvements together may be one",
    spec=STOPS,
    level="convention",
    hint="Store the best loss only when it was undercut by more than the minimum improvement.",
    case=StoppingCase,
    domain=LONG | {"minimum_improvement": (0.5,), "patience": (2, 3)},
    builds_on=[RUNS],
)
def small_improvements_add_up(candidate: Candidate, case: StoppingCase) -> Evidence:
    return stops_when(candidate, case, falling(case, 0.3))


@check(
    "early_stopping.not-a-number-is-no-improvement",
    "a loss that is NaN spends the patience, and its weights are not the best ones",
    spec=COPY,
    level="robustness",
    hint="A comparison with NaN is False: ask whether the loss is lower, not whether it is higher.",
    case=StoppingCase,
    domain=LONG | {"patience": (2, 3)},
    builds_on=[RUNS],
)
def not_a_number_is_no_improvement(candidate: Candidate, case: StoppingCase) -> Evidence:
    losses = case.losses()
    losses[1:] = torch.nan
    reply = case.watch(candidate, losses)
    return equal(reply.output, case.normal("weights", case.evaluations, case.size)[0])
