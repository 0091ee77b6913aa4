"""What splitting into heads, and adding codes of places, does and does not do."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from errata.findings import Figure
from errata.refutations.measure import NOISE, growth_exponent, largest_difference, normal, rounded, seeded
from errata.refutations.models import WIDTH
from errata.refutations.registry import Adversary, Shown, refutation
from reference import sinusoids


def multi_head(width: int = WIDTH, heads: int = 2) -> nn.MultiheadAttention:
    """PyTorch's multi-head attention, with the same weights at every call."""
    return seeded(lambda: nn.MultiheadAttention(width, heads, batch_first=True, dtype=torch.float64))


Weigh = Callable[[Tensor, int], Tensor]
"""From a sequence and a number of heads to all attention weights."""


def weights_of_each_head(x: Tensor, heads: int) -> Tensor:
    """The weights of each head, `(B, H, T, T)`."""
    weights: Tensor = multi_head(x.shape[-1], heads)(x, x, x, average_attn_weights=False)[1]
    return weights


def averaged_weights(x: Tensor, heads: int) -> Tensor:
    """The weights as the module returns them by default: their average over the heads."""
    weights: Tensor = multi_head(x.shape[-1], heads)(x, x, x)[1]
    return weights


def fewer_with_more_heads(x: Tensor, heads: int) -> Tensor:
    """An attention whose heads share out the pairs of positions."""
    return weights_of_each_head(x, 1).flatten()[::heads]


@refutation(
    if_true=fewer_with_more_heads,
    adversary=Adversary(
        "the average over the heads, which PyTorch returns unless told otherwise: it hides their number",
        averaged_weights,
        refuted=True,
    ),
)
def more_heads_make_long_sequences_dearer(weigh: Weigh = weights_of_each_head) -> Shown:
    """Count the attention weights of sequences of 32, 64 and 128 positions with 1 and with 8 heads.

    Were longer sequences the gain of more heads, these would need less for them, not as much or more.
    """
    lengths = (32, 64, 128)
    one, eight = ([weigh(normal(1, length, 16), heads).numel() for length in lengths] for heads in (1, 8))
    return Shown(
        refuted=all(many >= few for few, many in zip(one, eight, strict=True)),
        numbers={
            "weights for 128 positions, 1 head": one[-1],
            "weights for 128 positions, 8 heads": eight[-1],
            "exponent of their growth with the length, 1 head": rounded(growth_exponent(lengths, one)),
            "exponent of their growth with the length, 8 heads": rounded(growth_exponent(lengths, eight)),
        },
        figure=Figure(
            kind="lines",
            title="Attention weights of one layer",
            x_label="positions",
            y_label="numbers",
            data={"x": list(lengths), "1 head": one, "8 heads": eight},
        ),
    )


Answer = Callable[[nn.MultiheadAttention, Tensor], Tensor]
"""From a module and a sequence to what the module answers."""


def whole(module: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """What the module answers to the sequence."""
    output: Tensor = module(x, x, x)[0]
    return output


def each_half_by_itself(module: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """What the module answers to the two halves of the sequence, one laid behind the other."""
    return torch.cat([whole(module, part) for part in x.chunk(2, dim=1)], dim=1)


def queries_in_two_pieces(module: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """What the module answers to the queries of each half, with the keys and values of the whole sequence."""
    return torch.cat([module(part, x, x)[0] for part in x.chunk(2, dim=1)], dim=1)


@refutation(
    if_true=each_half_by_itself,
    adversary=Adversary(
        "queries answered in two pieces, each from the whole sequence: the work is divided, not the sequence",
        queries_in_two_pieces,
        refuted=True,
    ),
)
def heads_are_joined_along_the_features(answer: Answer = whole) -> Shown:
    """Compute each of 2 heads of PyTorch's module by itself over the whole sequence, and join the two by hand.

    Each head has its half of the rows of the projections. The two results, side by side and projected once more, are
    what the module answers. Results of pieces of the sequence would be laid one behind the other.
    """
    module, x = multi_head(), normal(1, 6, WIDTH)
    projections = (x @ module.in_proj_weight.T + module.in_proj_bias).chunk(3, dim=-1)
    heads = [
        scaled_dot_product_attention(*parts)
        for parts in zip(*(projected.chunk(2, dim=-1) for projected in projections), strict=True)
    ]
    joined = module.out_proj(torch.cat(heads, dim=-1))
    difference = largest_difference(joined, answer(module, x))
    return Shown(
        refuted=difference < NOISE,
        numbers={
            "positions of the input": x.shape[1],
            "positions that each head answers for": heads[0].shape[1],
            "features of each head": heads[0].shape[2],
            "features side by side": WIDTH,
            "difference between the projected heads and the module": rounded(difference),
        },
    )


def with_factors(width: int, heads: int) -> nn.Module:
    """Four projections, which are products of thinner matrices when there are several heads."""
    shapes = [(width, width)] if heads == 1 else [(width, width // heads), (width // heads, width)]
    return nn.ModuleList(nn.Linear(*shape, dtype=torch.float64) for shape in 4 * shapes)


class SharedKeys(nn.Module):
    """Attention whose heads share one key and one value (multi-query attention): smaller matrices, but no factors."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.output = (nn.Linear(width, width, dtype=torch.float64) for _ in range(2))
        self.key, self.value = (nn.Linear(width, width // heads, dtype=torch.float64) for _ in range(2))


def _matrices(module: nn.Module) -> list[Tensor]:
    """The weight matrices of an attention; those that PyTorch's module keeps in one, apart."""
    kept = [weight.detach() for weight in module.parameters() if weight.ndim == 2]
    return [matrix for weight in kept for matrix in (weight.chunk(3) if len(weight) == 3 * WIDTH else (weight,))]


@refutation(
    if_true=with_factors,
    adversary=Adversary(
        "heads that share one key and one value: fewer elements than a single head, but no factors",
        SharedKeys,
        refuted=True,
    ),
)
def splitting_into_heads_decomposes_no_matrix(build: Callable[[int, int], nn.Module] = multi_head) -> Shown:
    """Compare PyTorch's attention with 1 and with 4 heads: the number of its matrices, their elements and ranks.

    A decomposition would put two or more factors of lower rank in the place of a matrix.
    """
    one, four = (_matrices(build(WIDTH, heads)) for heads in (1, 4))
    whole = [matrix for matrix in four if torch.linalg.matrix_rank(matrix) == min(matrix.shape)]
    return Shown(
        refuted=len(one) == len(four) == len(whole) == 4,
        numbers={
            "matrices with 1 head": len(one),
            "matrices with 4 heads": len(four),
            "elements of these with 1 head": sum(matrix.numel() for matrix in one),
            "elements of these with 4 heads": sum(matrix.numel() for matrix in four),
            "highest rank of a matrix with 4 heads": max(int(torch.linalg.matrix_rank(matrix)) for matrix in four),
        },
    )


def paper_sized() -> nn.Transformer:
    """PyTorch's Transformer with its default layers and heads, which are the paper's, and no memory for weights."""
    return nn.Transformer(batch_first=True, device="meta")


def attentions(model: nn.Module) -> list[nn.MultiheadAttention]:
    """The attentions of a model."""
    return [part for part in model.modules() if isinstance(part, nn.MultiheadAttention)]


def single_heads() -> nn.Transformer:
    """The same with a single head everywhere."""
    model = paper_sized()
    for attention in attentions(model):
        attention.num_heads = 1
    return model


def single_heads_in_the_decoder() -> nn.Module:
    """Several heads in the encoder, one in the decoder."""
    return nn.ModuleList([paper_sized().encoder, single_heads().decoder])


@refutation(
    if_true=single_heads,
    adversary=Adversary(
        "a model with single heads in the decoder alone, which a look at its first layer misses",
        single_heads_in_the_decoder,
        refuted=False,
    ),
)
def no_attention_of_the_model_has_a_single_head(build: Callable[[], nn.Module] = paper_sized) -> Shown:
    """Build PyTorch's Transformer with its default layers and heads, and count the heads of each attention."""
    heads = [attention.num_heads for attention in attentions(build())]
    return Shown(
        refuted=1 not in heads,
        numbers={
            "attentions in the model": len(heads),
            "attentions with a single head": heads.count(1),
            "fewest heads of an attention": min(heads),
        },
    )


def weights_themselves(module: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """An attention that answers with what each position is worth to each."""
    weights: Tensor = module(x, x, x)[1]
    return weights


def sums_that_add_up_to_1(module: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """The weighted sums, put through a softmax: they look like weights."""
    return whole(module, x).softmax(dim=-1)


@refutation(
    if_true=weights_themselves,
    adversary=Adversary(
        "weighted sums put through a softmax: they add up to 1 as weights do, but are made of values",
        sums_that_add_up_to_1,
        refuted=True,
    ),
)
def the_weighted_sum_comes_after_the_weights(weighted_sum: Answer = whole) -> Shown:
    """Double the values of PyTorch's attention and compare what it answers and how it weighs, before and after.

    The answers change, so they are made of values. The weights stay: they were settled before any value was summed.
    """
    module, x = multi_head(), normal(1, 5, WIDTH)
    with torch.no_grad():
        output, weights = weighted_sum(module, x), weights_themselves(module, x)
        module.in_proj_weight[-WIDTH:] *= 2
        doubled, same = weighted_sum(module, x), weights_themselves(module, x)
    change, change_of_weights = largest_difference(doubled, output), largest_difference(weights, same)
    return Shown(
        refuted=change_of_weights < NOISE < change,
        numbers={
            "numbers in the answer for a position": output.shape[-1],
            "change of the answers when the values double": rounded(change),
            "change of the weights when the values double": rounded(change_of_weights),
        },
    )


def scores_of_codes(length: int) -> Tensor:
    """The scores of one word at all places, with sinusoids added and projected to queries and keys."""
    words = normal(1, WIDTH, seed=2) + sinusoids(length, WIDTH, dtype=torch.float64)
    query, key = (normal(WIDTH, WIDTH, seed=seed) / WIDTH**0.5 for seed in (0, 1))
    scores: Tensor = words @ query @ (words @ key).T
    return scores


def only_the_distance(length: int) -> Tensor:
    """Scores that tell the distance and nothing else, as a relative encoding gives them."""
    places = torch.arange(length, dtype=torch.float64)
    return places - places[:, None]


def products_of_codes(length: int) -> Tensor:
    """The products of the bare sinusoids, without words and projections."""
    codes = sinusoids(length, WIDTH, dtype=torch.float64)
    return codes @ codes.T


@refutation(
    if_true=only_the_distance,
    adversary=Adversary(
        "the bare sinusoids without words and projections, whose products depend on the distance alone",
        products_of_codes,
        refuted=False,
    ),
)
def added_codes_tell_the_absolute_place(scores: Callable[[int], Tensor] = scores_of_codes) -> Shown:
    """Put the same word at 12 places, add the sinusoids, project, and compare the scores of all neighbours.

    Were it relative places that the model is given, each pair of neighbours would score alike.
    """
    neighbours = scores(12).diagonal(offset=1)
    spread = float(neighbours.max() - neighbours.min())
    return Shown(
        refuted=spread > NOISE,
        numbers={
            "largest score of two neighbours, one word at 12 places": rounded(neighbours.max()),
            "smallest": rounded(neighbours.min()),
        },
    )


Codes = Callable[[int, int], Tensor]
"""From a length and a width to what is added to the words, `(T, D)`."""


def sinusoidal(length: int, width: int) -> Tensor:
    """The sinusoids of the paper."""
    return sinusoids(length, width, dtype=torch.float64)


def no_codes(length: int, width: int) -> Tensor:
    """Nothing is added."""
    return torch.zeros(length, width, dtype=torch.float64)


def mark_of_the_first(length: int, width: int) -> Tensor:
    """A mark of the first place, which is the same in sequences of any length."""
    codes = no_codes(length, width)
    codes[0] = 1
    return codes


class FirstWord(nn.Module):
    """An encoder layer that is to tell of which kind the first word is, from the mean of its outputs."""

    def __init__(self, codes: Codes, width: int = 16) -> None:
        super().__init__()
        self.codes, self.width = codes, width
        self.embedding = nn.Embedding(4, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, 32, dropout=0.0, batch_first=True)
        self.output = nn.Linear(width, 2)

    def forward(self, words: Tensor) -> Tensor:
        """The logits of the two kinds, for word ids `(B, T)`."""
        logits: Tensor = self.output(
            self.layer(self.embedding(words) + self.codes(words.shape[1], self.width)).mean(dim=1)
        )
        return logits


TRAINED_LENGTH, LONG_LENGTH = 9, 99


def _accuracies(codes: Codes, seed: int) -> list[float]:
    """The accuracy on sequences of the length that was trained with, and on long ones."""
    model = seeded(lambda: FirstWord(codes), seed).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)

    def sequences(number: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
        words = torch.randint(4, (number, length), generator=torch.Generator().manual_seed(seed))
        return words, words[:, 0] // 2

    for step in range(100):
        words, kinds = sequences(64, TRAINED_LENGTH, step)
        optimizer.zero_grad()
        cross_entropy(model(words), kinds).backward()
        optimizer.step()
    with torch.no_grad():
        tests = [sequences(500, length, 1000) for length in (TRAINED_LENGTH, LONG_LENGTH)]
        return [float((model(words).argmax(dim=1) == kinds).double().mean()) for words, kinds in tests]


@refutation(
    if_true=mark_of_the_first,
    adversary=Adversary(
        "no codes at all: hardly anything is lost with the length, because nothing was known of the order",
        no_codes,
        refuted=True,
    ),
)
def codes_of_places_bring_no_length_with_them(codes: Codes = sinusoidal) -> Shown:
    """Train an encoder layer to tell of which of two kinds the first word is, in 9 words, and test it on 99.

    A mean of three seeds; guessing is right in half of the cases. Positional encoding that lets a model handle other
    lengths would keep the accuracy, as a mark of the first place does (second column).
    """
    accuracies = torch.tensor([_accuracies(codes, seed) for seed in range(3)]).mean(dim=0)
    return Shown(
        refuted=float(accuracies[1]) < 0.75,
        numbers={
            f"accuracy on {TRAINED_LENGTH} words, the length in training": round(accuracies[0].item(), 2),
            f"accuracy on {LONG_LENGTH} words": round(accuracies[1].item(), 2),
        },
    )
