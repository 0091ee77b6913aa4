"""One layer of the encoder: ``build(width, heads, hidden)``, ``call(x, mask)``.

Shapes: x and output ``(B, T, D)``, mask boolean ``(B, T, T)`` or None, True = may attend. Parameters:
``self_attention`` (as in multi_head_attention), ``feed_forward`` (as in feed_forward), and the norms
``self_attention_norm`` and ``feed_forward_norm`` (``gain``, ``bias``). The traits ``pre-norm`` and ``post-norm`` say
where the norms stand; without either, both places are accepted.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.candidates.candidate import Scalar
from errata.checks import modules, oracles
from errata.checks.evidence import Evidence, equal, finite
from errata.checks.literature import VASWANI
from errata.checks.modules import ModuleCase, answers, given
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class EncoderLayerCase(ModuleCase):
    """Sizes of one layer and one call; ``masked`` says whether a mask is passed."""

    batch: int = 1
    length: int = 1
    heads: int = 1
    head_width: int = 1
    hidden: int = 1
    masked: bool = False

    def config(self) -> dict[str, Scalar]:
        """See `ModuleCase.config`."""
        return {"width": self.heads * self.head_width, "heads": self.heads, "hidden": self.hidden}

    def inputs(self) -> dict[str, Tensor | None]:
        """See `ModuleCase.inputs`. Every position may attend itself, and the rest of the mask is drawn."""
        mask = None
        if self.masked:
            drawn = self.booleans("mask", self.batch, self.length, self.length)
            mask = drawn | torch.eye(self.length, dtype=torch.bool)
        return {"x": self.normal("x", self.batch, self.length, self.heads * self.head_width), "mask": mask}

    def with_one_moved(self) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None], int]:
        """The arguments, the arguments with another vector at one position, and that position."""
        before = self.inputs()
        position = int(self.integers("position", 0, self.length))
        x = given(before, "x").clone()
        x[:, position] = self.normal("other vector", self.batch, x.shape[-1])
        return before, before | {"x": x}, position


ANY = {
    "batch": (1, 2, 3),
    "length": (1, 2, 3, 5),
    "heads": (1, 2, 3),
    "head_width": (1, 2, 4),
    "hidden": (1, 5, 7),
    "masked": (False,),
}
# In fewer than 4 features a norm leaves hardly anything of its input.
DOMAIN = ANY | {"length": (2, 3, 5), "head_width": (4, 5), "hidden": (23, 29)}
MASKED = DOMAIN | {"masked": (True,)}

RUNS = "encoder_layer.accepts-valid-input"
RUNS_MASKED = "encoder_layer.accepts-mask"
POSITION_WISE = "encoder_layer.position-wise-without-attention"
RESIDUAL = "encoder_layer.residual-stream"

SELF_ATTENTION = VASWANI.says("2", "relating different positions of a single sequence")
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")
ATTENDS_ALL = VASWANI.says("3.2.3", "Each position in the encoder can attend to all positions in the previous layer")


@check(
    RUNS,
    "the layer maps every valid input of shape (B, T, D) to a tensor of the same shape",
    spec=VASWANI.says(
        "3.1", "all sub-layers in the model, as well as the embedding layers, produce outputs of dimension"
    ),
    level="paper",
    hint="Run it once. Try one sequence, one position, one head, and sizes that all differ.",
    case=EncoderLayerCase,
    domain=ANY,
)
def accepts_valid_input(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.length, case.heads * case.head_width)


@check(
    RUNS_MASKED,
    "a mask of one (T, T) table for each sequence is accepted",
    spec=MASKING,
    level="paper",
    hint="Pass the mask on to the attention, and give it an axis for the heads: mask[:, None] against (B, H, T, T).",
    case=EncoderLayerCase,
    domain=ANY | {"masked": (True,)},
    unless=["no-mask"],
    builds_on=[RUNS],
)
def accepts_mask(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.length, case.heads * case.head_width)


@check(
    RESIDUAL,
    "with every sublayer's weights and biases at 0, x itself is left, up to the norms: no path drops x",
    spec=modules.RESIDUAL,
    level="paper",
    hint="Write x + sublayer(x) around both sublayers.",
    case=EncoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def residual_stream(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    return modules.residual_stream(candidate, case)


@check(
    "encoder_layer.norm-placement",
    "LayerNorm(x + Sublayer(x)) ends in a norm (post-norm), x + Sublayer(LayerNorm(x)) leaves x as it is (pre-norm)",
    spec=modules.NORMALISED,
    level="paper",
    hint="Post-norm: both sums pass through a norm, the second at the very end. Pre-norm: add to x, not to norm(x).",
    case=EncoderLayerCase,
    domain=DOMAIN,
    builds_on=[RESIDUAL],
)
def norm_placement(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    return modules.norm_placement(candidate, case)


@check(
    POSITION_WISE,
    "with the attention's weights and biases at 0, no position has any influence on another",
    spec=VASWANI.says("3.3", "applied to each position separately and identically"),
    level="paper",
    hint="The feed-forward network and the norms work on the last axis alone.",
    case=EncoderLayerCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS],
)
def position_wise_without_attention(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    before, after, position = case.with_one_moved()
    instance = case.build(candidate)
    modules.silence(instance, frozenset(n for n in instance.parameters() if n.startswith("self_attention.")))
    others = torch.arange(case.length).ne(position).expand(case.batch, -1)
    return modules.none_moves(instance.call(before).output, instance.call(after).output, among=others)


@check(
    "encoder_layer.every-position-has-influence",
    "without a mask, another vector at one position changes the output at all positions",
    spec=ATTENDS_ALL,
    level="paper",
    hint="Split the heads with view(B, T, H, d).transpose(1, 2): without the transpose, positions never mix.",
    case=EncoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def every_position_has_influence(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    before, after, position = case.with_one_moved()
    return modules.all_move(
        *answers(candidate, case, before, after), expected=f"another vector at {position} changes every position"
    )


@check(
    "encoder_layer.permutation-equivariance",
    "layer(P x) = P layer(x) for every permutation P of the positions: without a mask, order means nothing to a layer",
    spec=VASWANI.says("3.5", "Since our model contains no recurrence and no convolution"),
    level="paper",
    hint="Look for reshapes that take positions for features or heads, and for code that treats one position apart.",
    case=EncoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS, POSITION_WISE],
)
def permutation_equivariance(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    arguments = case.inputs()
    order = case.normal("order", case.length).argsort()
    permuted = arguments | {"x": given(arguments, "x")[:, order]}
    before, after = answers(candidate, case, arguments, permuted)
    return equal(after, before[:, order])


@check(
    "encoder_layer.masked-positions-have-no-influence",
    "position t stays as it is when a position changes that it may not attend",
    spec=MASKING,
    level="paper",
    hint="Pass the mask on, use what masked_fill returns, fill with -inf before the softmax, and check the polarity.",
    case=EncoderLayerCase,
    domain=MASKED,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED, POSITION_WISE],
)
def masked_positions_have_no_influence(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    before, after, position = case.with_one_moved()
    blocked = ~given(before, "mask")[:, :, position]
    return modules.none_moves(*answers(candidate, case, before, after), among=blocked)


@check(
    "encoder_layer.unmasked-positions-have-influence",
    "position t changes when a position changes that it may attend",
    spec=ATTENDS_ALL,
    level="paper",
    hint="Check the polarity of the mask, and that each sequence and each query gets its own row of it.",
    case=EncoderLayerCase,
    domain=MASKED,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED, "encoder_layer.every-position-has-influence"],
)
def unmasked_positions_have_influence(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    before, after, position = case.with_one_moved()
    return modules.all_move(
        *answers(candidate, case, before, after),
        among=given(before, "mask")[:, :, position],
        expected=f"another vector at {position} changes every position that may attend it",
    )


@check(
    "encoder_layer.matches-formula",
    "post-norm: y = LN(x + MHA(x, x, x)), output LN(y + FFN(y)); pre-norm: y = x + MHA(LN(x)), output y + FFN(LN(y))",
    spec=modules.NORMALISED,
    level="paper",
    hint="Compare sublayer by sublayer: scale, heads, activation, order, which norm.",
    case=EncoderLayerCase,
    domain=DOMAIN | {"masked": (False, True)},
    needs=["weights"],
    builds_on=[RUNS_MASKED, RESIDUAL],
    tolerance=modules.EPSILON_OF_NORMS,
)
def matches_formula(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    instance = case.build(candidate)
    state = modules.filled(instance, case)
    arguments = case.inputs() | ({"mask": None} if "no-mask" in candidate.traits else {})
    expected = oracles.encoder_layer(
        given(arguments, "x"), arguments["mask"], state, case.heads, "pre-norm" in candidate.traits
    )
    return equal(instance.call(arguments).output, torch.from_numpy(expected))


@check(
    "encoder_layer.keyless-row-is-finite",
    "a sequence of which nothing may be attended gives finite numbers, not NaN",
    spec=MASKING,
    level="robustness",
    hint="softmax of a row of -inf is 0/0. Set the weights of such a row to 0.",
    case=EncoderLayerCase,
    domain=MASKED,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED],
)
def keyless_row_is_finite(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    nothing = torch.zeros(case.batch, case.length, case.length, dtype=torch.bool)
    (output,) = answers(candidate, case, case.inputs() | {"mask": nothing})
    return finite(output)


@check(
    "encoder_layer.sequences-are-independent",
    "a sequence gets the same output alone as in a batch",
    spec=SELF_ATTENTION,
    level="paper",
    hint="The first axis is the batch: no attention, norm or reshape may cross it.",
    case=EncoderLayerCase,
    domain=DOMAIN | {"batch": (2, 3), "masked": (False, True)},
    builds_on=[RUNS_MASKED],
)
def sequences_are_independent(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "encoder_layer.gradients-reach-every-parameter",
    "the output depends on every parameter: none is defined and never used",
    spec=modules.LEARNED,
    level="paper",
    hint="Use what each sublayer returns, and do not detach it.",
    case=EncoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def gradients_reach_every_parameter(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    return modules.gradients_reach_parameters(candidate, case)


@check(
    "encoder_layer.state-is-complete",
    "two layers of equal state answer alike: every learned number is registered",
    spec=modules.LEARNED,
    level="paper",
    hint="Make layers in __init__, as attributes or in an nn.ModuleList: a Python list hides them from the optimiser.",
    case=EncoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def state_is_complete(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    return modules.state_is_complete(candidate, case)


@check(
    "encoder_layer.deterministic-in-evaluation",
    "in evaluation the same input gives the same output",
    spec=modules.EVALUATION,
    level="paper",
    hint="Dropout must follow self.training; layers made in forward start with new weights each time.",
    case=EncoderLayerCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def deterministic_in_evaluation(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    return modules.is_deterministic(candidate, case)


@check(
    "encoder_layer.drops-in-training",
    "in training, dropout makes two calls with the same input differ",
    spec=modules.SUBLAYER_DROPOUT,
    level="convention",
    hint="Apply dropout to what each sublayer returns, before the sum.",
    case=EncoderLayerCase,
    domain={"batch": (3,), "length": (10,), "heads": (2,), "head_width": (8,), "hidden": (7,)},
    builds_on=[RUNS],
)
def drops_in_training(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    return modules.drops_in_training(candidate, case)


@check(
    "encoder_layer.keeps-its-arguments",
    "the call does not change the tensors that it is given",
    spec=modules.RESIDUAL,
    level="robustness",
    hint="x += ... writes into the caller's tensor: write x = x + ...",
    case=EncoderLayerCase,
    domain=DOMAIN | {"masked": (False, True)},
    builds_on=[RUNS_MASKED],
)
def keeps_its_arguments(candidate: Candidate, case: EncoderLayerCase) -> Evidence:
    return modules.arguments_stay(candidate, case)
