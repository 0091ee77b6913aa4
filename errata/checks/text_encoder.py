"""An encoder of texts: ``build(vocabulary, width, heads, hidden, layers)``, ``call(ids, mask)``.

Answers states ``(B, T, D)``. Arguments as in `models`; ``eager`` is passed only with the trait of this name. Further
traits: ``right-padding-only`` (positions count the padding, so text must not stand behind it), ``relative-positions``
(a text of equal tokens has equal states), ``no-mask`` (it takes no mask), and ``one-layer``
(whatever ``layers`` asks for).
"""

from errata.candidates import Candidate
from errata.checks import models, modules
from errata.checks.evidence import Evidence, finite
from errata.checks.literature import DEVLIN, VASWANI
from errata.checks.models import DOMAIN, TextCase
from errata.checks.modules import answers
from errata.checks.registry import check

ANY = DOMAIN | {"length": (1, 2, 3, 5)}
PADDED = DOMAIN | {"length": (3, 4, 5)}

RUNS = "text_encoder.accepts-valid-input"
RUNS_MASKED = "text_encoder.accepts-mask"
CONTEXT = "text_encoder.every-token-has-influence"
RIGHT = "text_encoder.right-padding-has-no-influence"
LEFT = "text_encoder.left-padding-has-no-influence"
EAGER = "text_encoder.eager-equals-fused"

STATES = VASWANI.says("3", "the encoder maps an input sequence of symbol representations")
ATTENDS_ALL = VASWANI.says("3.2.3", "Each position in the encoder can attend to all positions in the previous layer")
BOTH_SIDES = DEVLIN.says("abstract", "by jointly conditioning on both left and right context in all layers")
SUMMED = DEVLIN.says(
    "3", "its input representation is constructed by summing the corresponding token, segment, and position embeddings"
)


@check(
    RUNS,
    "ids (B, T) give states (B, T, D)",
    spec=STATES,
    level="paper",
    hint="Run it once. Try one sequence, one token, and sizes that all differ.",
    case=TextCase,
    domain=ANY,
)
def accepts_valid_input(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.length, case.width)


@check(
    "text_encoder.length-may-vary",
    "one encoder answers texts of any length, one call after another",
    spec=STATES,
    level="paper",
    hint="Make the positions for the length of each call, or cut them from a longer table.",
    case=TextCase,
    domain=ANY,
    builds_on=[RUNS],
)
def length_may_vary(candidate: Candidate, case: TextCase) -> Evidence:
    return models.shape_at_any_length(candidate, case, case.width)


@check(
    RUNS_MASKED,
    "a mask (B, T) that tells real tokens from padding is accepted",
    spec=models.PADDING_MASK,
    level="convention",
    hint="Give it axes for heads and queries: mask[:, None, None, :] against (B, H, T, T).",
    case=TextCase,
    domain=DOMAIN | {"masked": (True,)},
    unless=["no-mask"],
    builds_on=[RUNS],
)
def accepts_mask(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.length, case.width)


@check(
    CONTEXT,
    "another token at s changes every state, before s and after it, for every s",
    spec=BOTH_SIDES,
    level="paper",
    hint="No causal mask in an encoder; use what attention returns; split the heads with view(B, T, H, d) first.",
    case=TextCase,
    domain=ANY,
    builds_on=[RUNS],
)
def every_token_has_influence(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.all_move(
        *models.before_and_after(candidate, case), expected="another token at s, the row, changes every state"
    )


@check(
    "text_encoder.real-tokens-have-influence",
    "with padding at the right, another token at a real position s changes the state of every real token",
    spec=ATTENDS_ALL,
    level="paper",
    hint="Check the polarity of the mask, and that it masks keys: True, or 1, marks real tokens.",
    case=TextCase,
    domain=PADDED,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED, CONTEXT],
)
def real_tokens_have_influence(candidate: Candidate, case: TextCase) -> Evidence:
    real = case.real()[:1]
    return modules.all_move(
        *models.before_and_after(candidate, case, real),
        among=real.T & real,
        expected="another real token at s, the row, changes the states of all real tokens",
    )


@check(
    "text_encoder.equal-tokens-differ-by-position",
    "the same token at two positions has two different states",
    spec=SUMMED,
    level="paper",
    hint="Add row t of the positional table to position t: an index that is the token id says nothing about order.",
    case=TextCase,
    domain=DOMAIN,
    unless=["relative-positions"],
    builds_on=[RUNS],
)
def equal_tokens_differ_by_position(candidate: Candidate, case: TextCase) -> Evidence:
    ids = case.ids()[:, :1].expand(-1, case.length).clone()
    (output,) = answers(candidate, case, {"ids": ids, "mask": None})
    return modules.all_move(
        output[:, :-1], output[:, 1:], expected="neighbours with the same token have different states"
    )


@check(
    "text_encoder.order-of-others-matters",
    "the state at one position changes when two different tokens elsewhere swap places",
    spec=models.ORDER,
    level="paper",
    hint="Positions must be known before attention mixes: add them to the embeddings, not to the result.",
    case=TextCase,
    domain=DOMAIN | {"length": (3, 5)},
    builds_on=[RUNS, CONTEXT],
)
def order_of_others_matters(candidate: Candidate, case: TextCase) -> Evidence:
    return models.order_matters(candidate, case, places=(1, 2), among=slice(0, 1))


@check(
    "text_encoder.sequences-are-independent",
    "a text gets the same states alone as in a batch, with a mask and without",
    spec=VASWANI.says("2", "relating different positions of a single sequence"),
    level="paper",
    hint="The first axis is the batch: positions count along the second, and nothing may cross the first.",
    case=TextCase,
    domain=DOMAIN | {"batch": (2, 3), "masked": (False, True)},
    builds_on=[RUNS_MASKED],
    tolerance=modules.FLOAT32_INSIDE,
)
def sequences_are_independent(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "text_encoder.full-mask-equals-no-mask",
    "a mask that marks all tokens as real gives the states of no mask",
    spec=models.PADDING_MASK,
    level="convention",
    hint="Without a mask all tokens are real; check the polarity, and the positions that are made from the mask.",
    case=TextCase,
    domain=ANY,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED],
)
def full_mask_equals_no_mask(candidate: Candidate, case: TextCase) -> Evidence:
    return models.full_mask_equals_none(candidate, case)


@check(
    RIGHT,
    "other tokens under padding at the right change no state of a real token",
    spec=models.PADDING_MASK,
    level="convention",
    hint="Pass the mask on to every layer, over the keys: the states of padding differ, but nobody attends them.",
    case=TextCase,
    domain=PADDED,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED],
)
def right_padding_has_no_influence(candidate: Candidate, case: TextCase) -> Evidence:
    return models.padding_has_no_influence(candidate, case, "right")


@check(
    "text_encoder.right-padding-changes-nothing",
    "a text with padding at the right has the states that it has alone, however long the padding",
    spec=models.PADDING_MASK,
    level="convention",
    hint="The position of token t depends on t only, neither on the padded length nor on how much is padding.",
    case=TextCase,
    domain=PADDED,
    unless=["no-mask"],
    builds_on=[RIGHT],
    tolerance=modules.FLOAT32_INSIDE,
)
def right_padding_changes_nothing(candidate: Candidate, case: TextCase) -> Evidence:
    return models.padding_changes_nothing(candidate, case, "right")


@check(
    LEFT,
    "other tokens under padding at the left change no state of a real token",
    spec=models.PADDING_MASK,
    level="convention",
    hint="Take from the mask which tokens are padding, not from a length.",
    case=TextCase,
    domain=PADDED,
    unless=["no-mask", "right-padding-only"],
    builds_on=[RUNS_MASKED],
)
def left_padding_has_no_influence(candidate: Candidate, case: TextCase) -> Evidence:
    return models.padding_has_no_influence(candidate, case, "left")


@check(
    "text_encoder.left-padding-changes-nothing",
    "a text with padding at the left has the states that it has alone, however long the padding",
    spec=models.PADDING_MASK,
    level="convention",
    hint="Count positions over the real tokens: mask.cumsum(dim=1) - 1.",
    case=TextCase,
    domain=PADDED,
    unless=["no-mask", "right-padding-only"],
    builds_on=[LEFT],
    tolerance=modules.FLOAT32_INSIDE,
)
def left_padding_changes_nothing(candidate: Candidate, case: TextCase) -> Evidence:
    return models.padding_changes_nothing(candidate, case, "left")


@check(
    "text_encoder.only-padding-is-finite",
    "a text that is padding throughout leaves all states of the batch finite, not NaN",
    spec=models.PADDING_MASK,
    level="robustness",
    hint="softmax of a row of -inf is 0/0. Set the weights of such a row to 0.",
    case=TextCase,
    domain=PADDED,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED],
)
def only_padding_is_finite(candidate: Candidate, case: TextCase) -> Evidence:
    real = case.real()
    real[-1] = False
    (output,) = answers(candidate, case, {"ids": case.ids(), "mask": real})
    return finite(output)


@check(
    EAGER,
    "the plainly written attention gives the states of the fused one, to the digits of float32",
    spec=models.EQUIVALENT,
    level="convention",
    hint="Compare scale and dropout of the two paths.",
    case=TextCase,
    domain=DOMAIN | {"dtype": ("float32",)},
    needs=["eager"],
    builds_on=[RUNS],
)
def eager_equals_fused(candidate: Candidate, case: TextCase) -> Evidence:
    return models.eager_equals_fused(candidate, case, case.inputs())


@check(
    "text_encoder.eager-equals-fused-under-a-mask",
    "with a padding mask, too, both implementations of attention give the same states of real tokens",
    spec=models.EQUIVALENT,
    level="convention",
    hint="Compare polarity, shape and fill value of the mask in the two paths.",
    case=TextCase,
    domain=PADDED | {"dtype": ("float32",), "masked": (True,)},
    needs=["eager"],
    unless=["no-mask"],
    builds_on=[EAGER, RUNS_MASKED],
)
def eager_equals_fused_under_a_mask(candidate: Candidate, case: TextCase) -> Evidence:
    return models.eager_equals_fused(candidate, case, case.inputs(), among=case.real())


@check(
    "text_encoder.layers-own-parameters",
    "each layer adds the same number of parameters, shares none with another, and registers them all",
    spec=modules.OWN_PARAMETERS,
    level="paper",
    hint="nn.ModuleList([Layer() for _ in range(N)]): [layer] * N repeats one layer, a plain list hides them all.",
    case=TextCase,
    domain=DOMAIN,
    unless=["one-layer"],
    builds_on=[RUNS],
)
def layers_own_parameters(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.layers_own_parameters(candidate, case)


@check(
    "text_encoder.layers-start-different",
    "no two weight matrices start with the same numbers",
    spec=modules.OWN_PARAMETERS,
    level="robustness",
    hint="Build every layer anew: copy.deepcopy gives all layers the same start.",
    case=TextCase,
    domain=DOMAIN | {"layers": (2,)},
    unless=["one-layer"],
    builds_on=[RUNS, "text_encoder.layers-own-parameters"],
)
def layers_start_different(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.weights_start_different(candidate, case)


@check(
    "text_encoder.gradients-reach-every-parameter",
    "the states depend on every parameter of every layer",
    spec=VASWANI.says("3.1", "The encoder is composed of a stack of N = 6 identical layers"),
    level="paper",
    hint="Feed each layer with the result of the one before it: x = layer(x).",
    case=TextCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def gradients_reach_every_parameter(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.gradients_reach_parameters(candidate, case)


@check(
    "text_encoder.state-is-complete",
    "two encoders of equal state answer alike: every learned number is registered",
    spec=modules.LEARNED,
    level="paper",
    hint="Make every submodule in __init__ and assign it to self, or to an nn.ModuleList that is.",
    case=TextCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def state_is_complete(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.state_is_complete(candidate, case)


@check(
    "text_encoder.deterministic-in-evaluation",
    "in evaluation the same ids give the same states",
    spec=modules.EVALUATION,
    level="paper",
    hint="Dropout must follow self.training; layers made in forward start with new weights each time.",
    case=TextCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def deterministic_in_evaluation(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.is_deterministic(candidate, case)


@check(
    "text_encoder.keeps-its-type",
    "an encoder of one floating type answers in that type",
    spec=VASWANI.says(
        "3.5",
        "The positional encodings have the same dimension dmodel as the embeddings, so that the two can be summed",
    ),
    level="robustness",
    hint="Cast the positional table to the type of the embeddings: float64 from NumPy spreads or crashes.",
    case=TextCase,
    domain=ANY | {"dtype": ("float32", "bfloat16")},
    builds_on=[RUNS],
)
def keeps_its_type(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.keeps_dtype(candidate, case)
