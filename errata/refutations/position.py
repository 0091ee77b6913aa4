"""Statements about word order: who knows it, and from where."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from errata.findings import Figure
from errata.refutations.measure import NOISE, largest_difference, normal, rounded, seeded
from errata.refutations.models import SOURCE, small_transformer
from errata.refutations.registry import Shown, refutation
from reference import (
    Encoder,
    EncoderLayer,
    FeedForward,
    MultiHeadAttention,
    PositionalEncoding,
    causal_mask,
    relative_sinusoids,
    sinusoids,
)

WORDS, WIDTH = 6, 8

Encode = Callable[[Tensor], Tensor]
"""From words `(B, T, D)` to states of the same shape."""


def encoder() -> Encoder:
    """Two layers of the reference's encoder, in evaluation, without positions."""

    def layer() -> EncoderLayer:
        return EncoderLayer(MultiHeadAttention(WIDTH, 2), FeedForward(WIDTH, 16))

    return seeded(lambda: Encoder(layer() for _ in range(2))).double().eval()


def without_positions(words: Tensor) -> Tensor:
    """Encode the words as they are."""
    states: Tensor = encoder()(words)
    return states


def with_positions(words: Tensor) -> Tensor:
    """Add the sinusoids, then encode."""
    return without_positions(PositionalEncoding(WIDTH)(words))


def with_causal_mask(words: Tensor) -> Tensor:
    """Encode without positions, each word seeing the words before it alone."""
    states: Tensor = encoder()(words, causal_mask(words.shape[1]))
    return states


def reaction_to_order(encode: Encode) -> float:
    """Shuffle the words, encode and put the states back in order: the largest difference from those not shuffled."""
    words = normal(1, WORDS, WIDTH)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    return largest_difference(encode(words)[:, order], encode(words[:, order]))


@refutation
def order_is_invisible_without_positions(encode: Encode = without_positions) -> Shown:
    """Shuffle the words of a sequence and compare the state of each word before and after, with and without positions.

    A model that knew the order by itself would give a word another state in another place. A causal mask alone breaks
    the symmetry as well, so a decoder is not quite blind.
    """
    blind, seeing, masked = map(reaction_to_order, (encode, with_positions, with_causal_mask))
    named = {
        "without positions": rounded(blind),
        "with sinusoids": rounded(seeing),
        "without positions, causal mask": rounded(masked),
    }
    return Shown(
        refuted=blind < NOISE < seeing,
        numbers={f"largest difference after shuffling, {name}": value for name, value in named.items()},
        figure=Figure(
            kind="bars",
            title="How much the state of a word changes when the words are shuffled",
            x_label="encoder",
            y_label="largest difference",
            data=named,
        ),
    )


@refutation
def order_matters_with_positions(encode: Encode = with_positions) -> Shown:
    """Shuffle the words in front of an encoder with positions and measure how far the states of the same words move."""
    words = normal(1, WORDS, WIDTH)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    states, shuffled = encode(words)[:, order].detach(), encode(words[:, order]).detach()
    change = float((states - shuffled).norm() / states.norm())
    return Shown(
        refuted=change > 0.1,
        numbers={"words": WORDS, "relative change of the states of the same words": rounded(change)},
    )


def next_word(context: Tensor) -> Tensor:
    """The probabilities of the word after `context` (ids), in a small Transformer of the reference."""
    return torch.softmax(small_transformer()(SOURCE, context[None])[0, -1], dim=-1).detach()


@refutation
def words_are_not_independent(predict: Callable[[Tensor], Tensor] = next_word) -> Shown:
    """Compare the distribution of the next word after two contexts that differ in one earlier word.

    If the model took the words to be independent and identically distributed, it would be the same after all contexts.
    """
    first, second = predict(torch.tensor([1, 4, 5])), predict(torch.tensor([1, 6, 5]))
    distance = float((first - second).abs().sum() / 2)
    return Shown(
        refuted=distance > NOISE,
        numbers={
            "earlier words that differ": 1,
            "total variation distance of the two predictions": rounded(distance),
        },
    )


def relative_table(length: int) -> Tensor:
    """The reference's codes of offsets, `(T, S, D)`: one for each pair."""
    return relative_sinusoids(length, WIDTH, dtype=torch.float64)


@refutation
def a_word_has_no_relative_position(table_of: Callable[[int], Tensor] = relative_table) -> Shown:
    """Count the different relative codes that one word has, seen from each of the words of its sequence.

    A code that is written into the word's vector, as the statement has it, must be the same for all that look at it.
    """
    table = table_of(WORDS)
    seen = len(torch.unique(table[:, 2], dim=0))
    offsets = len(torch.unique(table.flatten(0, 1), dim=0))
    return Shown(
        refuted=seen > 1,
        numbers={
            "words": WORDS,
            "different codes of the third word": seen,
            "different codes in the whole table": offsets,
        },
    )


def recurrent(words: Tensor) -> Tensor:
    """A recurrent layer."""
    layer = seeded(lambda: nn.RNN(WIDTH, WIDTH, batch_first=True, bias=False)).double()
    return torch.as_tensor(layer(words)[0])


def convolutional(words: Tensor) -> Tensor:
    """A convolution of width 3."""
    layer = seeded(lambda: nn.Conv1d(WIDTH, WIDTH, kernel_size=3, padding=1, bias=False)).double()
    return torch.as_tensor(layer(words.mT)).mT


def reaction_to_place(layer: Encode) -> float:
    """Move a sequence two places to the right, zeros before it: how much the outputs of its inner words change."""
    words = nn.functional.pad(normal(1, WORDS, WIDTH), (0, 0, 2, 4))
    return largest_difference(layer(words)[:, 2:-4], layer(words.roll(2, dims=1))[:, 4:-2])


@refutation
def recurrence_and_convolution_carry_no_position_code(
    layers: Mapping[str, Encode] = {"recurrence": recurrent, "convolution": convolutional},
) -> Shown:
    """Shuffle the words in front of a recurrent and a convolutional layer, and move the sequence as a whole.

    Both notice the order. Neither notices the place: a position code would make the outputs depend on it.
    """
    shuffled = {name: reaction_to_order(layer) for name, layer in layers.items()}
    moved = {name: reaction_to_place(layer) for name, layer in layers.items()}
    return Shown(
        refuted=min(shuffled.values()) > NOISE > max(moved.values()),
        numbers={f"{name}: difference after shuffling": rounded(value) for name, value in shuffled.items()}
        | {f"{name}: difference after moving the sequence": rounded(value) for name, value in moved.items()},
    )


Angles = Callable[[int, int], Tensor]
"""From a number of positions and a width to the angles, broadcasting to `(T, D / 2)`."""


def printed_angle(position: int, width: int) -> Tensor:
    """The printed formula `position * pi / d_model`, where `position` is the number of positions."""
    return torch.tensor(position * torch.pi / width, dtype=torch.float64)


def printed_angle_with_power(position: int, width: int) -> Tensor:
    """The printed formula `2 * pi * position / 10000^(1 / d_model)`, where `position` is the number of positions."""
    return torch.tensor(2 * torch.pi * position / 10000 ** (1 / width), dtype=torch.float64)


def table_from(angles: Angles, length: int, width: int) -> Tensor:
    """Write sines and cosines of the angles to even and odd columns of a table `(T, D)`."""
    table = torch.zeros(length, width, dtype=torch.float64)
    table[:, 0::2] = angles(length, width).sin()
    table[:, 1::2] = angles(length, width).cos()
    return table


def with_table(table: Tensor, words: Tensor) -> Tensor:
    """Add a table of positions, then encode."""
    return without_positions(words + table)


@refutation
def the_printed_angle_is_the_same_at_every_position(
    printed: tuple[Angles, ...] = (printed_angle, printed_angle_with_power),
) -> Shown:
    """Evaluate the printed angles and count the different rows of the table; then add it to the words and shuffle them.

    Both formulas use the number of positions where the position should stand. Adding equal rows tells no order.
    """
    length = WORDS
    tables = [table_from(angles, length, WIDTH) for angles in printed]
    rows = [len(torch.unique(table, dim=0)) for table in tables]
    blind = max(reaction_to_order(partial(with_table, table)) for table in tables)
    right = sinusoids(length, WIDTH, dtype=torch.float64)
    return Shown(
        refuted=max(rows) == 1 and blind < NOISE,
        numbers={
            "positions": length,
            "different rows of the printed tables, at most": max(rows),
            "different rows of the sinusoids": len(torch.unique(right, dim=0)),
            "largest difference after shuffling, printed table added": rounded(blind),
            "largest difference after shuffling, sinusoids added": rounded(reaction_to_order(with_positions)),
        },
    )
