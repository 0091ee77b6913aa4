"""A whole encoder: ``build(vocabulary, width, heads, hidden, layers)``, ``call(ids, mask)``.

Shapes: ids int64 ``(B, T)``, mask boolean ``(B, T, T)`` or None, True = may attend. Output: states ``(B, T, D)``.
Trait ``one-layer``: the candidate has one layer, whatever ``layers`` asks for.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.candidates.candidate import Scalar
from errata.checks import modules, precision
from errata.checks.evidence import Evidence, equal
from errata.checks.literature import VASWANI
from errata.checks.modules import StackCase, answers
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class EncoderCase(StackCase):
    """Sizes of one encoder and one call; ``masked`` says whether a mask is passed."""

    batch: int = 1
    length: int = 1
    heads: int = 1
    head_width: int = 4
    hidden: int = 7
    masked: bool = False

    @property
    def width(self) -> int:
        """D."""
        return self.heads * self.head_width

    def config(self) -> dict[str, Scalar]:
        """See `ModuleCase.config`."""
        return {
            "vocabulary": self.vocabulary,
            "width": self.width,
            "heads": self.heads,
            "hidden": self.hidden,
            "layers": self.layers,
        }

    def inputs(self) -> dict[str, Tensor | None]:
        """See `ModuleCase.inputs`. Every position may attend itself, and the rest of the mask is drawn."""
        mask = None
        if self.masked:
            mask = self.booleans("mask", self.batch, self.length, self.length)
            mask |= torch.eye(self.length, dtype=torch.bool)
        return {"ids": self.ids(), "mask": mask}

    def ids(self) -> Tensor:
        """Token ids. 0 is left out: many implementations treat it as padding."""
        return self.integers("ids", 1, self.vocabulary, self.batch, self.length)

    def padding(self) -> tuple[Tensor, Tensor]:
        """Which of the positions are padding ``(T,)``, never the first, and the mask ``(B, T, T)`` that hides them."""
        padded = self.booleans("padded", self.length)
        padded[0] = False
        return padded, (~padded).expand(self.batch, self.length, self.length).clone()

    def with_one_replaced(self) -> tuple[Tensor, Tensor, int]:
        """The ids, the ids with another token at one position, and that position."""
        ids = self.ids()
        position = int(self.integers("position", 0, self.length))
        replaced = ids.clone()
        replaced[:, position] = another(ids[:, position], self.vocabulary)
        return ids, replaced, position


def another(ids: Tensor, vocabulary: int) -> Tensor:
    """For each id the next one, within 1..vocabulary - 1."""
    return ids % (vocabulary - 1) + 1


DOMAIN = {
    "batch": (1, 2, 3),
    "length": (2, 3, 5),
    "vocabulary": (6, 11),  # unlike any width
    "heads": (1, 2, 3),
    "head_width": (4, 5),
    "hidden": (23, 29),
    "layers": (1, 2),
}
ANY = DOMAIN | {"length": (1, 2, 3, 5)}

RUNS = "encoder.accepts-valid-input"
RUNS_MASKED = "encoder.accepts-mask"
TOKENS = "encoder.tokens-are-told-apart"
POSITIONS = "encoder.equal-tokens-differ-by-position"
CONTEXT = "encoder.every-token-has-influence"
RESIDUAL = "encoder.residual-stream"

ORDER = VASWANI.says("3.5", "in order for the model to make use of the order of the sequence")
EMBEDDINGS = VASWANI.says("3.4", "we use learned embeddings to convert the input tokens and output tokens to vectors")
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")
ATTENDS_ALL = VASWANI.says("3.2.3", "Each position in the encoder can attend to all positions in the previous layer")
STACK = VASWANI.says("3.1", "The encoder is composed of a stack of N = 6 identical layers")


@check(
    RUNS,
    "ids of shape (B, T) give states of shape (B, T, D)",
    spec=VASWANI.says("3", "the encoder maps an input sequence of symbol representations"),
    level="paper",
    hint="Run it once: a submodule that is no attribute of self, or a name that is never defined, shows at once.",
    case=EncoderCase,
    domain=ANY,
)
def accepts_valid_input(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.length, case.width)


@check(
    RUNS_MASKED,
    "a mask of one (T, T) table for each sequence is accepted",
    spec=MASKING,
    level="paper",
    hint="Pass the mask on to every layer, with an axis for the heads: mask[:, None] against (B, H, T, T).",
    case=EncoderCase,
    domain=ANY | {"masked": (True,)},
    unless=["no-mask"],
    builds_on=[RUNS],
)
def accepts_mask(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.length, case.width)


@check(
    "encoder.vocabulary-may-exceed-positions",
    "every id below the vocabulary's size is accepted, however few positions there are",
    spec=VASWANI.says("3.5", "where pos is the position and i is the dimension"),
    level="paper",
    hint="Look positions up by position, torch.arange(T), not by token id.",
    case=EncoderCase,
    domain=ANY | {"vocabulary": (2000,)},
    builds_on=[RUNS],
)
def vocabulary_may_exceed_positions(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.length, case.width)


@check(
    TOKENS,
    "another token at position t gives another state at t",
    spec=EMBEDDINGS,
    level="paper",
    hint="Embed the ids, and keep what is embedded on its way through every layer.",
    case=EncoderCase,
    domain=ANY,
    builds_on=[RUNS],
)
def tokens_are_told_apart(candidate: Candidate, case: EncoderCase) -> Evidence:
    ids, replaced, position = case.with_one_replaced()
    return modules.all_move(
        *answers(candidate, case, {"ids": ids, "mask": None}, {"ids": replaced, "mask": None}),
        among=torch.arange(case.length).eq(position).expand(case.batch, -1),
        expected=f"another token at {position} changes the state there",
    )


@check(
    CONTEXT,
    "without a mask, another token at one position changes the states at all positions",
    spec=ATTENDS_ALL,
    level="paper",
    hint="Use what attention returns, and split the heads with view(B, T, H, d).transpose(1, 2).",
    case=EncoderCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def every_token_has_influence(candidate: Candidate, case: EncoderCase) -> Evidence:
    ids, replaced, position = case.with_one_replaced()
    return modules.all_move(
        *answers(candidate, case, {"ids": ids, "mask": None}, {"ids": replaced, "mask": None}),
        expected=f"another token at {position} changes every state",
    )


@check(
    POSITIONS,
    "the same token at two positions has two different states: what is added depends on the position",
    spec=ORDER,
    level="paper",
    hint="Add row t of the positional table to position t: an index that is the token id says nothing about order.",
    case=EncoderCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def equal_tokens_differ_by_position(candidate: Candidate, case: EncoderCase) -> Evidence:
    ids = case.ids()
    ids[:, 1:] = ids[:, :1]
    (output,) = answers(candidate, case, {"ids": ids, "mask": None})
    return modules.all_move(
        output[:, :-1], output[:, 1:], expected="neighbours with the same token have different states"
    )


@check(
    "encoder.order-of-others-matters",
    "the state at one position changes when two different tokens elsewhere swap places",
    spec=ORDER,
    level="paper",
    hint="Positions must be known before attention mixes: add them to the embeddings, not to the result.",
    case=EncoderCase,
    domain=DOMAIN | {"length": (3, 5)},
    builds_on=[RUNS, POSITIONS, CONTEXT],
)
def order_of_others_matters(candidate: Candidate, case: EncoderCase) -> Evidence:
    ids = case.ids()
    ids[:, 2] = another(ids[:, 1], case.vocabulary)
    swapped = ids.clone()
    swapped[:, [1, 2]] = ids[:, [2, 1]]
    before, after = answers(candidate, case, {"ids": ids, "mask": None}, {"ids": swapped, "mask": None})
    return modules.all_move(before[:, :1], after[:, :1], expected="swapping tokens 1 and 2 changes state 0")


@check(
    RESIDUAL,
    "with the weights and biases of all layers at 0, another token still gives another state: no layer drops x",
    spec=modules.RESIDUAL,
    level="paper",
    hint="Write x + sublayer(x) around every sublayer of every layer.",
    case=EncoderCase,
    domain=ANY,
    builds_on=[RUNS],
)
def residual_stream(candidate: Candidate, case: EncoderCase) -> Evidence:
    ids, replaced, position = case.with_one_replaced()
    instance = case.build(candidate)
    modules.silence(instance, modules.layer_parameters(candidate, case))
    before, after = (instance.call({"ids": tokens, "mask": None}).output for tokens in (ids, replaced))
    return modules.all_move(
        before,
        after,
        among=torch.arange(case.length).eq(position).expand(case.batch, -1),
        expected=f"another token at {position} changes the state there",
    )


@check(
    "encoder.states-are-normalised",
    "at initial gain and bias all states have the same root mean square: the last thing done to them is a norm",
    spec=modules.NORMALISED,
    level="paper",
    hint="Post-norm: LayerNorm(x + Sublayer(x)) in every sublayer. Pre-norm: one more norm after the last layer.",
    case=EncoderCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def states_are_normalised(candidate: Candidate, case: EncoderCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    return modules.is_normalised(output)


@check(
    "encoder.masked-tokens-have-no-influence",
    "another token at a position that nobody may attend changes no other state",
    spec=MASKING,
    level="paper",
    hint="Pass the mask on to every layer, and check its polarity.",
    case=EncoderCase,
    domain=DOMAIN,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED],
)
def masked_tokens_have_no_influence(candidate: Candidate, case: EncoderCase) -> Evidence:
    padded, mask = case.padding()
    ids = case.ids()
    replaced = torch.where(padded, another(ids, case.vocabulary), ids)
    return modules.none_moves(
        *answers(candidate, case, {"ids": ids, "mask": mask}, {"ids": replaced, "mask": mask}),
        among=(~padded).expand(case.batch, -1),
    )


@check(
    "encoder.unmasked-tokens-have-influence",
    "another token at a position that all may attend changes every state, whatever else is masked",
    spec=ATTENDS_ALL,
    level="paper",
    hint="Check the polarity of the mask, and the axis on which it gets the heads.",
    case=EncoderCase,
    domain=DOMAIN,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED, CONTEXT],
)
def unmasked_tokens_have_influence(candidate: Candidate, case: EncoderCase) -> Evidence:
    _, mask = case.padding()
    ids = case.ids()
    replaced = ids.clone()
    replaced[:, 0] = another(ids[:, 0], case.vocabulary)
    return modules.all_move(
        *answers(candidate, case, {"ids": ids, "mask": mask}, {"ids": replaced, "mask": mask}),
        expected="another token at 0 changes every state",
    )


@check(
    "encoder.position-is-the-index-alone",
    "padding that is masked changes no state: position t means the same in a sequence of any length",
    spec=VASWANI.says("3.5", "where pos is the position and i is the dimension"),
    level="paper",
    hint="The positional term of position t depends on t only, neither on the length nor on what follows.",
    case=EncoderCase,
    domain=ANY,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED, "encoder.masked-tokens-have-no-influence"],
)
def position_is_the_index_alone(candidate: Candidate, case: EncoderCase) -> Evidence:
    length = case.length + 3
    ids = replace(case, length=length).ids()
    mask = torch.arange(length).lt(case.length).expand(case.batch, length, length)
    short = {"ids": ids[:, : case.length], "mask": mask[:, : case.length, : case.length]}
    alone, padded = answers(candidate, case, short, {"ids": ids, "mask": mask})
    return equal(padded[:, : case.length], alone)


@check(
    "encoder.sequences-are-independent",
    "a sequence gets the same states alone as in a batch",
    spec=VASWANI.says("2", "relating different positions of a single sequence"),
    level="paper",
    hint="The first axis is the batch: positions count along the second, and nothing may cross the first.",
    case=EncoderCase,
    domain=DOMAIN | {"batch": (2, 3), "masked": (False, True)},
    builds_on=[RUNS_MASKED],
)
def sequences_are_independent(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "encoder.layers-own-parameters",
    "each layer adds the same number of parameters, shares none with another, and registers them all",
    spec=modules.OWN_PARAMETERS,
    level="paper",
    hint="nn.ModuleList([Layer() for _ in range(N)]): [layer] * N repeats one layer, a plain list hides them all.",
    case=EncoderCase,
    domain=DOMAIN,
    unless=["one-layer"],
    builds_on=[RUNS],
)
def layers_own_parameters(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.layers_own_parameters(candidate, case)


@check(
    "encoder.layers-start-different",
    "no two weight matrices start with the same numbers",
    spec=modules.OWN_PARAMETERS,
    level="robustness",
    hint="Build every layer anew: copy.deepcopy gives all layers the same start.",
    case=EncoderCase,
    domain=DOMAIN | {"layers": (2, 3)},
    unless=["one-layer"],
    builds_on=[RUNS, "encoder.layers-own-parameters"],
)
def layers_start_different(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.weights_start_different(candidate, case)


@check(
    "encoder.gradients-reach-every-parameter",
    "the states depend on every parameter of every layer",
    spec=STACK,
    level="paper",
    hint="Feed each layer with the result of the one before it: x = layer(x).",
    case=EncoderCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def gradients_reach_every_parameter(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.gradients_reach_parameters(candidate, case)


@check(
    "encoder.state-is-complete",
    "two encoders of equal state answer alike: every learned number is registered",
    spec=EMBEDDINGS,
    level="paper",
    hint="Make every submodule in __init__ and assign it to self, or to an nn.ModuleList that is.",
    case=EncoderCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def state_is_complete(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.state_is_complete(candidate, case)


@check(
    "encoder.deterministic-in-evaluation",
    "in evaluation the same ids give the same states",
    spec=modules.EVALUATION,
    level="paper",
    hint="Dropout must follow self.training; layers made in forward start with new weights each time.",
    case=EncoderCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def deterministic_in_evaluation(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.is_deterministic(candidate, case)


@check(
    "encoder.drops-in-training",
    "in training, dropout makes two calls with the same ids differ",
    spec=modules.SUBLAYER_DROPOUT,
    level="convention",
    hint="Apply dropout to the sum of embedding and position, and to what each sublayer returns.",
    case=EncoderCase,
    domain={"batch": (3,), "length": (10,), "vocabulary": (8,), "heads": (2,), "head_width": (8,)},
    builds_on=[RUNS],
)
def drops_in_training(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.drops_in_training(candidate, case)


@check(
    "encoder.keeps-its-type",
    "an encoder of one floating type answers in that type",
    spec=VASWANI.says(
        "3.5",
        "The positional encodings have the same dimension dmodel as the embeddings, so that the two can be summed",
    ),
    level="robustness",
    hint="Cast the positional table to the type of the embeddings: float64 from NumPy spreads or crashes.",
    case=EncoderCase,
    domain=ANY | {"dtype": ("float32", "bfloat16")},
    builds_on=[RUNS],
)
def keeps_its_type(candidate: Candidate, case: EncoderCase) -> Evidence:
    return modules.keeps_dtype(candidate, case)


@check(
    "encoder.runs-under-autocast",
    "under autocast to bfloat16 or float16, a float32 module answers as without, to the rounding of that type",
    spec=precision.AUTOCAST,
    level="robustness",
    hint="Linear maps and products come out in the lower type: write none into a tensor of the inputs' type.",
    case=EncoderCase,
    domain=DOMAIN | {"dtype": precision.LOWER},
    builds_on=[RUNS],
    tolerance=precision.ROUNDINGS,
)
def runs_under_autocast(candidate: Candidate, case: EncoderCase) -> Evidence:
    single = replace(case, dtype="float32")
    return precision.under_autocast(single.build(candidate), single.inputs(), case.dtype)
