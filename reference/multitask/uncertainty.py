"""Loss weights that are learned: the uncertainty of each task (Kendall et al. 2018, section 3.2)."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

TaskKind: TypeAlias = Literal["regression", "classification"]


class UncertaintyWeighting(nn.Module):
    """`L = sum_k c_k exp(-s_k) L_k + s_k / 2` with the learned log variances `s_k = log sigma_k^2`.

    `c_k` is 1/2 for a regression (equation 7: Gaussian likelihood, L_k the squared error) and 1 for a classification
    (equation 10: softmax likelihood, L_k the cross-entropy). `s_k / 2 = log sigma_k` keeps the weights from falling
    to 0: with L_k fixed, the minimum has the variance `sigma_k^2 = 2 c_k L_k`.
    """

    def __init__(self, kinds: Mapping[str, TaskKind]) -> None:
        """Every variance starts at 1. `ValueError` for no tasks, or a kind that is neither of the two."""
        super().__init__()
        if not kinds:
            raise ValueError("kinds must name at least one task, got none")
        factors = {"regression": 0.5, "classification": 1.0}
        for task, kind in kinds.items():
            if kind not in factors:
                raise ValueError(f"kinds[{task!r}] must be one of {sorted(factors)}, got {kind!r}")
        self.factors = {task: factors[kind] for task, kind in kinds.items()}
        self.log_variances = nn.ParameterDict({task: torch.zeros(()) for task in kinds})

    def forward(self, losses: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """Weigh the tasks that have a loss in this batch; the variances of the others stay as they are.

        `ValueError` for no losses or a task that was not named at the start.
        """
        if not losses:
            raise ValueError("losses must name at least one task, got none: skip a batch without any label")
        if unknown := sorted(losses.keys() - self.factors.keys()):
            raise ValueError(f"losses must be of the tasks {sorted(self.factors)}, got {unknown}")
        terms = []
        for task, loss in losses.items():
            log_variance = self.log_variances[task]
            terms.append(self.factors[task] * torch.exp(-log_variance) * loss + log_variance / 2)
        return torch.stack(terms).sum()
