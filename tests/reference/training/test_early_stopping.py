import math

import pytest
import torch
from torch import nn

from reference.training.early_stopping import EarlyStopping


def model_at(value: float) -> nn.Module:
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, value)
    return model


def stopped_after(losses: list[float], patience: int, minimum_improvement: float = 0.0) -> tuple[int, float]:
    """How many evaluations it wants to see, and the number of the one whose weights it brings back."""
    early_stopping = EarlyStopping(patience, minimum_improvement)
    model = model_at(-1.0)
    seen = 0
    while not early_stopping.stopped and seen < len(losses):
        nn.init.constant_(model.weight, float(seen))
        early_stopping.observe(losses[seen], model)
        seen += 1
    early_stopping.restore(model)
    return seen, model.weight.item()


@pytest.mark.parametrize(
    ("losses", "patience", "seen", "best"),
    [
        ([3.0, 2.0, 2.5, 1.0, 1.1, 1.2, 1.3], 1, 3, 1),
        ([3.0, 2.0, 2.5, 1.0, 1.1, 1.2, 1.3], 2, 6, 3),
        ([3.0, 2.0, 2.5, 1.0, 1.1, 1.2, 1.3], 4, 7, 3),
        ([3.0, 2.0, 1.0], 1, 3, 2),
        ([2.0, 2.0, 2.0], 1, 2, 0),  # an equal loss is not lower
        ([math.nan, 2.0, math.nan, math.nan], 2, 4, 1),
        ([math.nan, math.inf, 1.0], 2, 2, 1),  # no improvement at all: the model keeps the weights that it has
    ],
)
def test_it_stops_after_so_many_evaluations_without_improvement_and_brings_back_the_best(
    losses: list[float], patience: int, seen: int, best: int
) -> None:
    assert stopped_after(losses, patience) == (seen, best)


def test_an_improvement_exceeds_the_minimum_and_is_measured_from_the_best() -> None:
    assert stopped_after([3.0, 2.5, 2.0, 1.5], 1, minimum_improvement=0.5) == (2, 0)
    assert stopped_after([3.0, 2.7, 2.4, 2.1], 2, minimum_improvement=0.5) == (4, 2)  # 2.4 is 0.6 below 3.0


def test_what_it_has_seen_survives() -> None:
    first, second = EarlyStopping(2), EarlyStopping(2)
    first.observe(1.0, model_at(5.0))
    first.observe(2.0, model_at(6.0))
    second.load_state_dict(first.state_dict())
    second.observe(1.5, model_at(7.0))
    assert second.stopped
    model = model_at(0.0)
    second.restore(model)
    assert torch.equal(model.weight, torch.tensor([[5.0]]))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        EarlyStopping(0)
    with pytest.raises(ValueError, match=r"minimum_improvement must be at least 0, got -0\.1"):
        EarlyStopping(1, -0.1)


def test_before_the_first_evaluation_it_has_seen_nothing() -> None:
    assert EarlyStopping(1).state_dict() == {"best_loss": math.inf, "best_weights": {}, "waited": 0}
