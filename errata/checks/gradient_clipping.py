"""Gradient clipping by norm: ``build(max_norm)``, ``call(first, second)``.

The two are the gradients of two parameters, vectors of n and of m numbers. The candidate answers ``output`` and
``second``, the two after clipping.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from errata.candidates import Candidate, CandidateError
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import GOODFELLOW, SUTSKEVER
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class ClippingCase(Case):
    """Two gradients whose common norm is ``excess`` times the permitted one."""

    size: int = 1
    other: int = 2
    max_norm: float = 1.0
    excess: float = 2.0

    def gradients(self) -> Tensor:
        """Both gradients as one vector."""
        drawn = self.normal("gradients", self.size + self.other)
        drawn = torch.where(drawn.abs() < 0.1, 1.0, drawn)
        return drawn.mul(self.excess * self.max_norm / drawn.norm())

    def clipped(self, candidate: Candidate, gradients: Tensor | None = None) -> Tensor:
        """Both gradients after clipping, as one vector."""
        first, second = (self.gradients() if gradients is None else gradients).split([self.size, self.other])
        built = candidate.build({"max_norm": self.max_norm}, dtype=self.dtype)
        outputs = built.call({"first": first, "second": second}, training=True).outputs
        return torch.cat([outputs["output"].flatten(), outputs["second"].flatten()])


SIZES: dict[str, Sequence[Any]] = {"size": (1, 2, 3), "other": (2, 1, 4), "max_norm": (1.0, 0.5, 5.0)}
LONG = SIZES | {"excess": (2.0, 1.1, 100.0)}
SHORT = SIZES | {"excess": (0.5, 0.9, 0.01)}

RUNS = "gradient_clipping.accepts-valid-input"

CLOSE = 1e-4 / torch.finfo(torch.float64).eps
"""Tolerance for the small number that libraries add to the norm."""

THRESHOLD = SUTSKEVER.says(
    "3.4", "we enforced a hard constraint on the norm of the gradient [10,25] by scaling it when its norm exceeded"
)
JOINTLY = GOODFELLOW.says("10.11.1", "is renormalized jointly with a single scaling factor")


@check(
    RUNS,
    "each clipped gradient has as many numbers as before, all finite",
    spec=THRESHOLD,
    level="paper",
    hint="Run it once: clip gradients, not parameters, and after backward.",
    case=ClippingCase,
    domain=LONG,
)
def accepts_valid_input(candidate: Candidate, case: ClippingCase) -> Evidence:
    clipped = case.clipped(candidate)
    fine = clipped.numel() == case.size + case.other and bool(clipped.isfinite().all())
    return holds(fine, expected=f"{case.size} and {case.other} finite numbers", actual=printed(clipped))


@check(
    "gradient_clipping.direction-is-kept",
    "all gradients are multiplied by one factor: clipped / norm(clipped) = g / norm(g), over both parameters",
    spec=JOINTLY,
    level="paper",
    hint="Compute the norm over all parameters together; clipping by value or one parameter at a time turns the step.",
    case=ClippingCase,
    domain=LONG,
    builds_on=[RUNS],
)
def direction_is_kept(candidate: Candidate, case: ClippingCase) -> Evidence:
    clipped, before = case.clipped(candidate), case.gradients()
    return equal(clipped / clipped.norm(), before / before.norm())


@check(
    "gradient_clipping.norm-is-bounded",
    "gradients whose common norm is too large have the permitted one afterwards: norm(clipped) = max_norm",
    spec=THRESHOLD,
    level="paper",
    hint="Multiply by max_norm / norm; the norm is the root of the sum of all squares.",
    case=ClippingCase,
    domain=LONG,
    builds_on=[RUNS],
    tolerance=CLOSE,
)
def norm_is_bounded(candidate: Candidate, case: ClippingCase) -> Evidence:
    return equal(case.clipped(candidate).norm(), torch.tensor(case.max_norm, dtype=torch.float64))


@check(
    "gradient_clipping.short-gradients-stay",
    "gradients whose common norm is permitted stay as they are",
    spec=THRESHOLD,
    level="paper",
    hint="The factor is min(1, max_norm / norm): do not stretch short gradients to the threshold.",
    case=ClippingCase,
    domain=SHORT,
    builds_on=[RUNS],
)
def short_gradients_stay(candidate: Candidate, case: ClippingCase) -> Evidence:
    return equal(case.clipped(candidate), case.gradients())


@check(
    "gradient_clipping.zero-stays-zero",
    "gradients that are all 0 stay 0, not 0/0",
    spec=THRESHOLD,
    level="robustness",
    hint="Do not divide by a norm that may be 0.",
    case=ClippingCase,
    domain=SHORT,
    builds_on=[RUNS],
)
def zero_stays_zero(candidate: Candidate, case: ClippingCase) -> Evidence:
    zeros = torch.zeros_like(case.gradients())
    return equal(case.clipped(candidate, zeros), zeros)


@check(
    "gradient_clipping.not-a-number-does-not-spread",
    "a NaN in one gradient is refused, or the gradients of the other parameter stay finite",
    spec=THRESHOLD,
    level="robustness",
    hint="The norm is NaN, and so is everything that it is multiplied by: raise, or skip the step.",
    case=ClippingCase,
    domain=LONG,
    builds_on=[RUNS],
)
def not_a_number_does_not_spread(candidate: Candidate, case: ClippingCase) -> Evidence:
    gradients = case.gradients()
    gradients[0] = torch.nan
    expected = "an error, or finite numbers in the second gradient"
    try:
        second = case.clipped(candidate, gradients)[case.size :]
    except CandidateError as error:
        return holds(True, expected=expected, actual=str(error))
    return holds(bool(second.isfinite().all()), expected=expected, actual=printed(second))
