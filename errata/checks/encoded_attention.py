"""Self-attention over words that know their positions: ``call(x)``, of modules after ``build(width, heads)``.

x is ``(B, T, D)``, word vectors; the candidate adds an encoding of their positions and lets them attend to one another.
Output ``(B, T, D)``. Nothing is said of which encoding it is. Parameters are moved from where they start, since
positions that are learned may start at zero.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate, Instance
from errata.checks import joined, modules
from errata.checks.evidence import Evidence, holds, printed
from errata.checks.joined import JoinedCase
from errata.checks.literature import VASWANI
from errata.checks.modules import FLOAT32_INSIDE
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class EncodedAttentionCase(JoinedCase):
    """Sizes of one call; D is even, as sinusoids in pairs need it."""

    head_width: int = 2

    def inputs(self) -> dict[str, Tensor]:
        """See `ModuleCase.inputs`."""
        return {"x": self.normal("x", self.batch, self.length, self.width)}

    def equal_words(self) -> dict[str, Tensor]:
        """The same word at each position but the first, which tells apart the weights of those that are equal."""
        first, word = self.normal("words", 2, self.batch, 1, self.width)
        return {"x": torch.cat([first, word.repeat(1, self.length - 1, 1)], dim=1)}

    def build(self, candidate: Candidate) -> Instance:
        """See `ModuleCase.build`; with the parameters moved."""
        instance = super().build(candidate)
        state, generator = instance.state(), torch.Generator().manual_seed(self.seed)
        # Not drawn by name: the names are the candidate's own, and what they hold is no part of the case.
        for name in sorted(instance.parameters()):
            move = torch.randn(state[name].shape, generator=generator, dtype=torch.float64)
            instance.load({name: state[name] + MOVE * move})
        return instance


MOVE = 0.1
"""How far parameters are moved: the standard deviation."""

APART = 1e-9
"""A difference that rounding cannot cause in float64, and positions do."""

ANY = joined.SIZES | {"batch": (1, 2, 3), "length": (1, 2, 3, 5), "head_width": (2, 4)}

INJECTED = VASWANI.says("3.5", "we must inject some information about the relative or absolute position of the tokens")
ORDER = VASWANI.says("3.5", "in order for the model to make use of the order of the sequence")
ADDED = VASWANI.says("3.5", "The positional encodings have the same dimension dmodel as the embeddings")
MAPPING = VASWANI.says(
    "3.2", "An attention function can be described as mapping a query and a set of key-value pairs to an output"
)

RUNS = "encoded_attention.accepts-valid-input"


@check(
    RUNS,
    "word vectors (B, T, D) give a tensor of shape (B, T, D), for every T",
    spec=ADDED,
    level="paper",
    hint="Run it once, with sizes that all differ: the encoding needs a row for each position and D columns.",
    case=EncodedAttentionCase,
    domain=ANY,
)
def accepts_valid_input(candidate: Candidate, case: EncodedAttentionCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.length, case.width)


@check(
    "encoded_attention.equal-words-differ-by-position",
    "where all words but the first are equal, their positions tell them apart: no two of them get the same output",
    spec=INJECTED,
    level="paper",
    hint="Add row t of the encoding to position t, along axis 1 of (B, T, D), and make its rows different.",
    case=EncodedAttentionCase,
    domain=ANY | {"length": (3, 4, 6)},
    builds_on=[RUNS],
)
def equal_words_differ_by_position(candidate: Candidate, case: EncodedAttentionCase) -> Evidence:
    (output,) = modules.answers(candidate, case, case.equal_words())
    gaps = torch.cdist(output, output, p=torch.inf)
    gaps[:, 0] = torch.inf
    alike = (~(gaps > APART)).triu(1).nonzero().tolist()
    shown = f"equal at [sequence, position, position] {alike}: {printed(output)}"
    return holds(not alike, expected="a different output at each position", actual=shown)


@check(
    "encoded_attention.order-of-words-matters",
    "attention sees positions: swapping the first two words changes what every later position gets",
    spec=ORDER,
    level="paper",
    hint="Add the encoding before attention, to what keys are made of; without it keys are a set without order.",
    case=EncodedAttentionCase,
    domain=ANY | {"length": (3, 4, 5)},
    builds_on=[RUNS],
)
def order_of_words_matters(candidate: Candidate, case: EncodedAttentionCase) -> Evidence:
    x = case.inputs()["x"]
    swapped = torch.cat([x[:, [1, 0]], x[:, 2:]], dim=1)
    before, after = modules.answers(candidate, case, {"x": x}, {"x": swapped})
    later = torch.arange(case.length) >= 2  # causal attention lets nobody else see the first two
    still = (~((before - after).abs().amax(dim=-1) > APART) & later).nonzero().tolist()
    return holds(
        not still, expected="every later position's output changes", actual=f"no change at [sequence, position] {still}"
    )


@check(
    "encoded_attention.batch-examples-are-independent",
    "a sequence gets the same output alone and in a batch, whatever its place there",
    spec=MAPPING,
    level="paper",
    hint="Positions run along the sequence: on (B, T, D) take pe[: x.size(1)], not pe[: x.size(0)].",
    case=EncodedAttentionCase,
    domain=ANY | {"batch": (2, 3)},
    builds_on=[RUNS],
    tolerance=FLOAT32_INSIDE,
)
def batch_examples_are_independent(candidate: Candidate, case: EncodedAttentionCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)
