"""The bias of T5: ``build(heads, buckets, max_distance, bidirectional)``, ``call(length)`` gives ``(H, T, T)``.

The answer is what is added to the scores, indexed [head, query, key]. The parameter ``table`` of shape
``(buckets, H)`` holds a number for each bucket and head. Without ``bidirectional``, what stands at keys ahead of the
query is not looked at: the causal mask hides it. Half of a direction's buckets have one distance each.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.candidates.candidate import Scalar
from errata.checks.evidence import Evidence, different, equal, holds
from errata.checks.literature import RAFFEL
from errata.checks.modules import Arguments, ModuleCase, filled, gradients_reach_parameters, size
from errata.checks.oracles import array
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class RelativeBiasCase(ModuleCase):
    """One table and one length; see the module for the fields."""

    length: int = 1
    heads: int = 1
    buckets: int = 8
    max_distance: int = 12
    bidirectional: bool = True

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {
            "heads": self.heads,
            "buckets": self.buckets,
            "max_distance": self.max_distance,
            "bidirectional": self.bidirectional,
        }

    def inputs(self) -> Arguments:
        """The arguments of a call."""
        return {"length": self.length}

    @property
    def exact(self) -> int:
        """How many distances of one direction have a bucket of their own."""
        return self.buckets // (4 if self.bidirectional else 2)

    def bias(self, candidate: Candidate) -> tuple[Tensor, Tensor]:
        """What the candidate answers with drawn numbers, and where it counts."""
        instance = self.build(candidate)
        filled(instance, self)
        visible = torch.ones(self.length, self.length, dtype=torch.bool)
        return instance.call(self.inputs()).output.double(), visible if self.bidirectional else visible.tril()


DOMAIN = {
    "length": (1, 2, 3, 6, 16),
    "heads": (1, 2, 3),
    "buckets": (8, 16),
    "max_distance": (12, 10),  # so that no logarithm of a whole distance falls on the edge of a bucket
    "bidirectional": (True, False),
}
SEVERAL = DOMAIN | {"length": (3, 6, 16)}
FAR = 20

SCALAR = RAFFEL.says(
    "2.1", "a scalar that is added to the corresponding logit used for computing the attention weights"
)
OFFSET = RAFFEL.says("2.1", "according to the offset between the “key” and “query” being compared")
RANGES = RAFFEL.says("2.1", "ranges that increase in size logarithmically up to an offset of 128")
BEYOND = RAFFEL.says("2.1", "beyond which we assign all relative positions to the same embedding")
EACH_HEAD = RAFFEL.says("2.1", "within a given layer each attention head uses a different learned position embedding")

RUNS = "relative_bias.accepts-valid-input"
TOEPLITZ = "relative_bias.depends-on-the-offset-alone"


@check(
    RUNS,
    "the bias is one number for each head, query and key: shape (H, T, T)",
    spec=SCALAR,
    level="paper",
    hint="Run it once; the look-up gives (T, T, H), and the heads belong in front.",
    case=RelativeBiasCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: RelativeBiasCase) -> Evidence:
    wanted, shape = (case.heads, case.length, case.length), tuple(case.bias(candidate)[0].shape)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    TOEPLITZ,
    "pairs with the same offset have the same number: bias[h, t+1, s+1] = bias[h, t, s]",
    spec=OFFSET,
    level="paper",
    hint="Sort s - t into a bucket, not s or t.",
    case=RelativeBiasCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def depends_on_the_offset_alone(candidate: Candidate, case: RelativeBiasCase) -> Evidence:
    bias, visible = case.bias(candidate)
    return equal(bias[:, 1:, 1:][:, visible[1:, 1:]], bias[:, :-1, :-1][:, visible[:-1, :-1]])


@check(
    "relative_bias.near-offsets-are-told-apart",
    "each distance up to half of a direction's buckets has a number of its own",
    spec=RANGES,
    level="convention",
    hint="The first half of the buckets holds one distance each; the logarithm begins where they end.",
    case=RelativeBiasCase,
    domain=DOMAIN | {"length": (FAR,)},
    builds_on=[RUNS],
)
def near_offsets_are_told_apart(candidate: Candidate, case: RelativeBiasCase) -> Evidence:
    bias, _ = case.bias(candidate)
    behind, ahead = bias[0, -1].flip(0)[: case.exact + 1], bias[0, 0][: case.exact + 1]
    directions = (behind, ahead) if case.bidirectional else (behind,)
    repeated = [distances.tolist() for distances in directions if distances.unique().numel() <= case.exact]
    return holds(not repeated, expected=f"{case.exact + 1} different numbers", actual=f"{repeated}")


@check(
    "relative_bias.far-offsets-share-a-number",
    "all keys at the maximal distance and beyond have the same number",
    spec=BEYOND,
    level="paper",
    hint="Clamp the bucket to the last one of its direction.",
    case=RelativeBiasCase,
    domain=DOMAIN | {"length": (FAR,)},
    builds_on=[RUNS],
)
def far_offsets_share_a_number(candidate: Candidate, case: RelativeBiasCase) -> Evidence:
    bias, _ = case.bias(candidate)
    far = bias[:, -1, : case.length - case.max_distance]
    if case.bidirectional:
        far = torch.cat((far, bias[:, 0, case.max_distance :]))
    return equal(far, far[:, :1].expand_as(far))


@check(
    "relative_bias.direction-is-told-apart",
    "bidirectional, a key before the query and one after it at the same distance differ: bias[t, s] != bias[s, t]",
    spec=OFFSET,
    level="paper",
    hint="Give each direction half of the buckets: the absolute value alone forgets the sign.",
    case=RelativeBiasCase,
    domain=SEVERAL | {"bidirectional": (True,)},
    builds_on=[RUNS],
)
def direction_is_told_apart(candidate: Candidate, case: RelativeBiasCase) -> Evidence:
    bias, _ = case.bias(candidate)
    gaps = (bias - bias.mT).abs() + torch.eye(case.length, dtype=torch.float64)
    return different(gaps.amin(), torch.zeros(()), expected="another number for the opposite offset", by=1e-9)


@check(
    "relative_bias.heads-differ",
    "each head has numbers of its own",
    spec=EACH_HEAD,
    level="paper",
    hint="Learn a row of H numbers for each bucket, not one number for all heads.",
    case=RelativeBiasCase,
    domain=DOMAIN | {"heads": (2, 3)},
    builds_on=[RUNS],
)
def heads_differ(candidate: Candidate, case: RelativeBiasCase) -> Evidence:
    bias, _ = case.bias(candidate)
    own = bias[:, 0, 0]
    return holds(own.unique().numel() == case.heads, expected="different numbers", actual=f"{own.tolist()}")


@check(
    "relative_bias.numbers-are-learned",
    "the numbers are parameters, and receive a gradient",
    spec=EACH_HEAD,
    level="paper",
    hint="Hold the table as nn.Parameter or nn.Embedding, and do not detach it.",
    case=RelativeBiasCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def numbers_are_learned(candidate: Candidate, case: RelativeBiasCase) -> Evidence:
    held = size(case.build(candidate))
    if held < case.buckets * case.heads:
        return holds(False, expected=f"{case.buckets} x {case.heads} learned numbers", actual=f"{held}")
    return gradients_reach_parameters(candidate, case)


@check(
    "relative_bias.matches-formula",
    "bias[h, t, s] = table[bucket(s - t), h], with e + floor((n - e) log(x/e) / log(max/e)) from distance e = n/2 on",
    spec=RANGES,
    level="convention",
    hint="Bidirectional, n is half of the buckets, and keys ahead start at n; round down, at most n - 1.",
    case=RelativeBiasCase,
    domain=DOMAIN | {"length": (1, 2, 6, FAR)},
    needs=["weights"],
    builds_on=[TOEPLITZ],
)
def matches_formula(candidate: Candidate, case: RelativeBiasCase) -> Evidence:
    bias, visible = case.bias(candidate)
    instance = case.build(candidate)
    table = array(filled(instance, case)["table"])
    position = np.arange(case.length)
    offset = position - position[:, None]
    distance, share = np.abs(offset), case.exact * 2
    steps = np.log(np.maximum(distance, case.exact) / case.exact) / np.log(case.max_distance / case.exact)
    far = np.minimum(case.exact + np.floor(steps * (share - case.exact)), share - 1).astype(int)
    bucket = np.where(distance < case.exact, distance, far) + np.where(case.bidirectional & (offset > 0), share, 0)
    expected = torch.from_numpy(np.moveaxis(table[bucket], -1, 0))
    return equal(bias[:, visible], expected[:, visible])
