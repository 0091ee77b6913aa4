"""Masks on scores: ``call(scores, mask, penalty)`` gives ``output``, hard masked, and ``soft``, softly masked.

Shapes: scores ``(B, T, S)``, mask boolean ``(B, T, S)``, True = may attend. A hard mask forbids the other keys, a soft
mask lowers their scores by ``penalty``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Reply
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, unchanged
from errata.checks.literature import PYTORCH, VASWANI
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class ScoreMaskCase(Case):
    """Sizes of one call, and the penalty."""

    batch: int = 1
    queries: int = 1
    keys: int = 2
    penalty: float = 1.0
    dtype: str = "float32"

    def inputs(self) -> dict[str, Tensor]:
        """Scores, and a mask that permits the first key of each query and forbids the last."""
        mask = self.booleans("mask", self.batch, self.queries, self.keys)
        mask[..., 0], mask[..., -1] = True, False
        return {"scores": self.normal("scores", self.batch, self.queries, self.keys), "mask": mask}


SIZES = {
    "batch": (1, 2, 3),
    "queries": (1, 2, 3),
    "keys": (2, 3, 5),
    "penalty": (1.0, 0.1, 3.0, 100.0),
    "scale": (1.0, 0.1, 10.0),
}
TYPES = SIZES | {"dtype": ("float16", "bfloat16", "float32", "float64")}

FORBIDDEN = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")
ADDED = PYTORCH.says("torch.nn.functional.scaled_dot_product_attention", "that is added to the attention score")
SAME_TYPE = PYTORCH.says(
    "torch.nn.functional.scaled_dot_product_attention", "A float mask of the same type as query, key, value"
)

RUNS = "score_mask.accepts-valid-input"
SOFT_LOWERS = "score_mask.soft-lowers-by-the-penalty"


def answer(candidate: Candidate, case: ScoreMaskCase) -> Reply:
    """One call."""
    arguments: dict[str, Argument] = {**case.inputs(), "penalty": case.penalty}
    return candidate.build({}, dtype=case.dtype).call(arguments)


def keeps_dtype(candidate: Candidate, case: ScoreMaskCase, output: str) -> Evidence:
    """One of the outputs has the type of the scores."""
    dtype = str(answer(candidate, case).outputs[output].dtype).removeprefix("torch.")
    return holds(dtype == case.dtype, expected=case.dtype, actual=dtype)


def lowered(case: ScoreMaskCase) -> Tensor:
    """The scores with the penalty taken off where the mask is False."""
    scores, mask = case.inputs().values()
    return torch.where(mask, scores, scores - case.penalty)


@check(
    RUNS,
    "hard and soft mask answer scores of shape (B, T, S) with scores of that shape",
    spec=FORBIDDEN,
    level="paper",
    hint="Run it once: a name that is never defined or imported, or an operation on the wrong type, shows at once.",
    case=ScoreMaskCase,
    domain=SIZES,
)
def accepts_valid_input(candidate: Candidate, case: ScoreMaskCase) -> Evidence:
    wanted = (case.batch, case.queries, case.keys)
    shapes = [tuple(output.shape) for output in answer(candidate, case).outputs.values()]
    return holds(shapes == [wanted] * 2, expected=f"shapes {[wanted] * 2}", actual=f"shapes {shapes}")


@check(
    "score_mask.hard-keeps-permitted-scores",
    "hard(s, M) = s where M is True",
    spec=FORBIDDEN,
    level="paper",
    hint="Only forbidden scores change: look for a mask that is read the other way round.",
    case=ScoreMaskCase,
    domain=SIZES,
    builds_on=[RUNS],
)
def hard_keeps_permitted_scores(candidate: Candidate, case: ScoreMaskCase) -> Evidence:
    scores, mask = case.inputs().values()
    return equal(answer(candidate, case).output[mask], scores[mask])


@check(
    "score_mask.hard-leaves-no-weight",
    "softmax(hard(s, M)) = 0 where M is False, for rows with a permitted key",
    spec=FORBIDDEN,
    level="paper",
    hint="Fill with -inf. A zero, or a product with the mask, still has weight exp(0) = 1.",
    case=ScoreMaskCase,
    domain=SIZES,
    builds_on=[RUNS],
)
def hard_leaves_no_weight(candidate: Candidate, case: ScoreMaskCase) -> Evidence:
    # The rest of the row is as the scores were: what becomes of it is for another check to say.
    scores, mask = case.inputs().values()
    masked = torch.where(mask, scores, answer(candidate, case).output)
    weights = torch.softmax(masked, dim=-1)[~mask]
    return equal(weights, torch.zeros_like(weights))


@check(
    "score_mask.hard-fills-with-minus-infinity",
    "hard(s, M) = -inf where M is False, and no finite number, which a row of still lower scores would not notice",
    spec=FORBIDDEN,
    level="robustness",
    hint='Fill with float("-inf"); treat rows without a key after the softmax.',
    case=ScoreMaskCase,
    domain=SIZES,
    builds_on=["score_mask.hard-leaves-no-weight"],
)
def hard_fills_with_minus_infinity(candidate: Candidate, case: ScoreMaskCase) -> Evidence:
    filled = answer(candidate, case).output[~case.inputs()["mask"]]
    return equal(filled, torch.full_like(filled, -torch.inf))


@check(
    "score_mask.soft-keeps-permitted-scores",
    "soft(s, M, penalty) = s where M is True",
    spec=ADDED,
    level="paper",
    hint="Only forbidden scores change: look for a mask that is read the other way round.",
    case=ScoreMaskCase,
    domain=SIZES,
    builds_on=[RUNS],
)
def soft_keeps_permitted_scores(candidate: Candidate, case: ScoreMaskCase) -> Evidence:
    scores, mask = case.inputs().values()
    return equal(answer(candidate, case).outputs["soft"][mask], scores[mask])


@check(
    SOFT_LOWERS,
    "soft(s, M, penalty) = s - penalty where M is False",
    spec=ADDED,
    level="paper",
    hint="The penalty is subtracted, once, from the score itself.",
    case=ScoreMaskCase,
    domain=SIZES,
    builds_on=[RUNS],
)
def soft_lowers_by_the_penalty(candidate: Candidate, case: ScoreMaskCase) -> Evidence:
    mask = case.inputs()["mask"]
    return equal(answer(candidate, case).outputs["soft"][~mask], lowered(case)[~mask])


@check(
    "score_mask.soft-keeps-double-precision",
    "for scores in float64 the penalty is subtracted in float64",
    spec=ADDED,
    level="robustness",
    hint="mask.float() is float32: a penalty of 0.1 becomes 0.10000000149. Use the type of the scores, or where().",
    case=ScoreMaskCase,
    domain=SIZES | {"dtype": ("float64",)},
    builds_on=[SOFT_LOWERS],
)
def soft_keeps_double_precision(candidate: Candidate, case: ScoreMaskCase) -> Evidence:
    scores, mask = case.inputs().values()
    error = (answer(candidate, case).outputs["soft"] - lowered(case))[~mask]
    return equal(error, torch.zeros_like(error), scale=max(case.penalty, scores.abs().max().item()))


@check(
    "score_mask.hard-keeps-the-dtype",
    "hard(s, M) has the type of s",
    spec=SAME_TYPE,
    level="convention",
    hint="A tensor of a fixed type lifts the result to its own type.",
    case=ScoreMaskCase,
    domain=TYPES,
    builds_on=[RUNS],
)
def hard_keeps_the_dtype(candidate: Candidate, case: ScoreMaskCase) -> Evidence:
    return keeps_dtype(candidate, case, "output")


@check(
    "score_mask.soft-keeps-the-dtype",
    "soft(s, M, penalty) has the type of s",
    spec=SAME_TYPE,
    level="convention",
    hint="mask.float() is float32 and lifts half-precision scores to it: use mask.to(scores.dtype), or where().",
    case=ScoreMaskCase,
    domain=TYPES,
    builds_on=[RUNS],
)
def soft_keeps_the_dtype(candidate: Candidate, case: ScoreMaskCase) -> Evidence:
    return keeps_dtype(candidate, case, "soft")


@check(
    "score_mask.inputs-are-not-changed",
    "the scores and the mask hold after the call what they held before",
    spec=FORBIDDEN,
    level="convention",
    hint="masked_fill_ and -= write into the caller's tensor: use masked_fill and -.",
    case=ScoreMaskCase,
    domain=SIZES,
    builds_on=[RUNS],
)
def inputs_are_not_changed(candidate: Candidate, case: ScoreMaskCase) -> Evidence:
    return unchanged(case.inputs(), answer(candidate, case))
