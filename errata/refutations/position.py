"""Statements about word order: who knows it, and from where."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from errata.findings import Figure
from errata.refutations.measure import NOISE, influence, largest_difference, normal, rounded, seeded
from errata.refutations.models import SOURCE, small_transformer
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation
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


def encoder(seed: int = 0) -> Encoder:
    """Two layers of the reference's encoder, in evaluation, without positions."""

    def layer() -> EncoderLayer:
        return EncoderLayer(MultiHeadAttention(WIDTH, 2), FeedForward(WIDTH, 16))

    return seeded(lambda: Encoder(layer() for _ in range(2)), seed).double().eval()


def without_positions(words: Tensor) -> Tensor:
    """Encode the words as they are."""
    states: Tensor = encoder()(words)
    return states


def with_positions(words: Tensor) -> Tensor:
    """Add the sinusoids, then encode."""
    return without_positions(PositionalEncoding(WIDTH)(words))


def with_causal_mask(words: Tensor) -> Tensor:
    """Encode without positions, each word seeing itself and the words before it alone."""
    states: Tensor = encoder()(words, causal_mask(words.shape[1]))
    return states


def with_faint_positions(words: Tensor) -> Tensor:
    """Add a thousandth of the sinusoids, then encode."""
    return without_positions(words + sinusoids(words.shape[1], WIDTH, dtype=words.dtype) / 1000)


def reaction_to_order(encode: Encode) -> float:
    """Shuffle the words, encode and put the states back in order: the largest difference from those not shuffled."""
    words = normal(1, WORDS, WIDTH)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    return largest_difference(encode(words)[:, order], encode(words[:, order]))


@refutation(
    if_true=with_positions,
    adversary=Adversary(
        "an encoder without positions under a causal mask, which does notice the order", with_causal_mask, refuted=False
    ),
)
def order_is_invisible_without_positions(encode: Encode = without_positions) -> Shown:
    """Shuffle the words of a sequence and compare the state of each word before and after, in an untrained encoder.

    A model that knew the order by itself would give a word another state in another place. A causal mask is enough to
    tell places apart, since each one sees another number of words: a decoder is not quite blind.
    """
    blind = rounded(reaction_to_order(encode))
    others = {
        "with sinusoids": rounded(reaction_to_order(with_positions)),
        "without positions, causal mask": rounded(reaction_to_order(with_causal_mask)),
    }
    return Shown(
        refuted=blind < NOISE < others["with sinusoids"],
        numbers={
            f"largest difference after shuffling, {name}": value
            for name, value in ({"the encoder in question": blind} | others).items()
        },
        figure=Figure(
            kind="bars",
            title="How much the state of a word changes when the words are shuffled",
            x_label="encoder",
            y_label="largest difference",
            data={"without positions": blind} | others,
        ),
    )


@refutation(
    if_true=without_positions,
    adversary=Adversary(
        "an encoder with a thousandth of the codes, whose states do change, but hardly",
        with_faint_positions,
        refuted=False,
    ),
)
def order_matters_with_positions(encode: Encode = with_positions) -> Shown:
    """Shuffle the words in front of an untrained encoder with positions and measure how far their states move.

    The change is that of the states of the same words, relative to the size of these states.
    """
    words = normal(1, WORDS, WIDTH)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    states, shuffled = encode(words)[:, order].detach(), encode(words[:, order]).detach()
    change = float((states - shuffled).norm() / states.norm())
    return Shown(
        refuted=change > 0.1,
        numbers={"words": WORDS, "relative change of the states of the same words": rounded(change)},
    )


def at_any_distance(words: Tensor, seed: int) -> Tensor:
    """Encode with sinusoids, by the encoder of a seed."""
    states: Tensor = encoder(seed)(PositionalEncoding(WIDTH)(words))
    return states


def twice_as_large(words: Tensor, seed: int) -> Tensor:
    """Encode with sinusoids and double the states."""
    return 2 * at_any_distance(words, seed)


def with_a_way_to_the_first_word(words: Tensor, seed: int) -> Tensor:
    """Encode with sinusoids and add the first word to each state."""
    return at_any_distance(words, seed) + words[:, :1]


def share_of_the_first_word(encode: Callable[[Tensor, int], Tensor], length: int) -> float:
    """How much of the other words' influence on the last state is that of the first word; mean of 20 encoders."""
    shares = []
    for seed in range(20):
        words = normal(8, length, WIDTH, seed=seed).requires_grad_()
        others = influence(encode(words, seed)[:, -1], words).sum(dim=-1)[:, :-1]
        shares.append((others[:, 0] / others.sum(dim=-1)).mean())
    return float(torch.stack(shares).mean())


@refutation(
    if_true=with_a_way_to_the_first_word,
    adversary=Adversary(
        "an encoder with twice as large states: every influence is doubled, that of near words too",
        twice_as_large,
        refuted=True,
    ),
)
def positions_bring_no_word_nearer(encode: Callable[[Tensor, int], Tensor] = at_any_distance) -> Shown:
    """Measure how much the first word counts for the last state, beside the other words, with and without positions.

    It is the mean of 20 untrained encoders. Attention joins any two words in one step: without positions each of the
    others counts the same on average. If positions helped distant words, the share of the first one would grow.
    """
    numbers: dict[str, float] = {}
    gains = []
    for length in (WORDS, 50):
        without = share_of_the_first_word(lambda words, seed: encoder(seed)(words), length)
        share = share_of_the_first_word(encode, length)
        gains.append(share / without)
        numbers |= {
            f"{length} words: share of the first word, without positions": rounded(without),
            f"{length} words: share of the first word, with positions": rounded(share),
        }
    return Shown(refuted=max(gains) < 1.25, numbers=numbers)


Predict = Callable[[Tensor], Tensor]
"""From the ids of a context to the probabilities of the next word."""


def next_word(context: Tensor) -> Tensor:
    """The probabilities of the word after `context` (ids), in a small Transformer of the reference."""
    return torch.softmax(small_transformer()(SOURCE, context[None])[0, -1], dim=-1).detach()


def whatever_came_before(context: Tensor) -> Tensor:
    """The same probabilities after every context: independent words."""
    return torch.full((10,), 0.1, dtype=torch.float64)


def at_random() -> Predict:
    """Probabilities that ignore the context and are drawn anew at each call."""
    generator = torch.Generator().manual_seed(0)
    return lambda context: torch.rand(10, dtype=torch.float64, generator=generator).softmax(dim=-1)


@refutation(
    if_true=whatever_came_before,
    adversary=Adversary(
        "predictions that ignore the context, but are random: they differ after the same context as well",
        at_random(),
        refuted=False,
    ),
)
def words_are_not_independent(predict: Predict = next_word) -> Shown:
    """Compare the distribution of the next word after two contexts that differ in one earlier word.

    If the model took the words to be independent and identically distributed, it would be the same after all contexts.
    """
    first, again, other = (predict(torch.tensor(ids)) for ids in ([1, 4, 5], [1, 4, 5], [1, 6, 5]))
    same, different = (float((first - second).abs().sum() / 2) for second in (again, other))
    return Shown(
        refuted=same < NOISE < different,
        numbers={
            "earlier words that differ": 1,
            "total variation distance of the two predictions": rounded(different),
            "total variation distance after the same words": rounded(same),
        },
    )


Table = Callable[[int], Tensor]
"""From a length to the codes of all pairs, `(T, T, D)`: one for each pair of a word that looks and one looked at."""


def codes_of_offsets(length: int) -> Tensor:
    """The sinusoid of each offset."""
    return relative_sinusoids(length, WIDTH, dtype=torch.float64)


def codes_of_words(length: int) -> Tensor:
    """The sinusoid of the word that is looked at, whoever looks: an absolute position."""
    return sinusoids(length, WIDTH, dtype=torch.float64).expand(length, -1, -1)


def clipped_offsets(length: int) -> Tensor:
    """Offsets between -1 and 1; farther words share the code of the nearest."""
    place = torch.arange(length, dtype=torch.float64)
    return (place - place[:, None]).clamp(-1, 1)[..., None]


@refutation(
    if_true=codes_of_words,
    adversary=Adversary("clipped offsets, where most words see a word under the same code", clipped_offsets, True),
)
def a_word_has_no_relative_position(table_of: Table = codes_of_offsets) -> Shown:
    """Count the different relative codes that one word has, seen from each of the words of its sequence.

    A code that is written into the word's vector, as the statement has it, must be the same for all that look at it.
    """
    table = table_of(WORDS)
    seen = len(torch.unique(table[:, 2], dim=0))
    return Shown(
        refuted=seen > 1,
        numbers={
            "words": WORDS,
            "different codes of the third word": seen,
            "different codes in the whole table": len(torch.unique(table.flatten(0, 1), dim=0)),
        },
    )


def printed_offsets(length: int) -> Tensor:
    """The table of the printed block, verbatim."""
    table: Tensor = printed("000_q07_relative_position_encoding.py")["relative_position_encoding"](length, WIDTH)
    return table


def offsets_backwards(length: int) -> Tensor:
    """The offset of each pair with the other sign."""
    place = torch.arange(length, dtype=torch.float64)
    return (place[:, None] - place)[..., None]


@refutation(
    if_true=codes_of_offsets,
    adversary=Adversary("offsets with the other sign, none of them as expected", offsets_backwards, refuted=False),
)
def the_printed_offsets_are_positions(table_of: Table = printed_offsets) -> Shown:
    """Run the printed block and count the different codes of the pairs that have the same offset.

    In a table of offsets it is one for each offset. The block writes the position of the second word of a pair
    instead, and 0 where that word stands before the first.
    """
    table = table_of(WORDS)
    diagonals = [table.diagonal(offset).T for offset in range(1 - WORDS, WORDS)]
    different = [len(torch.unique(codes, dim=0)) for codes in diagonals]
    return Shown(
        refuted=max(different) > 1,
        numbers={
            "pairs of a word and the next one": WORDS - 1,
            "different codes of these pairs": different[WORDS],
            "offsets": len(different),
            "offsets with more than one code": sum(count > 1 for count in different),
        },
    )


Restart = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From words to the outputs from the third place on, in one pass and when the layer starts anew there."""


def as_they_are(words: Tensor) -> Tensor:
    """The words without any code."""
    return words


def recurrent(words: Tensor, enter: Encode = as_they_are, bias: float = 0.0) -> tuple[Tensor, Tensor]:
    """Torch's recurrent layer with its own biases; anew, it starts from the state that it has reached."""
    layer = seeded(lambda: nn.RNN(WIDTH, WIDTH, batch_first=True)).double()
    layer.get_parameter("bias_ih_l0").data += bias
    _, state = layer(enter(words[:, :2]))
    whole: Tensor = layer(enter(words))[0][:, 2:]
    anew: Tensor = layer(enter(words[:, 2:]), state)[0]
    return whole, anew


def convolutional(words: Tensor, enter: Encode = as_they_are) -> tuple[Tensor, Tensor]:
    """Torch's convolution over three words each."""
    layer = seeded(lambda: nn.Conv1d(WIDTH, WIDTH, kernel_size=3)).double()
    return layer(enter(words).mT).mT[:, 2:], layer(enter(words[:, 2:]).mT).mT


def change_of_the_last_output(layer: Restart) -> float:
    """How much the last output changes when the two words before the last are swapped."""
    words = normal(1, WORDS, WIDTH)
    return largest_difference(layer(words)[0][:, -1], layer(words[:, [0, 1, 2, 4, 3, 5]])[0][:, -1])


@refutation(
    if_true={
        "recurrence": partial(recurrent, enter=PositionalEncoding(WIDTH)),
        "convolution": partial(convolutional, enter=PositionalEncoding(WIDTH)),
    },
    adversary=Adversary(
        "a recurrent layer with large biases, whose state moves even while it reads zeros",
        {"recurrence": partial(recurrent, bias=1.0), "convolution": convolutional},
        refuted=True,
    ),
)
def recurrence_and_convolution_carry_no_position_code(
    layers: Mapping[str, Restart] = {"recurrence": recurrent, "convolution": convolutional},
) -> Shown:
    """Start torch's recurrent and convolutional layer anew in the middle of a sequence, and swap two words.

    The recurrent layer takes along the state it has reached, and nothing else. If the layers had a code for the
    places, the third word would now count as the first, and the outputs would change. They notice the order: swapped
    words change the output after them.
    """
    swapped = {name: change_of_the_last_output(layer) for name, layer in layers.items()}
    anew = {name: largest_difference(*layer(normal(1, WORDS, WIDTH))) for name, layer in layers.items()}
    return Shown(
        refuted=min(swapped.values()) > NOISE > max(anew.values()),
        numbers={f"{name}: change when two words are swapped": rounded(value) for name, value in swapped.items()}
        | {f"{name}: change when it starts anew in the middle": rounded(value) for name, value in anew.items()},
    )


Positions = Callable[[int, int], Tensor]
"""From a number of positions and a width to a table `(1, T, D)`."""


def printed_tables() -> tuple[Positions, ...]:
    """The printed functions of questions 2, 18 and 20.

    `torch.sin` and `torch.cos` refuse the plain number that questions 2 and 20 give them, and question 2 leaves its
    `device` open: repaired; nothing else.
    """
    repairs = ("torch.sin(", "np.sin("), ("torch.cos(", "np.cos(")
    blocks = (
        printed("000_q02_positional_encoding.py", *repairs, device="cpu"),
        printed("000_q18_positional_encoding.py"),
        printed("000_q20_positional_encoding.py", *repairs),
    )
    return tuple(block["positional_encoding"] for block in blocks)


def sinusoidal(length: int, width: int) -> Tensor:
    """The table of the paper."""
    return sinusoids(length, width, dtype=torch.float64)[None]


def one_angle_a_position(length: int, width: int) -> Tensor:
    """The angle of questions 18 and 20 at the number of each position, the same in all columns."""
    angle = torch.arange(length, dtype=torch.float64)[:, None] * torch.pi / width
    return torch.stack((angle.sin(), angle.cos()), dim=-1).expand(-1, width // 2, -1).flatten(1)[None]


def with_table(table: Tensor, words: Tensor) -> Tensor:
    """Add a table of positions, then encode."""
    return without_positions(words + table)


@refutation(
    if_true=(sinusoidal,),
    adversary=Adversary(
        "the printed angle at the number of each position: not the paper's formula, but its rows differ",
        (one_angle_a_position,),
        refuted=False,
    ),
)
def the_printed_angle_is_the_same_at_every_position(tables: tuple[Positions, ...] | None = None) -> Shown:
    """Run the printed blocks, repaired until they run, count the different rows, add the table to words and shuffle.

    The formulas use the number of positions where the position should stand. Adding equal rows tells no order.
    """
    built = [positions(WORDS, WIDTH) for positions in tables or printed_tables()]
    rows = [len(torch.unique(table[0], dim=0)) for table in built]
    blind = max(reaction_to_order(partial(with_table, table)) for table in built)
    right = sinusoids(WORDS, WIDTH, dtype=torch.float64)
    return Shown(
        refuted=max(rows) == 1 and blind < NOISE,
        numbers={
            "positions": WORDS,
            "different rows of the table, at most": max(rows),
            "different rows of the sinusoids": len(torch.unique(right, dim=0)),
            "largest difference after shuffling, table added": rounded(blind),
            "largest difference after shuffling, sinusoids added": rounded(reaction_to_order(with_positions)),
        },
    )
