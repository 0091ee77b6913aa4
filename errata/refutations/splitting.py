"""What splitting into heads, and adding codes of places, does and does not do."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from errata.findings import Figure
from errata.refutations.measure import NOISE, growth_exponent, largest_difference, normal, rounded, seeded
from errata.refutations.models import WIDTH, small_transformer
from errata.refutations.registry import Shown, refutation
from reference import MultiHeadAttention, PositionalEncoding, Transformer, attention, sinusoids


def _attention(width: int, heads: int) -> MultiHeadAttention:
    attention: MultiHeadAttention = seeded(lambda: MultiHeadAttention(width, heads)).double()
    return attention


def _weights(x: Tensor, heads: int) -> Tensor:
    return _attention(x.shape[-1], heads).with_weights(x, x, x)[1]


@refutation
def more_heads_make_long_sequences_dearer(weigh: Callable[[Tensor, int], Tensor] = _weights) -> Shown:
    """Count the attention weights of sequences of 32, 64 and 128 positions with 1 and with 8 heads."""
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


Answer = Callable[[MultiHeadAttention, Tensor], Tensor]
"""From a module and a sequence to what the module answers."""


def _answer(module: MultiHeadAttention, x: Tensor) -> Tensor:
    output: Tensor = module(x, x, x)
    return output


@refutation
def heads_are_joined_along_the_features(answer: Answer = _answer) -> Shown:
    """Compute each of 2 heads by itself over the whole sequence, from its half of the projections, and join them.

    That is what the module projects once more. Results of pieces of the sequence would be laid one behind the other.
    """
    module, x = _attention(WIDTH, 2), normal(1, 6, WIDTH)
    projected = [part(x).chunk(2, dim=-1) for part in (module.query, module.key, module.value)]
    heads = [attention(*parts) for parts in zip(*projected, strict=True)]
    joined = module.output(torch.cat(heads, dim=-1))
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


def _ranks(module: nn.Module) -> list[int]:
    """The rank of each projection, as a linear map from input to output."""
    basis = torch.eye(WIDTH, dtype=torch.float64)
    maps = [projection(basis) - projection(torch.zeros_like(basis)) for projection in module.children()]
    return [int(torch.linalg.matrix_rank(matrix)) for matrix in maps]


@refutation
def splitting_into_heads_decomposes_no_matrix(build: Callable[[int, int], nn.Module] = _attention) -> Shown:
    """Compare attention with 1 and with 4 heads: the number and the rank of its matrices, and their elements.

    A decomposition would put factors of lower rank in the place of a matrix. The split into heads is a view.
    """
    one, four = build(WIDTH, 1), build(WIDTH, 4)
    matrices = [[p for p in module.parameters() if p.ndim == 2] for module in (one, four)]
    elements = [sum(matrix.numel() for matrix in kind) for kind in matrices]
    ranks = _ranks(four)
    return Shown(
        refuted=len(matrices[0]) == len(matrices[1]) == 4 and elements[0] == elements[1] and min(ranks) == WIDTH,
        numbers={
            "matrices with 1 head and with 4": f"{len(matrices[0])} and {len(matrices[1])}",
            "elements of these with 1 head and with 4": f"{elements[0]} and {elements[1]}",
            "lowest rank of a projection with 4 heads": min(ranks),
            "model width": WIDTH,
        },
    )


def _six_layers_of_eight_heads() -> nn.Module:
    return Transformer(10, 10, width=64, inner_width=64)


@refutation
def no_attention_of_the_model_has_a_single_head(build: Callable[[], nn.Module] = _six_layers_of_eight_heads) -> Shown:
    """Build a model with the layers and heads of the paper's base model and count the heads of each attention."""
    heads = [part.heads for part in build().modules() if isinstance(part, MultiHeadAttention)]
    return Shown(
        refuted=1 not in heads,
        numbers={
            "attentions in the model": len(heads),
            "attentions with a single head": heads.count(1),
            "fewest heads of an attention": min(heads),
        },
    )


@refutation
def the_weighted_sum_comes_after_the_weights(weighted_sum: Answer = _answer) -> Shown:
    """Double the values of one head and compare what it sums and how it weighs, before and after.

    The sum doubles, so it is made of values. The weights stay: how important a position is was settled before.
    """
    module, x = _attention(WIDTH, 1), normal(1, 5, WIDTH)
    for linear in (module.value, module.output):
        nn.init.zeros_(linear.bias)
    output, (_, weights) = weighted_sum(module, x), module.with_weights(x, x, x)
    with torch.no_grad():
        module.value.weight *= 2
    doubled, (_, same) = weighted_sum(module, x), module.with_weights(x, x, x)
    return Shown(
        refuted=largest_difference(doubled, 2 * output) < NOISE < largest_difference(doubled, output),
        numbers={
            "numbers in the weighted sum of a position": output.shape[-1],
            "growth of the sums when the values double": rounded(doubled.norm() / output.norm()),
            "change of the weights when the values double": rounded(largest_difference(weights, same)),
            "largest difference between the weights of two queries": rounded(
                largest_difference(weights, weights[:, :, :1])
            ),
        },
    )


def _scores_of_sinusoids(length: int) -> Tensor:
    codes = sinusoids(length, WIDTH, dtype=torch.float64)
    content = normal(1, WIDTH, seed=2)
    query, key = (normal(WIDTH, WIDTH, seed=seed) / WIDTH**0.5 for seed in (0, 1))
    scores: Tensor = (content + codes) @ query @ ((content + codes) @ key).T
    return scores


@refutation
def added_codes_tell_the_absolute_place(scores: Callable[[int], Tensor] = _scores_of_sinusoids) -> Shown:
    """Put the same word at 12 places, add the sinusoids, project, and compare the scores of all neighbours.

    Were only relative places seen, each pair of neighbours would score alike. The bare codes do: their products
    depend on the distance alone, which the projections may learn to use.
    """
    neighbours = scores(12).diagonal(offset=1)
    codes = sinusoids(12, WIDTH, dtype=torch.float64)
    bare = (codes @ codes.T).diagonal(offset=1)
    spread = float(neighbours.max() - neighbours.min())
    return Shown(
        refuted=spread > NOISE,
        numbers={
            "spread of the scores of neighbours, one word at 12 places": rounded(spread),
            "spread of the products of the bare codes of neighbours": rounded(bare.max() - bare.min()),
        },
    )


def _without_codes(x: Tensor) -> Tensor:
    output: Tensor = small_transformer().encoder(x)
    return output


def with_codes(x: Tensor) -> Tensor:
    """Encode with sinusoids added."""
    return _without_codes(PositionalEncoding(WIDTH)(x))


@refutation
def codes_of_places_bring_no_length_with_them(encode: Callable[[Tensor], Tensor] = with_codes) -> Shown:
    """Encode a sequence and the same sequence twice over, and compare the vectors of the first half.

    Without codes an encoder takes any length, and this one gives the same vectors; with codes it notices the length.
    """
    x = normal(1, 5, WIDTH)

    def change(encode: Callable[[Tensor], Tensor]) -> float:
        return largest_difference(encode(torch.cat([x, x], dim=1))[:, :5], encode(x))

    return Shown(
        refuted=change(encode) > NOISE > change(_without_codes),
        numbers={
            "change of the vectors when the length doubles, with positional encoding": rounded(change(encode)),
            "change without positional encoding": rounded(change(_without_codes)),
        },
    )
