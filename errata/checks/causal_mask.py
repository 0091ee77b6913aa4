"""Causal masks: ``call(length)`` gives a mask ``(T, T)``, True = may attend; rows are queries, columns are keys."""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks.case import Case
from errata.checks.evidence import Evidence, holds, printed
from errata.checks.literature import PYTORCH, VASWANI
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class CausalMaskCase(Case):
    """Size of one mask: ``length`` is T."""

    length: int = 1


LENGTHS = {"length": (1, 2, 3, 4, 5, 7, 16)}
SEVERAL = {"length": (2, 3, 4, 5, 7, 16)}

UP_TO_ITSELF = VASWANI.says("3.2.3", "all positions in the decoder up to and including that position")
RUNS = "causal_mask.accepts-valid-input"


def mask_of(candidate: Candidate, case: CausalMaskCase) -> Tensor:
    """The candidate's mask."""
    return candidate.build({}).call({"length": case.length}).output


def permits(candidate: Candidate, case: CausalMaskCase, wanted: Tensor, *, at: Tensor) -> Evidence:
    """The mask holds what is wanted at some of its places."""
    mask = mask_of(candidate, case).bool()
    return holds(
        torch.equal(mask[at], wanted[at]), expected=printed(torch.where(at, wanted, mask)), actual=printed(mask)
    )


def everywhere(case: CausalMaskCase) -> Tensor:
    """True at every place of a mask."""
    return torch.ones(case.length, case.length, dtype=torch.bool)


@check(
    RUNS,
    "causal_mask(T) answers every length T >= 1 with a mask of shape (T, T)",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="One row for each query, one column for each key.",
    case=CausalMaskCase,
    domain=LENGTHS,
)
def accepts_valid_input(candidate: Candidate, case: CausalMaskCase) -> Evidence:
    wanted, shape = (case.length, case.length), tuple(mask_of(candidate, case).shape)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    "causal_mask.hides-the-future",
    "no position attends to a later one: mask[t, s] = False for s > t",
    spec=VASWANI.says("3.2.3", "We need to prevent leftward information flow in the decoder"),
    level="paper",
    hint="Rows are queries and columns are keys: the permitted part is the lower triangle.",
    case=CausalMaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def hides_the_future(candidate: Candidate, case: CausalMaskCase) -> Evidence:
    return permits(candidate, case, ~everywhere(case), at=everywhere(case).triu(1))


@check(
    "causal_mask.permits-the-position-itself",
    "every position attends to itself: mask[t, t] = True",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="The forbidden triangle starts one above the diagonal: triu(diagonal=1).",
    case=CausalMaskCase,
    domain=LENGTHS,
    builds_on=[RUNS],
)
def permits_the_position_itself(candidate: Candidate, case: CausalMaskCase) -> Evidence:
    return permits(candidate, case, everywhere(case), at=torch.eye(case.length, dtype=torch.bool))


@check(
    "causal_mask.permits-the-past",
    "every position attends to all earlier ones: mask[t, s] = True for s < t",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="The permitted part is the whole lower triangle.",
    case=CausalMaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def permits_the_past(candidate: Candidate, case: CausalMaskCase) -> Evidence:
    return permits(candidate, case, everywhere(case), at=everywhere(case).tril(-1))


@check(
    "causal_mask.is-boolean",
    "the mask is boolean, so that nobody can take it for one that is added to the scores",
    spec=PYTORCH.says(
        "torch.nn.functional.scaled_dot_product_attention",
        "A boolean mask where a value of True indicates that the element should take part in attention.",
    ),
    level="convention",
    hint="Build it with dtype=torch.bool, or compare: positions <= positions[:, None].",
    case=CausalMaskCase,
    domain=LENGTHS,
    builds_on=[RUNS],
)
def is_boolean(candidate: Candidate, case: CausalMaskCase) -> Evidence:
    dtype = mask_of(candidate, case).dtype
    return holds(dtype == torch.bool, expected="torch.bool", actual=str(dtype))
