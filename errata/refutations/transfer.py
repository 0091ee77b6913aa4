"""Several tasks at once: what sharing data and a model does, and what fusing the answers does."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from errata.refutations.measure import largest_difference, normal, rounded, seeded
from errata.refutations.registry import Adversary, Shown, refutation
from reference import FeedForward

Pair = Callable[[], tuple[nn.Module, nn.Module]]


def _separate() -> tuple[nn.Module, nn.Module]:
    return _body_and_head(_body(), 2), _body_and_head(_body(), 5)


def shared() -> tuple[nn.Module, nn.Module]:
    """Two tasks with a head each on one body."""
    body = _body()
    return _body_and_head(body, 2), _body_and_head(body, 5)


def copied() -> tuple[nn.Module, nn.Module]:
    """Two models that start with the same body, each with a copy of its own."""
    body = _body()
    return _body_and_head(body, 2), _body_and_head(deepcopy(body), 5)


def _body() -> nn.Module:
    return FeedForward(8, 16).double()


def _body_and_head(body: nn.Module, classes: int) -> nn.Module:
    return nn.Sequential(body, nn.Linear(8, classes, dtype=torch.float64))


def _effect_on_the_other_task(pair: Pair) -> float:
    first, second = seeded(pair)
    x = normal(4, 8)
    before = second(x)
    first(x).square().mean().backward()
    torch.optim.SGD(first.parameters(), lr=0.1).step()
    return largest_difference(before, second(x))


@refutation(
    if_true=shared,
    adversary=Adversary(
        "two models that start with the same weights: nothing tells them from shared ones until one learns",
        copied,
        refuted=True,
    ),
)
def separate_models_learn_nothing_from_each_other(pair: Pair = _separate) -> Shown:
    """Make one update for the first task and see whether the answers for the second change."""
    change = _effect_on_the_other_task(pair)
    return Shown(
        refuted=change == 0, numbers={"change of the answers for task 2 by an update for task 1": rounded(change)}
    )


Objective = Callable[[Tensor], Tensor]
"""From the loss of each sample (rows) for each task (columns) to what is minimised."""


def _both_on_all_samples(losses: Tensor) -> Tensor:
    return losses.mean()


def a_subset_for_each_task(losses: Tensor) -> Tensor:
    """The first half of the samples serves the first task, the other half the second."""
    half = len(losses) // 2
    return (losses[:half, 0].mean() + losses[half:, 1].mean()) / 2


def the_first_task_only(losses: Tensor) -> Tensor:
    """All samples, but the loss of one task."""
    return losses[:, 0].mean()


@refutation(
    if_true=a_subset_for_each_task,
    adversary=Adversary(
        "one batch that nobody divided, of which one task alone is learned", the_first_task_only, refuted=False
    ),
)
def one_batch_serves_two_tasks(objective: Objective = _both_on_all_samples) -> Shown:
    """Train a body with two heads on 64 samples, and count the samples from which both tasks learn.

    Each sample has a label of either task. If each task needed its own subset, no sample would serve both.
    """
    x = normal(64, 8)
    labels = (x[:, :4].argmax(dim=-1), x[:, 4:].argmax(dim=-1))
    body, first, second = seeded(lambda: (_body(), nn.Linear(8, 4).double(), nn.Linear(8, 4).double()))
    optimizer = torch.optim.Adam([*body.parameters(), *first.parameters(), *second.parameters()], lr=0.02)

    def losses() -> tuple[Tensor, Tensor]:
        hidden = body(x)
        logits = first(hidden), second(hidden)
        by_task = [cross_entropy(given, label, reduction="none") for given, label in zip(logits, labels, strict=True)]
        right = [(given.argmax(dim=-1) == label).double().mean() for given, label in zip(logits, labels, strict=True)]
        return torch.stack(by_task, dim=1), torch.stack(right)

    for _ in range(200):
        optimizer.zero_grad()
        objective(losses()[0]).backward()
        optimizer.step()
    by_sample, right = losses()
    (use,) = torch.autograd.grad(objective(by_sample), by_sample)
    serving_both = int((use != 0).all(dim=1).sum())
    return Shown(
        refuted=serving_both == len(x) and float(right.min()) > 0.95,
        numbers={
            "samples, of 64, from which both tasks learn": serving_both,
            "accuracy of task 1 on all of them": rounded(right[0]),
            "accuracy of task 2 on all of them": rounded(right[1]),
        },
    )


FIRST_TASK = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
SECOND_TASK = torch.tensor([3, 3, 2, 2, 1, 1, 0, 0])
ALMOST_THE_FIRST_TASK = torch.tensor([0, 1, 2, 3, 0, 1, 2, 0])


@refutation(
    if_true=FIRST_TASK,
    adversary=Adversary("two tasks with different answers to one input in eight", ALMOST_THE_FIRST_TASK, refuted=True),
)
def fused_answers_serve_neither_task(second: Tensor = SECOND_TASK) -> Shown:
    """Average the perfect predictions of two tasks on 8 inputs with 4 classes each, and grade the average on either."""

    def score(answers: Tensor, labels: Tensor) -> float:
        return rounded((answers.argmax(dim=-1) == labels).double().mean())

    answers = one_hot(FIRST_TASK, 4), one_hot(second, 4)
    fused = (answers[0] + answers[1]) / 2
    scores = score(fused, FIRST_TASK), score(fused, second)
    return Shown(
        refuted=min(scores) < 1,
        numbers={
            "accuracy of the two outputs, each on its own task": min(
                score(answers[0], FIRST_TASK), score(answers[1], second)
            ),
            "accuracy of the fused output on task 1": scores[0],
            "accuracy of the fused output on task 2": scores[1],
        },
    )
