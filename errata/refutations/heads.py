"""Statements about multi-head attention: what is split, what it costs, what it is good for."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd import grad

from errata.refutations.measure import (
    NOISE,
    flops,
    influence,
    largest_difference,
    normal,
    operations,
    rounded,
    seeded,
)
from errata.refutations.registry import Shown, refutation
from reference import MultiHeadAttention

WORDS, WIDTH, HEADS = 6, 8, 4

HeadOutputs = Callable[[Tensor], Tensor]
"""From words `(T, D)` to what each head makes of them, `(H, ...)`."""

SelfAttention = Callable[[Tensor], Tensor]
"""From words `(B, T, D)` to outputs of the same shape."""


def multi_head(width: int = WIDTH, heads: int = HEADS) -> MultiHeadAttention:
    """The reference's module with fixed weights."""
    return seeded(lambda: MultiHeadAttention(width, heads)).double()


def head_outputs(words: Tensor) -> Tensor:
    """What each head of the reference hands to the concatenation, `(H, T, d)`."""
    module = multi_head()
    module.output = nn.Identity()  # type: ignore[assignment]  # the concatenation itself
    joined: Tensor = module(words[None], words[None], words[None])[0]
    return joined.view(len(words), HEADS, -1).transpose(0, 1)


def _least_share(heads_of: HeadOutputs, axis: int) -> float:
    """The smallest share of positions (axis 0) or features (axis 1) of the words that moves a head."""
    words = normal(WORDS, WIDTH).requires_grad_()
    moved = [influence(head, words).amax(dim=1 - axis) > NOISE for head in heads_of(words)]
    return min(float(share.double().mean()) for share in moved)


@refutation
def every_head_sees_the_whole_sequence(heads_of: HeadOutputs = head_outputs) -> Shown:
    """Count the positions that move each head's output.

    A head that got a part of the sequence would ignore the rest.
    """
    share = _least_share(heads_of, axis=0)
    return Shown(
        refuted=share == 1,
        numbers={
            "heads": HEADS,
            "share of the positions that every head depends on": rounded(share),
            "share if the sequence were split": rounded(1 / HEADS),
        },
    )


@refutation
def every_head_sees_the_whole_word(heads_of: HeadOutputs = head_outputs) -> Shown:
    """Count the features of a word that move each head's output.

    A head that got a slice of the word's vector would ignore the rest.
    """
    share = _least_share(heads_of, axis=1)
    return Shown(
        refuted=share == 1,
        numbers={
            "heads": HEADS,
            "share of a word's features that every head depends on": rounded(share),
            "share if the word's vector were split": rounded(1 / HEADS),
        },
    )


@refutation
def projections_keep_the_model_width(heads: int = 8) -> Shown:
    """Measure what the projection of the queries returns, at the paper's width."""
    width = 512
    projected = multi_head(width, heads).query(normal(1, width)).shape[-1]
    return Shown(
        refuted=projected == width != width // heads,
        numbers={
            "width that the projection returns": projected,
            "width of a head": width // heads,
            "heads that are cut from it afterwards": projected // (width // heads),
        },
    )


@refutation
def heads_cost_what_one_head_costs(build: Callable[[int, int], MultiHeadAttention] = multi_head) -> Shown:
    """Count floating-point operations and parameters with 1 and with 8 heads, at the same model width."""
    words = normal(1, 16, 64)
    costs, parameters = [], []
    for heads in (1, 8):
        module = build(64, heads)
        costs.append(flops(partial(module.with_weights, words, words, words)))
        parameters.append(sum(weight.numel() for weight in module.parameters()))
    return Shown(
        refuted=costs[0] == costs[1] and parameters[0] == parameters[1],
        numbers={
            "operations with 1 head": costs[0],
            "operations with 8 heads": costs[1],
            "parameters with 1 head": parameters[0],
            "parameters with 8 heads": parameters[1],
        },
    )


@refutation
def one_head_computes_all_words_at_once(attend: SelfAttention | None = None) -> Shown:
    """Count the operations that a single head issues one after the other, for sequences of 8 and of 64 words.

    A head that went word by word would issue eight times as many for the longer one.
    """
    single, several = multi_head(heads=1), multi_head()
    attend = attend or (lambda words: single.with_weights(words, words, words)[0])
    short, long = normal(1, 8, WIDTH), normal(1, 64, WIDTH)
    issued = [operations(partial(attend, words)) for words in (short, long)]
    return Shown(
        refuted=issued[0] == issued[1],
        numbers={
            "operations issued by 1 head for 8 words": issued[0],
            "operations issued by 1 head for 64 words": issued[1],
            f"operations issued by {HEADS} heads for 64 words": operations(
                partial(several.with_weights, long, long, long)
            ),
        },
    )


def _error_on_random_labels(build: Callable[[int, int], MultiHeadAttention], heads: int, seed: int) -> float:
    """The share of random labels that the best output projection cannot fit: the mean over the training examples."""
    examples, width = 96, 32
    words = normal(examples, WORDS, width, seed=seed)
    labels = normal(examples, 1, seed=seed + 100)
    module = build(width, heads)
    module.output = nn.Identity()  # type: ignore[assignment]  # the projection is found by least squares instead
    features = module(words, words, words)[:, 0].detach()
    fitted = features @ torch.linalg.lstsq(features, labels, driver="gelsd").solution
    return float((fitted - labels).square().mean() / labels.square().mean())


@refutation
def heads_do_not_regularise(build: Callable[[int, int], MultiHeadAttention] = multi_head) -> Shown:
    """Fit random labels, which hold nothing to learn, with 1 and with 8 heads.

    The error that stays is what resists overfitting. The output projection is fitted by least squares; errors are means
    over ten sets of random examples.
    """
    one, eight = (sum(_error_on_random_labels(build, heads, seed) for seed in range(10)) / 10 for heads in (1, 8))
    parameters = [sum(weight.numel() for weight in build(32, heads).parameters()) for heads in (1, 8)]
    return Shown(
        refuted=eight < 1.05 * one and parameters[0] == parameters[1],
        numbers={
            "share of random labels left unfitted, 1 head": rounded(one),
            "share of random labels left unfitted, 8 heads": rounded(eight),
            "parameters with 1 head": parameters[0],
            "parameters with 8 heads": parameters[1],
        },
    )


def joint_loss(contributions: Tensor, target: Tensor) -> Tensor:
    """The loss of the sum of what all heads contribute, `(H, T, D)`: the heads share one output."""
    return (contributions.sum(dim=0) - target).square().mean()


@refutation
def heads_are_trained_together(loss: Callable[[Tensor, Tensor], Tensor] = joint_loss) -> Shown:
    """Change one head and look at the gradient of another, then train two heads that start equal.

    Heads that were optimised independently would not notice, and equal heads would have to part to escape from each
    other's optimum.
    """
    words, target = normal(WORDS, WIDTH), normal(WORDS, WIDTH, seed=1)
    output = multi_head().output.weight.detach().view(WIDTH, HEADS, -1)  # (D, H, d)

    def gradient_of_first(heads: Tensor) -> Tensor:
        heads = heads.detach().requires_grad_()
        return grad(loss(torch.einsum("htd,ohd->hto", heads, output), target), heads)[0][0]

    heads = head_outputs(words).detach()
    changed = heads.clone()
    changed[1] += 1
    noticed = largest_difference(gradient_of_first(heads), gradient_of_first(changed))

    twins = normal(1, WIDTH, WIDTH, seed=2).repeat(2, 1, 1)  # value and output maps of two equal heads in one
    for _ in range(20):
        twins = twins.detach().requires_grad_()
        twins = twins - 0.1 * grad(loss(words @ twins, target), twins)[0]
    return Shown(
        refuted=noticed > NOISE,
        numbers={
            "change of head 1's gradient when only head 2 changes": rounded(noticed),
            "difference between two equal heads after 20 training steps": rounded(
                largest_difference(twins[0], twins[1])
            ),
        },
    )


@refutation
def the_number_of_heads_is_free(build: Callable[[int, int], MultiHeadAttention] = multi_head) -> Shown:
    """Build attention of one width with every number of heads from 1 to that width, and count its parameters."""
    width = 64
    parameters = {}
    for heads in range(1, width + 1):
        try:
            parameters[heads] = sum(weight.numel() for weight in build(width, heads).parameters())
        except ValueError:
            continue
    return Shown(
        refuted=len(parameters) > 1 and len(set(parameters.values())) == 1,
        numbers={
            "model width": width,
            "numbers of heads that it allows": len(parameters),
            "smallest": min(parameters),
            "largest": max(parameters),
            "different parameter counts among them": len(set(parameters.values())),
        },
    )


def attend(words: Tensor) -> Tensor:
    """Multi-head self-attention of the reference."""
    return multi_head().with_weights(words, words, words)[0]


@refutation
def sequences_of_a_batch_do_not_meet(attend: SelfAttention = attend) -> Shown:
    """Put three sequences into one batch and ask which of them moves the output of the first."""
    batch = normal(3, WORDS, WIDTH).requires_grad_()
    moved = influence(attend(batch)[0], batch)
    return Shown(
        refuted=float(moved[1:].max()) < NOISE < float(moved[0].max()),
        numbers={
            "sequences in the batch": len(batch),
            "influence of the first sequence on its own output": rounded(moved[0].max()),
            "influence of the other sequences on it": rounded(moved[1:].max()),
        },
    )


@refutation
def the_second_axis_holds_words(attend: SelfAttention = attend) -> Shown:
    """Ask whether the items on axis 1 of the input, which the code calls sequences, stay apart as sequences do.

    They are mixed with each other: axis 1 holds the words of one sequence, and the module is the ordinary one.
    """
    items = normal(1, WORDS, WIDTH).requires_grad_()
    moved = influence(attend(items)[:, 0], items)
    return Shown(
        refuted=float(moved[:, 1:].amax(dim=-1).min()) > NOISE,
        numbers={
            "items on axis 1": items.shape[1],
            "items that move the output of the first one": int((moved.amax(dim=-1) > NOISE).sum()),
            "least influence of another item on the first one": rounded(moved[:, 1:].amax(dim=-1).min()),
        },
    )
