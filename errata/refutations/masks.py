"""Statements about what masks hide, and how."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from errata.findings import Figure
from errata.refutations.measure import NOISE, influence, largest_difference, normal, rounded, seeded
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation
from reference import sinusoids

WORDS, WIDTH = 6, 8

ToWeights = Callable[[Tensor, Tensor], Tensor]
"""From scores and a boolean mask, True = may attend, to attention weights."""

CAUSAL = nn.Transformer.generate_square_subsequent_mask(WORDS) == 0
"""Torch's causal mask, True = may attend."""


@refutation(
    if_true=CAUSAL.T,
    adversary=Adversary("no mask at all, under which later words count as well", torch.ones_like(CAUSAL), refuted=True),
)
def a_causal_mask_keeps_the_past(mask: Tensor = CAUSAL) -> Shown:
    """Ask which words move torch's attention output at each position under torch's causal mask: earlier or later ones.

    A mask that ignores the words already generated would leave no influence of an earlier word.
    """
    words = normal(1, WORDS, WIDTH).requires_grad_()

    def attend(values: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(words, words, values, mask)[0]

    output = attend(words)
    moved = torch.stack([influence(output[t], words)[0].amax(dim=-1) for t in range(WORDS)])  # (output, word)
    past, future = moved.tril(-1), moved.triu(1)
    pairs = WORDS * (WORDS - 1) // 2
    weights = attend(torch.eye(WORDS, dtype=torch.float64)[None])
    return Shown(
        refuted=int((past > NOISE).sum()) == pairs,
        numbers={
            "pairs of a position and an earlier word": pairs,
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


def minus_infinity(scores: Tensor, mask: Tensor) -> Tensor:
    """Replace the hidden scores by -inf and apply the softmax."""
    return torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1)


def multiplied(scores: Tensor, mask: Tensor) -> Tensor:
    """Multiply the scores by the mask, which sets the hidden ones to 0, and apply the softmax."""
    return torch.softmax(scores * mask, dim=-1)


def multiplied_when_high(scores: Tensor, mask: Tensor) -> Tensor:
    """Multiply by the mask, all scores being 10 higher than they are."""
    return multiplied(scores + 10, mask)


def zeroed(scores: Tensor, mask: Tensor) -> Tensor:
    """Apply the softmax, then set the hidden weights to 0."""
    return torch.softmax(scores, dim=-1) * mask


def zeroed_and_normalised(scores: Tensor, mask: Tensor) -> Tensor:
    """Apply the softmax, set the hidden weights to 0, and divide each row by what is left of its sum."""
    left = zeroed(scores, mask)
    return left / left.sum(dim=-1, keepdim=True)


SCORES = normal(WORDS, WORDS)


@refutation(
    if_true=minus_infinity,
    adversary=Adversary(
        "scores that are all high, among which a hidden word with score 0 never outweighs a visible one",
        multiplied_when_high,
        refuted=True,
    ),
)
def a_score_of_zero_stays_visible(to_weights: ToWeights = multiplied) -> Shown:
    """Multiply the scores by the mask and read the weights of the hidden words after the softmax.

    `exp(0)` is 1, more than the exponential of any negative score; only the score -inf has the weight 0.
    """
    weights = to_weights(SCORES, CAUSAL)
    hidden, smallest_visible = weights.masked_fill(CAUSAL, 0), weights.masked_fill(~CAUSAL, 1).amin(dim=-1)
    return Shown(
        refuted=float(hidden.max()) > NOISE,
        numbers={
            "largest weight of a hidden word": rounded(hidden.max()),
            "rows in which a hidden word outweighs a visible one": int((hidden.amax(dim=-1) > smallest_visible).sum()),
            "rows": WORDS,
        },
    )


@refutation(
    if_true=minus_infinity,
    adversary=Adversary(
        "weights set to 0 after the softmax and divided by their sum, which comes to the same as -inf before it",
        zeroed_and_normalised,
        refuted=False,
    ),
)
def zeros_in_the_attention_matrix_do_not_do(to_weights: ToWeights = zeroed) -> Shown:
    """Set the hidden entries of the attention matrix to 0 after the softmax, and add up each row of weights.

    Zeros before the softmax leave the hidden words visible, and so does leaving the mask out in prediction.
    """
    sums = to_weights(SCORES, CAUSAL).sum(dim=-1)
    unmasked = torch.softmax(SCORES, dim=-1)
    return Shown(
        refuted=largest_difference(sums, torch.ones_like(sums)) > NOISE,
        numbers={
            "smallest sum of a row of weights": rounded(sums.min()),
            "largest sum of a row of weights": rounded(sums.max()),
            "largest weight of a hidden word, 0 before the softmax": rounded(
                multiplied(SCORES, CAUSAL).masked_fill(CAUSAL, 0).max()
            ),
            "largest weight of a hidden word, no mask": rounded(unmasked.masked_fill(CAUSAL, 0).max()),
        },
    )


def masked_softmax_of_question_12(scores: Tensor, mask: Tensor) -> Tensor:
    """The function, verbatim, with a mask of ones and zeros."""
    block = printed("000_q12_masked_self_attention.py")
    weights: Tensor = block["masked_softmax"](scores, mask.to(scores.dtype))
    return weights


def masked_softmax_of_question_38(scores: Tensor, mask: Tensor) -> Tensor:
    """The function of the same name, verbatim."""
    weights: Tensor = printed("000_q38_masked_attention.py")["masked_softmax"](scores, mask)
    return weights


@refutation(
    if_true=masked_softmax_of_question_38,
    adversary=Adversary(
        "scores multiplied by the mask: the rows are distributions, but not over the visible words alone",
        multiplied,
        refuted=True,
    ),
)
def the_printed_masked_softmax_is_no_distribution(to_weights: ToWeights = masked_softmax_of_question_12) -> Shown:
    """Run the printed function under a causal mask and count the rows that are a distribution over the visible words.

    `0 * -inf` is NaN. The function of the same name in question 38 replaces the scores instead.
    """
    weights = to_weights(SCORES, CAUSAL)
    ones = torch.ones(WORDS, dtype=weights.dtype)
    right = torch.isclose(weights.sum(dim=-1), ones) & (weights.masked_fill(CAUSAL, 0) == 0).all(dim=-1)
    return Shown(
        refuted=not right.all(),
        numbers={
            "weights": weights.numel(),
            "weights that are NaN": int(weights.isnan().sum()),
            "rows": WORDS,
            "rows that are a distribution over the visible words": int(right.sum()),
        },
    )


LONGEST = 8

Create = Callable[[int, int], Tensor]
"""From the length of a sequence and the longest length to a mask that tells its words from the padding after them."""


def printed_padding_mask(length: int, longest: int) -> Tensor:
    """The printed function, verbatim."""
    mask: Tensor = printed("000_q28_create_mask.py")["create_mask"](length, longest)
    return mask


def words_come_first(length: int, longest: int) -> Tensor:
    """True = may attend: the first `length` positions."""
    return torch.arange(longest) < length


def all_marked(length: int, longest: int) -> Tensor:
    """True everywhere."""
    return torch.ones(longest, dtype=torch.bool)


@refutation(
    if_true=words_come_first,
    adversary=Adversary("a mask that marks every position, the words as well", all_marked, refuted=True),
)
def the_printed_padding_mask_marks_nothing(create: Create = printed_padding_mask) -> Shown:
    """Build the printed mask for every length up to 8 in a batch of longest length 8, and see what it tells apart.

    Padding is told from words where the mask has a value that no word of the sequence has; True or False, as it likes.
    """
    marked, told, refused = 0, 0, 0
    for length in range(1, LONGEST + 1):
        try:
            row = create(length, LONGEST).int().reshape(-1, LONGEST)[0]
        except RuntimeError:
            refused += 1
            continue
        words, padding = row[:length], row[length:]
        marked += int(row.sum())
        told += int((~torch.isin(padding, words)).sum())
    return Shown(
        refuted=told == 0,
        numbers={
            "lengths tried": LONGEST,
            "lengths that end in an exception": refused,
            "positions that are True, all lengths together": marked,
            "padding positions": sum(range(LONGEST)),
            "padding positions that are told from words": told,
        },
    )


PADDING = 0

Attend = Callable[[Tensor, Tensor], Tensor]
"""From vectors `(B, T, D)` and a mask of the padding `(B, T)`, True = padding, to outputs of the same shape."""


def torch_attention(words: Tensor, padding: Tensor) -> Tensor:
    """Torch's multi-head self-attention with the padding masked."""
    layer = seeded(lambda: nn.MultiheadAttention(WIDTH, 2, batch_first=True)).double().eval()
    output: Tensor = layer(words, words, words, key_padding_mask=padding)[0]
    return output


def sorting_attention(words: Tensor, padding: Tensor) -> Tensor:
    """Move the padding of each sequence to its end, then attend."""
    order = padding.int().argsort(dim=-1, stable=True)
    moved = words.take_along_dim(order[..., None], dim=1)
    return torch_attention(moved, padding.take_along_dim(order, dim=1))


def unmasked_attention(words: Tensor, padding: Tensor) -> Tensor:
    """Attend to the padding as well."""
    return torch_attention(words, torch.zeros_like(padding))


def no_positions(ids: Tensor) -> Tensor:
    """Nothing to add to the words."""
    return torch.zeros(*ids.shape, WIDTH, dtype=torch.float64)


def positions_of_columns(ids: Tensor) -> Tensor:
    """The sinusoids of the columns, padding counted."""
    return sinusoids(ids.shape[1], WIDTH, dtype=torch.float64).expand(*ids.shape, -1)


def positions_of_words(ids: Tensor) -> Tensor:
    """The sinusoids of the words, counted from the first word on."""
    number = ((ids != PADDING).cumsum(dim=-1) - 1).clamp(min=0)
    return sinusoids(ids.shape[1], WIDTH, dtype=torch.float64)[number]


@refutation(
    if_true=sorting_attention,
    adversary=Adversary(
        "attention without a mask, which is not what it is without padding, but sorts nothing either",
        unmasked_attention,
        refuted=True,
    ),
)
def attention_sorts_nothing(attend: Attend = torch_attention) -> Shown:
    """Pad one sequence at its end, at its start and within, and compare torch's outputs at the places of its words.

    Attention that moved the padding to the end would return the words in other places. Where the padding stands does
    matter to positions: the same is measured with sinusoids, counted by column and counted from the first word.
    """
    table = normal(10, WIDTH)
    end, start, within = (torch.tensor([ids]) for ids in ([3, 1, 4, 0, 0], [0, 0, 3, 1, 4], [3, 0, 1, 0, 4]))

    def outputs(ids: Tensor, positions: Callable[[Tensor], Tensor] = no_positions) -> Tensor:
        return attend(table[ids] + positions(ids), ids == PADDING)

    def moved(ids: Tensor, positions: Callable[[Tensor], Tensor] = no_positions) -> float:
        return largest_difference(outputs(ids, positions)[ids != PADDING], outputs(end, positions)[end != PADDING])

    batch, order = torch.cat((end, start, within)), torch.tensor([2, 0, 1])
    without = [moved(start), moved(within)]
    return Shown(
        refuted=max(without) < NOISE,
        numbers={
            "change of the words' outputs, padding at the start instead of the end": rounded(without[0]),
            "change of the words' outputs, padding within": rounded(without[1]),
            "change when the sequences of a batch are reordered": rounded(
                largest_difference(outputs(batch[order]), outputs(batch)[order])
            ),
            "padding at the start, sinusoids counted by column": rounded(moved(start, positions_of_columns)),
            "padding at the start, sinusoids counted from the first word": rounded(moved(start, positions_of_words)),
        },
    )


def torch_weights(words: Tensor, padding: Tensor) -> Tensor:
    """The weights of torch's multi-head self-attention."""
    layer = seeded(lambda: nn.MultiheadAttention(WIDTH, 2, batch_first=True)).double().eval()
    weights: Tensor = layer(words, words, words, key_padding_mask=padding)[1]
    return weights.detach()


def penalised(penalty: float, words: Tensor, padding: Tensor) -> Tensor:
    """The weights of attention whose scores are lowered by the printed soft mask."""
    scores = words @ words.mT / WIDTH**0.5
    lowered: Tensor = printed("000_q23_hard_mask_soft_mask.py")["soft_mask"](scores, padding[:, None], penalty)
    return torch.softmax(lowered, dim=-1)


@refutation(
    if_true=partial(penalised, 0.1),
    adversary=Adversary(
        "a penalty of 20 on the scores: what it leaves looks like nothing, and is not 0",
        partial(penalised, 20.0),
        refuted=False,
    ),
)
def padding_gets_no_attention(weigh: Attend = torch_weights) -> Shown:
    """Read the largest weight that torch's multi-head attention gives to padding, with and without the padding mask.

    Not too much attention would be what the printed soft mask of question 23 leaves: less than without, more than 0.
    """
    padding = torch.tensor([[False] * 4 + [True] * 2])
    words = normal(1, WORDS, WIDTH)
    masked, unmasked = (weigh(words, mask)[:, :, 4:].max() for mask in (padding, torch.zeros_like(padding)))
    return Shown(
        refuted=float(masked) == 0,
        numbers={
            "largest weight of padding, without the mask": rounded(unmasked),
            "largest weight of padding, with the mask": rounded(masked),
            "the latter is exactly 0": float(masked) == 0,
        },
    )
