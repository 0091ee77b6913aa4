"""Early stopping (Goodfellow et al. 2016, section 7.8, algorithm 7.1)."""

import math
from copy import deepcopy
from typing import Any

from torch import nn

from reference.validation import require_at_least


class EarlyStopping:
    """Keep the weights of the lowest held-out loss; stop after `patience` evaluations in a row without a lower one.

    An improvement is more than `minimum_improvement` below the best loss so far. NaN never is one.
    """

    def __init__(self, patience: int, minimum_improvement: float = 0.0) -> None:
        """`ValueError` for a patience below 1 or a negative improvement."""
        require_at_least(1, patience=patience)
        require_at_least(0, minimum_improvement=minimum_improvement)
        self.patience = patience
        self.minimum_improvement = minimum_improvement
        self.best_loss = math.inf
        self.best_weights: dict[str, Any] = {}
        self.waited = 0

    @property
    def stopped(self) -> bool:
        """Whether the patience is spent."""
        return self.waited >= self.patience

    def observe(self, held_out_loss: float, model: nn.Module) -> None:
        """Take note of one evaluation of `model`."""
        if held_out_loss < self.best_loss - self.minimum_improvement:
            self.best_loss = held_out_loss
            self.best_weights = deepcopy(model.state_dict())  # the tensors in it go on to change
            self.waited = 0
        else:
            self.waited += 1

    def restore(self, model: nn.Module) -> None:
        """Give `model` the best weights; before the first improvement it keeps its own."""
        if self.best_weights:
            model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """What it has seen, without its two settings."""
        return {"best_loss": self.best_loss, "best_weights": self.best_weights, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.best_loss, self.best_weights, self.waited = state["best_loss"], state["best_weights"], state["waited"]
