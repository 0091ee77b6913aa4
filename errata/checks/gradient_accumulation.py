"""Gradient accumulation: ``call(weight, x, y, lengths)`` gives the gradient ``(D,)`` that one step would use.

The model predicts ``x @ weight`` for each token; the loss is the squared error, averaged over all tokens. Each of the
K rows of ``x (K, T, D)`` and ``y (K, T)`` is one micro-batch, of which the first ``lengths[k]`` positions hold tokens
and the rest is padding. The candidate goes through the rows one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import ACCUMULATION
from errata.checks.oracles import array
from errata.checks.padded import PaddedCase
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class AccumulationCase(PaddedCase):
    """One step over ``batch`` micro-batches of ``length`` positions."""

    width: int = 1

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call."""
        return {
            "weight": self.normal("weight", self.width),
            "x": self.x(),
            "y": self.normal("y", self.batch, self.length),
            "lengths": self.present().sum(dim=1),
        }

    def x(self, name: str = "x") -> Tensor:
        """What the model reads."""
        return self.normal(name, self.batch, self.length, self.width)

    def whole_batch(self) -> Tensor:
        """``2 / N sum (x w - y) x`` over the N tokens of all rows."""
        here = self.present().numpy()
        x, y = array(self.x())[here], array(self.normal("y", self.batch, self.length))[here]
        weight = array(self.normal("weight", self.width))
        return torch.from_numpy(2 * (x @ weight - y) @ x / len(y))

    def largest(self) -> float:
        """A bound on what is added up."""
        return max(1.0, 10 * self.x().abs().max().item() ** 2)


DOMAIN: dict[str, Sequence[Any]] = {
    "batch": (2, 3, 5),
    "length": (1, 2, 4),
    "width": (1, 2, 3),
    "scale": (1.0, 0.1, 10.0),
}
UNEQUAL = DOMAIN | {"length": (2, 4), "padded": (True,)}

RUNS = "gradient_accumulation.accepts-valid-input"
EQUAL = "gradient_accumulation.equal-parts-give-the-gradient-of-the-whole"

WHOLE = ACCUMULATION.says(
    "introduction", "Gradient accumulation is supposed to be mathematically equivalent to full batch training"
)
TOTAL = ACCUMULATION.says(
    "Where does it stem from?", "divided by the total number of all non padding tokens in those batches"
)


@check(
    RUNS,
    "a step has one gradient, of the weight's shape and finite",
    spec=WHOLE,
    level="paper",
    hint="Run it once: backward for each part, and the gradient at the end.",
    case=AccumulationCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: AccumulationCase) -> Evidence:
    gradient = case.answer(candidate).output
    fine = gradient.shape == (case.width,) and bool(gradient.isfinite().all())
    return holds(fine, expected=f"{case.width} finite numbers", actual=printed(gradient))


@check(
    EQUAL,
    "parts with equally many tokens: the gradient of the mean loss of the whole batch, not K times it",
    spec=WHOLE,
    level="paper",
    hint="Divide each part's loss by the number of parts, and call zero_grad before the first part alone.",
    case=AccumulationCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def equal_parts_give_the_gradient_of_the_whole(candidate: Candidate, case: AccumulationCase) -> Evidence:
    return equal(case.answer(candidate).output, case.whole_batch(), scale=case.largest())


@check(
    "gradient_accumulation.padding-takes-no-part",
    "what stands at padding does not change the gradient",
    spec=TOTAL,
    level="paper",
    hint="Leave padded positions out of the sum as well as out of the count.",
    case=AccumulationCase,
    domain=UNEQUAL,
    builds_on=[RUNS],
)
def padding_takes_no_part(candidate: Candidate, case: AccumulationCase) -> Evidence:
    x = torch.where(case.present()[..., None], case.x(), case.x("others"))
    return equal(case.answer(candidate, {"x": x}).output, case.answer(candidate).output, scale=case.largest())


@check(
    "gradient_accumulation.every-token-counts-the-same",
    "parts with unequal numbers of tokens: the sum of all gradients divided by the number of all tokens",
    spec=TOTAL,
    level="paper",
    hint="Sum the losses and divide once by the tokens of all parts: a mean of means favours short parts.",
    case=AccumulationCase,
    domain=UNEQUAL,
    builds_on=[EQUAL],
)
def every_token_counts_the_same(candidate: Candidate, case: AccumulationCase) -> Evidence:
    return equal(case.answer(candidate).output, case.whole_batch(), scale=case.largest())
