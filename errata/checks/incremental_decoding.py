"""Decoding with a cache: ``call(source, target, source_mask, chunks)``; ``build`` as for transformer.

Shapes: source ids int64 ``(B, S)``, target ids int64 ``(B, T)``, source_mask boolean ``(B, S)`` or None, True = a real
token, and chunks int64 ``(n,)``, lengths that sum to T. The candidate decodes the target chunk by chunk, keeping what
it needs from one to the next, and answers ``output``, the logits ``(B, T, V)`` of all chunks side by side, and
``full``, those of one forward pass over the whole target. Id 0 is never drawn: it may mean padding. Trait
``single-steps``: it takes one position at a time only.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.checks.encoder import another
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import VASWANI
from errata.checks.registry import check
from errata.checks.transformer import TransformerCase


@dataclass(frozen=True, kw_only=True)
class DecodingCase(TransformerCase):
    """A call of the whole model, cut into steps."""

    def inputs(self) -> dict[str, Tensor | None]:
        """See `TransformerCase.inputs`; one position at a time."""
        return super().inputs() | {"chunks": torch.ones(self.targets, dtype=torch.int64)}

    def chunks(self) -> Tensor:
        """A split of the target into chunks of one position or more."""
        cut = self.booleans("cuts", self.targets)
        cut[0] = True
        starts = torch.cat([cut.nonzero()[:, 0], torch.tensor([self.targets])])
        return starts.diff()


ANY = {
    "batch": (1, 2, 3),
    "sources": (1, 2, 3, 5),
    "targets": (1, 2, 3, 5),
    "heads": (1, 2, 3),
    "head_width": (4, 6),
    "hidden": (7, 11),
    "layers": (1, 2),
    "vocabulary": (6, 9),
}
SEVERAL = ANY | {"targets": (2, 3, 5)}
LONG = ANY | {"targets": (3, 4, 5)}

RUNS = "incremental_decoding.accepts-valid-input"

ONE_AT_A_TIME = VASWANI.says(
    "3", "consuming the previously generated symbols as additional input when generating the next"
)
NO_FUTURE = VASWANI.says("3.1", "prevent positions from attending to subsequent positions")
UP_TO_ITSELF = VASWANI.says("3.2.3", "to attend to all positions in the decoder up to and including that position")
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")
MEMORY = VASWANI.says("3.2.3", "the memory keys and values come from the output of the encoder")


def cached_and_full(candidate: Candidate, case: DecodingCase, **changes: Argument) -> Evidence:
    """The logits of the steps are those of the forward pass."""
    reply = case.build(candidate).call({**case.inputs(), **changes})
    return equal(reply.output, reply.outputs["full"])


@check(
    RUNS,
    "a target of T ids, given one by one, gives logits (B, T, V)",
    spec=ONE_AT_A_TIME,
    level="paper",
    hint="Run it once: a cache that is never made or a name that is never defined shows at once.",
    case=DecodingCase,
    domain=ANY,
)
def accepts_valid_input(candidate: Candidate, case: DecodingCase) -> Evidence:
    output = case.build(candidate).call(case.inputs()).output
    wanted = (case.batch, case.targets, case.vocabulary)
    return holds(tuple(output.shape) == wanted, expected=f"shape {wanted}", actual=f"shape {tuple(output.shape)}")


@check(
    "incremental_decoding.one-at-a-time-equals-the-forward-pass",
    "step t, which sees id t alone and what was kept, gives the logits at t of one pass over the whole target",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="Append the new keys and values before attending, and let the position of a step be how many came before.",
    case=DecodingCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def one_at_a_time_equals_the_forward_pass(candidate: Candidate, case: DecodingCase) -> Evidence:
    return cached_and_full(candidate, case)


@check(
    "incremental_decoding.any-split-equals-the-forward-pass",
    "however the target is cut into chunks, their logits are those of one pass over the whole target",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="The mask of a chunk is (T, P): row t sees the P - T positions before the chunk and the chunk up to t.",
    case=DecodingCase,
    domain=LONG,
    unless=["single-steps"],
    builds_on=[RUNS],
)
def any_split_equals_the_forward_pass(candidate: Candidate, case: DecodingCase) -> Evidence:
    return cached_and_full(candidate, case, chunks=case.chunks())


@check(
    "incremental_decoding.no-influence-from-the-future",
    "another id at position s changes no logits before s, also within a chunk",
    spec=NO_FUTURE,
    level="paper",
    hint="A chunk needs the causal mask as the whole target does; only a chunk of one position needs none.",
    case=DecodingCase,
    domain=LONG,
    unless=["single-steps"],
    builds_on=[RUNS],
)
def no_influence_from_the_future(candidate: Candidate, case: DecodingCase) -> Evidence:
    instance = case.build(candidate)
    arguments = {**case.inputs(), "chunks": torch.tensor([1, case.targets - 1])}
    other = case.target().clone()
    other[:, -1] = another(other[:, -1], case.vocabulary)
    before, after = (instance.call(given).output for given in (arguments, {**arguments, "target": other}))
    return equal(after[:, :-1], before[:, :-1])


@check(
    "incremental_decoding.padded-source-equals-the-forward-pass",
    "with a source mask, the steps give the logits of one pass with this mask",
    spec=MASKING,
    level="paper",
    hint="Keep the source mask with the keys and values of the memory, and pass it at every step.",
    case=DecodingCase,
    domain=SEVERAL | {"sources": (2, 3, 5), "masked": (True,)},
    builds_on=[RUNS],
)
def padded_source_equals_the_forward_pass(candidate: Candidate, case: DecodingCase) -> Evidence:
    return cached_and_full(candidate, case)


@check(
    "incremental_decoding.sequences-are-independent",
    "a sequence gets the same logits alone as in a batch: each has a cache of its own",
    spec=VASWANI.says("2", "relating different positions of a single sequence"),
    level="paper",
    hint="The first axis of the cache is the batch; append along the axis of positions.",
    case=DecodingCase,
    domain=SEVERAL | {"batch": (2, 3)},
    builds_on=[RUNS],
)
def sequences_are_independent(candidate: Candidate, case: DecodingCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    alone = {**arguments, **{name: value[-1:] for name, value in _batched(arguments).items()}}
    return equal(instance.call(alone).output, instance.call(arguments).output[-1:])


@check(
    "incremental_decoding.targets-start-afresh",
    "a second source and target get the logits that they get first: nothing is left of the ones before",
    spec=MEMORY,
    level="paper",
    hint="Make new caches, and project the new memory, when a new source comes.",
    case=DecodingCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def targets_start_afresh(candidate: Candidate, case: DecodingCase) -> Evidence:
    used, fresh = case.build(candidate), case.build(candidate)
    used.call(case.inputs())
    second = replace(case, seed=case.seed + 1, values={}).inputs()
    return equal(used.call(second).output, fresh.call(second).output)


def _batched(arguments: dict[str, Tensor | None]) -> dict[str, Tensor]:
    return {name: value for name, value in arguments.items() if isinstance(value, Tensor) and name != "chunks"}
