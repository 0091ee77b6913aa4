"""Causal self-attention, given no mask: ``call(query, key, value)``, of modules after ``build(width, heads)``.

Shapes: query, key, value and output ``(B, T, D)``. Position t attends to the positions up to t, as it is the
candidate's own business to see to.

Traits: ``self-only`` takes one sequence, which is query, key and value; ``no-projections`` is attention of its
arguments themselves, with one head: ``softmax(QK^T / sqrt(D)) V`` under the causal mask.

Checks of level paper run in float32, for the reason given in `attention`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks import joined, oracles
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.joined import JoinedCase, answer
from errata.checks.literature import VASWANI
from errata.checks.modules import INFLUENCE
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class CausalAttentionCase(JoinedCase):
    """Sizes of one call."""

    dtype: str = "float32"

    def sequences(self, candidate: Candidate) -> dict[str, Tensor]:
        """Query, key and value, T positions each."""
        return joined.sequences(candidate, self, self.length)


ANY = joined.SIZES | {"batch": (1, 2, 3), "length": (1, 2, 3, 5)}
SEVERAL = ANY | {"length": (2, 3, 4, 5)}

MAPPING = VASWANI.says(
    "3.2", "An attention function can be described as mapping a query and a set of key-value pairs to an output"
)
NO_FUTURE = VASWANI.says("3.2.3", "We need to prevent leftward information flow in the decoder")
UP_TO_ITSELF = VASWANI.says("3.2.3", "to attend to all positions in the decoder up to and including that position")
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")

RUNS = "causal_attention.accepts-valid-input"


@check(
    RUNS,
    "attention(Q, K, V) answers T queries, keys and values, and no mask, with a tensor of shape (B, T, D)",
    spec=MAPPING,
    level="paper",
    hint="Run it once: a name that is never defined or imported, or an operation on the wrong type, shows at once.",
    case=CausalAttentionCase,
    domain=ANY,
)
def accepts_valid_input(candidate: Candidate, case: CausalAttentionCase) -> Evidence:
    wanted = (case.batch, case.length, case.width)
    shape = tuple(answer(case.build(candidate), case.sequences(candidate)).shape)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    "causal_attention.first-position-attends-itself",
    "the first position has nobody but itself to attend to: output[0] = V[0]",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="Is there a causal mask at all? Its row 0 permits key 0 alone.",
    case=CausalAttentionCase,
    domain=SEVERAL,
    needs=["no-projections"],
    builds_on=[RUNS],
)
def first_position_attends_itself(candidate: Candidate, case: CausalAttentionCase) -> Evidence:
    inputs = case.sequences(candidate)
    return equal(answer(case.build(candidate), inputs)[:, 0], inputs["value"][:, 0])


@check(
    "causal_attention.future-has-no-influence",
    "no position attends to a later one: other keys and values after position t leave the output up to t as it was",
    spec=NO_FUTURE,
    level="paper",
    hint="Is there a causal mask at all? It permits s <= t, and is applied to the scores, before the softmax.",
    case=CausalAttentionCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def future_has_no_influence(candidate: Candidate, case: CausalAttentionCase) -> Evidence:
    instance, inputs = case.build(candidate), case.sequences(candidate)
    cut = int(case.integers("cut", 1, case.length, 1))
    moved = joined.keys_moved(candidate, case, inputs, torch.arange(case.length) >= cut)
    return equal(answer(instance, moved)[:, :cut], answer(instance, inputs)[:, :cut])


@check(
    "causal_attention.past-has-influence",
    "each position attends to itself and to all before it: another key and value at s move the output at every t >= s",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="The diagonal is permitted: tril() of ones with True = may attend, triu(1) with True = hidden.",
    case=CausalAttentionCase,
    # Inputs so small that no key's weight vanishes.
    domain=SEVERAL | {"batch": (1,), "scale": (0.3,)},
    builds_on=[RUNS],
)
def past_has_influence(candidate: Candidate, case: CausalAttentionCase) -> Evidence:
    instance, inputs = case.build(candidate), case.sequences(candidate)
    position = torch.arange(case.length)
    before = answer(instance, inputs)
    after = torch.cat([answer(instance, joined.keys_moved(candidate, case, inputs, position == s)) for s in position])
    # A NaN is no influence: it compares with nothing.
    moves = (after - before).abs().amax(dim=-1) > INFLUENCE
    missing = (~moves).triu().nonzero().tolist()
    return holds(
        not missing, expected="every position has influence on all from itself on", actual=f"none at [s, t] {missing}"
    )


@check(
    "causal_attention.matches-formula",
    "attention(Q, K, V) = softmax(QK^T / sqrt(D) + M) V with M[t, s] = 0 for s <= t and -inf elsewhere",
    spec=MASKING,
    level="paper",
    hint="Compare the scale, the axis of the softmax, and that the mask is applied before the softmax.",
    case=CausalAttentionCase,
    domain=ANY | {"heads": (1,), "head_width": (1, 2, 4, 6)},
    needs=["no-projections"],
    builds_on=[RUNS],
)
def matches_formula(candidate: Candidate, case: CausalAttentionCase) -> Evidence:
    inputs = case.sequences(candidate)
    mask = torch.ones(case.length, case.length, dtype=torch.bool).tril()
    expected, _ = oracles.attention(**inputs, mask=mask)
    return equal(answer(case.build(candidate), inputs), torch.from_numpy(expected), scale=case.width)
