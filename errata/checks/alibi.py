"""Attention with linear biases: ``build(heads)``, ``call(length)`` gives ``(H, T, T)``, indexed [head, query, key].

The answer is what is added to the scores. Only keys at or before the query are looked at, and each row only up to a
constant: the softmax sees no more.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.candidates.candidate import Scalar
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import PRESS
from errata.checks.modules import Arguments, ModuleCase
from errata.checks.positional_encoding import SINGLE
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class AlibiCase(ModuleCase):
    """One length, and the number of heads."""

    length: int = 1
    heads: int = 1

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"heads": self.heads}

    def inputs(self) -> Arguments:
        """The arguments of a call."""
        return {"length": self.length}


DOMAIN = {"length": (3, 4, 6), "heads": (1, 2, 4, 8)}

PENALTY = PRESS.says(
    "abstract", "biases query-key attention scores with a penalty that is proportional to their distance"
)
STATIC = PRESS.says("3", "where scalar m is a head-specific slope fixed before training")
SLOPES = PRESS.says("3", "our set of slopes is the geometric sequence that starts at")

RUNS = "alibi.accepts-valid-input"
LINEAR = "alibi.penalty-is-proportional-to-the-distance"


def answer(candidate: Candidate, case: AlibiCase) -> Tensor:
    """The candidate's bias in float64, each row without its value at the query's own position."""
    bias = case.build(candidate).call(case.inputs()).output.double()
    return bias - bias.diagonal(dim1=-2, dim2=-1)[..., None]


def slopes(candidate: Candidate, case: AlibiCase) -> Tensor:
    """By how much each head prefers the query's own position to the one before it."""
    return -answer(candidate, case)[:, 1, 0]


def geometric(heads: int) -> Tensor:
    """The slopes ``2^(-8h/H)`` for h = 1..H."""
    return 2.0 ** (-8 * torch.arange(1, heads + 1, dtype=torch.float64) / heads)


def ordered(values: Tensor) -> Tensor:
    """The values, the largest first."""
    return values.sort(descending=True).values


@check(
    RUNS,
    "the bias is one number for each head, query and key: shape (H, T, T)",
    spec=PENALTY,
    level="paper",
    hint="Run it once: slopes (H, 1, 1) times distances (T, T).",
    case=AlibiCase,
    domain=DOMAIN | {"length": (1, 2, 3, 6)},
)
def accepts_valid_input(candidate: Candidate, case: AlibiCase) -> Evidence:
    wanted, shape = (case.heads, case.length, case.length), tuple(answer(candidate, case).shape)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    "alibi.nearer-keys-are-preferred",
    "of two keys before the query, the nearer has the larger bias: the distance is a penalty",
    spec=PENALTY,
    level="paper",
    hint="Subtract the distance, or add the key's position: the slope is positive.",
    case=AlibiCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def nearer_keys_are_preferred(candidate: Candidate, case: AlibiCase) -> Evidence:
    bias = answer(candidate, case)
    before = torch.ones(case.length, case.length).tril(-1)[:, :-1].bool()
    steps = bias.diff(dim=-1)[:, before]
    return holds(bool((steps > 0).all()), expected="a bias that rises towards the query", actual=printed(bias[:, -1]))


@check(
    LINEAR,
    "bias[h, t, s] - bias[h, t, t] = -slope_h (t - s), with the same slope for all queries",
    spec=PENALTY,
    level="paper",
    hint="Multiply the distance by the slope; no square, logarithm, clipping, or division by the length.",
    case=AlibiCase,
    domain=DOMAIN,
    builds_on=[RUNS],
    tolerance=SINGLE,
)
def penalty_is_proportional_to_the_distance(candidate: Candidate, case: AlibiCase) -> Evidence:
    bias = answer(candidate, case)
    position = torch.arange(case.length, dtype=torch.float64)
    line = bias[:, 1, 0, None, None] * (position[:, None] - position)
    return equal(bias.tril(), line.tril())


@check(
    "alibi.penalty-does-not-depend-on-the-length",
    "the bias of a pair stays when the sequence grows",
    spec=PRESS.says("title", "Train Short, Test Long"),
    level="paper",
    hint="Neither slope nor distance is scaled by the length: that is what lets the model read longer texts.",
    case=AlibiCase,
    domain=DOMAIN,
    builds_on=[RUNS],
    tolerance=SINGLE,
)
def penalty_does_not_depend_on_the_length(candidate: Candidate, case: AlibiCase) -> Evidence:
    longer = AlibiCase(length=2 * case.length, heads=case.heads)
    first = answer(candidate, longer)[:, : case.length, : case.length]
    return equal(answer(candidate, case).tril(), first.tril())


@check(
    "alibi.slopes-are-geometric",
    "for H heads, H a power of two, the slopes are 2^(-8/H), 2^(-16/H), ..., 2^-8, in some order",
    spec=SLOPES,
    level="paper",
    hint="The sequence starts at 2^(-8/H), which is its ratio too; for 8 heads it is 1/2, 1/4, ..., 1/256.",
    case=AlibiCase,
    domain=DOMAIN | {"length": (2, 3)},
    builds_on=[RUNS],
    tolerance=SINGLE,
)
def slopes_are_geometric(candidate: Candidate, case: AlibiCase) -> Evidence:
    return equal(ordered(slopes(candidate, case)), geometric(case.heads))


@check(
    "alibi.slopes-fall-from-head-to-head",
    "the first head has the largest slope, the last the smallest",
    spec=SLOPES,
    level="convention",
    hint="Weights that were trained with one order do not fit another: head h has slope 2^(-8h/H).",
    case=AlibiCase,
    domain=DOMAIN | {"length": (2, 3), "heads": (2, 4, 8)},
    builds_on=[RUNS],
    tolerance=SINGLE,
)
def slopes_fall_from_head_to_head(candidate: Candidate, case: AlibiCase) -> Evidence:
    given = slopes(candidate, case)
    return equal(given, ordered(given))


@check(
    "alibi.slopes-of-other-numbers-of-heads",
    "for other H the slopes are 2^(-8h/H), or, as in the authors' code, those of the next smaller power of two, n, and "
    "every other one of 2n heads",
    spec=SLOPES,
    level="convention",
    hint="Fill up with the slopes 2^(-8 (h - 1/2) / n), which lie between those of n heads.",
    case=AlibiCase,
    domain=DOMAIN | {"length": (2, 3), "heads": (3, 5, 6, 7, 12)},
    builds_on=[RUNS],
    tolerance=SINGLE,
)
def slopes_of_other_numbers_of_heads(candidate: Candidate, case: AlibiCase) -> Evidence:
    smaller = 1 << (case.heads.bit_length() - 1)
    filled_up = torch.cat((geometric(smaller), geometric(2 * smaller)[::2][: case.heads - smaller]))
    given = ordered(slopes(candidate, case))
    accepted = (geometric(case.heads), ordered(filled_up))
    return min((equal(given, wanted) for wanted in accepted), key=lambda evidence: evidence.deviation)


@check(
    "alibi.nothing-is-learned",
    "slopes are fixed before training: no parameter is trained",
    spec=STATIC,
    level="paper",
    hint="Hold the slopes as a buffer or a constant, not as nn.Parameter.",
    case=AlibiCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def nothing_is_learned(candidate: Candidate, case: AlibiCase) -> Evidence:
    trained = sorted(case.build(candidate).parameters())
    return holds(not trained, expected="no trained parameter", actual=", ".join(trained))
