"""A learning rate that falls within a period and then starts again: ``build(initial, period)``, ``call(steps)``.

It answers the rates of the steps 0, 1, ..., ``steps - 1``, shape ``(steps,)``. Traits: ``cosine`` or ``linear``, the
shape that the candidate claims; without either, both are accepted, and so is a last step of each period that reaches 0
as well as one that stops short of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import PYTORCH, SGDR
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class PeriodicCase(Case):
    """The parameters of a schedule, and how many periods are looked at."""

    period: int = 2
    periods: int = 2
    initial: float = 0.1

    def rates(self, candidate: Candidate) -> Tensor:
        """The rates of whole periods, one row a period."""
        built = candidate.build({"initial": self.initial, "period": self.period}, dtype=self.dtype)
        return built.call({"steps": self.period * self.periods}).output.double()


DOMAIN: dict[str, Sequence[Any]] = {
    "period": (2, 3, 4, 7),
    "periods": (2, 3),
    "initial": (0.1, 0.001, 1.0),
}

RUNS = "periodic_schedule.accepts-valid-input"
STARTS = "periodic_schedule.starts-at-the-initial-rate"
FALLS = "periodic_schedule.falls-within-a-period"
RISES = "periodic_schedule.rises-at-a-restart"
RETURNS = "periodic_schedule.returns-to-the-initial-rate"

ANNEALED = SGDR.says("3", "we decay the learning rate with a cosine annealing")
RESTARTED = SGDR.says("3", "emulated by increasing the learning rate")
RESTORED = PYTORCH.says("torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", "after restart, set")


@check(
    RUNS,
    "n steps give n rates, finite and not negative",
    spec=ANNEALED,
    level="paper",
    hint="Run it once: a cosine from 1 to -1 needs 1 added before it is halved.",
    case=PeriodicCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: PeriodicCase) -> Evidence:
    rates = case.rates(candidate)
    steps = case.period * case.periods
    fine = rates.shape == (steps,) and bool((rates.isfinite() & (rates >= 0)).all())
    return holds(fine, expected=f"{steps} finite rates of at least 0", actual=printed(rates))


@check(
    STARTS,
    "the first step has the initial rate",
    spec=RESTORED,
    level="convention",
    hint="Count steps from 0.",
    case=PeriodicCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def starts_at_the_initial_rate(candidate: Candidate, case: PeriodicCase) -> Evidence:
    return equal(case.rates(candidate)[:1], torch.tensor([case.initial], dtype=torch.float64))


@check(
    FALLS,
    "within a period each rate is below the one before it",
    spec=ANNEALED,
    level="paper",
    hint="Compute the rate from the step's place in its period; a cosine over 2 pi comes up again half way.",
    case=PeriodicCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def falls_within_a_period(candidate: Candidate, case: PeriodicCase) -> Evidence:
    rates = case.rates(candidate).reshape(case.periods, case.period)
    falling = bool((rates.diff(dim=1) < 0).all())
    return holds(falling, expected="falling rates in each row, one row a period", actual=printed(rates))


@check(
    RISES,
    "a new period begins above the end of the one before it",
    spec=RESTARTED,
    level="paper",
    hint="Start again with step modulo period; a rate that only falls is no periodic one.",
    case=PeriodicCase,
    domain=DOMAIN | {"period": (3, 4, 7)},
    builds_on=[RUNS],
)
def rises_at_a_restart(candidate: Candidate, case: PeriodicCase) -> Evidence:
    rates = case.rates(candidate).reshape(case.periods, case.period)
    rising = bool((rates[1:, 0] > rates[:-1, -1]).all())
    return holds(rising, expected="each row begins above the end of the row before it", actual=printed(rates))


@check(
    RETURNS,
    "each period begins with the initial rate: rate(i * period) = rate(0)",
    spec=RESTORED,
    level="convention",
    hint="Start again from the initial rate, not from a smaller one, and let all periods have the same length.",
    case=PeriodicCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def returns_to_the_initial_rate(candidate: Candidate, case: PeriodicCase) -> Evidence:
    first = case.rates(candidate)[:: case.period]
    return equal(first, first[:1].expand_as(first))


@check(
    "periodic_schedule.closed-form",
    "rate(n) = initial / 2 * (1 + cos(pi k / P)), or initial * (1 - k / P) if it is linear, with k = n modulo P",
    spec=PYTORCH.says("torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", "using a cosine annealing schedule"),
    level="convention",
    hint="Half a cosine: from 1 at the beginning of a period to 0 at its end.",
    case=PeriodicCase,
    domain=DOMAIN,
    builds_on=[STARTS, FALLS, RETURNS],
)
def closed_form(candidate: Candidate, case: PeriodicCase) -> Evidence:
    place = np.tile(np.arange(case.period), case.periods)
    right = []
    for end in (case.period, case.period - 1):
        forms = {"cosine": (1 + np.cos(np.pi * place / end)) / 2, "linear": 1 - place / end}
        right += [form for name, form in forms.items() if name in candidate.traits] or list(forms.values())
    rates = case.rates(candidate)
    return min((equal(rates, torch.from_numpy(case.initial * form)) for form in right), key=lambda e: e.deviation)
