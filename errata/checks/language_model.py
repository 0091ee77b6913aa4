"""A decoder-only model: ``build(vocabulary, width, heads, hidden, layers)``, ``call(ids, mask)``.

Answers logits ``(B, T, V)``; those at t score the token after token t. Arguments as in `models`; those beyond ids and
mask are passed only where a trait says so: ``cache`` (``chunks``; with ``single-steps`` one position at a time only),
``loss`` (``labels``), ``eager``. Further traits: ``tied`` (token embedding and output projection are one parameter),
``right-padding-only``, ``no-mask`` (it takes no mask), and ``one-layer`` (whatever ``layers`` asks for).
"""

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks import models, modules
from errata.checks.evidence import Evidence, equal, finite
from errata.checks.literature import RADFORD, TRANSFORMERS, VASWANI
from errata.checks.models import DOMAIN, TextCase
from errata.checks.modules import answers
from errata.checks.registry import check

ANY = DOMAIN | {"length": (1, 2, 3, 5)}
PADDED = DOMAIN | {"length": (3, 4, 5)}
EVERY_SPLIT = DOMAIN | {"length": (2, 3, 4)}

RUNS = "language_model.accepts-valid-input"
RUNS_MASKED = "language_model.accepts-mask"
CAUSAL = "language_model.no-influence-from-the-future"
HISTORY = "language_model.influence-from-the-past"
RIGHT = "language_model.right-padding-has-no-influence"
LEFT = "language_model.left-padding-has-no-influence"
STEPS = "language_model.cached-steps-equal-the-full-pass"
LOSS = "language_model.loss-is-mean-negative-log-probability"

NEXT_TOKEN = RADFORD.says("3.1", "to produce an output distribution over target tokens")
CONTEXT = RADFORD.says("3.1", "applies a multi-headed self-attention operation over the input context tokens")
NO_FUTURE = VASWANI.says("3.1", "prevent positions from attending to subsequent positions")
UP_TO_ITSELF = VASWANI.says("3.2.3", "to attend to all positions in the decoder up to and including that position")
STACK = VASWANI.says("3.1", "The decoder is also composed of a stack of N = 6 identical layers")
PADDED_LEFT = TRANSFORMERS.says(
    "LLM tutorial, wrong padding side",
    "LLMs are not trained to continue from pad tokens, your input needs to be left-padded",
)


def earlier_than_the_change(case: TextCase) -> Tensor:
    """``(T, T)``: row s is True at the positions before s, where `models.before_and_after` changes a token."""
    return torch.ones(case.length, case.length, dtype=torch.bool).tril(-1)


@check(
    RUNS,
    "ids (B, T) give logits (B, T, V)",
    spec=NEXT_TOKEN,
    level="paper",
    hint="Run it once. Try one sequence, one token, and sizes that all differ.",
    case=TextCase,
    domain=ANY,
)
def accepts_valid_input(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.length, case.vocabulary)


@check(
    "language_model.length-may-vary",
    "one model answers texts of any length, one call after another",
    spec=CONTEXT,
    level="paper",
    hint="Make the causal mask and the positions for the length of each call, or cut them from longer ones.",
    case=TextCase,
    domain=ANY,
    builds_on=[RUNS],
)
def length_may_vary(candidate: Candidate, case: TextCase) -> Evidence:
    return models.shape_at_any_length(candidate, case, case.vocabulary)


@check(
    RUNS_MASKED,
    "a mask (B, T) that tells real tokens from padding is accepted",
    spec=models.PADDING_MASK,
    level="convention",
    hint="Give it axes for heads and queries, and combine it with the causal mask: mask[:, None, None, :] & causal.",
    case=TextCase,
    domain=DOMAIN | {"masked": (True,)},
    unless=["no-mask"],
    builds_on=[RUNS],
)
def accepts_mask(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.length, case.vocabulary)


@check(
    "language_model.finite-at-any-length",
    "the logits are finite numbers, at length 1 as well",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="The causal mask includes the diagonal: without it the first position has no key, and softmax gives 0/0.",
    case=TextCase,
    domain=ANY,
    builds_on=[RUNS],
)
def finite_at_any_length(candidate: Candidate, case: TextCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    return finite(output)


@check(
    CAUSAL,
    "another token at s changes no logits before s, for every s",
    spec=NO_FUTURE,
    level="paper",
    hint="Give every layer a causal mask: position t attends to positions up to t.",
    case=TextCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def no_influence_from_the_future(candidate: Candidate, case: TextCase) -> Evidence:
    before, after = models.before_and_after(candidate, case)
    return modules.none_moves(before, after, among=earlier_than_the_change(case))


@check(
    "language_model.no-influence-from-the-future-under-a-mask",
    "with a padding mask, too, another token at s changes no logits before s",
    spec=NO_FUTURE,
    level="paper",
    hint="A padding mask joins the causal mask. It does not replace it.",
    case=TextCase,
    domain=DOMAIN,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED],
)
def no_influence_from_the_future_under_a_mask(candidate: Candidate, case: TextCase) -> Evidence:
    before, after = models.before_and_after(candidate, case, case.real()[:1])
    return modules.none_moves(before, after, among=earlier_than_the_change(case))


@check(
    HISTORY,
    "another token at s changes the logits at s and at every later position, for every s",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="Use what attention returns, check the polarity of the causal mask, and split the heads before transposing.",
    case=TextCase,
    domain=ANY,
    builds_on=[RUNS],
)
def influence_from_the_past(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.all_move(
        *models.before_and_after(candidate, case),
        among=~earlier_than_the_change(case),
        expected="another token at s, the row, changes the logits at s and at all later positions",
    )


@check(
    "language_model.order-matters",
    "with one layer, the logits at t >= 2 change when the tokens 0 and 1 swap places",
    spec=models.ORDER,
    level="paper",
    hint="Tell the layers where a token stands: add positions to the embeddings, or rotate queries and keys.",
    case=TextCase,
    # In a second layer the causal mask alone would let the order through.
    domain=DOMAIN | {"length": (3, 5), "layers": (1,)},
    builds_on=[HISTORY],
)
def order_matters(candidate: Candidate, case: TextCase) -> Evidence:
    return models.order_matters(candidate, case, places=(0, 1), among=slice(2, None))


@check(
    "language_model.prefix-gives-the-same-logits",
    "the logits of a prefix are those of the whole text, cut off: decoding relies on it",
    spec=NO_FUTURE,
    level="paper",
    hint="The position of token t depends on t only, and nothing is averaged over the text.",
    case=TextCase,
    domain=DOMAIN,
    builds_on=[CAUSAL],
    tolerance=modules.FLOAT32_INSIDE,
)
def prefix_gives_the_same_logits(candidate: Candidate, case: TextCase) -> Evidence:
    ids, length = case.ids(), int(case.integers("prefix", 1, case.length))
    whole, part = answers(candidate, case, {"ids": ids, "mask": None}, {"ids": ids[:, :length], "mask": None})
    return equal(part, whole[:, :length])


@check(
    "language_model.sequences-are-independent",
    "a text gets the same logits alone as in a batch",
    spec=VASWANI.says("2", "relating different positions of a single sequence"),
    level="paper",
    hint="The first axis is the batch: positions count along the second, and nothing may cross the first.",
    case=TextCase,
    domain=DOMAIN | {"batch": (2, 3)},
    builds_on=[RUNS],
    tolerance=modules.FLOAT32_INSIDE,
)
def sequences_are_independent(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "language_model.full-mask-equals-no-mask",
    "a mask that marks all tokens as real gives the logits of no mask",
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
    "other tokens under padding at the right change no logits at real tokens",
    spec=models.PADDING_MASK,
    level="convention",
    hint="Padding follows the real tokens, so the causal mask alone hides it: see that there is one.",
    case=TextCase,
    domain=PADDED,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED],
)
def right_padding_has_no_influence(candidate: Candidate, case: TextCase) -> Evidence:
    return models.padding_has_no_influence(candidate, case, "right")


@check(
    "language_model.right-padding-changes-nothing",
    "a text with padding at the right has at its real tokens the logits that it has alone, however long the padding",
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
    "other tokens under padding at the left change no logits at real tokens",
    spec=PADDED_LEFT,
    level="convention",
    hint="The causal mask does not hide what stands before: combine it with the padding mask, over the keys.",
    case=TextCase,
    domain=PADDED,
    unless=["no-mask", "right-padding-only"],
    builds_on=[RUNS_MASKED],
)
def left_padding_has_no_influence(candidate: Candidate, case: TextCase) -> Evidence:
    return models.padding_has_no_influence(candidate, case, "left")


@check(
    "language_model.left-padding-changes-nothing",
    "a text with padding at the left has at its real tokens the logits that it has alone, however long the padding",
    spec=PADDED_LEFT,
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
    "language_model.left-padding-is-finite",
    "padding at the left, whose positions have no key to attend, leaves all logits finite",
    spec=PADDED_LEFT,
    level="robustness",
    hint="softmax of a row of -inf is 0/0, and NaN spreads through the gradients. Set the weights of such a row to 0.",
    case=TextCase,
    domain=PADDED,
    unless=["no-mask", "right-padding-only"],
    builds_on=[RUNS_MASKED],
)
def left_padding_is_finite(candidate: Candidate, case: TextCase) -> Evidence:
    (output,) = answers(candidate, case, {"ids": case.ids(), "mask": case.real("left")})
    return finite(output)


@check(
    STEPS,
    "token by token through the cache, the logits are those of one pass over the whole text",
    spec=models.STEP_BY_STEP,
    level="paper",
    hint="Append the new keys and values before attending, and let the position of a step be how many came before.",
    case=TextCase,
    domain=DOMAIN,
    needs=["cache"],
    builds_on=[RUNS],
    tolerance=modules.FLOAT32_INSIDE,
)
def cached_steps_equal_the_full_pass(candidate: Candidate, case: TextCase) -> Evidence:
    return models.cached_equals_full(candidate, case, case.inputs(), [models.one_by_one(case.length)])


@check(
    "language_model.every-split-equals-the-full-pass",
    "however the text is cut into chunks, a long prompt first or last, its logits are those of one pass",
    spec=UP_TO_ITSELF,
    level="convention",
    hint="The mask of a chunk is (T, P): row t sees the P - T positions before the chunk and the chunk up to t.",
    case=TextCase,
    domain=EVERY_SPLIT,
    needs=["cache"],
    unless=["single-steps"],
    builds_on=[RUNS],
    tolerance=modules.FLOAT32_INSIDE,
)
def every_split_equals_the_full_pass(candidate: Candidate, case: TextCase) -> Evidence:
    return models.cached_equals_full(candidate, case, case.inputs(), models.every_split(case.length))


@check(
    "language_model.cached-steps-respect-left-padding",
    "with padding at the left, the steps have at the real tokens the logits of one pass with this mask",
    spec=PADDED_LEFT,
    level="convention",
    hint="Keep the mask with the keys and values: each step masks all that is padding so far, and counts it out.",
    case=TextCase,
    domain=PADDED,
    needs=["cache"],
    unless=["no-mask", "right-padding-only"],
    builds_on=[STEPS, LEFT],
    tolerance=modules.FLOAT32_INSIDE,
)
def cached_steps_respect_left_padding(candidate: Candidate, case: TextCase) -> Evidence:
    real = case.real("left")
    arguments = {"ids": case.ids(), "mask": real}
    return models.cached_equals_full(candidate, case, arguments, [models.one_by_one(case.length)], among=real)


@check(
    "language_model.caches-start-afresh",
    "a second text gets through the cache the logits that it gets first: nothing is left of the one before",
    spec=models.STEP_BY_STEP,
    level="convention",
    hint="Make a new cache for each text: a default argument or an attribute of the model outlives the call.",
    case=TextCase,
    domain=DOMAIN,
    needs=["cache"],
    builds_on=[RUNS],
)
def caches_start_afresh(candidate: Candidate, case: TextCase) -> Evidence:
    steps = models.one_by_one(case.length)
    first, second = ({**case.inputs(), "ids": ids, "chunks": steps} for ids in case.two_texts())
    return models.caches_start_afresh(candidate, case, first, second)


@check(
    "language_model.eager-equals-fused",
    "the plainly written attention gives the logits of the fused one, to the digits of float32",
    spec=models.EQUIVALENT,
    level="convention",
    hint="Compare scale, causal mask, padding mask and dropout of the two paths.",
    case=TextCase,
    domain=DOMAIN | {"dtype": ("float32",)},
    needs=["eager"],
    builds_on=[RUNS],
)
def eager_equals_fused(candidate: Candidate, case: TextCase) -> Evidence:
    return models.eager_equals_fused(candidate, case, case.inputs())


@check(
    "language_model.eager-equals-fused-under-a-mask",
    "with a padding mask, too, both implementations of attention give the same logits at the real tokens",
    spec=models.EQUIVALENT,
    level="convention",
    hint="Compare polarity, shape and fill value of the mask in the two paths.",
    case=TextCase,
    domain=PADDED | {"dtype": ("float32",)},
    needs=["eager"],
    unless=["no-mask"],
    builds_on=["language_model.eager-equals-fused", RUNS_MASKED],
)
def eager_equals_fused_under_a_mask(candidate: Candidate, case: TextCase) -> Evidence:
    real = case.real("right" if "right-padding-only" in candidate.traits else "left")
    return models.eager_equals_fused(candidate, case, {"ids": case.ids(), "mask": real}, among=real)


@check(
    "language_model.tied-weights-are-one-parameter",
    "one matrix embeds the tokens and scores them: a new row moves both the token's vector and its logits",
    spec=models.SHARED_MATRIX,
    level="paper",
    hint="output.weight = embedding.weight makes one parameter; a copy of its values drifts away in training.",
    case=TextCase,
    domain=ANY,
    needs=["tied"],
    builds_on=[RUNS],
)
def tied_weights_are_one_parameter(candidate: Candidate, case: TextCase) -> Evidence:
    return models.embedding_is_projection(candidate, case, case.inputs(), "ids")


@check(
    LOSS,
    "the loss is the mean of -log softmax(logits)_k over all positions, k the label there",
    spec=models.COUNTED,
    level="convention",
    hint="Cross entropy of logits and labels, averaged over tokens. Labels are aligned already: shift nothing twice.",
    case=TextCase,
    domain=ANY,
    needs=["loss"],
    builds_on=[RUNS],
)
def loss_is_mean_negative_log_probability(candidate: Candidate, case: TextCase) -> Evidence:
    labels = models.labels(case, case.batch, case.length)
    return models.loss_is_mean_negative_log_probability(candidate, case, case.inputs(), labels)


@check(
    "language_model.loss-ignores-padding",
    "labels of -100 do not count: the loss is the mean over the others",
    spec=models.COUNTED,
    level="convention",
    hint="ignore_index=-100, and divide by how many labels count, not by B T.",
    case=TextCase,
    domain=PADDED,
    needs=["loss"],
    builds_on=[LOSS],
)
def loss_ignores_padding(candidate: Candidate, case: TextCase) -> Evidence:
    labels = models.labels(case, case.batch, case.length, some_ignored=True)
    return models.loss_is_mean_negative_log_probability(candidate, case, case.inputs(), labels)


@check(
    "language_model.ignored-labels-have-no-gradient",
    "a text whose last labels are -100 trains every parameter as the text without its end does",
    spec=models.NOT_COUNTED,
    level="convention",
    hint="No term of the loss may see a position whose label does not count, not even one that vanishes on average.",
    case=TextCase,
    domain=PADDED,
    needs=["loss"],
    builds_on=[CAUSAL, LOSS],
    tolerance=modules.FLOAT32_INSIDE,
)
def ignored_labels_have_no_gradient(candidate: Candidate, case: TextCase) -> Evidence:
    ids, labels = case.ids(), models.labels(case, case.batch, case.length)
    counted = int(case.integers("counted", 1, case.length))
    labels[:, counted:] = models.IGNORED
    whole = {"ids": ids, "mask": None, "labels": labels}
    part = {"ids": ids[:, :counted], "mask": None, "labels": labels[:, :counted]}
    return models.ignored_labels_have_no_gradient(candidate, case, whole, part)


@check(
    "language_model.layers-own-parameters",
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
    "language_model.layers-start-different",
    "no two weight matrices start with the same numbers",
    spec=modules.OWN_PARAMETERS,
    level="robustness",
    hint="Build every layer anew: copy.deepcopy gives all layers the same start.",
    case=TextCase,
    domain=DOMAIN | {"layers": (2,)},
    unless=["one-layer"],
    builds_on=[RUNS, "language_model.layers-own-parameters"],
)
def layers_start_different(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.weights_start_different(candidate, case)


@check(
    "language_model.gradients-reach-every-parameter",
    "the logits depend on every parameter of every layer",
    spec=STACK,
    level="paper",
    hint="Feed each layer with the result of the one before it: x = layer(x).",
    case=TextCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def gradients_reach_every_parameter(candidate: Candidate, case: TextCase) -> Evidence:
    return modules.gradients_reach_parameters(candidate, case)


@check(
    "language_model.state-is-complete",
    "two models of equal state answer alike: every learned number is registered",
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
    "language_model.deterministic-in-evaluation",
    "in evaluation the same ids give the same logits",
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
    "language_model.keeps-its-type",
    "a model of one floating type answers in that type",
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
