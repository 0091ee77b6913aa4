"""Statements about queries, keys, values, and what attention does with them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from errata.findings import Figure
from errata.refutations.measure import NOISE, influence, largest_difference, normal, rounded, seeded
from errata.refutations.registry import Shown, refutation
from reference import MultiHeadAttention, attention_with_weights, causal_mask

WORDS, WIDTH = 6, 8

Attend = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def projections() -> MultiHeadAttention:
    """One head with projections as they are initialised."""
    return seeded(lambda: MultiHeadAttention(WIDTH, 1, bias=False)).double()


@refutation
def queries_keys_and_values_differ(module: MultiHeadAttention | None = None) -> Shown:
    """Project the same words to queries, keys and values, compare the three, and look at the scores of both orders.

    With one shared matrix the three vectors of a word would be equal, and the table of scores would be symmetric.
    """
    module = module or projections()
    words = normal(WORDS, WIDTH)
    query, key, value = module.query(words), module.key(words), module.value(words)
    matrices = {id(layer.weight) for layer in (module.query, module.key, module.value)}
    scores = query @ key.T
    apart = min(largest_difference(query, key), largest_difference(key, value), largest_difference(value, query))
    return Shown(
        refuted=len(matrices) == 3 and apart > NOISE,
        numbers={
            "weight matrices for query, key and value": len(matrices),
            "largest difference between a word's query and its key": rounded(largest_difference(query, key)),
            "largest difference between a word's key and its value": rounded(largest_difference(key, value)),
            "largest difference between score(i, j) and score(j, i)": rounded(largest_difference(scores, scores.T)),
        },
    )


@refutation
def a_word_attends_to_itself(attend: Attend = attention_with_weights) -> Shown:
    """Read the weight that each word gives to itself, and that of a word which is alone in its sequence."""
    words = normal(WORDS, WIDTH)
    _, weights = attend(words, words, words)
    _, alone = attend(words[:1], words[:1], words[:1])
    own = weights.diagonal()
    return Shown(
        refuted=float(own.min()) > 0 and float(alone) == 1,
        numbers={
            "words": WORDS,
            "smallest weight of a word on itself": rounded(own.min()),
            "mean weight of a word on itself": rounded(own.mean()),
            "weight on itself of the only word of a sequence": rounded(alone),
        },
    )


@refutation
def values_are_multiplied_by_weights(attend: Attend = attention_with_weights) -> Shown:
    """Rebuild the output from the values: once multiplied by the weights, once by the similarities (scores)."""
    query, key, value = (normal(WORDS, WIDTH, seed=seed) for seed in range(3))
    output, _ = attend(query, key, value)
    scores = query @ key.T / WIDTH**0.5
    by_weight = largest_difference(output, torch.softmax(scores, dim=-1) @ value)
    by_similarity = largest_difference(output, scores @ value)
    return Shown(
        refuted=by_weight < NOISE < by_similarity,
        numbers={
            "error of the sum of values times weights": rounded(by_weight),
            "error of the sum of values times similarities": rounded(by_similarity),
            "similarities that are negative": int((scores < 0).sum()),
        },
    )


@refutation
def weights_belong_to_pairs(attend: Attend = attention_with_weights) -> Shown:
    """Compare the weights that different words give to the same word, and add up the whole matrix of weights.

    If each word had one importance, all rows would be equal; if the matrix were one distribution, it would add up to 1.
    """
    query, key, value = (normal(WORDS, WIDTH, seed=seed) for seed in range(3))
    _, weights = attend(query, key, value)
    spread = weights.amax(dim=0) - weights.amin(dim=0)
    return Shown(
        refuted=float(spread.max()) > NOISE and abs(float(weights.sum()) - 1) > NOISE,
        numbers={
            "largest difference between two words' weights for one word": rounded(spread.max()),
            "sum of each row": rounded(weights.sum(dim=-1).mean()),
            "sum of the whole matrix": rounded(weights.sum()),
        },
    )


def recurrence(words: Tensor) -> Tensor:
    """The last state of a recurrent layer."""
    output, _ = seeded(lambda: nn.RNN(WIDTH, WIDTH, batch_first=True)).double()(words)
    return torch.as_tensor(output)[:, -1]


def convolution(words: Tensor) -> Tensor:
    """The last output of a convolution of width 3, which computes all positions at once."""
    layer = seeded(lambda: nn.Conv1d(WIDTH, WIDTH, kernel_size=3, padding=1)).double()
    return torch.as_tensor(layer(words.mT)).mT[:, -1]


def self_attention(words: Tensor) -> Tensor:
    """The last output of self-attention."""
    return attention_with_weights(words, words, words)[0][:, -1]


@refutation
def parallel_is_not_far_sighted(parallel: Callable[[Tensor], Tensor] = convolution) -> Shown:
    """Ask how strongly the first word moves the last output, in layers that run in parallel and in one that does not.

    And compute attention one word after the other: if the parallel execution made it reach far, it would see less.
    """
    words = normal(1, WORDS, WIDTH).requires_grad_()
    layers = (parallel, recurrence, self_attention)
    reach = {layer: float(influence(layer(words), words)[0, 0].max()) for layer in layers}
    at_once, _ = attention_with_weights(words, words, words)
    one_by_one = torch.cat([attention_with_weights(words[:, [t]], words, words)[0] for t in range(WORDS)], dim=1)
    difference = largest_difference(at_once, one_by_one)
    return Shown(
        refuted=reach[parallel] < NOISE < reach[recurrence] and difference < NOISE,
        numbers={
            "influence of the first word on the last, convolution in parallel": rounded(reach[parallel]),
            "influence of the first word on the last, recurrence in series": rounded(reach[recurrence]),
            "influence of the first word on the last, attention": rounded(reach[self_attention]),
            "difference of attention computed one word after the other": rounded(difference),
        },
    )


DISTANCES = 32
DECAY = 0.8


def in_series(inputs: Tensor) -> Tensor:
    """Run the recurrence `h[t] = DECAY * h[t-1] + x[t]` step by step."""
    states = [inputs[0]]
    for step in inputs[1:]:
        states.append(DECAY * states[-1] + step)
    return torch.stack(states)


def in_parallel(inputs: Tensor) -> Tensor:
    """Run the same recurrence as one matrix product: `h[t]` is the sum of `DECAY^(t-s) * x[s]`, `s <= t`."""
    time = torch.arange(len(inputs), dtype=inputs.dtype)
    return (DECAY ** (time[:, None] - time)).tril() @ inputs


def uniform_attention(inputs: Tensor) -> Tensor:
    """Causal attention with equal scores: each state is the mean of the inputs so far."""
    scores = torch.zeros(len(inputs), 1, dtype=inputs.dtype)
    return attention_with_weights(scores, scores, inputs, causal_mask(len(inputs)))[0]


@refutation
def parallelism_does_not_save_the_gradient(parallel: Callable[[Tensor], Tensor] = in_parallel) -> Shown:
    """Compute one and the same recurrence in series and in parallel, and compare its gradients over the distance.

    Attention, one step from any word to any other, stands beside it.
    """
    inputs = normal(DISTANCES, 1).requires_grad_()

    def gradients(layer: Callable[[Tensor], Tensor]) -> Tensor:
        (gradient,) = torch.autograd.grad(layer(inputs)[-1].sum(), inputs)
        return gradient.flatten().flip(0)  # by distance from the last position

    serial, at_once, attended = gradients(in_series), gradients(parallel), gradients(uniform_attention)
    return Shown(
        refuted=largest_difference(serial, at_once) < NOISE and float(at_once[-1]) < 0.01 * float(at_once[0]),
        numbers={
            "gradient over the longest distance, recurrence in series": rounded(serial[-1]),
            "gradient over the longest distance, the same recurrence in parallel": rounded(at_once[-1]),
            "gradient over the longest distance, attention": rounded(attended[-1]),
            "longest distance": DISTANCES - 1,
        },
        figure=Figure(
            kind="lines",
            title="Gradient of the last output for an input further back",
            x_label="distance (positions)",
            y_label="gradient",
            data={
                "x": list(range(DISTANCES)),
                "recurrence in series": [rounded(value) for value in serial],
                "the same recurrence in parallel": [rounded(value) for value in at_once],
                "attention": [rounded(value) for value in attended],
            },
        ),
    )
