"""The loss of several tasks, also where an example has labels for some of them only."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from reference.validation import require_at_least


def labelled_losses(
    criteria: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
    outputs: Mapping[str, Float[Tensor, "..."]],
    targets: Mapping[str, Shaped[Tensor, "..."]],
    labelled: Mapping[str, Bool[Tensor, "..."]],
) -> dict[str, Float[Tensor, ""]]:
    """Average each task's loss over the examples that are labelled for it.

    `labelled[k]` has the leading axes of `outputs[k]`: `(B,)` for a task of sequences, `(B, S)` for one of tokens. The
    criterion sees the labelled examples alone, so any value, NaN too, may stand for a missing label. A task without
    a label in this batch has no loss and is left out: its head gets no gradient.

    `ValueError` for names that differ between the mappings, and for a `labelled` that does not fit its output.
    """
    for name, given in (("outputs", outputs), ("targets", targets), ("labelled", labelled)):
        if given.keys() != criteria.keys():
            raise ValueError(f"{name} must be of the tasks {sorted(criteria)}, got {sorted(given)}")
    losses = {}
    for task, criterion in criteria.items():
        chosen, output = labelled[task], outputs[task]
        if chosen.dtype != torch.bool or chosen.ndim < 1 or chosen.shape != output.shape[: chosen.ndim]:
            shapes = f"{chosen.dtype} {tuple(chosen.shape)} for outputs {tuple(output.shape)}"
            raise ValueError(f"labelled[{task!r}] must be boolean, of the leading axes of its outputs, got {shapes}")
        if chosen.any():
            losses[task] = criterion(output[chosen], targets[task][chosen])
    return losses


def weighted_loss(losses: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, float | int]) -> Float[Tensor, ""]:
    """`L = sum_k w_k L_k` (Kendall et al. 2018, section 3, equation 1), over the tasks that have a loss in this batch.

    The gradient of the shared encoder is the sum of the tasks' gradients with the same weights. `ValueError` for no
    losses, a task without a weight, or a negative weight.
    """
    if not losses:
        raise ValueError("losses must name at least one task, got none: skip a batch without any label")
    if missing := sorted(losses.keys() - weights.keys()):
        raise ValueError(f"weights must name every task, none given for {missing}")
    require_at_least(0, **weights)
    return torch.stack([weights[task] * loss for task, loss in losses.items()]).sum()
