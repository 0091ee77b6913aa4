"""Scaled dot-product attention: ``call(query, key, value, mask)``.

Shapes: query ``(B, T, d)``, key ``(B, S, d)``, value ``(B, S, d_v)``, mask boolean ``(B, T, S)`` or None, True = may
attend. Output ``(B, T, d_v)``; candidates with the trait ``attention-weights`` also give ``weights`` ``(B, T, S)``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate, Reply
from errata.checks import oracles
from errata.checks.case import Case
from errata.checks.evidence import Evidence, different, equal, finite
from errata.checks.literature import VASWANI
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class AttentionCase(Case):
    """Sizes of one call; ``masked`` says whether a mask is passed."""

    batch: int = 1
    queries: int = 1
    keys: int = 1
    width: int = 1
    value_width: int = 1
    masked: bool = False

    def inputs(self) -> dict[str, Tensor | None]:
        """The arguments of a call. Every query may attend to at least one key, and the mask is drawn."""
        mask = None
        if self.masked:
            mask = self.booleans("mask", self.batch, self.queries, self.keys)
            mask[..., 0] |= ~mask.any(dim=-1)
        return {
            "query": self.normal("query", self.batch, self.queries, self.width),
            "key": self.normal("key", self.batch, self.keys, self.width),
            "value": self.normal("value", self.batch, self.keys, self.value_width),
            "mask": mask,
        }


DOMAIN = {
    "batch": (1, 2, 3),
    "queries": (1, 2, 3, 4),
    "keys": (1, 2, 3, 5),
    "width": (1, 2, 3, 4),
    "value_width": (1, 2, 3),
    "masked": (False, True),
    "scale": (1.0, 0.1, 10.0),
}

FORMULA = VASWANI.says("3.2.1", "We compute the dot products of the query with all keys, divide each by √dk")
RUNS = "attention.accepts-valid-input"


def answer(candidate: Candidate, case: Case, arguments: dict[str, Tensor | None]) -> Reply:
    """One call in evaluation."""
    return candidate.build({}, dtype=case.dtype).call(arguments)


@check(
    RUNS,
    "attention(Q, K, V) answers every valid input with a tensor of shape (B, T, d_v)",
    spec=VASWANI.says("3.2", "An attention function can be described as mapping a query and a set of key-value pairs to an output"),
    level="paper",
    hint="Run it once: a name that is never defined or imported, or an operation on the wrong type, shows at once.",
    case=AttentionCase,
    domain=DOMAIN | {"masked": (False,)},
)
def accepts_valid_input(candidate: Candidate, case: AttentionCase) -> Evidence:
    output = answer(candidate, case, case.inputs()).output
    return equal(torch.zeros_like(output), torch.zeros(case.batch, case.queries, case.value_width).to(output.dtype))


@check(
    "attention.matches-formula",
    "attention(Q, K, V) = softmax(QK^T / sqrt(d_k)) V",
    spec=FORMULA,
    level="paper",
    hint="Compare the factor 1/sqrt(d_k), the transposed axes and the axis of the softmax (keys, the last one).",
    case=AttentionCase,
    domain=DOMAIN | {"masked": (False,)},
    builds_on=[RUNS],
)
def matches_formula(candidate: Candidate, case: AttentionCase) -> Evidence:
    arguments = case.inputs()
    expected, _ = oracles.attention(**arguments)
    return equal(answer(candidate, case, arguments).output, torch.from_numpy(expected), scale=case.scale**2)


@check(
    "attention.masked-keys-have-no-influence",
    "changing the key and the value at a masked position changes no output: the gradient there is exactly 0",
    spec=VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax"),
    level="paper",
    hint="The mask belongs on the scores, before the softmax, with -inf where attention is forbidden.",
    case=AttentionCase,
    domain=DOMAIN | {"masked": (True,), "keys": (2, 3, 5)},
    builds_on=[RUNS],
)
def masked_keys_have_no_influence(candidate: Candidate, case: AttentionCase) -> Evidence:
    arguments = case.inputs()
    mask = case.booleans("blocked", case.keys)
    mask[0] = True
    arguments["mask"] = mask.expand(case.batch, case.queries, case.keys).clone()
    blocked = (~mask)[:, None]
    moved = {
        name: arguments[name] + blocked * case.normal(f"moved {name}", *arguments[name].shape)
        for name in ("key", "value")
    }
    before = answer(candidate, case, arguments).output
    return equal(answer(candidate, case, arguments | moved).output, before)


@check(
    "attention.keyless-row-is-zero",
    "a query that may attend to no key gets the zero vector, not NaN",
    spec=VASWANI.says("3.2.1", "The output is computed as a weighted sum of the values"),
    level="robustness",
    hint="softmax of a row of -inf is 0/0. Set the weights at masked positions to 0 after the softmax.",
    case=AttentionCase,
    domain=DOMAIN | {"masked": (True,)},
    builds_on=[RUNS],
)
def keyless_row_is_zero(candidate: Candidate, case: AttentionCase) -> Evidence:
    arguments = case.inputs() | {"mask": torch.zeros(case.batch, case.queries, case.keys, dtype=torch.bool)}
    output = answer(candidate, case, arguments).output
    return equal(output, torch.zeros_like(output))
