"""Pruning of attention heads: ``build(width, heads)``, ``call(query, memory, kept)``.

Multi-head attention as the component of that name has it, without a mask, from a query ``(B, T, D)`` to a memory
``(B, S, D)``. ``kept`` ``(H,)`` is True for the heads that stay; one at least does. The candidate prunes the others,
without a change to what it built, and answers ``output`` ``(B, T, D)`` and ``parameters``, how many numbers the pruned
module holds. Trait: ``masks-only`` for one that silences heads and removes nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate, Instance
from errata.checks import modules, oracles
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import MICHEL
from errata.checks.registry import check

PROJECTIONS = ("query", "key", "value", "output")


@dataclass(frozen=True, kw_only=True)
class HeadPruningCase(Case):
    """Sizes of one call, and how many of the H heads go; which ones follows from the seed."""

    batch: int = 1
    queries: int = 1
    keys: int = 2
    heads: int = 2
    head_width: int = 1
    removed: int = 1

    @property
    def width(self) -> int:
        """D, which the heads share."""
        return self.heads * self.head_width

    def inputs(self) -> dict[str, Tensor]:
        """Query and memory."""
        return {
            "query": self.normal("query", self.batch, self.queries, self.width),
            "memory": self.normal("memory", self.batch, self.keys, self.width),
        }

    def kept(self) -> Tensor:
        """Which heads stay."""
        kept = torch.ones(self.heads, dtype=torch.bool)
        kept[self.permutation("order", self.heads)[: self.removed]] = False
        return kept


DOMAIN = {
    "batch": (1, 2, 3),
    "queries": (1, 2, 4),
    "keys": (2, 3, 5),
    "heads": (2, 3, 4),
    "head_width": (1, 2, 3),
    "removed": (1, 2, 3),
    "scale": (1.0, 0.3),
}

RUNS = "head_pruning.accepts-valid-input"
WHOLE = "head_pruning.keeping-all-changes-nothing"
GATES = MICHEL.says("2.3", "mask variables with values in {0, 1}")
REMOVED = MICHEL.says("abstract", "a large percentage of attention heads can be removed at test time")


def _one_stays(case: HeadPruningCase) -> bool:
    return case.removed < case.heads


@check(
    RUNS,
    "without some of its heads, attention still answers with shape (B, T, D)",
    spec=REMOVED,
    level="paper",
    hint="Remove columns of the output projection, which takes the heads, not its rows, which make the model's width.",
    case=HeadPruningCase,
    domain=DOMAIN,
    where=_one_stays,
)
def accepts_valid_input(candidate: Candidate, case: HeadPruningCase) -> Evidence:
    shape, wanted = tuple(_answer(_built(candidate, case), case).shape), (case.batch, case.queries, case.width)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    WHOLE,
    "with all gates at 1 the output is that of multi-head attention",
    spec=GATES,
    level="paper",
    hint="Compare the module itself with the formula, before anything is pruned.",
    case=HeadPruningCase,
    domain=DOMAIN | {"removed": (0,)},
    needs=["weights"],
    builds_on=[RUNS],
)
def keeping_all_changes_nothing(candidate: Candidate, case: HeadPruningCase) -> Evidence:
    return _against_gates(candidate, case)


@check(
    "head_pruning.removed-equals-gated-by-zero",
    "the output is the sum of xi_h Att_h(x) with xi_h = 0 for the heads removed",
    spec=GATES,
    level="paper",
    hint="Head h owns rows h d to h d + d - 1 of W^Q, W^K, W^V, and these columns of W^O; d and its scale stay.",
    case=HeadPruningCase,
    domain=DOMAIN,
    where=_one_stays,
    needs=["weights"],
    builds_on=[WHOLE],
)
def removed_equals_gated_by_zero(candidate: Candidate, case: HeadPruningCase) -> Evidence:
    return _against_gates(candidate, case)


@check(
    "head_pruning.heads-add-up",
    "the output is a sum over the heads: what two sets of them take away one by one, they take away together",
    spec=GATES,
    level="paper",
    hint="Let each head keep its queries, keys, values and scale, and the output its bias, whatever goes beside it.",
    case=HeadPruningCase,
    domain=DOMAIN | {"heads": (3, 4), "removed": (2, 3)},
    where=_one_stays,
    builds_on=[RUNS],
)
def heads_add_up(candidate: Candidate, case: HeadPruningCase) -> Evidence:
    instance, inputs = _built(candidate, case), case.inputs()
    rest, first = case.kept(), torch.zeros(case.heads, dtype=torch.bool)
    first[case.permutation("order", case.heads)[0]] = True
    all_heads, without_first, without_others, without_both = (
        instance.call(inputs | {"kept": kept}).output for kept in (torch.ones_like(rest), ~first, rest | first, rest)
    )
    return equal(without_first + without_others, all_heads + without_both, scale=case.width**2)


@check(
    "head_pruning.removed-heads-have-no-influence",
    "other projections for the heads removed change nothing",
    spec=GATES,
    level="paper",
    hint="Look at which heads go: the ones named, or the ones kept, or the first ones.",
    case=HeadPruningCase,
    domain=DOMAIN,
    where=_one_stays,
    needs=["weights"],
    builds_on=[RUNS],
)
def removed_heads_have_no_influence(candidate: Candidate, case: HeadPruningCase) -> Evidence:
    instance = _built(candidate, case)
    before = _answer(instance, case)
    gone = ~_features(case)
    for name in ("query", "key", "value"):
        weight = instance.state()[f"{name}.weight"].clone()
        weight[gone] += case.normal(f"move of {name}", case.width, case.width)[gone]
        instance.load({f"{name}.weight": weight})
    return equal(_answer(instance, case), before)


@check(
    "head_pruning.output-bias-stays",
    "where all values are 0 the output is the bias of the output projection, whichever heads are gone",
    spec=GATES,
    level="paper",
    hint="The bias belongs to no head: copy it whole.",
    case=HeadPruningCase,
    domain=DOMAIN,
    where=_one_stays,
    needs=["weights"],
    builds_on=[RUNS],
)
def output_bias_stays(candidate: Candidate, case: HeadPruningCase) -> Evidence:
    instance = _built(candidate, case)
    state = instance.state()
    instance.load({name: torch.zeros_like(value) for name, value in state.items() if name.startswith("value.")})
    output = _answer(instance, case)
    bias = state.get("output.bias", torch.zeros(case.width, dtype=output.dtype))
    return equal(output, bias.expand_as(output))


@check(
    "head_pruning.parameters-go-with-the-heads",
    "each head removed takes the 4 d D weights of its projections with it",
    spec=REMOVED,
    level="convention",
    hint="Make smaller matrices: zeros, or a mask, are stored and multiplied as before.",
    case=HeadPruningCase,
    domain=DOMAIN,
    where=_one_stays,
    unless=["masks-only"],
    builds_on=[RUNS],
)
def parameters_go_with_the_heads(candidate: Candidate, case: HeadPruningCase) -> Evidence:
    instance = _built(candidate, case)
    before = modules.size(instance)
    after = int(instance.call(case.inputs() | {"kept": case.kept()}).outputs["parameters"])
    most = before - 4 * case.removed * case.head_width * case.width
    return holds(after <= most, expected=f"at most {most} of {before} numbers", actual=f"{after}")


def _built(candidate: Candidate, case: HeadPruningCase) -> Instance:
    """An instance with drawn weights."""
    instance = candidate.build({"width": case.width, "heads": case.heads}, dtype=case.dtype, seed=case.seed)
    modules.filled(instance, case)
    return instance


def _answer(instance: Instance, case: HeadPruningCase) -> Tensor:
    return instance.call(case.inputs() | {"kept": case.kept()}).output


def _features(case: HeadPruningCase) -> Tensor:
    """Which of the D features of the heads belong to those kept."""
    return case.kept().repeat_interleave(case.head_width)


def _against_gates(candidate: Candidate, case: HeadPruningCase) -> Evidence:
    """The candidate's answer beside that of all heads, with the columns of the removed ones at 0."""
    instance, inputs = _built(candidate, case), case.inputs()
    state = dict(instance.state())
    state["output.weight"] = state["output.weight"] * _features(case)
    query, memory = inputs["query"], inputs["memory"]
    expected = oracles.multi_head_attention(state, case.heads, query, memory, memory)
    return equal(_answer(instance, case), torch.from_numpy(expected), scale=case.width**2)
