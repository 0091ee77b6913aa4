"""Statements about cost: counted operations and stored numbers, and how they grow with the length of the sequence."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from errata.findings import Figure
from errata.refutations.measure import flops, growth_exponent, largest_result, normal, operations, rounded, seeded
from errata.refutations.registry import Shown, refutation
from reference import MultiHeadAttention, attention_with_weights

WIDTH = 32
LENGTHS = [8, 16, 32, 64, 128, 256, 512]

Layer = Callable[[Tensor], object]


def attention() -> Layer:
    """Multi-head self-attention, projections included."""
    module = seeded(lambda: MultiHeadAttention(WIDTH, 4)).double()
    return lambda words: module.with_weights(words, words, words)


def recurrence() -> Layer:
    """A recurrent layer of the same width."""
    return seeded(lambda: nn.RNN(WIDTH, WIDTH, batch_first=True)).double()


def convolution(channels: int = WIDTH) -> Layer:
    """A convolution of width 3 with as many channels."""
    module = seeded(lambda: nn.Conv1d(channels, channels, kernel_size=3, padding=1)).double()
    return lambda words: module(words.mT)


def costs(layer: Layer) -> list[int]:
    """Counted operations for each of `LENGTHS`."""
    return [flops(partial(layer, normal(1, length, WIDTH))) for length in LENGTHS]


def compare(name: str, ours: list[int], other: list[int], figure: Figure | None = None) -> Shown:
    """Whether attention costs more than the other layer for long sequences, and grows faster."""
    growth = growth_exponent(LENGTHS, ours), growth_exponent(LENGTHS, other)
    few = normal(1, LENGTHS[0], WIDTH)
    bare = flops(partial(attention_with_weights, few, few, few))
    return Shown(
        refuted=ours[-1] > other[-1] and growth[0] > growth[1] + 0.5,
        numbers={
            f"operations for {LENGTHS[-1]} words, attention": ours[-1],
            f"operations for {LENGTHS[-1]} words, {name}": other[-1],
            "growth with the length n, attention: n to the power": rounded(growth[0]),
            f"growth with the length n, {name}: n to the power": rounded(growth[1]),
            f"attention over {name}, {LENGTHS[0]} words": rounded(ours[0] / other[0]),
            f"the same without the projections of attention, {LENGTHS[0]} words": rounded(bare / other[0]),
        },
        figure=figure,
    )


@refutation
def attention_outgrows_recurrence(attention: Callable[[], Layer] = attention) -> Shown:
    """Count the operations of attention and of a recurrent layer for growing sequences, and fit the exponents."""
    ours, other = costs(attention()), costs(recurrence())
    figure = Figure(
        kind="lines",
        title=f"Operations of one layer of width {WIDTH}",
        x_label="words",
        y_label="floating-point operations",
        data={"x": LENGTHS, "attention": ours, "recurrence": other, "convolution": costs(convolution())},
    )
    return compare("recurrence", ours, other, figure)


@refutation
def attention_outgrows_convolution(attention: Callable[[], Layer] = attention) -> Shown:
    """Count the operations of attention and of a convolution for growing sequences, and fit the exponents."""
    return compare("convolution", costs(attention()), costs(convolution()))


def states(layer: Layer) -> list[int]:
    """The size of the largest tensor that the layer makes, for each of `LENGTHS`."""
    return [largest_result(partial(layer, normal(1, length, WIDTH))) for length in LENGTHS]


def stepwise() -> Layer:
    """A recurrent layer fed word by word, as it may be: each state replaces the one before."""
    cell = seeded(lambda: nn.RNNCell(WIDTH, WIDTH)).double()

    def read(words: Tensor) -> Tensor:
        state = torch.zeros(1, WIDTH, dtype=words.dtype)
        for word in words.unbind(dim=1):
            state = cell(word, state)
        return state

    return read


@refutation
def attention_stores_all_pairs(attention: Callable[[], Layer] = attention) -> Shown:
    """Measure the largest tensor that attention and a recurrent cell make for growing sequences.

    Attention weighs every pair of words in every head; the recurrent cell keeps one state, however long the sequence.
    """
    kept, state = states(attention()), states(stepwise())
    return Shown(
        refuted=kept[-1] > state[-1] and growth_exponent(LENGTHS, kept) > 1.5,
        numbers={
            f"largest tensor for {LENGTHS[-1]} words, attention": kept[-1],
            f"largest tensor for {LENGTHS[-1]} words, recurrence": state[-1],
            "numbers in query, key and value of one word": 3 * WIDTH,
            "growth with the length n, attention: n to the power": rounded(growth_exponent(LENGTHS, kept)),
            "growth with the length n, recurrence: n to the power": rounded(growth_exponent(LENGTHS, state)),
        },
    )


@refutation
def a_convolution_takes_everything_at_once(build: Callable[[int], Layer] = convolution) -> Shown:
    """Count the operations that a convolution issues one after the other, for more positions and for more channels.

    One that went position by position would issue 64 times as many for the longer input, one that went feature by
    feature 8 times as many for the wider one.
    """
    narrow, wide = build(8), build(64)
    few, many, many_wide = normal(1, LENGTHS[0], 8), normal(1, LENGTHS[-1], 8), normal(1, LENGTHS[-1], 64)
    runs = {
        f"{LENGTHS[0]} positions, 8 channels": partial(narrow, few),
        f"{LENGTHS[-1]} positions, 8 channels": partial(narrow, many),
        f"{LENGTHS[-1]} positions, 64 channels": partial(wide, many_wide),
    }
    issued = {name: operations(run) for name, run in runs.items()}
    serial = operations(partial(recurrence(), normal(1, LENGTHS[-1], WIDTH)))
    return Shown(
        refuted=len(set(issued.values())) == 1,
        numbers={f"operations issued, {name}": count for name, count in issued.items()}
        | {f"operations issued by a recurrence, {LENGTHS[-1]} positions": serial},
    )
