"""Statements about queries, keys, values, and what attention does with them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.functional import scaled_dot_product_attention

from errata.findings import Figure
from errata.refutations.depth import longest_chain
from errata.refutations.measure import NOISE, influence, largest_difference, normal, rounded, seeded
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation
from reference import attention

WORDS, WIDTH = 6, 8

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From queries, keys and values to one answer for each query."""


def printed_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The code of question 1, printed once more in questions 8 and 21."""
    attend = printed("000_q01_scaled_dot_product_attention.py")["scaled_dot_product_attention"]
    return torch.as_tensor(attend(query, key, value, query.shape[-1]))


def multipliers(attend: Attend, query: Tensor, key: Tensor) -> Tensor:
    """What each value is multiplied by in each answer: what a value of 1 adds to the answer, for one word at a time."""
    values = torch.eye(len(key), key.shape[-1], dtype=key.dtype)
    return (attend(query, key, values) - attend(query, key, torch.zeros_like(values)))[:, : len(key)]


def three_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values that have nothing in common."""
    query, key, value = (normal(WORDS, WIDTH, seed=seed) for seed in range(3))
    return query, key, value


Project = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


def printed_projections(words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The projections of the code of question 3, as it initialises them."""
    build = printed("000_q03_multi_head_attention.py")["MultiHeadAttention"]
    module = seeded(lambda: build(WIDTH, 1)).double()
    return module.query_linear(words), module.key_linear(words), module.value_linear(words)


def one_projection(words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One matrix for all three."""
    vectors = seeded(lambda: nn.Linear(WIDTH, WIDTH)).double()(words)
    return vectors, vectors, vectors


def equal_projections(words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three layers that are initialised alike."""
    query, key, value = (seeded(lambda: nn.Linear(WIDTH, WIDTH)).double()(words) for _ in range(3))
    return query, key, value


@refutation(
    if_true=one_projection,
    adversary=Adversary(
        "three layers with equal weights, which a count of the layers tells apart", equal_projections, refuted=False
    ),
)
def queries_keys_and_values_differ(project: Project = printed_projections) -> Shown:
    """Project the same words to queries, keys and values with the code of question 3, and compare the three.

    With one shared matrix the three vectors of a word would be equal, and the table of scores would be symmetric.
    """
    query, key, value = project(normal(WORDS, WIDTH))
    scores = query @ key.T
    by_pair = [largest_difference(query, key), largest_difference(key, value), largest_difference(value, query)]
    return Shown(
        refuted=min(by_pair) > NOISE,
        numbers={
            "largest difference between a word's query and its key": rounded(by_pair[0]),
            "largest difference between a word's key and its value": rounded(by_pair[1]),
            "largest difference between a word's value and its query": rounded(by_pair[2]),
            "largest difference between score(i, j) and score(j, i)": rounded(largest_difference(scores, scores.T)),
        },
    )


def without_itself(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention to all words but the one that asks; a word that is alone gets zeros."""
    return attention(query, key, value, ~torch.eye(len(query), dtype=torch.bool))


def without_itself_but_residual(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same with a residual connection, through which each word reaches its own answer."""
    return query + without_itself(query, key, value)


@refutation(
    if_true=without_itself,
    adversary=Adversary(
        "attention to the others alone, in a layer whose residual connection hands each word on to its own answer",
        without_itself_but_residual,
        refuted=False,
    ),
)
def a_word_attends_to_itself(attend: Attend = printed_attention) -> Shown:
    """Read the weights from the answers of the code of question 1, changing one value at a time.

    Look at the weight that each word gives to its own value, and at that of a word which is alone in its sequence.
    """
    words = normal(WORDS, WIDTH)
    own = multipliers(attend, words, words).diagonal()
    alone = multipliers(attend, words[:1], words[:1])
    return Shown(
        refuted=float(own.min()) > NOISE and abs(float(alone) - 1) < NOISE,
        numbers={
            "words": WORDS,
            "smallest weight of a word on itself": rounded(own.min()),
            "mean weight of a word on itself": rounded(own.mean()),
            "weight on itself of the only word of a sequence": rounded(alone),
        },
    )


def by_similarity(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Values times similarities, without a softmax."""
    return query @ key.T @ value


def without_the_scale(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as the steps describe it: dot products, softmax, weighted sum."""
    return torch.softmax(query @ key.T, dim=-1) @ value


@refutation(
    if_true=by_similarity,
    adversary=Adversary(
        "attention without the scale, whose weights are others and no similarities either",
        without_the_scale,
        refuted=True,
    ),
)
def values_are_multiplied_by_weights(attend: Attend = printed_attention) -> Shown:
    """Read from the answers of the code of question 1 what each value is multiplied by, changing one value at a time.

    Weights are positive and add up to 1 for each word that asks; similarities (dot products) do neither.
    """
    query, key, _ = three_inputs()
    factors = multipliers(attend, query, key)
    sums = factors.sum(dim=-1)
    return Shown(
        refuted=float(factors.min()) >= 0 and largest_difference(sums, torch.ones_like(sums)) < NOISE,
        numbers={
            "smallest factor of a value": rounded(factors.min()),
            "smallest sum of the factors in an answer": rounded(sums.min()),
            "largest sum of the factors in an answer": rounded(sums.max()),
            "smallest similarity": rounded((query @ key.T).min()),
        },
    )


def one_importance_per_word(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One distribution over the whole table, in which each word has the same importance to all."""
    importance = torch.softmax(query[:1] @ key.T, dim=-1) / len(query)
    return importance.expand(len(query), -1) @ value


def importance_so_far(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One importance a word, under a causal mask: each row is divided by the sum of what it may see."""
    importance = torch.softmax(query[:1] @ key.T, dim=-1).expand(len(query), -1).tril()
    return importance / importance.sum(dim=-1, keepdim=True) @ value


@refutation(
    if_true=one_importance_per_word,
    adversary=Adversary(
        "one importance a word under a causal mask, where the rows differ because each is divided by another sum",
        importance_so_far,
        refuted=False,
    ),
)
def weights_belong_to_pairs(attend: Attend = printed_attention) -> Shown:
    """Read the weights from the answers of the code of question 1, changing one value at a time.

    If each word had one importance, the first would outweigh the second by the same factor for every word that asks;
    and if the table were one distribution, it would add up to 1.
    """
    query, key, _ = three_inputs()
    weights = multipliers(attend, query, key)
    factors = weights[1:, 0] / weights[1:, 1]  # a causal mask shows the first word nothing but itself
    total = float(weights.sum())
    return Shown(
        refuted=float(factors.max()) > float(factors.min()) * 1.001 and abs(total - 1) > NOISE,
        numbers={
            "weight of the first word over that of the second, smallest": rounded(factors.min()),
            "weight of the first word over that of the second, largest": rounded(factors.max()),
            "sum of the weights of one word": rounded(weights.sum(dim=-1).mean()),
            "sum of the whole table": rounded(total),
        },
    )


def with_the_softmax_over_the_queries(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention without the scale that is wrong in another way."""
    return torch.softmax(query @ key.T, dim=-2) @ value


@refutation(
    if_true=without_the_scale,
    adversary=Adversary(
        "attention without the scale whose softmax runs over the wrong axis, so that its answer differs from the steps",
        with_the_softmax_over_the_queries,
        refuted=False,
    ),
)
def the_code_divides_the_scores(attend: Attend = printed_attention) -> Shown:
    """Follow the steps as they are written, and hold the answer against that of the code of question 1.

    Once more with the dot products divided by the root of the keys' width. Then look at width 64 how much of its
    attention a word gives to a single word.
    """
    query, key, value = three_inputs()
    answer = attend(query, key, value)
    scaled = without_the_scale(query / WIDTH**0.5, key, value)
    as_written, divided = (
        largest_difference(answer, without_the_scale(query, key, value)),
        largest_difference(answer, scaled),
    )
    wide = normal(WORDS, 64), normal(WORDS, 64, seed=1)
    return Shown(
        refuted=divided < NOISE < as_written,
        numbers={
            "largest difference to the steps as they are written": rounded(as_written),
            "largest difference to the steps with the dot products divided": rounded(divided),
            "largest weight that a word gives, mean at width 64, by the code": rounded(
                multipliers(attend, *wide).amax(dim=-1).mean()
            ),
            "largest weight that a word gives, mean at width 64, by the steps": rounded(
                multipliers(without_the_scale, *wide).amax(dim=-1).mean()
            ),
        },
    )


Layer = Callable[[Tensor], Tensor]
"""From a sequence `(1, words, width)` to its outputs."""


def recurrence(words: Tensor) -> Tensor:
    """A recurrent layer, cell by cell."""
    cell = seeded(lambda: nn.RNNCell(WIDTH, WIDTH)).double()
    states: list[Tensor] = []
    for word in words.unbind(dim=1):
        states.append(cell(word, states[-1] if states else None))
    return torch.stack(states, dim=1)


def forgetful_recurrence(words: Tensor) -> Tensor:
    """A chain of cells each of which passes on a state without anything of the words before."""
    cell = seeded(lambda: nn.RNNCell(WIDTH, WIDTH)).double()
    states: list[Tensor] = []
    for word in words.unbind(dim=1):
        states.append(cell(word, states[-1] * 0 if states else None))
    return torch.stack(states, dim=1)


def convolution(words: Tensor) -> Tensor:
    """A convolution of width 3, which computes all positions at once."""
    layer = seeded(lambda: nn.Conv1d(WIDTH, WIDTH, kernel_size=3, padding=1)).double()
    return torch.as_tensor(layer(words.mT)).mT


def self_attention(words: Tensor) -> Tensor:
    """Self-attention with the code of question 1."""
    return printed_attention(words, words, words)


@refutation(
    if_true=self_attention,
    adversary=Adversary(
        "a recurrent layer that forgets each word at once: as near-sighted as a convolution, but not parallel",
        forgetful_recurrence,
        refuted=False,
    ),
)
def parallel_is_not_far_sighted(layer: Layer = convolution) -> Shown:
    """Count the longest chain of operations that wait for one another in a layer, and how far its outputs see.

    A convolution stands for the layers that treat all words at once, beside a recurrent layer, which does not. And
    compute attention for one word after the other: if parallel execution made it reach far, it would see less.
    """

    def chain(length: int) -> int:
        return longest_chain(layer(normal(1, length, WIDTH).requires_grad_()))

    def reach(layer: Layer) -> float:
        words = normal(1, WORDS, WIDTH).requires_grad_()
        return float(influence(layer(words)[:, -1], words)[0, 0].max())

    short, long = chain(8), chain(64)
    words = normal(1, WORDS, WIDTH)
    one_by_one = torch.cat([printed_attention(words[:, [t]], words, words) for t in range(WORDS)], dim=1)
    difference = largest_difference(self_attention(words), one_by_one)
    return Shown(
        refuted=short == long and reach(layer) < NOISE < reach(recurrence) and difference < NOISE,
        numbers={
            "longest chain of operations in the layer, 8 words": short,
            "longest chain of operations in the layer, 64 words": long,
            "influence of the first word on the last output of the layer": rounded(reach(layer)),
            "influence of the first word on the last output of a recurrent layer": rounded(reach(recurrence)),
            "difference of attention computed for one word after the other": rounded(difference),
        },
    )


DISTANCES = 32


class Computations(NamedTuple):
    """Something computed step by step, and all at once."""

    in_series: Layer
    in_parallel: Layer


def recurrence_with(factor: float) -> Computations:
    """The recurrence `h[t] = factor * h[t-1] + x[t]`; all at once, `h[t]` is the sum of `factor^(t-s) * x[s]`."""

    def in_series(inputs: Tensor) -> Tensor:
        states = [inputs[0]]
        for step in inputs[1:]:
            states.append(factor * states[-1] + step)
        return torch.stack(states)

    def in_parallel(inputs: Tensor) -> Tensor:
        time = torch.arange(len(inputs), dtype=inputs.dtype)
        return (factor ** (time[:, None] - time)).tril() @ inputs

    return Computations(in_series, in_parallel)


FADING = recurrence_with(0.8)


def uniform_attention(inputs: Tensor) -> Tensor:
    """Causal attention with equal scores: each state is the mean of the inputs so far."""
    scores = torch.zeros(1, *inputs.shape, dtype=inputs.dtype)
    return scaled_dot_product_attention(scores, scores, inputs[None], is_causal=True)[0]


@refutation(
    if_true=Computations(FADING.in_series, uniform_attention),
    adversary=Adversary(
        "a recurrence with the factor 1, whose gradient does not vanish in parallel, nor does it in series",
        recurrence_with(1.0),
        refuted=True,
    ),
)
def parallelism_does_not_save_the_gradient(computations: Computations = FADING) -> Shown:
    """Compute one and the same recurrence in series and in parallel, and compare its gradients over the distance.

    Attention, one step from any word to any other, stands beside it.
    """
    inputs = normal(DISTANCES, 1).requires_grad_()

    def gradients(layer: Layer) -> Tensor:
        (gradient,) = grad(layer(inputs)[-1].sum(), inputs)
        return gradient.flatten().flip(0)  # by distance from the last position

    serial, parallel = (gradients(layer) for layer in computations)
    attended = gradients(uniform_attention)
    return Shown(
        refuted=largest_difference(serial, parallel) < NOISE,
        numbers={
            "longest distance": DISTANCES - 1,
            "gradient over the longest distance, in series": rounded(serial[-1]),
            "gradient over the longest distance, in parallel": rounded(parallel[-1]),
            "gradient over the longest distance, attention": rounded(attended[-1]),
        },
        figure=Figure(
            kind="lines",
            title="Gradient of the last output for an input further back",
            x_label="distance (positions)",
            y_label="gradient",
            data={
                "x": list(range(DISTANCES)),
                "recurrence in series": [rounded(value) for value in serial],
                "the same recurrence in parallel": [rounded(value) for value in parallel],
                "attention": [rounded(value) for value in attended],
            },
        ),
    )
