"""The learning rate of the paper: ``build(width, warmup)``, ``call(steps)``.

It answers the rates of the updates 1, 2, ..., ``steps``, as a tensor of shape ``(steps,)``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks import oracles
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import VASWANI
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class NoamCase(Case):
    """The model's width, the number of warm-up steps, and how many steps follow them."""

    width: int = 1
    warmup: int = 1
    further: int = 1

    def rates(self, candidate: Candidate, steps: int, width: int | None = None) -> Tensor:
        """The rates of the first steps."""
        built = candidate.build({"width": width or self.width, "warmup": self.warmup}, dtype=self.dtype)
        return built.call({"steps": steps}).output

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.warmup + self.further


DOMAIN = {"width": (1, 4, 512), "warmup": (1, 2, 5, 40), "further": (1, 3, 20)}

RUNS = "noam_schedule.accepts-valid-input"
RISES = "noam_schedule.rises-linearly-in-warmup"
FALLS = "noam_schedule.falls-with-the-inverse-root"
WIDTH = "noam_schedule.falls-with-the-width"

RISING = VASWANI.says("5.3", "increasing the learning rate linearly for the first warmup_steps training steps")
FALLING = VASWANI.says("5.3", "decreasing it thereafter proportionally to the inverse square root of the step number")
FORMULA = VASWANI.says("5.3", "varied the learning rate over the course of training, according to the formula")


@check(
    RUNS,
    "the first step has a rate already, and every rate is positive and finite",
    spec=FORMULA,
    level="paper",
    hint="Count updates from 1: step^-0.5 of step 0 divides by zero, and a first rate of 0 wastes the step.",
    case=NoamCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: NoamCase) -> Evidence:
    rates = case.rates(candidate, case.steps)
    fine = rates.shape == (case.steps,) and bool((rates > 0).all() and rates.isfinite().all())
    return holds(fine, expected=f"{case.steps} positive rates", actual=printed(rates))


@check(
    RISES,
    "during warm-up the rate is proportional to the step: rate(n) = n * rate(1) for n <= warmup",
    spec=RISING,
    level="paper",
    hint="During warm-up, step * warmup^-1.5 is the smaller of the two: take the minimum.",
    case=NoamCase,
    domain=DOMAIN | {"warmup": (2, 5, 40)},
    builds_on=[RUNS],
)
def rises_linearly_in_warmup(candidate: Candidate, case: NoamCase) -> Evidence:
    rates = case.rates(candidate, case.warmup)
    return equal(rates, rates[0] * torch.arange(1, case.warmup + 1))


@check(
    "noam_schedule.peaks-at-warmup",
    "the largest rate is that of step warmup",
    spec=FALLING,
    level="paper",
    hint="The two terms of the minimum meet at step = warmup, if the exponents are -0.5 and -1.5.",
    case=NoamCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def peaks_at_warmup(candidate: Candidate, case: NoamCase) -> Evidence:
    peak = int(case.rates(candidate, case.steps).argmax()) + 1
    return holds(peak == case.warmup, expected=f"peak at step {case.warmup}", actual=f"peak at step {peak}")


@check(
    FALLS,
    "after warm-up the rate falls with the root: rate(n) = rate(warmup) * sqrt(warmup / n)",
    spec=FALLING,
    level="paper",
    hint="After warm-up, step^-0.5 is the smaller of the two.",
    case=NoamCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def falls_with_the_inverse_root(candidate: Candidate, case: NoamCase) -> Evidence:
    rates = case.rates(candidate, case.steps)[case.warmup - 1 :]
    return equal(
        rates, rates[0] * (case.warmup / torch.arange(case.warmup, case.steps + 1, dtype=torch.float64)).sqrt()
    )


@check(
    WIDTH,
    "the rate falls with the root of the model's width: rate(4 D) = rate(D) / 2",
    spec=FORMULA,
    level="paper",
    hint="The factor is d_model^-0.5, the model's width, not the heads' or the feed-forward network's.",
    case=NoamCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def falls_with_the_width(candidate: Candidate, case: NoamCase) -> Evidence:
    wide = case.rates(candidate, case.steps, width=4 * case.width)
    return equal(wide, case.rates(candidate, case.steps) / 2)


@check(
    "noam_schedule.matches-formula",
    "rate(n) = d_model^-0.5 * min(n^-0.5, n * warmup^-1.5)",
    spec=FORMULA,
    level="paper",
    hint="Rise, fall and width are right: look for a constant factor, or another power of warmup.",
    case=NoamCase,
    domain=DOMAIN,
    builds_on=[RISES, FALLS, WIDTH],
)
def matches_formula(candidate: Candidate, case: NoamCase) -> Evidence:
    return equal(case.rates(candidate, case.steps), torch.from_numpy(oracles.noam(case.steps, case.width, case.warmup)))
