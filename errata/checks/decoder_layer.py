"""One layer of the decoder: ``build(width, heads, hidden)``, ``call(x, memory, mask, memory_mask)``.

Shapes: x and output ``(B, T, D)``, memory ``(B, S, D)``, mask boolean ``(B, T, T)`` or None, memory_mask boolean
``(B, T, S)`` or None, True = may attend. Parameters: ``self_attention`` and ``cross_attention`` (as in
multi_head_attention), ``feed_forward`` (as in feed_forward), and the norms ``self_attention_norm``,
``cross_attention_norm`` and ``feed_forward_norm``. Traits as for encoder_layer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.candidates.candidate import Scalar
from errata.checks import modules, oracles
from errata.checks.evidence import Evidence, equal, finite, holds
from errata.checks.literature import VASWANI
from errata.checks.modules import ModuleCase, answers, given
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class DecoderLayerCase(ModuleCase):
    """Sizes of one layer and one call; ``causal`` and ``masked`` say whether mask and memory_mask are passed."""

    batch: int = 1
    targets: int = 1
    sources: int = 1
    heads: int = 1
    head_width: int = 1
    hidden: int = 1
    causal: bool = False
    masked: bool = False

    @property
    def width(self) -> int:
        """D."""
        return self.heads * self.head_width

    def config(self) -> dict[str, Scalar]:
        """See `ModuleCase.config`."""
        return {"width": self.width, "heads": self.heads, "hidden": self.hidden}

    def inputs(self) -> dict[str, Tensor | None]:
        """See `ModuleCase.inputs`. Every position may attend at least one position of the memory."""
        mask, memory_mask = None, None
        if self.causal:
            mask = torch.ones(self.batch, self.targets, self.targets, dtype=torch.bool).tril()
        if self.masked:
            memory_mask = self.booleans("memory_mask", self.batch, self.targets, self.sources)
            memory_mask[..., 0] |= ~memory_mask.any(dim=-1)
        return {
            "x": self.normal("x", self.batch, self.targets, self.width),
            "memory": self.normal("memory", self.batch, self.sources, self.width),
            "mask": mask,
            "memory_mask": memory_mask,
        }

    def with_one_moved(self, name: str) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None], int]:
        """The arguments, the arguments with another vector at one position of x or memory, and that position."""
        before = self.inputs()
        moved = given(before, name).clone()
        position = int(self.integers(f"position in {name}", 0, moved.shape[1]))
        moved[:, position] = self.normal(f"other vector in {name}", self.batch, self.width)
        return before, before | {name: moved}, position


ANY = {
    "batch": (1, 2, 3),
    "targets": (1, 2, 3, 5),
    "sources": (1, 2, 3, 4),
    "heads": (1, 2, 3),
    "head_width": (1, 2, 4),
    "hidden": (1, 5, 7),
}
# In fewer than 4 features a norm leaves hardly anything of its input.
DOMAIN = ANY | {
    "targets": (2, 3, 5),
    "sources": (2, 3, 4),
    "head_width": (4, 5),
    "hidden": (23, 29),
    "causal": (False, True),
}
CAUSAL = DOMAIN | {"causal": (True,)}
MASKED = DOMAIN | {"masked": (True,)}

RUNS = "decoder_layer.accepts-valid-input"
RUNS_UNEQUAL = "decoder_layer.lengths-may-differ"
RUNS_MASKED = "decoder_layer.accepts-masks"
RESIDUAL = "decoder_layer.residual-stream"
MEMORY_USED = "decoder_layer.every-memory-position-has-influence"

CROSS_ATTENTION = VASWANI.says(
    "3.2.3",
    "and the memory keys and values come from the output of the encoder",
)
ALL_OF_THE_INPUT = VASWANI.says(
    "3.2.3", "This allows every position in the decoder to attend over all positions in the input sequence"
)
THIRD_SUBLAYER = VASWANI.says("3.1", "performs multi-head attention over the output of the encoder stack")
NO_FUTURE = VASWANI.says("3.1", "prevent positions from attending to subsequent positions")
UP_TO_ITSELF = VASWANI.says("3.2.3", "to attend to all positions in the decoder up to and including that position")
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")


@check(
    RUNS,
    "the layer maps x (B, T, D) and a memory of the same shape to a tensor of that shape",
    spec=VASWANI.says(
        "3.1", "all sub-layers in the model, as well as the embedding layers, produce outputs of dimension"
    ),
    level="paper",
    hint="Run it once. Try one sequence, one position, one head, and sizes that all differ.",
    case=DecoderLayerCase,
    domain=ANY,
    where=lambda case: case.targets == case.sources,
)
def accepts_valid_input(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.targets, case.width)


@check(
    RUNS_UNEQUAL,
    "x (B, T, D) and memory (B, S, D) may have different lengths: the output is (B, T, D)",
    spec=CROSS_ATTENTION,
    level="paper",
    hint="Take the number of keys from the memory, the number of queries from x.",
    case=DecoderLayerCase,
    domain=ANY,
    builds_on=[RUNS],
)
def lengths_may_differ(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.targets, case.width)


@check(
    RUNS_MASKED,
    "a mask (T, T) for x and one (T, S) for the memory are accepted, both for each sequence",
    spec=MASKING,
    level="paper",
    hint="The first mask belongs to self-attention, the second to the attention over the memory.",
    case=DecoderLayerCase,
    domain=ANY | {"causal": (True,), "masked": (True,)},
    builds_on=[RUNS_UNEQUAL],
)
def accepts_masks(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.targets, case.width)


@check(
    RESIDUAL,
    "with every sublayer's weights and biases at 0, x itself is left, up to the norms: no path drops x",
    spec=VASWANI.says("3.1", "we employ residual connections around each of the sub-layers"),
    level="paper",
    hint="Write x + sublayer(x) around all three sublayers; what is added to the memory's attention is x.",
    case=DecoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS_MASKED],
)
def residual_stream(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.residual_stream(candidate, case)


@check(
    "decoder_layer.norm-placement",
    "LayerNorm(x + Sublayer(x)) ends in a norm (post-norm), x + Sublayer(LayerNorm(x)) leaves x as it is (pre-norm)",
    spec=VASWANI.says("3.1", "followed by layer normalization"),
    level="paper",
    hint="Post-norm: all sums pass through a norm, the last at the very end. Pre-norm: add to x, not to norm(x).",
    case=DecoderLayerCase,
    domain=DOMAIN,
    builds_on=[RESIDUAL],
)
def norm_placement(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.norm_placement(candidate, case)


@check(
    "decoder_layer.no-influence-from-the-future",
    "with a causal mask, another vector at position s changes no output before s",
    spec=NO_FUTURE,
    level="paper",
    hint="Pass the mask to self-attention, fill with -inf before the softmax, and check the polarity.",
    case=DecoderLayerCase,
    domain=CAUSAL,
    builds_on=[RUNS_MASKED],
)
def no_influence_from_the_future(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    before, after, position = case.with_one_moved("x")
    earlier = torch.arange(case.targets).lt(position).expand(case.batch, -1)
    return modules.none_moves(*answers(candidate, case, before, after), among=earlier)


@check(
    "decoder_layer.influence-from-the-past",
    "with a causal mask, another vector at position s changes the output at s and at every later position",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="The first sublayer is self-attention: query, key and value are all x. Check the polarity of its mask.",
    case=DecoderLayerCase,
    domain=CAUSAL,
    builds_on=[RUNS_MASKED],
)
def influence_from_the_past(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    before, after, position = case.with_one_moved("x")
    return modules.all_move(
        *answers(candidate, case, before, after),
        among=torch.arange(case.targets).ge(position).expand(case.batch, -1),
        expected=f"another vector at {position} changes position {position} and all later ones",
    )


@check(
    "decoder_layer.permutation-equivariance",
    "layer(P x, memory) = P layer(x, memory) for every permutation P, without a mask: queries come from x alone",
    spec=CROSS_ATTENTION,
    level="paper",
    hint="The query of the second attention is x, and the sum after it adds x.",
    case=DecoderLayerCase,
    domain=DOMAIN | {"causal": (False,)},
    builds_on=[RUNS_UNEQUAL],
)
def permutation_equivariance(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    arguments = case.inputs()
    order = case.normal("order", case.targets).argsort()
    before, after = answers(candidate, case, arguments, arguments | {"x": given(arguments, "x")[:, order]})
    return equal(after, before[:, order])


@check(
    MEMORY_USED,
    "another vector at one position of the memory changes the output at all positions, also under a causal mask",
    spec=ALL_OF_THE_INPUT,
    level="paper",
    hint="Attend to the memory, use the result, and do not give the causal mask to this attention.",
    case=DecoderLayerCase,
    domain=DOMAIN | {"targets": (2, 3), "sources": (2, 3)},
    # A causal mask that strays here fits where both lengths are one, and crashes elsewhere.
    where=lambda case: case.targets == case.sources or not case.causal,
    builds_on=[RUNS_MASKED],
)
def every_memory_position_has_influence(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    before, after, position = case.with_one_moved("memory")
    return modules.all_move(
        *answers(candidate, case, before, after), expected=f"another vector at {position} changes every position"
    )


@check(
    "decoder_layer.order-of-memory-is-nothing",
    "layer(x, P memory) = layer(x, memory) for every permutation P: keys and values both come from the memory",
    spec=CROSS_ATTENTION,
    level="paper",
    hint="attention(query=x, key=memory, value=memory): the arguments are easily swapped.",
    case=DecoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS_UNEQUAL, MEMORY_USED],
)
def order_of_memory_is_nothing(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    arguments = case.inputs()
    order = case.normal("order", case.sources).argsort()
    permuted = arguments | {"memory": given(arguments, "memory")[:, order]}
    before, after = answers(candidate, case, arguments, permuted)
    return equal(after, before)


@check(
    "decoder_layer.masked-memory-has-no-influence",
    "position t stays as it is when a position of the memory changes that it may not attend",
    spec=MASKING,
    level="paper",
    hint="Pass memory_mask to the attention over the memory, and check its polarity. Self-attention comes before it.",
    case=DecoderLayerCase,
    domain=MASKED,
    builds_on=[RUNS_MASKED],
)
def masked_memory_has_no_influence(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    before, after, position = case.with_one_moved("memory")
    blocked = ~given(before, "memory_mask")[:, :, position]
    return modules.none_moves(*answers(candidate, case, before, after), among=blocked)


@check(
    "decoder_layer.unmasked-memory-has-influence",
    "position t changes when a position of the memory changes that it may attend",
    spec=ALL_OF_THE_INPUT,
    level="paper",
    hint="Check the polarity of memory_mask, and that each sequence and each query gets its own row of it.",
    case=DecoderLayerCase,
    domain=MASKED,
    builds_on=[RUNS_MASKED, MEMORY_USED],
)
def unmasked_memory_has_influence(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    before, after, position = case.with_one_moved("memory")
    return modules.all_move(
        *answers(candidate, case, before, after),
        among=given(before, "memory_mask")[:, :, position],
        expected=f"another vector at {position} changes every position that may attend it",
    )


@check(
    "decoder_layer.three-sublayers",
    "two attentions and a feed-forward network have weights of their own: at least 8 D^2 + 2 D d_ff numbers",
    spec=THIRD_SUBLAYER,
    level="convention",
    hint="Make one attention for x and another for the memory; a shared one is half as many weights.",
    case=DecoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def three_sublayers(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    instance = case.build(candidate)
    state = instance.state()
    weights = sum(state[name].numel() for name in instance.parameters() if state[name].ndim >= 2)
    wanted = 8 * case.width**2 + 2 * case.width * case.hidden
    return holds(weights >= wanted, expected=f"at least {wanted} weights", actual=f"{weights} weights")


@check(
    "decoder_layer.matches-formula",
    "self-attention, attention over the memory, feed-forward, in this order: each y = LN(x + f(x)), or x + f(LN(x))",
    spec=THIRD_SUBLAYER,
    level="paper",
    hint="Compare sublayer by sublayer: order, scale, heads, activation, norms. The memory passes through none.",
    case=DecoderLayerCase,
    domain=DOMAIN | {"masked": (False, True)},
    needs=["weights"],
    builds_on=[RUNS_MASKED, RESIDUAL],
    tolerance=modules.EPSILON_OF_NORMS,
)
def matches_formula(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    instance = case.build(candidate)
    state = modules.filled(instance, case)
    arguments = case.inputs()
    expected = oracles.decoder_layer(
        given(arguments, "x"),
        given(arguments, "memory"),
        arguments["mask"],
        arguments["memory_mask"],
        state,
        case.heads,
        "pre-norm" in candidate.traits,
    )
    return equal(instance.call(arguments).output, torch.from_numpy(expected))


@check(
    "decoder_layer.keyless-memory-is-finite",
    "a memory of which nothing may be attended gives finite numbers, not NaN",
    spec=MASKING,
    level="robustness",
    hint="softmax of a row of -inf is 0/0. Set the weights of such a row to 0.",
    case=DecoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS_MASKED],
)
def keyless_memory_is_finite(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    nothing = torch.zeros(case.batch, case.targets, case.sources, dtype=torch.bool)
    (output,) = answers(candidate, case, case.inputs() | {"memory_mask": nothing})
    return finite(output)


@check(
    "decoder_layer.sequences-are-independent",
    "a sequence gets the same output alone as in a batch",
    spec=VASWANI.says("2", "relating different positions of a single sequence"),
    level="paper",
    hint="The first axis is the batch: no attention, norm or reshape may cross it.",
    case=DecoderLayerCase,
    domain=DOMAIN | {"batch": (2, 3), "masked": (False, True)},
    builds_on=[RUNS_MASKED],
)
def sequences_are_independent(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "decoder_layer.gradients-reach-every-parameter",
    "the output depends on every parameter: none is defined and never used",
    spec=modules.LEARNED,
    level="paper",
    hint="Use what each sublayer returns, and do not detach it.",
    case=DecoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS_MASKED],
)
def gradients_reach_every_parameter(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.gradients_reach_parameters(candidate, case)


@check(
    "decoder_layer.gradients-reach-the-memory",
    "the output passes a gradient back to the memory: the encoder learns through it",
    spec=THIRD_SUBLAYER,
    level="paper",
    hint="Do not detach the memory.",
    case=DecoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS_MASKED, MEMORY_USED],
)
def gradients_reach_the_memory(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    cotangent = case.normal("cotangent", case.batch, case.targets, case.width)
    gradients = case.build(candidate).call(case.inputs(), cotangent=cotangent).gradients
    return holds(
        "memory" in gradients and bool(gradients["memory"].any()),
        expected="a gradient at the memory",
        actual="none",
    )


@check(
    "decoder_layer.state-is-complete",
    "two layers of equal state answer alike: every learned number is registered",
    spec=modules.LEARNED,
    level="paper",
    hint="Make layers in __init__, as attributes or in an nn.ModuleList: a Python list hides them from the optimiser.",
    case=DecoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS_MASKED],
)
def state_is_complete(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.state_is_complete(candidate, case)


@check(
    "decoder_layer.deterministic-in-evaluation",
    "in evaluation the same input gives the same output",
    spec=modules.EVALUATION,
    level="paper",
    hint="Dropout must follow self.training; layers made in forward start with new weights each time.",
    case=DecoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS_MASKED],
)
def deterministic_in_evaluation(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.is_deterministic(candidate, case)


@check(
    "decoder_layer.drops-in-training",
    "in training, dropout makes two calls with the same input differ",
    spec=modules.SUBLAYER_DROPOUT,
    level="convention",
    hint="Apply dropout to what each sublayer returns, before the sum.",
    case=DecoderLayerCase,
    domain={"batch": (3,), "targets": (10,), "sources": (4,), "heads": (2,), "head_width": (8,), "hidden": (7,)},
    builds_on=[RUNS_UNEQUAL],
)
def drops_in_training(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.drops_in_training(candidate, case)


@check(
    "decoder_layer.keeps-its-arguments",
    "the call does not change the tensors that it is given",
    spec=THIRD_SUBLAYER,
    level="robustness",
    hint="x += ... writes into the caller's tensor: write x = x + ...",
    case=DecoderLayerCase,
    domain=DOMAIN | {"masked": (False, True)},
    builds_on=[RUNS_MASKED],
)
def keeps_its_arguments(candidate: Candidate, case: DecoderLayerCase) -> Evidence:
    return modules.arguments_stay(candidate, case)
