"""Statements about cost: counted operations and stored numbers, and how they grow with the length of the sequence."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from errata.findings import Figure
from errata.refutations.depth import longest_chain, step_by_step
from errata.refutations.measure import flops, growth_exponent, largest_result, normal, rounded, seeded
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation

WIDTH = 32
LENGTHS = [8, 16, 32, 64, 128, 256, 512]
WINDOW = 16

Layer = Callable[[Tensor], Any]


def attention() -> Layer:
    """PyTorch's multi-head self-attention, projections included."""
    module = seeded(lambda: nn.MultiheadAttention(WIDTH, 4, batch_first=True)).double()
    return lambda words: module(words, words, words)


def recurrence() -> Layer:
    """A recurrent layer of the same width."""
    return seeded(lambda: nn.RNN(WIDTH, WIDTH, batch_first=True)).double()


def convolution(channels: int = WIDTH) -> Layer:
    """A convolution of width 3 with as many channels."""
    module = seeded(lambda: nn.Conv1d(channels, channels, kernel_size=3, padding=1)).double()
    return lambda words: module(words.mT)


def attention_in_windows() -> Layer:
    """Attention that never looks further than to the words of its own window."""
    attend = attention()
    return lambda words: attend(words.view(-1, min(WINDOW, words.shape[1]), WIDTH))


def costs(layer: Layer) -> list[int]:
    """Counted operations for each of `LENGTHS`."""
    return [flops(partial(layer, normal(1, length, WIDTH))) for length in LENGTHS]


def compare(name: str, ours: list[int], other: list[int], figure: Figure | None = None) -> Shown:
    """Whether attention costs more than the other layer for long sequences, and grows faster."""
    growth = growth_exponent(LENGTHS, ours), growth_exponent(LENGTHS, other)
    few = normal(1, LENGTHS[0], WIDTH)
    bare = printed("000_q01_scaled_dot_product_attention.py")["scaled_dot_product_attention"]
    without_projections = flops(partial(bare, few, few, few, WIDTH))
    return Shown(
        refuted=ours[-1] > other[-1] and growth[0] > growth[1] + 0.5,
        numbers={
            f"operations for {LENGTHS[-1]} words, attention": ours[-1],
            f"operations for {LENGTHS[-1]} words, {name}": other[-1],
            "growth with the length n, attention: n to the power": rounded(growth[0]),
            f"growth with the length n, {name}: n to the power": rounded(growth[1]),
            f"attention over {name}, {LENGTHS[0]} words": rounded(ours[0] / other[0]),
            f"the same without the projections of attention, {LENGTHS[0]} words": rounded(
                without_projections / other[0]
            ),
        },
        figure=figure,
    )


IN_WINDOWS = Adversary(
    f"attention within windows of {WINDOW} words, which costs more as well but grows no faster",
    attention_in_windows,
    refuted=False,
)


@refutation(if_true=recurrence, adversary=IN_WINDOWS)
def attention_outgrows_recurrence(attention: Callable[[], Layer] = attention) -> Shown:
    """Count the operations of attention and of a recurrent layer for growing sequences, and fit the exponents.

    Operations of matrix products; the softmax and the other elementwise functions are left out.
    """
    ours, other = costs(attention()), costs(recurrence())
    figure = Figure(
        kind="lines",
        title=f"Operations of one layer of width {WIDTH}",
        x_label="words",
        y_label="floating-point operations",
        data={"x": LENGTHS, "attention": ours, "recurrence": other, "convolution": costs(convolution())},
    )
    return compare("recurrence", ours, other, figure)


@refutation(if_true=convolution, adversary=IN_WINDOWS)
def attention_outgrows_convolution(attention: Callable[[], Layer] = attention) -> Shown:
    """Count the operations of attention and of a convolution of width 3 for growing sequences, and fit the exponents.

    Operations of matrix products and convolutions; the softmax is left out.
    """
    return compare("convolution", costs(attention()), costs(convolution()))


def stepwise() -> Layer:
    """A recurrent layer fed word by word, as it may be: each state replaces the one before."""
    cell = seeded(lambda: nn.RNNCell(WIDTH, WIDTH)).double()

    def read(words: Tensor) -> Tensor:
        state = torch.zeros(1, WIDTH, dtype=words.dtype)
        for word in words.unbind(dim=1):
            state = cell(word, state)
        return state

    return read


def attention_query_by_query() -> Layer:
    """Attention that never holds the weights of more than one query."""
    module = seeded(lambda: nn.MultiheadAttention(WIDTH, 4, batch_first=True)).double()
    return lambda words: [module(word, words, words)[0] for word in words.split(1, dim=1)]


def states(layer: Layer) -> list[int]:
    """The size of the largest tensor that the layer makes, for each of `LENGTHS`."""
    return [largest_result(partial(layer, normal(1, length, WIDTH))) for length in LENGTHS]


@refutation(
    if_true=stepwise,
    adversary=Adversary(
        "attention that answers one query after the other: no table of all pairs, but keys and values of all words",
        attention_query_by_query,
        refuted=True,
    ),
)
def attention_stores_all_pairs(attention: Callable[[], Layer] = attention) -> Shown:
    """Measure the largest tensor that attention and a recurrent cell make for growing sequences.

    Attention weighs every pair of words in every head; the recurrent cell keeps one state, however long the sequence.
    """
    kept, state = states(attention()), states(stepwise())
    growth = growth_exponent(LENGTHS, kept), growth_exponent(LENGTHS, state)
    return Shown(
        refuted=kept[-1] > state[-1] and growth[0] > growth[1] + 0.5,
        numbers={
            f"largest tensor for {LENGTHS[-1]} words, attention": kept[-1],
            f"largest tensor for {LENGTHS[-1]} words, recurrence": state[-1],
            "numbers in query, key and value of one word": 3 * WIDTH,
            "growth with the length n, attention: n to the power": rounded(growth[0]),
            "growth with the length n, recurrence: n to the power": rounded(growth[1]),
        },
    )


def cells(channels: int) -> Layer:
    """A recurrent layer, which must wait at each position for the one before."""
    return step_by_step(seeded(lambda: nn.RNN(channels, channels, batch_first=True)).double())


def position_by_position(channels: int) -> Layer:
    """The convolution in a loop over the positions."""
    layer = convolution(channels)

    def run(words: Tensor) -> Tensor:
        padded = nn.functional.pad(words, (0, 0, 1, 1))
        return torch.cat([layer(padded[:, t : t + 3])[..., 1:2] for t in range(words.shape[1])], dim=-1)

    return run


@refutation(
    if_true=cells,
    adversary=Adversary(
        "the convolution in a loop over the positions: many calls, none of which waits for another",
        position_by_position,
        refuted=True,
    ),
)
def a_convolution_takes_everything_at_once(build: Callable[[int], Layer] = convolution) -> Shown:
    """Measure the longest chain of operations that wait for one another in a convolution.

    For more positions and for more channels: in what must go position by position, or feature by feature, it grows.
    """

    def chain(positions: int, channels: int) -> int:
        return longest_chain(build(channels)(normal(1, positions, channels).requires_grad_()))

    chains = {
        f"longest chain of operations, {positions} positions, {channels} channels": chain(positions, channels)
        for positions, channels in ((8, 8), (64, 8), (64, 64))
    }
    return Shown(refuted=len(set(chains.values())) == 1, numbers=chains)
