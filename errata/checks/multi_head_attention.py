"""Multi-head attention: ``build(width, heads)``, ``call(query, key, value, mask)``.

Shapes: query ``(B, T, D)``, key and value ``(B, S, D)``, mask boolean ``(B, 1, T, S)`` or None, True = may attend.
Output ``(B, T, D)``. Parameters ``query``, ``key``, ``value`` and ``output``, each with ``.weight`` and maybe
``.bias``; head i owns the i-th of H equal slices of the projected queries, keys and values.

Traits: ``self-only`` takes one sequence, which is query, key and value; ``no-mask`` takes no mask; with
``attention-weights`` it also gives ``weights``, of shape ``(B, H, T, S)``, or ``(B, T, S)`` averaged over the heads.

Checks of level paper run in float32, for the reason given in `attention`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Instance, Reply
from errata.checks import oracles, precision
from errata.checks.case import Case
from errata.checks.evidence import Evidence, all_finite, equal, equal_or_refused, finite, holds, refuses, unchanged
from errata.checks.literature import PYTORCH, VASWANI
from errata.checks.registry import NOISE, check

PROJECTIONS = ("query", "key", "value", "output")


@dataclass(frozen=True, kw_only=True)
class MultiHeadAttentionCase(Case):
    """Sizes of one call.

    Attributes:
        batch: B.
        queries: T.
        keys: S; as many as there are queries where None.
        heads: H.
        head_width: d, so that D = H d.
    """

    batch: int = 1
    queries: int = 1
    keys: int | None = None
    heads: int = 1
    head_width: int = 1
    dtype: str = "float32"

    @property
    def width(self) -> int:
        """D, which the heads share."""
        return self.heads * self.head_width

    def inputs(self, candidate: Candidate) -> dict[str, Tensor]:
        """Query, key and value: one sequence for candidates that take one."""
        query = self.normal("query", self.batch, self.queries, self.width)
        if "self-only" in candidate.traits:
            return {"query": query, "key": query, "value": query}
        keys = self.keys or self.queries
        return {
            "query": query,
            "key": self.normal("key", self.batch, keys, self.width),
            "value": self.normal("value", self.batch, keys, self.width),
        }

    def mask(self, rank: int = 4) -> Tensor:
        """A mask in which every query may attend to one key at least, of the shape that is passed.

        Rank 4 is ``(B, 1, T, S)``, 3 ``(B, T, S)`` and 2 ``(T, S)``.
        """
        leading = {4: (self.batch, 1), 3: (self.batch,), 2: ()}[rank]
        mask = self.booleans("mask", *leading, self.queries, self.keys or self.queries)
        mask[..., 0] |= ~mask.any(dim=-1)
        return mask

    def number_mask(self) -> Tensor:
        """The same in numbers, 1 and 0."""
        numbers = self.normal("mask", self.batch, 1, self.queries, self.keys or self.queries)
        numbers.copy_(numbers > 0)
        numbers[..., 0].clamp_(min=1.0 - numbers.amax(dim=-1))
        return numbers

    def full_mask(self) -> Tensor:
        """A mask that permits everything."""
        return torch.ones(self.batch, 1, self.queries, self.queries, dtype=torch.bool)


SQUARE = {
    "batch": (1, 2, 3),
    "queries": (1, 2, 3, 4),
    "heads": (1, 2, 3),
    "head_width": (1, 2, 4),
    "scale": (1.0, 0.3),
}
"""As many keys as queries."""

SEVERAL = SQUARE | {"queries": (2, 3, 4, 5)}
MILD = SEVERAL | {"scale": (0.3,)}
"""Inputs so small that no key's weight vanishes."""

PROJECTED = VASWANI.says(
    "3.2.2", "linearly project the queries, keys and values h times with different, learned linear projections"
)
CONCATENATED = VASWANI.says("3.2.2", "These are concatenated and once again projected, resulting in the final values")
PARALLEL = VASWANI.says("3.2.2", "we then perform the attention function in parallel")
WEIGHTED_SUM = VASWANI.says("3.2", "The output is computed as a weighted sum of the values")
MAPPING = VASWANI.says(
    "3.2", "An attention function can be described as mapping a query and a set of key-value pairs to an output"
)
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")
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
TRAINED = VASWANI.says("5.3", "We used the Adam optimizer")

RUNS = "multi_head_attention.accepts-valid-input"
ONE_HEAD = "multi_head_attention.one-head-is-attention"
RIGHT = "multi_head_attention.matches-formula"
KEY_LENGTH = "multi_head_attention.key-length-may-differ"
MASKS = "multi_head_attention.accepts-a-boolean-mask"
KEYLESS = "multi_head_attention.keyless-row-is-finite"


def built(candidate: Candidate, case: MultiHeadAttentionCase) -> Instance:
    """An instance with drawn weights where their names are known, and with its own initial ones elsewhere."""
    instance = candidate.build({"width": case.width, "heads": case.heads}, dtype=case.dtype, seed=case.seed)
    if "weights" in candidate.traits:
        instance.load(drawn_weights(instance, case))
    return instance


def drawn_weights(instance: Instance, case: MultiHeadAttentionCase) -> dict[str, Tensor]:
    """Contents for the four projections; biases for those that have one."""
    names = instance.state().keys()
    weights = {f"{name}.weight": case.normal(f"{name}.weight", case.width, case.width) for name in PROJECTIONS}
    biases = [f"{name}.bias" for name in PROJECTIONS if f"{name}.bias" in names]
    return weights | {name: case.normal(name, case.width) for name in biases}


def averaging_weights(instance: Instance, width: int) -> dict[str, Tensor]:
    """Weights with which every answer is the mean of the values: W^Q = W^K = 0, W^V = W^O = 1, and biases 0."""
    zero, one = torch.zeros(width, width), torch.eye(width)
    weights = {"query.weight": zero, "key.weight": zero, "value.weight": one, "output.weight": one}
    biases = {f"{name}.bias" for name in PROJECTIONS} & instance.state().keys()
    return weights | {name: torch.zeros(width) for name in biases}


def answer(
    instance: Instance, arguments: Mapping[str, Argument], *, seed: int = 0, cotangent: Tensor | None = None
) -> Reply:
    """One call in evaluation; without a mask where the arguments have none."""
    return instance.call({"mask": None} | dict(arguments), seed=seed, cotangent=cotangent)


def against_formula(candidate: Candidate, case: MultiHeadAttentionCase, **mask: Tensor) -> Evidence:
    """The candidate's answer beside the formula's."""
    output, expected = both_answers(candidate, case, **mask)
    return equal(output, expected, scale=case.width**2)


def both_answers(candidate: Candidate, case: MultiHeadAttentionCase, **mask: Tensor) -> tuple[Tensor, Tensor]:
    """What the candidate gives, and what the formula gives."""
    instance, inputs = built(candidate, case), case.inputs(candidate) | mask
    expected = oracles.multi_head_attention(drawn_weights(instance, case), case.heads, **inputs)
    return answer(instance, inputs).output, torch.from_numpy(expected)


def keys_moved(candidate: Candidate, case: MultiHeadAttentionCase, at: Tensor) -> dict[str, Tensor]:
    """The inputs with other keys and values at the positions ``at``; so with another sequence, where they are one."""
    inputs = case.inputs(candidate)
    move = at[:, None] * case.normal("move", *inputs["key"].shape)
    names = inputs if "self-only" in candidate.traits else ("key", "value")
    return inputs | {name: inputs[name] + move for name in names}


@check(
    RUNS,
    "MultiHead(Q, K, V) answers valid input with a tensor of shape (B, T, D)",
    spec=CONCATENATED,
    level="paper",
    hint="Run it once: a name that is never defined or imported, or a wrong size in a reshape, shows at once.",
    case=MultiHeadAttentionCase,
    domain=SQUARE,
)
def accepts_valid_input(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    wanted = (case.batch, case.queries, case.width)
    shape = tuple(answer(built(candidate, case), case.inputs(candidate)).output.shape)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    ONE_HEAD,
    "with one head, MultiHead(Q, K, V) = Attention(Q W^Q, K W^K, V W^V) W^O",
    spec=PROJECTED,
    level="paper",
    hint="Compare the four projections, which one is applied to which input, the scale and the softmax.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"heads": (1,)},
    needs=["weights"],
    builds_on=[RUNS],
)
def one_head_is_attention(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    return against_formula(candidate, case)


@check(
    RIGHT,
    "MultiHead(Q, K, V) = Concat(head_1, ..., head_H) W^O with head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)",
    spec=CONCATENATED,
    level="paper",
    hint="Split D into (H, d), move H before T, attend with the scale 1/sqrt(d), move H back and merge.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"heads": (2, 3)},
    needs=["weights"],
    builds_on=[ONE_HEAD],
)
def matches_formula(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    return against_formula(candidate, case)


@check(
    "multi_head_attention.heads-are-independent",
    "with W^O = 1 the i-th slice of the output is head i: other projections for the first head change no other slice",
    spec=PARALLEL,
    level="paper",
    hint="Heads share no scores, no softmax and no sum before the output projection.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"heads": (2, 3)},
    needs=["weights"],
    builds_on=[RUNS],
)
def heads_are_independent(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs = built(candidate, case), case.inputs(candidate)
    instance.load({"output.weight": torch.eye(case.width, dtype=inputs["query"].dtype)})
    before = answer(instance, inputs).output
    for name in ("query", "key", "value"):
        weight = instance.state()[f"{name}.weight"].clone()
        weight[: case.head_width] += case.normal(f"move of {name}", case.head_width, case.width)
        instance.load({f"{name}.weight": weight})
    after = answer(instance, inputs).output
    return equal(after[..., case.head_width :], before[..., case.head_width :])


@check(
    "multi_head_attention.trains-four-projections",
    "W^Q, W^K, W^V and W^O are learned: parameters of 4 D^2 numbers or more receive a gradient",
    spec=PROJECTED,
    level="paper",
    hint="Look for a projection that is missing, unused or shared, made in forward(), or kept in a Python list.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def trains_four_projections(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs = built(candidate, case), case.inputs(candidate)
    gradients = answer(instance, inputs, cotangent=torch.ones_like(inputs["query"])).parameter_gradients
    trained = sum(gradient.numel() for gradient in gradients.values() if gradient.ndim > 1)
    names = ", ".join(sorted(gradients)) or "no parameter"
    return holds(
        trained >= 4 * case.width**2,
        expected=f"4 * {case.width}^2 = {4 * case.width**2} trained weights",
        actual=f"{trained}, in {names}",
    )


@check(
    "multi_head_attention.tokens-mix",
    "every position attends to all positions: another last key and value change the output at every position",
    spec=VASWANI.says(
        "3.2.3", "allows every position in the decoder to attend over all positions in the input sequence"
    ),
    level="paper",
    hint="Scores must be (T, S), not (H, H): move the axis of the heads before that of the positions.",
    case=MultiHeadAttentionCase,
    domain=MILD,
    builds_on=[RUNS],
)
def tokens_mix(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance = built(candidate, case)
    last = torch.arange(case.queries) == case.queries - 1
    before = answer(instance, case.inputs(candidate)).output
    after = answer(instance, keys_moved(candidate, case, last)).output
    unmoved = [t for t in range(case.queries) if torch.equal(after[:, t], before[:, t])]
    return holds(not unmoved, expected="every position's output moves", actual=f"no change at positions {unmoved}")


@check(
    "multi_head_attention.output-is-affine-in-the-values",
    "values enter only as a weighted sum: f(Q, K, (V1 + V2) / 2) = (f(Q, K, V1) + f(Q, K, V2)) / 2",
    spec=WEIGHTED_SUM,
    level="paper",
    hint="Look at the order of the arguments, and at which of them makes the scores.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL,
    unless=["self-only"],
    builds_on=[RUNS],
)
def output_is_affine_in_the_values(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs = built(candidate, case), case.inputs(candidate)
    other = case.normal("other value", *inputs["value"].shape)
    first, second, between = (
        answer(instance, inputs | {"value": value}).output
        for value in (inputs["value"], other, (inputs["value"] + other) / 2)
    )
    return equal(between, (first + second) / 2, scale=case.width**2)


@check(
    "multi_head_attention.permuted-positions-permute-the-output",
    "permuting the queries permutes the output alike, and permuting keys and values together changes nothing",
    spec=VASWANI.says("3.5", "Since our model contains no recurrence and no convolution"),
    level="paper",
    hint="Undo the split of the heads in the reverse order: transpose first, then merge.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def permuted_positions_permute_the_output(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs = built(candidate, case), case.inputs(candidate)
    order = case.permutation("order", case.queries)
    key_order = order if "self-only" in candidate.traits else case.permutation("order of keys", case.queries)
    permuted = {name: value[:, order if name == "query" else key_order] for name, value in inputs.items()}
    before = answer(instance, inputs).output
    return equal(answer(instance, permuted).output, before[:, order], scale=case.width**2)


@check(
    "multi_head_attention.batch-examples-are-independent",
    "changing the first example of a batch leaves the output of the others as it was",
    spec=MAPPING,
    level="paper",
    hint="No operation may mix the axis B: look for batch-first and sequence-first code side by side.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"batch": (2, 3, 4)},
    builds_on=[RUNS],
)
def batch_examples_are_independent(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs = built(candidate, case), case.inputs(candidate)
    changed = {name: value.clone() for name, value in inputs.items()}
    for value in changed.values():
        value[0] += case.normal("move", case.queries, case.width)
    before = answer(instance, inputs).output
    return equal(answer(instance, changed).output[1:], before[1:])


@check(
    KEY_LENGTH,
    "as many queries as one likes may ask S keys: f(Q[i], K, V) = f(Q, K, V)[i] for every list i",
    spec=VASWANI.says("3.2.3", "the memory keys and values come from the output of the encoder"),
    level="paper",
    hint="Take T from the query and S from the key; none of them stands for the other.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"keys": (1, 2, 3, 5)},
    unless=["self-only"],
    builds_on=[RUNS],
)
def key_length_may_differ(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    assert case.keys is not None
    instance, inputs = built(candidate, case), replace(case, queries=case.keys).inputs(candidate)
    chosen = case.integers("chosen", 0, case.keys, case.queries)
    before = answer(instance, inputs).output
    output = answer(instance, inputs | {"query": inputs["query"][:, chosen]}).output
    return equal(output, before[:, chosen], scale=case.width**2)


@check(
    "multi_head_attention.keys-of-another-batch-size-are-refused",
    "one memory (1, S, D) for B sequences is refused, or attended by each of them; it is never cut into B pieces",
    spec=PYTORCH.says("torch.nn.MultiheadAttention", "S is the source sequence length, N is the batch size"),
    level="robustness",
    hint="Take B from each tensor itself: view(B, -1, H, d) with the query's B cuts another batch anew, unseen.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"batch": (2, 3), "queries": (1, 2, 3), "keys": (4, 6, 12)},
    unless=["self-only"],
    builds_on=[KEY_LENGTH],
)
def keys_of_another_batch_size_are_refused(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    assert case.keys is not None
    instance = built(candidate, case)
    query = case.normal("query", case.batch, case.queries, case.width)
    memory = {name: case.normal(name, 1, case.keys, case.width) for name in ("key", "value")}
    each = {name: value.repeat(case.batch, 1, 1) for name, value in memory.items()}
    expected = answer(instance, {"query": query} | each).output
    return equal_or_refused(lambda: answer(instance, {"query": query} | memory), expected)


@check(
    "multi_head_attention.returned-weights-sum-to-1",
    "each row of the returned weights sums to 1",
    spec=VASWANI.says("3.2.1", "apply a softmax function to obtain the weights on the values"),
    level="paper",
    hint="Return the weights after the softmax over the keys.",
    case=MultiHeadAttentionCase,
    domain=SQUARE,
    needs=["attention-weights"],
    builds_on=[RUNS],
)
def returned_weights_sum_to_1(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    total = answer(built(candidate, case), case.inputs(candidate)).outputs["weights"].sum(dim=-1)
    return equal(total, torch.ones_like(total))


@check(
    "multi_head_attention.evaluation-is-deterministic",
    "in evaluation the same input gives the same output, whatever the state of the random generator",
    spec=VASWANI.says("5.4", "We employ three types of regularization during training"),
    level="paper",
    hint="F.dropout drops by default: pass training=self.training. A layer made in forward() is new at each call.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def evaluation_is_deterministic(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs = built(candidate, case), case.inputs(candidate)
    return equal(answer(instance, inputs, seed=1).output, answer(instance, inputs, seed=2).output)


@check(
    "multi_head_attention.inputs-are-not-changed",
    "Q, K and V hold after the call what they held before",
    spec=PROJECTED,
    level="convention",
    hint="An operation whose name ends in an underscore, or +=, writes into the caller's tensor.",
    case=MultiHeadAttentionCase,
    domain=SQUARE,
    builds_on=[RUNS],
)
def inputs_are_not_changed(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    inputs = case.inputs(candidate)
    return unchanged(inputs, answer(built(candidate, case), inputs))


@check(
    "multi_head_attention.keeps-the-dtype",
    "a module and inputs of one type give an output of that type",
    spec=PYTORCH.says(
        "torch.nn.functional.scaled_dot_product_attention", "A float mask of the same type as query, key, value"
    ),
    level="convention",
    hint="A tensor of a fixed type (torch.tensor(...), .float()) lifts the result to its own type.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"dtype": ("bfloat16", "float32", "float64")},
    builds_on=[RUNS],
)
def keeps_the_dtype(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    dtype = str(answer(built(candidate, case), case.inputs(candidate)).output.dtype).removeprefix("torch.")
    return holds(dtype == case.dtype, expected=case.dtype, actual=dtype)


@check(
    "multi_head_attention.keeps-double-precision",
    "in float64, MultiHead(Q, K, V) - Concat(head_1, ..., head_H) W^O = 0 up to the rounding of float64",
    spec=CONCATENATED,
    level="robustness",
    hint="Some step falls back to float32: .float(), softmax(dtype=torch.float32), torch.FloatTensor([...]).",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"dtype": ("float64",)},
    needs=["weights"],
    builds_on=[RIGHT],
)
def keeps_double_precision(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    output, expected = both_answers(candidate, case)
    return equal(output - expected, torch.zeros_like(expected), scale=case.width**2)


@check(
    "multi_head_attention.large-scores-stay-finite",
    "exp(s) overflows for s > 88 in float32, softmax(s) never: the output is finite for inputs of size 1e4",
    spec=LARGE_PRODUCTS,
    level="robustness",
    hint="Use torch.softmax, or subtract the row's maximum before the exponential.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"scale": (1e4,)},
    builds_on=[RUNS],
)
def large_scores_stay_finite(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    inputs = case.inputs(candidate)
    return finite(answer(built(candidate, replace(case, scale=1.0)), inputs).output)


@check(
    "multi_head_attention.half-precision-scores-do-not-overflow",
    "in float16, products q . k of a head beyond 65504 give the formula's answer where q . k / sqrt(d) is far within",
    spec=LARGE_PRODUCTS,
    level="robustness",
    hint="q . k overflows before it is divided: scale the query first, or compute the scores in float32.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL | {"head_width": (4, 16), "scale": (1.0,), "dtype": ("float16",)},
    needs=["weights"],
    builds_on=[RUNS],
    tolerance=precision.ROUNDINGS,
)
def half_precision_scores_do_not_overflow(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance = candidate.build({"width": case.width, "heads": case.heads}, dtype=case.dtype)
    # W = 1 everywhere, so that each head sees its slice of the inputs as it is.
    one = torch.eye(case.width)
    instance.load(averaging_weights(instance, case.width) | {"query.weight": one, "key.weight": one})
    inputs, size = case.inputs(candidate), precision.OVERFLOWING[case.head_width]
    inputs["query"].fill_(size)
    precision.let_the_first_win(inputs["key"], size, inputs["value"])
    expected = oracles.multi_head_attention(instance.state(), case.heads, **inputs)
    return equal(answer(instance, inputs).output, torch.from_numpy(expected))


@check(
    "multi_head_attention.runs-under-autocast",
    "under autocast to bfloat16 or float16, a float32 module answers as without, to the rounding of that type",
    spec=precision.AUTOCAST,
    level="robustness",
    hint="Linear maps and products come out in the lower type: write none into a tensor of the inputs' type.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"dtype": precision.LOWER},
    builds_on=[RUNS],
    tolerance=precision.ROUNDINGS,
)
def runs_under_autocast(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    single = replace(case, dtype="float32")
    instance = candidate.build({"width": case.width, "heads": case.heads}, dtype=single.dtype, seed=case.seed)
    return precision.under_autocast(instance, {"mask": None, **single.inputs(candidate)}, case.dtype)


@check(
    "multi_head_attention.indivisible-width-is-refused",
    "D = H d: a width that the heads do not divide is refused, when it is built or when it is called",
    spec=VASWANI.says("3.2.2", "For each of these we use dk = dv = dmodel/h = 64."),
    level="robustness",
    hint="D // H drops the rest, and view(B, -1, H, D // H) cuts the sequence anew: the numbers of neighbouring tokens "
    "are mixed. Raise a ValueError in the constructor unless D % H == 0.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"heads": (2, 3)},
    builds_on=[RUNS],
)
def indivisible_width_is_refused(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    width = case.width + 1
    x = case.normal("x", case.batch, case.queries, width)
    x.copy_(torch.arange(1.0, x.numel() + 1).reshape(x.shape))

    def build_and_call(weights_known: bool = False) -> Reply:
        instance = candidate.build({"width": width, "heads": case.heads}, dtype=case.dtype)
        if weights_known:
            instance.load(averaging_weights(instance, width))
        return answer(instance, {"query": x, "key": x, "value": x})

    if "weights" in candidate.traits:
        mean = x.mean(dim=1, keepdim=True).expand_as(x)
        kept_apart = equal_or_refused(lambda: build_and_call(weights_known=True), mean)
        if kept_apart.deviation > NOISE:
            return kept_apart
    return refuses(build_and_call, expected=f"a refusal of width {width} with {case.heads} heads")


@check(
    MASKS,
    "a boolean mask of shape (B, 1, T, S) is accepted and leaves the output's shape as it is",
    spec=BOOLEAN,
    level="convention",
    hint="Use masked_fill or where, and let the mask broadcast over the axis of the heads.",
    case=MultiHeadAttentionCase,
    domain=SQUARE,
    unless=["no-mask"],
    builds_on=[RUNS],
)
def accepts_a_boolean_mask(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    wanted = (case.batch, case.queries, case.width)
    shape = tuple(answer(built(candidate, case), case.inputs(candidate) | {"mask": case.mask()}).output.shape)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    "multi_head_attention.all-true-mask-is-no-mask",
    "a mask that permits everything changes nothing",
    spec=MASKING,
    level="paper",
    hint="Both branches must compute the same scores; look for a scale that only one of them applies.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL,
    unless=["no-mask"],
    builds_on=[MASKS],
)
def all_true_mask_is_no_mask(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs = built(candidate, case), case.inputs(candidate)
    without = answer(instance, inputs).output
    return equal(answer(instance, inputs | {"mask": case.full_mask()}).output, without, scale=case.width**2)


@check(
    "multi_head_attention.masked-keys-have-no-influence",
    "in no head: changing the keys and values that a query may not attend leaves its output as it was",
    spec=MASKING,
    level="paper",
    hint="The mask belongs on the scores of every head, before the softmax, with -inf where attention is forbidden.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL,
    unless=["no-mask"],
    builds_on=[MASKS],
)
def masked_keys_have_no_influence(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, mask = built(candidate, case), case.mask()
    mask.copy_(mask[:1, :, :1].clone())  # the same for all queries
    attended = mask[0, 0, 0]
    before = answer(instance, case.inputs(candidate) | {"mask": mask}).output
    after = answer(instance, keys_moved(candidate, case, ~attended) | {"mask": mask}).output
    # Where keys are queries, a position that moves asks another question: its own output may move.
    rows = attended if "self-only" in candidate.traits else torch.ones_like(attended)
    return equal(after[:, rows], before[:, rows])


@check(
    "multi_head_attention.causal-mask-hides-the-future",
    "under the mask s <= t, changing keys and values after position t leaves the output up to t as it was",
    spec=VASWANI.says("3.2.3", "prevent leftward information flow in the decoder"),
    level="paper",
    hint="Each query has its own row of the mask: look for a transposed mask or one row used for all.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL,
    unless=["no-mask"],
    builds_on=[MASKS],
)
def causal_mask_hides_the_future(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance = built(candidate, case)
    position = torch.arange(case.queries)
    mask = {"mask": (position <= position[:, None]).expand(case.batch, 1, -1, -1).clone()}
    cut = int(case.integers("cut", 1, case.queries, 1))
    before = answer(instance, case.inputs(candidate) | mask).output
    after = answer(instance, keys_moved(candidate, case, position >= cut) | mask).output
    return equal(after[:, :cut], before[:, :cut])


@check(
    "multi_head_attention.attended-keys-have-influence",
    "another last key and value change the output of every query whose mask permits it",
    spec=WEIGHTED_SUM,
    level="paper",
    hint="The mask is True where attention is permitted: look for a mask that is read the other way round.",
    case=MultiHeadAttentionCase,
    domain=MILD,
    unless=["no-mask"],
    builds_on=["multi_head_attention.tokens-mix", MASKS],
)
def attended_keys_have_influence(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, mask = built(candidate, case), {"mask": case.mask()}
    mask["mask"][..., -1] = True
    last = torch.arange(case.queries) == case.queries - 1
    before = answer(instance, case.inputs(candidate) | mask).output
    after = answer(instance, keys_moved(candidate, case, last) | mask).output
    # A NaN is no influence: it equals nothing, itself included.
    moves = ((after - before).abs() > 0).any(dim=-1)
    return holds(bool(moves.all()), expected="every query's output moves", actual=f"moves: {moves.tolist()}")


@check(
    "multi_head_attention.masked-matches-formula",
    "MultiHead(Q, K, V, M) is the formula with -inf for the scores where M is False, in each head",
    spec=MASKING,
    level="paper",
    hint="Only the scores at masked positions change, and they change before the softmax.",
    case=MultiHeadAttentionCase,
    domain=SQUARE,
    needs=["weights"],
    unless=["no-mask"],
    builds_on=[MASKS, RIGHT],
)
def masked_matches_formula(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    return against_formula(candidate, case, mask=case.mask())


@check(
    "multi_head_attention.masked-cross-attention-matches-formula",
    "MultiHead(Q, K, V, M) is the formula with -inf for the scores where M is False, for any T and S",
    spec=MASKING,
    level="paper",
    hint="The mask has a row for each of the T queries and a column for each of the S keys.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"keys": (1, 2, 3, 5)},
    needs=["weights"],
    unless=["no-mask", "self-only"],
    builds_on=["multi_head_attention.masked-matches-formula", KEY_LENGTH],
)
def masked_cross_attention_matches_formula(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    return against_formula(candidate, case, mask=case.mask())


@check(
    "multi_head_attention.mask-is-not-changed",
    "the mask holds after the call what it held before",
    spec=MASKING,
    level="convention",
    hint="Writing into the mask spoils it for the next layer, which is given the same tensor.",
    case=MultiHeadAttentionCase,
    domain=SQUARE,
    unless=["no-mask"],
    builds_on=[MASKS],
)
def mask_is_not_changed(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    inputs = case.inputs(candidate) | {"mask": case.mask()}
    return unchanged(inputs, answer(built(candidate, case), inputs))


@check(
    "multi_head_attention.number-mask-keeps-its-meaning",
    "a mask of the numbers 1.0 and 0.0 means the same as True and False, or is refused",
    spec=BOOLEAN,
    level="convention",
    hint="Compare (mask == 0) instead of adding or multiplying; or refuse masks that are not boolean.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL,
    unless=["no-mask", "converted-mask"],
    builds_on=[MASKS],
)
def number_mask_keeps_its_meaning(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs, number = built(candidate, case), case.inputs(candidate), case.number_mask()
    boolean = answer(instance, inputs | {"mask": number == 1}).output
    return equal_or_refused(lambda: answer(instance, inputs | {"mask": number}), boolean)


@check(
    "multi_head_attention.rank-2-mask-is-for-all-or-refused",
    "a mask of shape (T, S) means (1, 1, T, S), the same for every example and every head, or is refused",
    spec=BROADCAST,
    level="convention",
    hint="Do not take the first axis of a mask for the batch before looking at its rank.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL,
    unless=["no-mask", "converted-mask"],
    builds_on=[MASKS],
)
def rank_2_mask_is_for_all_or_refused(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs, mask = built(candidate, case), case.inputs(candidate), case.mask(rank=2)
    explicit = mask.expand(case.batch, 1, -1, -1).clone()
    expected = answer(instance, inputs | {"mask": explicit}).output
    return equal_or_refused(lambda: answer(instance, inputs | {"mask": mask}), expected)


@check(
    "multi_head_attention.rank-3-mask-is-per-example-or-refused",
    "a mask of shape (B, T, S) means (B, 1, T, S), or is refused: where B = H it is never taken for one mask a head",
    spec=BROADCAST,
    level="robustness",
    hint="(B, T, S) broadcasts to (B, H, T, S) as one mask a head as soon as B = H: insert the axis, or refuse rank 3.",
    case=MultiHeadAttentionCase,
    domain=SEVERAL | {"batch": (1, 2, 3), "heads": (2, 3)},
    unless=["no-mask", "converted-mask"],
    builds_on=[MASKS],
)
def rank_3_mask_is_per_example_or_refused(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs, mask = built(candidate, case), case.inputs(candidate), case.mask(rank=3)
    expected = answer(instance, inputs | {"mask": mask[:, None]}).output
    return equal_or_refused(lambda: answer(instance, inputs | {"mask": mask}), expected)


@check(
    "multi_head_attention.mask-works-in-half-precision",
    "a mask works in float16: the output is finite",
    spec=MASKING,
    level="robustness",
    hint="The largest number of float16 is 65504, so -1e9 cannot be filled in. Use -inf.",
    case=MultiHeadAttentionCase,
    domain=SQUARE | {"scale": (0.3,), "dtype": ("float16",)},
    unless=["no-mask"],
    builds_on=[MASKS],
)
def mask_works_in_half_precision(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    return finite(answer(built(candidate, case), case.inputs(candidate) | {"mask": case.mask()}).output)


def first_query_keyless(case: MultiHeadAttentionCase) -> Tensor:
    """A mask in which the first query may attend to no key."""
    mask = case.mask()
    mask[:, :, 0] = False
    return mask


@check(
    KEYLESS,
    "a query that may attend to no key gets a finite output, not NaN",
    spec=WEIGHTED_SUM,
    level="robustness",
    hint="softmax of a row of -inf is 0/0. Set the weights of such rows to 0 and keep -inf out of their softmax.",
    case=MultiHeadAttentionCase,
    domain=SQUARE,
    unless=["no-mask"],
    builds_on=[MASKS],
)
def keyless_row_is_finite(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    inputs = case.inputs(candidate) | {"mask": first_query_keyless(case)}
    return finite(answer(built(candidate, case), inputs).output)


@check(
    "multi_head_attention.keyless-row-is-the-output-bias",
    "for a query that may attend to no key every head is the empty sum, 0, and the output is the bias of W^O",
    spec=WEIGHTED_SUM,
    level="robustness",
    hint="A finite fill value makes such a row attend to everything alike: set its weights to 0 after the softmax.",
    case=MultiHeadAttentionCase,
    domain=SQUARE,
    needs=["weights"],
    unless=["no-mask"],
    builds_on=[KEYLESS],
)
def keyless_row_is_the_output_bias(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    instance, inputs = built(candidate, case), case.inputs(candidate) | {"mask": first_query_keyless(case)}
    bias = instance.state().get("output.bias", torch.zeros(case.width))
    return equal(answer(instance, inputs).output[:, 0], bias.expand(case.batch, case.width))


@check(
    "multi_head_attention.keyless-row-gradients-are-finite",
    "a query that may attend to no key passes back finite gradients to the inputs and to every parameter",
    spec=TRAINED,
    level="robustness",
    hint="Zeroing NaN after the softmax hides it from the output alone: keep -inf out of the softmax of such rows.",
    case=MultiHeadAttentionCase,
    domain=SQUARE,
    unless=["no-mask"],
    builds_on=[KEYLESS],
)
def keyless_row_gradients_are_finite(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    inputs = case.inputs(candidate) | {"mask": first_query_keyless(case)}
    reply = answer(built(candidate, case), inputs, cotangent=torch.ones_like(inputs["query"]))
    return all_finite([*reply.gradients.values(), *reply.parameter_gradients.values()])


@check(
    "multi_head_attention.keyless-row-passes-anomaly-detection",
    "a query that may attend to no key makes no NaN in the backward pass: torch's anomaly detection raises nothing",
    spec=precision.NAN_RAISES,
    level="robustness",
    hint="Fill the scores of such rows with 0 before the softmax; zeroing its NaN afterwards leaves it in the graph.",
    case=MultiHeadAttentionCase,
    domain=SQUARE,
    unless=["no-mask"],
    builds_on=[KEYLESS],
)
def keyless_row_passes_anomaly_detection(candidate: Candidate, case: MultiHeadAttentionCase) -> Evidence:
    inputs = case.inputs(candidate) | {"mask": first_query_keyless(case)}
    with torch.autograd.set_detect_anomaly(True):
        reply = answer(built(candidate, case), inputs, cotangent=torch.ones_like(inputs["query"]))
    return all_finite([*reply.gradients.values(), *reply.parameter_gradients.values()])
