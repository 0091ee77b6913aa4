"""Self-attention with relative positions (Shaw et al. 2018): ``build(width, heads, distance)``, ``call(x, mask)``.

``x`` is ``(B, T, D)`` and the mask boolean ``(B, 1, T, T)`` or None, True = may attend. Parameters ``query``, ``key``,
``value`` and ``output`` as in multi-head attention, and ``relative_keys`` and ``relative_values`` of shape
``(2k + 1, d)``, shared by the heads: one row for each offset s - t from -k to k, in this order or its reverse.

Trait ``no-mask``: it takes no mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Candidate, Instance
from errata.candidates.candidate import Scalar
from errata.checks.evidence import Evidence, different, equal, holds
from errata.checks.literature import SHAW
from errata.checks.modules import Arguments, ModuleCase, all_move, filled, gradients_reach_parameters, has_shape
from errata.checks.oracles import Array, State, array, softmax
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class RelativeAttentionCase(ModuleCase):
    """Sizes of one call.

    Attributes:
        batch: B.
        positions: T.
        heads: H.
        head_width: d, so that D = H d.
        distance: k, beyond which offsets are clipped.
    """

    batch: int = 1
    positions: int = 1
    heads: int = 1
    head_width: int = 1
    distance: int = 1

    @property
    def width(self) -> int:
        """D, which the heads share."""
        return self.heads * self.head_width

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"width": self.width, "heads": self.heads, "distance": self.distance}

    def words(self) -> Tensor:
        """The sequences."""
        return self.normal("x", self.batch, self.positions, self.width)

    def inputs(self) -> Arguments:
        """The arguments of a call."""
        return {"x": self.words(), "mask": None}

    def mask(self) -> Tensor:
        """A mask in which every query may attend to one key at least."""
        mask = self.booleans("mask", self.batch, 1, self.positions, self.positions)
        mask[..., 0] |= ~mask.any(dim=-1)
        return mask


DOMAIN = {
    "batch": (1, 2),
    "positions": (1, 2, 3, 5),
    "heads": (1, 2, 3),
    "head_width": (1, 2, 4),
    "distance": (1, 2, 3),
    "scale": (1.0, 0.3),
}
MILD = DOMAIN | {"scale": (0.3,), "head_width": (2, 4)}
"""Inputs so small that no key's weight vanishes, in heads so wide that chance makes no two vectors alike."""

EDGES = SHAW.says("3.1", "We modify eq. (1) to propagate edge information to the sublayer output")
COMPATIBLE = SHAW.says("3.1", "modify eq. (2) to consider edges when determining compatibility")
CLIPPED = SHAW.says("3.2", "The maximum relative position we consider is clipped to a maximum absolute value of k")
LABELS = SHAW.says("3.2", "2k + 1 unique edge labels")

RUNS = "relative_attention.accepts-valid-input"
KEY_TERM = "relative_attention.key-term-enters-the-scores"
VALUE_TERM = "relative_attention.value-term-enters-the-output"
RIGHT = "relative_attention.matches-formula"


def built(candidate: Candidate, case: RelativeAttentionCase) -> Instance:
    """An instance whose every parameter is drawn, so that tables of zeros hide nothing."""
    instance = case.build(candidate)
    filled(instance, case)
    return instance


def formula(state: State, case: RelativeAttentionCase, x: Tensor, mask: Tensor, flips: Sequence[bool]) -> Array:
    """Equations 3 and 4, one query at a time; a flip reads a table from its last row."""
    of_keys, of_values = (
        array(state[name])[:: -1 if flip else 1]
        for name, flip in zip(("relative_keys", "relative_values"), flips, strict=True)
    )
    parts = (array(x) @ array(state[f"{name}.weight"]).T + _bias(state, name) for name in ("query", "key", "value"))
    position, allowed = np.arange(case.positions), mask.numpy()[:, 0]
    heads = []
    for q, k, v in zip(*(np.split(part, case.heads, axis=-1) for part in parts), strict=True):
        answers = np.zeros_like(q)
        for t in range(case.positions):
            rows = np.clip(position - t, -case.distance, case.distance) + case.distance
            scores = ((k + of_keys[rows]) * q[:, t, None]).sum(axis=-1) / np.sqrt(case.head_width)
            weights = softmax(np.where(allowed[:, t], scores, -np.inf))
            answers[:, t] = (weights[..., None] * (v + of_values[rows])).sum(axis=-2)
        heads.append(answers)
    merged: Array = np.concatenate(heads, axis=-1) @ array(state["output.weight"]).T + _bias(state, "output")
    return merged


def _bias(state: State, name: str) -> Array | float:
    bias = state.get(f"{name}.bias")
    return 0.0 if bias is None else array(bias)


def against_formula(
    candidate: Candidate, case: RelativeAttentionCase, mask: Tensor | None = None, *, without: str | None = None
) -> Evidence:
    """The candidate beside the formula, with one of the tables at 0 if asked."""
    instance = built(candidate, case)
    if without:
        instance.load({without: torch.zeros_like(instance.state()[without])})
    x, state = case.words(), instance.state()
    everything = torch.ones(case.batch, 1, case.positions, case.positions, dtype=torch.bool)
    output = instance.call({"x": x, "mask": mask}).output
    answers = (
        torch.from_numpy(formula(state, case, x, everything if mask is None else mask, flips))
        for flips in product((False, True), repeat=2)
    )
    compared = (equal(output, expected, scale=case.width**2) for expected in answers)
    return min(compared, key=lambda evidence: evidence.deviation)


def swapped(x: Tensor, first: int) -> Tensor:
    """The sequences with positions ``first`` and ``first + 1`` exchanged."""
    order = list(range(x.shape[1]))
    order[first : first + 2] = reversed(order[first : first + 2])
    return x[:, order]


@check(
    RUNS,
    "relation-aware self-attention answers every length, also beyond k, with a tensor of shape (B, T, D)",
    spec=SHAW.says("3.2", "generalize to sequence lengths not seen during training"),
    level="paper",
    hint="Clip the offset before the look-up: rows run from 0 to 2k.",
    case=RelativeAttentionCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: RelativeAttentionCase) -> Evidence:
    return has_shape(candidate, case, case.batch, case.positions, case.width)


@check(
    "relative_attention.only-the-offset-counts",
    "n words in front that nobody may attend move all positions, and no output",
    spec=SHAW.says("3.2", "edges can capture information about the relative position differences"),
    level="paper",
    hint="Look the vector up by s - t alone: not by s or t, and not added to the words.",
    case=RelativeAttentionCase,
    domain=DOMAIN,
    unless=["no-mask"],
    builds_on=[RUNS],
)
def only_the_offset_counts(candidate: Candidate, case: RelativeAttentionCase) -> Evidence:
    instance, x = built(candidate, case), case.words()
    ahead = case.normal("ahead", case.batch, 2, case.width)
    total = case.positions + 2
    visible = (torch.arange(total) >= 2).expand(case.batch, 1, total, total).clone()
    moved = instance.call({"x": torch.cat((ahead, x), dim=1), "mask": visible}).output[:, 2:]
    return equal(moved, instance.call({"x": x, "mask": None}).output, scale=case.width**2)


@check(
    "relative_attention.offsets-up-to-k-are-told-apart",
    "for the first query and for the last, exchanging two keys at distances 1 <= x < x + 1 <= k changes the output",
    spec=LABELS,
    level="paper",
    hint="Clip at k, not before: the table has a row for each offset from -k to k.",
    case=RelativeAttentionCase,
    domain=MILD | {"positions": (5,), "distance": (2, 3)},
    builds_on=[RUNS],
)
def offsets_up_to_k_are_told_apart(candidate: Candidate, case: RelativeAttentionCase) -> Evidence:
    instance, x, last = built(candidate, case), case.words(), case.positions - 1
    before = instance.call({"x": x, "mask": None}).output
    pairs = [(0, near) for near in range(1, case.distance)] + [
        (last, last - far) for far in range(2, case.distance + 1)
    ]
    after = [instance.call({"x": swapped(x, first), "mask": None}).output[:, query] for query, first in pairs]
    unmoved = torch.stack([before[:, query] for query, _ in pairs], dim=1)
    return all_move(unmoved, torch.stack(after, dim=1), expected=f"another output for each of (query, key) {pairs}")


@check(
    "relative_attention.offsets-beyond-k-share-a-vector",
    "for the first query and for the last, exchanging the keys at distances k and k + 1 changes nothing",
    spec=CLIPPED,
    level="paper",
    hint="Clip the offset to -k..k on both sides before the look-up.",
    case=RelativeAttentionCase,
    domain=DOMAIN | {"positions": (5,)},
    builds_on=[RUNS],
)
def offsets_beyond_k_share_a_vector(candidate: Candidate, case: RelativeAttentionCase) -> Evidence:
    instance, x, last = built(candidate, case), case.words(), case.positions - 1
    before = instance.call({"x": x, "mask": None}).output
    pairs = ((0, case.distance), (last, last - case.distance - 1))
    after = [instance.call({"x": swapped(x, first), "mask": None}).output[:, query] for query, first in pairs]
    return equal(torch.stack(after, dim=1), before[:, [0, last]], scale=case.width**2)


@check(
    "relative_attention.direction-is-told-apart",
    "a key before the query and a key after it differ: f(reversed x) is not f(x) reversed",
    spec=LABELS,
    level="paper",
    hint="Keep the sign of the offset: the table has 2k + 1 rows, not k + 1.",
    case=RelativeAttentionCase,
    domain=MILD | {"positions": (2, 3, 5)},
    builds_on=[RUNS],
)
def direction_is_told_apart(candidate: Candidate, case: RelativeAttentionCase) -> Evidence:
    instance, x = built(candidate, case), case.words()
    forward, backward = (instance.call({"x": words, "mask": None}).output for words in (x, x.flip(1)))
    return different(backward.flip(1), forward, expected="another output for the reversed sequence", by=1e-9)


@check(
    KEY_TERM,
    "with a^V = 0, e_ts = x_t W^Q (x_s W^K + a^K_ts)^T / sqrt(d)",
    spec=COMPATIBLE,
    level="paper",
    hint="Add q . a^K to the scores before the scale and the softmax.",
    case=RelativeAttentionCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS],
)
def key_term_enters_the_scores(candidate: Candidate, case: RelativeAttentionCase) -> Evidence:
    return against_formula(candidate, case, without="relative_values")


@check(
    VALUE_TERM,
    "with a^K = 0, z_t = sum_s alpha_ts (x_s W^V + a^V_ts)",
    spec=EDGES,
    level="paper",
    hint="Weight the relative vectors as the values, after the softmax, and before the heads are merged.",
    case=RelativeAttentionCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS],
)
def value_term_enters_the_output(candidate: Candidate, case: RelativeAttentionCase) -> Evidence:
    return against_formula(candidate, case, without="relative_keys")


@check(
    RIGHT,
    "z_t = sum_s alpha_ts (x_s W^V + a^V_ts) with alpha from e_ts = x_t W^Q (x_s W^K + a^K_ts)^T / sqrt(d)",
    spec=EDGES,
    level="paper",
    hint="Each term is right alone: look at what the two tables share.",
    case=RelativeAttentionCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[KEY_TERM, VALUE_TERM],
)
def matches_formula(candidate: Candidate, case: RelativeAttentionCase) -> Evidence:
    return against_formula(candidate, case)


@check(
    "relative_attention.masked-matches-formula",
    "under a mask, the formula with -inf for the scores of the keys that a query may not attend",
    spec=EDGES,
    level="paper",
    hint="Mask the sum of both terms of the scores, so that neither value nor relative vector of a masked key counts.",
    case=RelativeAttentionCase,
    domain=DOMAIN,
    needs=["weights"],
    unless=["no-mask"],
    builds_on=[RIGHT],
)
def masked_matches_formula(candidate: Candidate, case: RelativeAttentionCase) -> Evidence:
    return against_formula(candidate, case, case.mask())


@check(
    "relative_attention.vectors-are-learned",
    "every parameter takes part in the output, the two tables among them",
    spec=SHAW.says("3.2", "relative position representations"),
    level="paper",
    hint="Hold the tables as nn.Parameter or nn.Embedding, and use both.",
    case=RelativeAttentionCase,
    domain=MILD | {"positions": (3, 5)},
    builds_on=[RUNS],
)
def vectors_are_learned(candidate: Candidate, case: RelativeAttentionCase) -> Evidence:
    instance, rows = case.build(candidate), 2 * case.distance + 1
    state = instance.state()
    if not any(rows in state[name].shape for name in instance.parameters()):
        return holds(False, expected=f"a table of {rows} vectors", actual="none among the parameters")
    return gradients_reach_parameters(candidate, case)
