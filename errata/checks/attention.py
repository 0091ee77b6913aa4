"""Scaled dot-product attention: ``call(query, key, value, mask)``.

Shapes: query ``(B, T, d)``, key ``(B, S, d)``, value ``(B, S, d_v)``, mask boolean ``(B, T, S)`` or None, True = may
attend. Output ``(B, T, d_v)``; candidates with the trait ``attention-weights`` also give ``weights`` ``(B, T, S)``, and
those with ``no-mask`` take no mask. Those with ``heads-axis`` are documented as the inner part of multi-head attention:
they take ``(B, H, T, d)`` too.

Checks of level paper run in float32, in which everybody's code runs: to compute the softmax in float32 whatever the
inputs are is a legitimate choice, and only `attention.keeps-double-precision` asks for more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Reply
from errata.checks import oracles, precision
from errata.checks.case import Case
from errata.checks.evidence import Evidence, all_finite, equal, equal_or_refused, finite, holds, unchanged
from errata.checks.literature import PYTORCH, VASWANI
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class AttentionCase(Case):
    """Sizes of one call.

    Attributes:
        batch: B.
        queries: T.
        keys: S; as many as there are queries where None.
        width: d.
        value_width: d_v; the same as ``width`` where None.
    """

    batch: int = 1
    queries: int = 1
    keys: int | None = None
    width: int = 1
    value_width: int | None = None
    dtype: str = "float32"

    def inputs(self) -> dict[str, Tensor]:
        """Query, key and value."""
        keys = self.keys or self.queries
        return {
            "query": self.normal("query", self.batch, self.queries, self.width),
            "key": self.normal("key", self.batch, keys, self.width),
            "value": self.normal("value", self.batch, keys, self.value_width or self.width),
        }

    def mask(self) -> Tensor:
        """A mask in which every query may attend to one key at least."""
        mask = self.booleans("mask", self.batch, self.queries, self.keys or self.queries)
        mask[..., 0] |= ~mask.any(dim=-1)
        return mask

    def number_mask(self) -> Tensor:
        """The same in numbers, 1 and 0."""
        numbers = self.normal("mask", self.batch, self.queries, self.keys or self.queries)
        numbers.copy_(numbers > 0)
        numbers[..., 0].clamp_(min=1.0 - numbers.amax(dim=-1))
        return numbers


@dataclass(frozen=True, kw_only=True)
class HeadsCase(AttentionCase):
    """One call of the inner part of multi-head attention, with H heads."""

    heads: int = 1

    def inputs(self) -> dict[str, Tensor]:
        """Query, key and value, with an axis for the heads."""
        sizes = (self.batch, self.heads, self.queries, self.width)
        return {name: self.normal(name, *sizes) for name in ("query", "key", "value")}


SQUARE = {
    "batch": (1, 2, 3),
    "queries": (1, 2, 3, 4),
    "width": (1, 2, 3, 4),
    "scale": (1.0, 0.1, 3.0),
}
"""As many keys as queries, as wide values as keys: what the simplest code can do."""

SEVERAL = SQUARE | {"queries": (2, 3, 4)}
ANY = SQUARE | {"keys": (1, 2, 3, 5), "value_width": (1, 2, 3, 5)}

MAPPING = VASWANI.says(
    "3.2", "An attention function can be described as mapping a query and a set of key-value pairs to an output"
)
WEIGHTED_SUM = VASWANI.says("3.2", "The output is computed as a weighted sum of the values")
FORMULA = VASWANI.says(
    "3.2.1",
    "We compute the dot products of the query with all keys, divide each by √dk, and apply a softmax function to "
    "obtain the weights on the values.",
)
TOGETHER = VASWANI.says("3.2.1", "we compute the attention function on a set of queries simultaneously")
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")
ORDERLESS = VASWANI.says("3.5", "Since our model contains no recurrence and no convolution")
TRAINED = VASWANI.says("5.3", "We used the Adam optimizer")
BOOLEAN = PYTORCH.says(
    "torch.nn.functional.scaled_dot_product_attention",
    "A boolean mask where a value of True indicates that the element should take part in attention.",
)
BROADCAST = PYTORCH.says(
    "torch.nn.functional.scaled_dot_product_attention",
    "shape must be broadcastable to the shape of attention weights",
)
LARGE_PRODUCTS = VASWANI.says(
    "3.2.1", "We suspect that for large values of dk, the dot products grow large in magnitude"
)

RUNS = "attention.accepts-valid-input"
RIGHT = "attention.matches-formula"
KEY_LENGTH = "attention.key-length-may-differ"
VALUE_WIDTH = "attention.value-width-may-differ"
MASKS = "attention.accepts-a-boolean-mask"
KEYLESS = "attention.keyless-row-is-zero"


def answer(
    candidate: Candidate,
    case: AttentionCase,
    arguments: Mapping[str, Argument],
    *,
    seed: int = 0,
    cotangent: Tensor | None = None,
) -> Reply:
    """One call in evaluation; without a mask where the arguments have none."""
    instance = candidate.build({}, dtype=case.dtype)
    return instance.call({"mask": None} | dict(arguments), seed=seed, cotangent=cotangent)


def expected_output(arguments: Mapping[str, Tensor]) -> Tensor:
    """What the formula gives."""
    output, _ = oracles.attention(**arguments)
    return torch.from_numpy(output)


def first_query_keyless(case: AttentionCase) -> Tensor:
    """A mask in which the first query may attend to no key."""
    mask = case.mask()
    mask[:, 0] = False
    return mask


@check(
    RUNS,
    "attention(Q, K, V) answers valid input with a tensor of shape (B, T, d_v)",
    spec=MAPPING,
    level="paper",
    hint="Run it once: a name that is never defined or imported, or an operation on the wrong type, shows at once.",
    case=AttentionCase,
    domain=SQUARE,
)
def accepts_valid_input(candidate: Candidate, case: AttentionCase) -> Evidence:
    wanted = (case.batch, case.queries, case.width)
    shape = tuple(answer(candidate, case, case.inputs()).output.shape)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    RIGHT,
    "attention(Q, K, V) = softmax(QK^T / sqrt(d_k)) V",
    spec=FORMULA,
    level="paper",
    hint="Compare the factor 1/sqrt(d_k), the transposed axes and the axis of the softmax (keys, the last one).",
    case=AttentionCase,
    domain=SQUARE,
    builds_on=[RUNS],
)
def matches_formula(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    return equal(answer(candidate, case, inputs).output, expected_output(inputs), scale=case.scale**2)


@check(
    "attention.equal-values-give-that-value",
    "the weights of a query sum to 1: where all values are the same vector v, every output is v",
    spec=WEIGHTED_SUM,
    level="paper",
    hint="Normalise over the keys, the last axis of the scores, and change the weights no more after the softmax.",
    case=AttentionCase,
    domain=SQUARE,
    builds_on=[RUNS],
)
def equal_values_give_that_value(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    inputs["value"][:, 1:] = inputs["value"][:, :1]
    return equal(answer(candidate, case, inputs).output, inputs["value"])


@check(
    "attention.output-lies-among-the-values",
    "the weights are not negative: min_s V[s, j] <= output[t, j] <= max_s V[s, j]",
    spec=WEIGHTED_SUM,
    level="paper",
    hint="The weights come out of a softmax, which makes them positive.",
    case=AttentionCase,
    domain=SQUARE,
    builds_on=[RUNS],
)
def output_lies_among_the_values(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    output = answer(candidate, case, inputs).output
    lowest, highest = inputs["value"].aminmax(dim=1, keepdim=True)
    return equal(output, output.clamp(lowest, highest), scale=case.scale)


@check(
    "attention.equal-keys-give-the-mean",
    "a query that all keys match alike weighs them alike: where K[s] is the same for all s, output = mean of V",
    spec=FORMULA,
    level="paper",
    hint="Nothing but the dot products may decide the weights: no position, no order, no other axis.",
    case=AttentionCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def equal_keys_give_the_mean(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    inputs["key"][:, 1:] = inputs["key"][:, :1]
    mean = inputs["value"].mean(dim=1, keepdim=True).expand_as(inputs["value"])
    return equal(answer(candidate, case, inputs).output, mean, scale=case.scale)


@check(
    "attention.common-shift-of-keys-changes-nothing",
    "softmax(s + c) = softmax(s): attention(Q, K + c, V) = attention(Q, K, V) for one vector c added to every key",
    spec=FORMULA,
    level="paper",
    hint="A shift of the keys shifts each row of scores by a constant, which a softmax over the keys takes out.",
    case=AttentionCase,
    domain=SQUARE,
    builds_on=[RUNS],
)
def common_shift_of_keys_changes_nothing(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    shifted = inputs | {"key": inputs["key"] + case.normal("shift", case.batch, 1, case.width)}
    before = answer(candidate, case, inputs).output
    return equal(answer(candidate, case, shifted).output, before, scale=case.scale**2)


@check(
    "attention.order-of-keys-does-not-matter",
    "attention(Q, K[p], V[p]) = attention(Q, K, V) for every permutation p",
    spec=ORDERLESS,
    level="paper",
    hint="The function knows no positions and no causal order: these come in by the inputs and the mask.",
    case=AttentionCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def order_of_keys_does_not_matter(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    order = case.permutation("order", case.queries)
    permuted = inputs | {name: inputs[name][:, order] for name in ("key", "value")}
    before = answer(candidate, case, inputs).output
    return equal(answer(candidate, case, permuted).output, before, scale=case.scale**2)


@check(
    "attention.queries-are-independent",
    "each query is answered on its own: attention(Q[p], K, V) = attention(Q, K, V)[p] for every permutation p",
    spec=TOGETHER,
    level="paper",
    hint="Queries stand side by side only for speed: no operation may mix the axis T.",
    case=AttentionCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def queries_are_independent(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    order = case.permutation("order", case.queries)
    before = answer(candidate, case, inputs).output
    permuted = inputs | {"query": inputs["query"][:, order]}
    return equal(answer(candidate, case, permuted).output, before[:, order], scale=case.scale**2)


@check(
    "attention.batch-examples-are-independent",
    "changing Q, K and V of the first example of a batch leaves the output of the others as it was",
    spec=MAPPING,
    level="paper",
    hint="No operation may mix the axis B: look for a softmax, a sum or a reshape over the wrong axis.",
    case=AttentionCase,
    domain=SQUARE | {"batch": (2, 3)},
    builds_on=[RUNS],
)
def batch_examples_are_independent(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    moved = {name: value.clone() for name, value in inputs.items()}
    for name, value in moved.items():
        value[0] += case.normal(f"move of {name}", *value.shape[1:])
    before = answer(candidate, case, inputs).output
    return equal(answer(candidate, case, moved).output[1:], before[1:], scale=case.scale**2)


@check(
    KEY_LENGTH,
    "as many queries as one likes may ask S keys: attention(Q[i], K, V) = attention(Q, K, V)[i] for every list i",
    spec=VASWANI.says(
        "3.2.3", "This allows every position in the decoder to attend over all positions in the input sequence."
    ),
    level="paper",
    hint="Take T from the query and S from the key; none of them stands for the other.",
    case=AttentionCase,
    domain=SQUARE | {"keys": (1, 2, 3, 5)},
    builds_on=[RUNS],
)
def key_length_may_differ(candidate: Candidate, case: AttentionCase) -> Evidence:
    assert case.keys is not None
    inputs = replace(case, queries=case.keys).inputs()
    chosen = case.integers("chosen", 0, case.keys, case.queries)
    before = answer(candidate, case, inputs).output
    output = answer(candidate, case, inputs | {"query": inputs["query"][:, chosen]}).output
    return equal(output, before[:, chosen], scale=case.scale**2)


@check(
    VALUE_WIDTH,
    "the columns of V are answered on their own: attention(Q, K, V[:, j]) = attention(Q, K, V)[:, j], so d_v is free",
    spec=VASWANI.says("3.2.1", "queries and keys of dimension dk, and values of dimension dv"),
    level="paper",
    hint="Take the output's width from the value, not from the query.",
    case=AttentionCase,
    domain=SQUARE | {"value_width": (1, 2, 3, 5)},
    builds_on=[RUNS],
)
def value_width_may_differ(candidate: Candidate, case: AttentionCase) -> Evidence:
    assert case.value_width is not None
    inputs = replace(case, value_width=None).inputs()
    chosen = case.integers("chosen", 0, case.width, case.value_width)
    before = answer(candidate, case, inputs).output
    output = answer(candidate, case, inputs | {"value": inputs["value"][..., chosen]}).output
    return equal(output, before[..., chosen], scale=case.scale**2)


@check(
    "attention.returned-weights-are-those-used",
    "the returned weights W are those that the output was made with: output = W V",
    spec=WEIGHTED_SUM,
    level="paper",
    hint="Return the weights after the softmax, the mask and the normalisation.",
    case=AttentionCase,
    domain=SQUARE,
    needs=["attention-weights"],
    builds_on=[RUNS],
)
def returned_weights_are_those_used(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    reply = answer(candidate, case, inputs)
    return equal(reply.outputs["weights"] @ inputs["value"], reply.output, scale=case.scale)


@check(
    "attention.gradients-reach-its-inputs",
    "Q, K and V each receive a gradient that is not zero",
    spec=TRAINED,
    level="convention",
    hint="Look for detach(), .data, no_grad or a new tensor made from the numbers of an old one.",
    case=AttentionCase,
    domain=SEVERAL | {"scale": (1.0,)},
    builds_on=[RUNS],
)
def gradients_reach_its_inputs(candidate: Candidate, case: AttentionCase) -> Evidence:
    cotangent = case.normal("cotangent", case.batch, case.queries, case.width)
    gradients = answer(candidate, case, case.inputs(), cotangent=cotangent).gradients
    reached = [name for name in ("query", "key", "value") if name in gradients and gradients[name].any()]
    return holds(len(reached) == 3, expected="query, key and value", actual=", ".join(reached) or "none")


@check(
    "attention.evaluation-is-deterministic",
    "in evaluation the same input gives the same output, whatever the state of the random generator",
    spec=VASWANI.says("5.4", "We employ three types of regularization during training"),
    level="paper",
    hint="F.dropout drops by default: pass training=..., or use nn.Dropout.",
    case=AttentionCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def evaluation_is_deterministic(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    return equal(answer(candidate, case, inputs, seed=1).output, answer(candidate, case, inputs, seed=2).output)


@check(
    "attention.inputs-are-not-changed",
    "Q, K and V hold after the call what they held before",
    spec=FORMULA,
    level="convention",
    hint="An operation whose name ends in an underscore, or +=, writes into the caller's tensor.",
    case=AttentionCase,
    domain=SQUARE,
    builds_on=[RUNS],
)
def inputs_are_not_changed(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    return unchanged(inputs, answer(candidate, case, inputs))


@check(
    "attention.keeps-the-dtype",
    "the output has the type of the inputs",
    spec=PYTORCH.says(
        "torch.nn.functional.scaled_dot_product_attention", "A float mask of the same type as query, key, value"
    ),
    level="convention",
    hint="A tensor of a fixed type (torch.tensor(...), .float()) lifts the result to its own type.",
    case=AttentionCase,
    domain=SQUARE | {"dtype": ("bfloat16", "float32", "float64")},
    builds_on=[RUNS],
)
def keeps_the_dtype(candidate: Candidate, case: AttentionCase) -> Evidence:
    dtype = str(answer(candidate, case, case.inputs()).output.dtype).removeprefix("torch.")
    return holds(dtype == case.dtype, expected=case.dtype, actual=dtype)


@check(
    "attention.keeps-double-precision",
    "for inputs in float64, attention(Q, K, V) - softmax(QK^T / sqrt(d_k)) V = 0 up to the rounding of float64",
    spec=FORMULA,
    level="robustness",
    hint="Some step falls back to float32: .float(), softmax(dtype=torch.float32), torch.FloatTensor([...]).",
    case=AttentionCase,
    domain=SQUARE | {"dtype": ("float64",)},
    builds_on=[RIGHT],
)
def keeps_double_precision(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    error = answer(candidate, case, inputs).output - expected_output(inputs)
    return equal(error, torch.zeros_like(error), scale=case.scale**2)


@check(
    "attention.large-scores-stay-finite",
    "exp(s) overflows for s > 88 in float32, softmax(s) never: the output is finite for scores of 1e8",
    spec=LARGE_PRODUCTS,
    level="robustness",
    hint="Use torch.softmax, or subtract the row's maximum before the exponential.",
    case=AttentionCase,
    domain=SQUARE | {"scale": (1e4,)},
    builds_on=[RUNS],
)
def large_scores_stay_finite(candidate: Candidate, case: AttentionCase) -> Evidence:
    return finite(answer(candidate, case, case.inputs()).output)


@check(
    "attention.half-precision-scores-do-not-overflow",
    "in float16, products q . k beyond 65504 give the formula's answer where q . k / sqrt(d_k) is far within",
    spec=LARGE_PRODUCTS,
    level="robustness",
    hint="q . k overflows before it is divided: scale the query first, or compute the scores in float32.",
    case=AttentionCase,
    domain=SEVERAL | {"width": tuple(precision.OVERFLOWING), "scale": (1.0,), "dtype": ("float16",)},
    builds_on=[RUNS],
    tolerance=precision.ROUNDINGS,
)
def half_precision_scores_do_not_overflow(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs, size = case.inputs(), precision.OVERFLOWING[case.width]
    inputs["query"].fill_(size)
    precision.let_the_first_win(inputs["key"], size, inputs["value"])
    return equal(answer(candidate, case, inputs).output, expected_output(inputs))


@check(
    "attention.runs-under-autocast",
    "under autocast to bfloat16 or float16, float32 inputs give what they give without, to the rounding of that type",
    spec=precision.AUTOCAST,
    level="robustness",
    hint="Products come out in the lower type: convert them before writing them into a tensor of the inputs' type.",
    case=AttentionCase,
    domain=SQUARE | {"dtype": precision.LOWER},
    builds_on=[RUNS],
    tolerance=precision.ROUNDINGS,
)
def runs_under_autocast(candidate: Candidate, case: AttentionCase) -> Evidence:
    single = replace(case, dtype="float32")
    instance = candidate.build({}, dtype=single.dtype)
    return precision.under_autocast(instance, {"mask": None, **single.inputs()}, case.dtype)


@check(
    MASKS,
    "a boolean mask of shape (B, T, S) is accepted and leaves the output's shape as it is",
    spec=BOOLEAN,
    level="convention",
    hint="Use masked_fill or where: arithmetic such as 1 - mask is not defined for booleans.",
    case=AttentionCase,
    domain=SQUARE,
    unless=["no-mask"],
    builds_on=[RUNS],
)
def accepts_a_boolean_mask(candidate: Candidate, case: AttentionCase) -> Evidence:
    wanted = (case.batch, case.queries, case.width)
    shape = tuple(answer(candidate, case, case.inputs() | {"mask": case.mask()}).output.shape)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    "attention.all-true-mask-is-no-mask",
    "a mask that permits everything changes nothing: attention(Q, K, V, True) = attention(Q, K, V)",
    spec=MASKING,
    level="paper",
    hint="Both branches must compute the same scores; look for a scale that only one of them applies.",
    case=AttentionCase,
    domain=SEVERAL,
    unless=["no-mask"],
    builds_on=[MASKS],
)
def all_true_mask_is_no_mask(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    mask = torch.ones(case.batch, case.queries, case.queries, dtype=torch.bool)
    without = answer(candidate, case, inputs).output
    return equal(answer(candidate, case, inputs | {"mask": mask}).output, without, scale=case.scale**2)


@check(
    "attention.masked-keys-have-no-influence",
    "changing the keys and values that no query may attend changes no output",
    spec=MASKING,
    level="paper",
    hint="The mask belongs on the scores, before the softmax, with -inf where attention is forbidden.",
    case=AttentionCase,
    domain=SEVERAL,
    unless=["no-mask"],
    builds_on=[MASKS],
)
def masked_keys_have_no_influence(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs, mask = case.inputs(), case.mask()
    mask.copy_(mask[:1, :1].clone())  # the same for all queries
    attended = mask[0, 0]
    moved = {
        name: inputs[name] + ~attended[:, None] * case.normal(f"move of {name}", *inputs[name].shape)
        for name in ("key", "value")
    }
    before = answer(candidate, case, inputs | {"mask": mask}).output
    return equal(answer(candidate, case, inputs | moved | {"mask": mask}).output, before)


@check(
    "attention.attended-keys-have-influence",
    "adding 1 to the last value, which every query may attend among others, moves every output by its weight > 0",
    spec=WEIGHTED_SUM,
    level="paper",
    hint="The mask is True where attention is permitted: look for a mask that is read the other way round.",
    case=AttentionCase,
    domain=SEVERAL | {"scale": (1.0, 0.1)},
    unless=["no-mask"],
    builds_on=[MASKS],
)
def attended_keys_have_influence(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs() | {"mask": case.mask()}
    inputs["mask"][..., -1] = True
    moved = inputs["value"].clone()
    moved[:, -1] += 1.0
    change = answer(candidate, case, inputs | {"value": moved}).output - answer(candidate, case, inputs).output
    smallest = change.min().item()
    return holds(smallest > 1e-6, expected="every output moves", actual=f"the smallest change is {smallest:.4g}")


@check(
    "attention.masked-matches-formula",
    "attention(Q, K, V, M) = softmax(QK^T / sqrt(d_k) with -inf where M is False) V, for any T, S, d_k and d_v",
    spec=MASKING,
    level="paper",
    hint="Only the scores at masked positions change, and they change before the softmax.",
    case=AttentionCase,
    domain=ANY,
    unless=["no-mask"],
    builds_on=[MASKS, RIGHT, KEY_LENGTH, VALUE_WIDTH],
)
def masked_matches_formula(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs() | {"mask": case.mask()}
    return equal(answer(candidate, case, inputs).output, expected_output(inputs), scale=case.scale**2)


@check(
    "attention.mask-is-not-changed",
    "the mask holds after the call what it held before",
    spec=MASKING,
    level="convention",
    hint="Writing into the mask spoils it for the next layer, which is given the same tensor.",
    case=AttentionCase,
    domain=SQUARE,
    unless=["no-mask"],
    builds_on=[MASKS],
)
def mask_is_not_changed(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs() | {"mask": case.mask()}
    return unchanged(inputs, answer(candidate, case, inputs))


@check(
    "attention.number-mask-keeps-its-meaning",
    "a mask of the numbers 1.0 and 0.0 means the same as True and False, or is refused",
    spec=BOOLEAN,
    level="convention",
    hint="Compare (mask == 0) instead of adding or multiplying; or refuse masks that are not boolean.",
    case=AttentionCase,
    domain=SEVERAL,
    unless=["no-mask", "converted-mask"],
    builds_on=[MASKS],
)
def number_mask_keeps_its_meaning(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs, number = case.inputs(), case.number_mask()
    boolean = answer(candidate, case, inputs | {"mask": number == 1}).output
    return equal_or_refused(lambda: answer(candidate, case, inputs | {"mask": number}), boolean)


@check(
    "attention.masked-keys-stay-masked-at-large-scores",
    "a masked key has no influence even where all permitted scores are below -1e5",
    spec=MASKING,
    level="robustness",
    hint="A finite fill value such as -1e4 can be the largest score of its row. Use -inf.",
    case=AttentionCase,
    domain=SEVERAL | {"scale": (1e3,)},
    unless=["no-mask"],
    builds_on=[MASKS],
)
def masked_keys_stay_masked_at_large_scores(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs()
    inputs["query"].fill_(case.scale)
    inputs["key"].fill_(-case.scale)
    mask = torch.ones(case.batch, case.queries, case.queries, dtype=torch.bool)
    mask[..., 0] = False
    mean = inputs["value"][:, 1:].mean(dim=1, keepdim=True).expand_as(inputs["value"])
    return equal(answer(candidate, case, inputs | {"mask": mask}).output, mean, scale=case.scale)


@check(
    "attention.mask-works-in-half-precision",
    "a mask works in float16: the output is finite",
    spec=MASKING,
    level="robustness",
    hint="The largest number of float16 is 65504, so -1e9 cannot be filled in. Use -inf.",
    case=AttentionCase,
    domain=SQUARE | {"scale": (1.0,), "dtype": ("float16",)},
    unless=["no-mask"],
    builds_on=[MASKS],
)
def mask_works_in_half_precision(candidate: Candidate, case: AttentionCase) -> Evidence:
    return finite(answer(candidate, case, case.inputs() | {"mask": case.mask()}).output)


@check(
    KEYLESS,
    "a query that may attend to no key gets the empty sum, 0, and not NaN",
    spec=WEIGHTED_SUM,
    level="robustness",
    hint="softmax of a row of -inf is 0/0. Set the weights of such rows to 0 and keep -inf out of their softmax.",
    case=AttentionCase,
    domain=SQUARE,
    unless=["no-mask"],
    builds_on=[MASKS],
)
def keyless_row_is_zero(candidate: Candidate, case: AttentionCase) -> Evidence:
    row = answer(candidate, case, case.inputs() | {"mask": first_query_keyless(case)}).output[:, 0]
    return equal(row, torch.zeros_like(row))


@check(
    "attention.keyless-row-gradients-are-finite",
    "a query that may attend to no key passes back finite gradients to Q, K and V",
    spec=TRAINED,
    level="robustness",
    hint="Zeroing NaN after the softmax hides it from the output alone: keep -inf out of the softmax of such rows.",
    case=AttentionCase,
    domain=SQUARE,
    unless=["no-mask"],
    builds_on=[KEYLESS],
)
def keyless_row_gradients_are_finite(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs() | {"mask": first_query_keyless(case)}
    cotangent = torch.ones(case.batch, case.queries, case.width, dtype=inputs["query"].dtype)
    gradients = answer(candidate, case, inputs, cotangent=cotangent).gradients
    return all_finite(gradients.values())


@check(
    "attention.keyless-row-passes-anomaly-detection",
    "a query that may attend to no key makes no NaN in the backward pass: torch's anomaly detection raises nothing",
    spec=precision.NAN_RAISES,
    level="robustness",
    hint="Fill the scores of such rows with 0 before the softmax; zeroing its NaN afterwards leaves it in the graph.",
    case=AttentionCase,
    domain=SQUARE,
    unless=["no-mask"],
    builds_on=[KEYLESS],
)
def keyless_row_passes_anomaly_detection(candidate: Candidate, case: AttentionCase) -> Evidence:
    inputs = case.inputs() | {"mask": first_query_keyless(case)}
    cotangent = torch.ones(case.batch, case.queries, case.width, dtype=inputs["query"].dtype)
    with torch.autograd.set_detect_anomaly(True):
        gradients = answer(candidate, case, inputs, cotangent=cotangent).gradients
    return all_finite(gradients.values())


@check(
    "attention.heads-axis-mask-is-per-example-or-refused",
    "for inputs (B, H, T, d) a mask (B, T, S) means (B, 1, T, S), or is refused: it is never one mask a head",
    spec=BROADCAST,
    level="robustness",
    hint="(B, T, S) broadcasts to (B, H, T, S) as one mask a head as soon as B = H: insert the axis, or refuse rank 3.",
    case=HeadsCase,
    domain=SEVERAL | {"heads": (2, 1, 3)},
    needs=["heads-axis"],
    unless=["no-mask", "converted-mask"],
    builds_on=[MASKS],
)
def heads_axis_mask_is_per_example_or_refused(candidate: Candidate, case: HeadsCase) -> Evidence:
    inputs, mask = case.inputs(), case.mask()
    expected = expected_output(inputs | {"mask": mask[:, None]})
    return equal_or_refused(lambda: answer(candidate, case, inputs | {"mask": mask}), expected)
