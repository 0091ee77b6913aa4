"""Mean-squared error over padded sequences: ``call(prediction, target, present)``.

``prediction`` and ``target`` are ``(B, T, D)``; ``present`` is a boolean ``(B, T)``, False at padding. The answer is
one number, averaged over the features of the positions present.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.checks import padded
from errata.checks.evidence import Evidence, equal, unchanged
from errata.checks.literature import GOODFELLOW
from errata.checks.oracles import array
from errata.checks.padded import AVERAGED, IGNORED, PaddedCase
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class SquaredErrorCase(PaddedCase):
    """One batch of vectors of ``width`` numbers."""

    width: int = 1

    def drawn_as(self, name: str) -> Tensor:
        """Drawn contents ``(B, T, D)``."""
        return self.normal(name, self.batch, self.length, self.width)

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call."""
        return {
            "prediction": self.drawn_as("prediction"),
            "target": self.drawn_as("target"),
            "present": self.present(),
        }

    def expected(self) -> Tensor:
        """The closed form: all squares of what is present, over their number."""
        here = self.present().numpy()
        difference = array(self.drawn_as("prediction"))[here] - array(self.drawn_as("target"))[here]
        return torch.tensor((difference**2).mean(), dtype=torch.float64)


DOMAIN = padded.BATCHES | {"width": (1, 2, 5), "scale": (1.0, 0.1, 10.0)}
PADDED = DOMAIN | padded.PADDED

RUNS = "sequence_squared_error.accepts-valid-input"
PLAIN = "sequence_squared_error.is-the-mean-of-the-squares"
ABSENT = "sequence_squared_error.padding-takes-no-part"

SQUARES = GOODFELLOW.says("5.1.4", "compute the mean squared error of the model on the test set")


@check(
    RUNS,
    "a batch has one loss, a finite number",
    spec=SQUARES,
    level="paper",
    hint="Run it once: the mask (B, T) needs a third axis against (B, T, D).",
    case=SquaredErrorCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: SquaredErrorCase) -> Evidence:
    return padded.is_one_number(candidate, case)


@check(
    PLAIN,
    "without padding, the loss is the mean of (prediction - target)^2 over all B T D entries",
    spec=SQUARES,
    level="paper",
    hint="Square the difference, and divide by the number of entries, features included.",
    case=SquaredErrorCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def is_the_mean_of_the_squares(candidate: Candidate, case: SquaredErrorCase) -> Evidence:
    return equal(case.answer(candidate).output, case.expected())


@check(
    ABSENT,
    "predictions at padded positions do not change the loss",
    spec=IGNORED,
    level="convention",
    hint="Multiply the squares by the mask, or select what is present.",
    case=SquaredErrorCase,
    domain=PADDED,
    builds_on=[RUNS],
)
def padding_takes_no_part(candidate: Candidate, case: SquaredErrorCase) -> Evidence:
    prediction = torch.where(case.present()[..., None], case.drawn_as("prediction"), case.drawn_as("others"))
    return equal(case.answer(candidate, {"prediction": prediction}).output, case.answer(candidate).output)


@check(
    "sequence_squared_error.every-position-counts-the-same",
    "with padding, the sum of the squares of what is present is divided by their number",
    spec=AVERAGED,
    level="convention",
    hint="Divide by the entries present in the whole batch, not by all entries or by each sequence's own.",
    case=SquaredErrorCase,
    domain=PADDED,
    builds_on=[PLAIN, ABSENT],
)
def every_position_counts_the_same(candidate: Candidate, case: SquaredErrorCase) -> Evidence:
    return equal(case.answer(candidate).output, case.expected())


@check(
    "sequence_squared_error.nan-in-padding-has-no-gradient",
    "NaN at padded positions leaves the gradient finite, and 0 there",
    spec=IGNORED,
    level="robustness",
    hint="0 * NaN is NaN: fill the difference at padding before squaring, or select what is present.",
    case=SquaredErrorCase,
    domain=PADDED,
    builds_on=[ABSENT],
)
def nan_in_padding_has_no_gradient(candidate: Candidate, case: SquaredErrorCase) -> Evidence:
    holes = case.drawn_as("prediction").masked_fill(~case.present()[..., None], torch.nan)
    gradient = case.gradient(candidate, "prediction", {"prediction": holes})
    expected = case.gradient(candidate, "prediction")
    return equal(gradient, expected.masked_fill(~case.present()[..., None], 0.0))


@check(
    "sequence_squared_error.padding-alone-gives-zero",
    "a batch of padding alone has loss 0, not 0/0",
    spec=AVERAGED,
    level="robustness",
    hint="Divide the sum by max(entries, 1).",
    case=SquaredErrorCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def padding_alone_gives_zero(candidate: Candidate, case: SquaredErrorCase) -> Evidence:
    output = case.answer(candidate, {"present": torch.zeros_like(case.present())}).output
    return equal(output, torch.zeros_like(output))


@check(
    "sequence_squared_error.arguments-are-not-changed",
    "the arguments keep their values",
    spec=SQUARES,
    level="robustness",
    hint="Work on copies: no in-place operation on what was passed in.",
    case=SquaredErrorCase,
    domain=PADDED,
    builds_on=[RUNS],
)
def arguments_are_not_changed(candidate: Candidate, case: SquaredErrorCase) -> Evidence:
    return unchanged(case.inputs(), case.answer(candidate))
