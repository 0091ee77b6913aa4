"""Statements about what masks hide, and how."""

from collections.abc import Callable

import torch
from torch import Tensor

from errata.findings import Figure
from errata.refutations.measure import NOISE, influence, largest_difference, normal, rounded
from errata.refutations.registry import Shown, refutation
from reference import attention_with_weights, causal_mask, masked_softmax, padding_mask_from_ids, soft_mask

WORDS, WIDTH = 6, 8

ToWeights = Callable[[Tensor, Tensor], Tensor]
"""From scores and a boolean mask, True = may attend, to attention weights."""


@refutation
def a_causal_mask_hides_the_future(mask: Tensor | None = None) -> Shown:
    """Ask which words move the output at each position under the causal mask: those before it, or those after it."""
    mask = causal_mask(WORDS) if mask is None else mask
    words = normal(WORDS, WIDTH).requires_grad_()
    output, weights = attention_with_weights(words, words, words, mask)
    moved = torch.stack([influence(output[t], words).amax(dim=-1) for t in range(WORDS)])  # (output, word)
    past, future = moved.tril(-1), moved.triu(1)
    return Shown(
        refuted=float(future.max()) < NOISE and bool((past > NOISE).sum() == WORDS * (WORDS - 1) // 2),
        numbers={
            "pairs of a position and an earlier word": WORDS * (WORDS - 1) // 2,
            "of these, pairs in which the earlier word counts": int((past > NOISE).sum()),
            "largest influence of an earlier word": rounded(past.max()),
            "largest influence of a later word": rounded(future.max()),
        },
        figure=Figure(
            kind="heatmap",
            title="Attention weights under the causal mask",
            x_label="word attended to",
            y_label="position that asks",
            data={"values": [[rounded(weight) for weight in row] for row in weights]},
        ),
    )


def hidden_and_visible(to_weights: ToWeights) -> tuple[Tensor, Tensor, Tensor]:
    """The weights that a causal mask gives, those of them on hidden words, and those that the reference gives."""
    scores, mask = normal(WORDS, WORDS), causal_mask(WORDS)
    weights = to_weights(scores, mask)
    return weights, weights[~mask], masked_softmax(scores, mask)


def multiplied(scores: Tensor, mask: Tensor) -> Tensor:
    """Multiply the scores by the mask, which sets hidden ones to 0, and apply the softmax."""
    return torch.softmax(scores * mask, dim=-1)


@refutation
def a_score_of_zero_stays_visible(to_weights: ToWeights = multiplied) -> Shown:
    """Multiply the scores by the mask and read the weights of the hidden words after the softmax.

    `exp(0)` is 1, more than the exponential of any negative score; only the score -inf has the weight 0.
    """
    weights, hidden, right = hidden_and_visible(to_weights)
    mask = causal_mask(WORDS)
    smallest_visible = weights.masked_fill(~mask, 1).amin(dim=-1)
    largest_hidden = weights.masked_fill(mask, 0).amax(dim=-1)
    return Shown(
        refuted=float(hidden.max()) > NOISE,
        numbers={
            "largest weight of a hidden word, score 0": rounded(hidden.max()),
            "rows in which a hidden word outweighs a permitted one": int((largest_hidden > smallest_visible).sum()),
            "largest weight of a hidden word, score -inf": rounded(right[~mask].max()),
        },
    )


def zeroed(scores: Tensor, mask: Tensor) -> Tensor:
    """Apply the softmax, then set the hidden weights to 0."""
    return torch.softmax(scores, dim=-1) * mask


@refutation
def zeros_in_the_attention_matrix_do_not_do(to_weights: ToWeights = zeroed) -> Shown:
    """Set the hidden entries of the attention matrix to 0, before and after the softmax, and compare with -inf.

    Before it, hidden words keep a weight; after it, the rows no longer add up to 1.
    """
    weights, _, right = hidden_and_visible(to_weights)
    _, visible, _ = hidden_and_visible(multiplied)
    return Shown(
        refuted=largest_difference(weights, right) > NOISE,
        numbers={
            "0 before the softmax: largest weight of a hidden word": rounded(visible.max()),
            "0 after the softmax: smallest sum of a row": rounded(weights.sum(dim=-1).min()),
            "-inf before the softmax: smallest sum of a row": rounded(right.sum(dim=-1).min()),
        },
    )


def printed_masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """The formula of the printed code: `scores * mask + (1 - mask) * -inf`, then the softmax."""
    keep = mask.to(scores.dtype)
    return torch.softmax(scores * keep + (1 - keep) * float("-inf"), dim=-1)


@refutation
def the_printed_masked_softmax_is_no_distribution(to_weights: ToWeights = printed_masked_softmax) -> Shown:
    """Evaluate the printed formula under a causal mask and count what is no number: `0 * -inf` is NaN."""
    weights, _, right = hidden_and_visible(to_weights)
    return Shown(
        refuted=bool(weights.isnan().any()),
        numbers={
            "weights": weights.numel(),
            "weights that are NaN": int(weights.isnan().sum()),
            "weights that are NaN with masked_fill": int(right.isnan().sum()),
        },
    )


def printed_padding_mask(length: int, longest: int) -> Tensor:
    """The printed code: `arange(length).expand(length, longest) >= length`."""
    return torch.arange(length).expand(length, longest) >= length


@refutation
def the_printed_padding_mask_marks_nothing(create: Callable[[int, int], Tensor] = printed_padding_mask) -> Shown:
    """Build the printed mask for every length up to 8 in a batch of longest length 8, and count what it marks."""
    marked, refused, longest = 0, 0, 8
    for length in range(1, longest + 1):
        try:
            marked += int(create(length, longest).sum())
        except RuntimeError:
            refused += 1
    return Shown(
        refuted=marked == 0,
        numbers={
            "lengths tried": longest,
            "lengths that end in an exception": refused,
            "padding positions marked, all lengths together": marked,
            "padding positions there are": sum(range(longest)),
        },
    )


PADDING = 0


def masked_attention(words: Tensor, ids: Tensor) -> Tensor:
    """Attention that masks the padding where it stands."""
    return attention_with_weights(words, words, words, padding_mask_from_ids(ids, PADDING)[:, 0])[0]


@refutation
def padding_may_stand_anywhere(attend: Callable[[Tensor, Tensor], Tensor] = masked_attention) -> Shown:
    """Pad one sequence at its end, at its start and in its middle, and compare the outputs of its own words.

    And reorder the batch: the order of the sequences does not move the padding within any of them.
    """
    table = normal(10, WIDTH)
    padded = {
        "end": torch.tensor([[3, 1, 4, 0, 0]]),
        "start": torch.tensor([[0, 0, 3, 1, 4]]),
        "middle": torch.tensor([[3, 0, 1, 0, 4]]),
    }
    outputs = {place: attend(table[ids], ids)[ids != PADDING] for place, ids in padded.items()}
    batch = torch.cat(list(padded.values()))
    order = torch.tensor([2, 0, 1])
    reordered = attend(table[batch[order]], batch[order])
    difference = max(largest_difference(outputs["end"], outputs[place]) for place in ("start", "middle"))
    return Shown(
        refuted=difference < NOISE,
        numbers={
            "difference, padding at the start or at the end": rounded(
                largest_difference(outputs["end"], outputs["start"])
            ),
            "difference, padding in the middle or at the end": rounded(
                largest_difference(outputs["end"], outputs["middle"])
            ),
            "difference after reordering the batch": rounded(
                largest_difference(reordered, attend(table[batch], batch)[order])
            ),
        },
    )


@refutation
def a_finite_penalty_hides_nothing(penalty: float = 0.1) -> Shown:
    """Subtract the printed penalty from the score of one of two equal words, and read the weight that is left.

    A penalty of p divides the odds by exp(p).
    """
    scores = torch.zeros(1, 2, dtype=torch.float64)
    mask = torch.tensor([[True, False]])
    kept, hidden = torch.softmax(soft_mask(scores, mask, penalty), dim=-1)[0]
    return Shown(
        refuted=float(hidden) > NOISE,
        numbers={
            "penalty": penalty,
            "weight of the word that should be ignored": rounded(hidden),
            "weight of the other word": rounded(kept),
            "its weight without any penalty": rounded(torch.softmax(scores, dim=-1)[0, 1]),
            "its weight with -inf": rounded(masked_softmax(scores, mask)[0, 1]),
        },
    )
