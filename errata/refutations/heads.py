"""Statements about multi-head attention: what is split, what it costs, what it is good for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.functional import mse_loss, normalize

from errata.refutations.depth import longest_chain, step_by_step
from errata.refutations.measure import NOISE, flops, influence, normal, rounded, seeded
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation

WORDS, WIDTH, HEADS = 6, 8, 4


def printed_attention(question: int = 3, width: int = WIDTH, heads: int = HEADS) -> Any:
    """The module of question 3, or that of another question, with the same weights at every call."""
    build = printed(f"000_q{question:02}_multi_head_attention.py")["MultiHeadAttention"]
    return seeded(lambda: build(width, heads)).double()


HeadOutputs = Callable[[Tensor], Tensor]
"""From words `(T, D)` to what each head makes of them, `(H, ...)`."""


def joined(module: Any, words: Tensor, mask: Tensor | None = None) -> Tensor:
    """What the printed module hands to its last linear layer for words `(B, T, D)`: the heads side by side."""
    seen: list[Tensor] = []
    handle = module.out_linear.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    module(words, words, words, mask)
    handle.remove()
    (heads,) = seen
    return heads


def head_outputs(words: Tensor, mask: Tensor | None = None) -> Tensor:
    """What each head of the printed module makes of the words, `(H, T, d)`."""
    heads = joined(printed_attention(), words[None], mask)[0]
    return torch.stack(heads.chunk(HEADS, dim=-1))


def _least_share(heads_of: HeadOutputs, axis: int) -> float:
    """The smallest share of positions (axis 0) or features (axis 1) of the words that moves a head."""
    words = normal(WORDS, WIDTH).requires_grad_()
    moved = [influence(head, words).amax(dim=1 - axis) > NOISE for head in heads_of(words)]
    return min(float(share.double().mean()) for share in moved)


def one_part_of_the_sequence_each(words: Tensor) -> Tensor:
    """Heads that divide the sequence among themselves."""
    return torch.stack([part.cumsum(dim=0)[-1] for part in words.tensor_split(HEADS)])


@refutation(
    if_true=one_part_of_the_sequence_each,
    adversary=Adversary(
        "heads under the causal mask, whose first query sees a part of the sequence alone",
        lambda words: head_outputs(words, torch.ones(WORDS, WORDS).tril()),
        refuted=True,
    ),
)
def every_head_sees_the_whole_sequence(heads_of: HeadOutputs = head_outputs) -> Shown:
    """Count the positions that move what each head of the printed module computes.

    A head that got a part of the sequence would ignore the rest.
    """
    share = _least_share(heads_of, axis=0)
    return Shown(
        refuted=share == 1,
        numbers={"heads": HEADS, "share of the positions that every head depends on": rounded(share)},
    )


def one_part_of_the_word_each(words: Tensor) -> Tensor:
    """Heads that divide the features of each word among themselves."""
    return torch.stack([part.cumsum(dim=0) for part in words.chunk(HEADS, dim=1)])


@refutation(
    if_true=one_part_of_the_word_each,
    adversary=Adversary(
        "as many heads as features, each of which gives a single number for a word",
        lambda words: joined(printed_attention(heads=WIDTH), words[None])[0].T,
        refuted=True,
    ),
)
def every_head_sees_the_whole_word(heads_of: HeadOutputs = head_outputs) -> Shown:
    """Count the features of a word that move what each head of the printed module computes.

    A head that got a slice of the word's vector would ignore the rest.
    """
    share = _least_share(heads_of, axis=1)
    return Shown(
        refuted=share == 1,
        numbers={"heads": HEADS, "share of a word's features that every head depends on": rounded(share)},
    )


PAPER_WIDTH = 512


def wide_and_several() -> Any:
    """The module of question 3 with the width and the heads of the paper."""
    return printed_attention(width=PAPER_WIDTH, heads=8)


def with_projections_of_head_width() -> Any:
    """The same, were its projection as the sentence says."""
    module = wide_and_several()
    module.query_linear = nn.Linear(PAPER_WIDTH, module.head_dim).double()
    return module


@refutation(
    if_true=with_projections_of_head_width,
    adversary=Adversary(
        "the module with a single head, whose width is that of the model",
        lambda: printed_attention(width=PAPER_WIDTH, heads=1),
        refuted=False,
    ),
)
def projections_keep_the_model_width(build: Callable[[], Any] = wide_and_several) -> Shown:
    """Measure what the projection of the queries in the code of question 3 returns, at the paper's width."""
    module = build()
    projected = module.query_linear(normal(1, PAPER_WIDTH)).shape[-1]
    return Shown(
        refuted=projected == PAPER_WIDTH != module.head_dim,
        numbers={
            "width that the projection returns": projected,
            "width of a head": module.head_dim,
            "heads that it holds the projections of": projected // module.head_dim,
        },
    )


class Attention(nn.Module):
    """PyTorch's multi-head attention, of a sequence to itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.module = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, words: Tensor) -> Tensor:
        """The attention weights of each head, `(B, H, T, S)`."""
        weights: Tensor = self.module(words, words, words, average_attn_weights=False)[1]
        return weights


class FullWidthHeads(Attention):
    """Every head as wide as the model."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width * heads, heads)
        self.heads = heads

    def forward(self, words: Tensor) -> Tensor:
        """The attention weights of each head."""
        return super().forward(words.repeat(1, 1, self.heads))


class ProjectsAnewForEveryHead(Attention):
    """An implementation that computes everything for each head and keeps that head's part."""

    def forward(self, words: Tensor) -> Tensor:
        """The attention weights of each head."""
        heads = range(self.module.num_heads)
        return torch.stack([super(ProjectsAnewForEveryHead, self).forward(words)[:, head] for head in heads], dim=1)


def _size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@refutation(
    if_true=FullWidthHeads,
    adversary=Adversary(
        "an implementation that projects anew for every head: as many parameters, but more operations",
        ProjectsAnewForEveryHead,
        refuted=False,
    ),
)
def heads_cost_what_one_head_costs(build: Callable[[int, int], nn.Module] = Attention) -> Shown:
    """Count the operations of the matrix products, the parameters and the attention weights with 1 and with 8 heads.

    On PyTorch's multi-head attention of width 64, for 16 words; beside it, the parameters of recurrent layers of this
    width. The operations leave out the softmax, which runs over the attention weights.
    """
    width, words = 64, normal(1, 16, 64).float()
    one, eight = (seeded(partial(build, width, heads)) for heads in (1, 8))
    costs = [flops(partial(module, words)) for module in (one, eight)]
    sizes = [_size(module) for module in (one, eight)]
    return Shown(
        refuted=costs[0] == costs[1] and sizes[0] == sizes[1],
        numbers={
            "operations with 1 head": costs[0],
            "operations with 8 heads": costs[1],
            "parameters with 1 head": sizes[0],
            "parameters with 8 heads": sizes[1],
            "attention weights with 1 head": one(words).numel(),
            "attention weights with 8 heads": eight(words).numel(),
            "parameters of a simple recurrent layer": _size(nn.RNN(width, width)),
            "parameters of an LSTM": _size(nn.LSTM(width, width)),
        },
    )


Layer = Callable[[Tensor], Tensor]
"""From words `(B, T, D)` to outputs of the same shape."""


def self_attention(words: Tensor, *, question: int = 3, heads: int = HEADS) -> Tensor:
    """Self-attention by the printed module."""
    output: Tensor = printed_attention(question, heads=heads)(words, words, words)
    return output


def one_head(words: Tensor) -> Tensor:
    """The printed module with a single head."""
    return self_attention(words, heads=1)


def word_by_word(words: Tensor) -> Tensor:
    """A single head in a loop over the words."""
    module = printed_attention(heads=1)
    return torch.cat([module(word, words, words) for word in words.split(1, dim=1)], dim=1)


@refutation(
    if_true=step_by_step(seeded(lambda: nn.LSTM(WIDTH, WIDTH, batch_first=True)).double()),
    adversary=Adversary(
        "a single head in a loop over the words: many calls, none of which waits for another",
        word_by_word,
        refuted=True,
    ),
)
def one_head_computes_all_words_at_once(layer: Layer = one_head) -> Shown:
    """Measure the longest chain of operations that wait for one another, in the printed module with a single head.

    For 8 and for 64 words: in what must go word by word, the chain grows with the words.
    """

    def chain(layer: Layer, length: int) -> int:
        return longest_chain(layer(normal(1, length, WIDTH).requires_grad_()))

    return Shown(
        refuted=chain(layer, 8) == chain(layer, 64),
        numbers={
            "longest chain of operations, 8 words": chain(layer, 8),
            "longest chain of operations, 64 words": chain(layer, 64),
            f"the same with {HEADS} heads, 64 words": chain(self_attention, 64),
        },
    )


EXAMPLES, FEATURES = 64, 16

Task = Callable[[int, int], tuple[Tensor, Tensor]]
"""From a number of examples and a seed to sequences `(N, T, D)` and what is to be told of each, `(N, D / 2)`."""


def look_up(examples: int, seed: int) -> tuple[Tensor, Tensor]:
    """The first word names another one by the first half of its features; tell the second half of the named one."""
    words = normal(examples, WORDS, FEATURES, seed=seed)
    named = words[torch.arange(examples), torch.arange(examples) % (WORDS - 1) + 1]
    keys, values = words.chunk(2, dim=-1)
    keys[:, 0], values[:, 0] = named.chunk(2, dim=-1)[0], 0
    keys.copy_((FEATURES // 2) ** 0.5 * normalize(keys, dim=-1))
    return words, named[:, FEATURES // 2 :]


def average(examples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tell the sum of the words, with some noise."""
    words = normal(examples, WORDS, FEATURES, seed=seed)
    noise = normal(examples, FEATURES // 2, seed=seed + 100)
    return words, words[..., : FEATURES // 2].sum(dim=1) / WORDS**0.5 + noise / 2


def random_labels(examples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Nothing is to be learned."""
    return normal(examples, WORDS, FEATURES, seed=seed), normal(examples, FEATURES // 2, seed=seed + 100)


def _errors(task: Task, heads: int, seed: int) -> list[float]:
    """The errors of attention from the first word on the examples it was trained with, and on others."""
    attention = seeded(lambda: nn.MultiheadAttention(FEATURES, heads, batch_first=True), seed).double()
    output = seeded(lambda: nn.Linear(FEATURES, FEATURES // 2), seed).double()
    words, told = task(EXAMPLES + 512, seed)

    def error(part: slice) -> Tensor:
        x = words[part]
        return mse_loss(output(attention(x[:, :1], x, x, need_weights=False)[0][:, 0]), told[part])

    optimizer = torch.optim.Adam([*attention.parameters(), *output.parameters()], lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        error(slice(EXAMPLES)).backward()
        optimizer.step()
    return [error(part).item() for part in (slice(EXAMPLES), slice(EXAMPLES, None))]


@refutation(
    if_true=average,
    adversary=Adversary(
        "random labels: 8 heads fit them better still than one, which says nothing of new examples",
        random_labels,
        refuted=False,
    ),
)
def several_heads_may_overfit_more(task: Task = look_up) -> Shown:
    """Train attention with 1 and with 8 heads on 64 examples, and measure the errors on these and on 512 others.

    The task is to look up the word that the first one names; of three seeds each the mean. Were several heads a remedy
    against overfitting, the error on new examples, and its distance to that in training, would be smaller with 8 heads
    on every task. On some it is: the second column tells of the sum of the words.
    """
    one, eight = (torch.tensor([_errors(task, heads, seed) for seed in range(3)]).mean(dim=0) for heads in (1, 8))
    return Shown(
        refuted=bool(eight[1] > 1.2 * one[1] and eight.diff() > one.diff()),
        numbers={
            "error in training, 1 head": round(one[0].item(), 2),
            "error in training, 8 heads": round(eight[0].item(), 2),
            "error on new examples, 1 head": round(one[1].item(), 2),
            "error on new examples, 8 heads": round(eight[1].item(), 2),
        },
    )


Loss = Callable[[Tensor, Tensor], Tensor]
"""From what each of two heads contributes, `(2, B, T, D)`, and two possible targets of the same shape to a loss."""


def joint_loss(contributions: Tensor, targets: Tensor) -> Tensor:
    """The loss of the sum of what the heads contribute: they share one output, as they do in the Transformer."""
    return mse_loss(contributions.sum(dim=0), targets[0])


def separate_losses(contributions: Tensor, targets: Tensor) -> Tensor:
    """A loss and a target for each head."""
    return mse_loss(contributions, targets)


def separate_losses_of_one_target(contributions: Tensor, targets: Tensor) -> Tensor:
    """A loss for each head, but the same target."""
    return mse_loss(contributions, targets[:1].expand_as(targets))


def constant_loss(contributions: Tensor, targets: Tensor) -> Tensor:
    """A loss that nothing can lower."""
    return 0 * joint_loss(contributions, targets)


TARGETS = normal(2, 1, WORDS, WIDTH, seed=1)


def _contributions(module: Any) -> Tensor:
    """What each of the two heads adds to the module's output, without the bias."""
    heads = joined(module, normal(1, WORDS, WIDTH)).chunk(2, dim=-1)
    return torch.stack(
        [head @ part.T for head, part in zip(heads, module.out_linear.weight.chunk(2, dim=1), strict=True)]
    )


@refutation(
    if_true=separate_losses,
    adversary=Adversary(
        "two heads with a loss each and the same target: equal ones stay equal as well, but each by itself",
        separate_losses_of_one_target,
        refuted=False,
    ),
)
def heads_are_trained_together(loss: Loss = joint_loss) -> Shown:
    """Change the second of two heads of the printed module and look at the gradient of the first.

    The heads share the last linear layer and the loss. Heads that were optimised independently would not notice.
    """
    module = printed_attention(heads=2)
    weight: Tensor = module.value_linear.weight
    half = WIDTH // 2

    def gradient_of_first() -> Tensor:
        return grad(loss(_contributions(module), TARGETS), weight)[0][:half]

    before = gradient_of_first()
    with torch.no_grad():
        weight[half:] += 1
    noticed = float((gradient_of_first() - before).abs().max())
    return Shown(
        refuted=noticed > NOISE,
        numbers={
            "largest element of the gradient of head 1": rounded(before.abs().max()),
            "its change when only head 2 changes": rounded(noticed),
        },
    )


def twins() -> Any:
    """The printed module with two heads that are equal, and take equal parts in the output."""
    module, half = printed_attention(heads=2), WIDTH // 2
    with torch.no_grad():
        for linear in (module.query_linear, module.key_linear, module.value_linear):
            linear.weight[half:], linear.bias[half:] = linear.weight[:half].clone(), linear.bias[:half].clone()
        module.out_linear.weight[:, half:] = module.out_linear.weight[:, :half].clone()
    return module


@refutation(
    if_true=separate_losses,
    adversary=Adversary(
        "a constant loss: equal heads stay equal under it because nothing is learned",
        constant_loss,
        refuted=False,
    ),
)
def equal_heads_stay_equal(loss: Loss = joint_loss) -> Shown:
    """Train two equal heads of the printed module for 200 steps and compare what they compute.

    Were heads bound to capture different features, training would part them. Heads that start at random differ, as
    they did at the start; nothing in the loss asks for it.
    """
    module = twins()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        error = loss(_contributions(module), TARGETS)
        error.backward()
        losses.append(error.item())
        optimizer.step()
    first, second = _contributions(module).detach()
    apart = float((first - second).abs().max())
    return Shown(
        refuted=apart < NOISE and losses[-1] < 0.9 * losses[0],
        numbers={
            "loss before training": rounded(losses[0]),
            "loss after training": rounded(losses[-1]),
            "largest element of what a head contributes": rounded(first.abs().max()),
            "largest difference between the two heads": rounded(apart),
        },
    )


class Fetch(nn.Module):
    """Attention of the given heads and width of a head that fetches words by their places: `(B, T, D)` to the same."""

    def __init__(self, length: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.places = nn.Parameter(torch.randn(length, FEATURES))
        self.query, self.key, self.value = (nn.Linear(FEATURES, heads * head_width) for _ in range(3))
        self.output = nn.Linear(heads * head_width, FEATURES)

    def forward(self, words: Tensor) -> Tensor:
        """For each place the word that it fetches."""
        query, key, value = (
            linear(x).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
            for linear, x in ((self.query, self.places), (self.key, self.places), (self.value, words))
        )
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
        fetched: Tensor = self.output((weights @ value).transpose(-2, -3).flatten(-2))
        return fetched


def _error_of_fetching(length: int, heads: int, head_width: int) -> float:
    """The error after training to fetch, for each place, the word of one other place that is always the same."""
    module = seeded(lambda: Fetch(length, heads, head_width)).double()
    wanted = torch.arange(length).roll(length // 2).view(-1, 2).flip(1).flatten()

    def error(seed: int) -> Tensor:
        words = normal(16, length, FEATURES, seed=seed)
        return mse_loss(module(words), words[:, wanted])

    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for step in range(200):
        optimizer.zero_grad()
        error(step).backward()
        optimizer.step()
    return error(-1).item()


@refutation(
    if_true=(2, 2),
    adversary=Adversary(
        "8 heads that are all as wide as the model: no worse on long sequences, but no better than one head",
        (FEATURES, FEATURES),
        refuted=True,
    ),
)
def several_heads_bring_no_length_with_them(head_widths: tuple[int, int] = (FEATURES, FEATURES // 8)) -> Shown:
    """Train 1 head and 8 heads at width 16 to fetch the word of another place, in sequences of 4 and of 32 words.

    The 8 heads share the width, so each has 2 features to tell the places apart. Were several heads better on long
    sequences, their error there would be lower than with 1 head. It would be so (second column) if heads were added to
    a narrow one instead of cut from the model's width.
    """
    one, eight = (
        [_error_of_fetching(length, heads, width) for length in (4, 32)]
        for heads, width in zip((1, 8), head_widths, strict=True)
    )
    return Shown(
        refuted=eight[1] > one[1] - 0.05,
        numbers={
            "mean squared error, 1 head, 4 words": round(one[0], 2),
            "mean squared error, 8 heads, 4 words": round(eight[0], 2),
            "mean squared error, 1 head, 32 words": round(one[1], 2),
            "mean squared error, 8 heads, 32 words": round(eight[1], 2),
        },
    )


def of_question_14(words: Tensor) -> Tensor:
    """The code that is to handle several sequences."""
    return self_attention(words, question=14)


def across_the_batch(words: Tensor) -> Tensor:
    """Attention over all words of all sequences."""
    return of_question_14(words.flatten(0, 1)[None]).view_as(words)


def behind_batch_norm(words: Tensor) -> Tensor:
    """Attention that keeps the sequences apart, of words that are normalised over the batch."""
    return of_question_14(nn.BatchNorm1d(WIDTH, dtype=words.dtype)(words.mT).mT)


@refutation(
    if_true=across_the_batch,
    adversary=Adversary(
        "attention behind batch normalisation, through whose statistics the sequences do meet",
        behind_batch_norm,
        refuted=False,
    ),
)
def sequences_of_a_batch_do_not_meet(attend: Layer = of_question_14) -> Shown:
    """Put three sequences into one batch of the code of question 14 and ask which moves the output of the first."""
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


def sequences_apart(items: Tensor) -> Tensor:
    """Each item of axis 1 a sequence of its own."""
    return of_question_14(items.transpose(0, 1)).transpose(0, 1)


def under_the_causal_mask(items: Tensor) -> Tensor:
    """The code of question 14 with a causal mask, under which the first item depends on itself alone."""
    output: Tensor = printed_attention(14)(items, items, items, torch.ones(WORDS, WORDS).tril())
    return output


@refutation(
    if_true=sequences_apart,
    adversary=Adversary(
        "the code under a causal mask, whose first item depends on itself alone", under_the_causal_mask, refuted=True
    ),
)
def the_second_axis_holds_words(attend: Layer = of_question_14) -> Shown:
    """Ask whether the items on axis 1 of the input of question 14, which it calls sequences, stay apart as such do.

    They are mixed with each other: axis 1 holds the words of one sequence, and the module is the ordinary one.
    """
    items = normal(1, WORDS, WIDTH).requires_grad_()
    outputs = attend(items)
    moves = torch.stack([influence(outputs[:, i], items)[0].amax(dim=-1) > NOISE for i in range(WORDS)])
    others = int(moves.sum() - moves.diagonal().sum())
    return Shown(
        refuted=others > 0,
        numbers={
            "items on axis 1": WORDS,
            "pairs of an item and another one that moves its output": others,
        },
    )
