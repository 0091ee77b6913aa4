"""Several tasks at once: what sharing a model does, and what fusing the answers does."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from errata.refutations.measure import largest_difference, normal, rounded, seeded
from errata.refutations.registry import Shown, refutation
from reference import FeedForward

Pair = Callable[[], tuple[nn.Module, nn.Module]]


def _separate() -> tuple[nn.Module, nn.Module]:
    return _body_and_head(_body(), 2), _body_and_head(_body(), 5)


def shared() -> tuple[nn.Module, nn.Module]:
    """Two tasks with a head each on one body."""
    body = _body()
    return _body_and_head(body, 2), _body_and_head(body, 5)


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


@refutation
def separate_models_learn_nothing_from_each_other(pair: Pair = _separate) -> Shown:
    """Make one update for the first task and see whether the answers for the second change."""
    apart = _effect_on_the_other_task(pair)
    return Shown(
        refuted=apart == 0,
        numbers={
            "change of task 2 by an update for task 1, one model a task": rounded(apart),
            "the same when both tasks share a body": rounded(_effect_on_the_other_task(shared)),
        },
    )


FIRST_TASK = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
SECOND_TASK = torch.tensor([3, 3, 2, 2, 1, 1, 0, 0])


@refutation
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
