"""Gradient accumulation: the gradient of a large batch from parts that fit into memory."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from reference.validation import require_at_least


def accumulate_gradients(losses: Iterable[Float[Tensor, ""]], tokens: int) -> Float[Tensor, ""]:
    """Add the gradient of `sum(losses) / tokens` to `.grad`, one part after the other, and return that mean loss.

    Each loss is the *sum* over its part's tokens, and `tokens` counts those of all parts: the mean of the parts' means
    would weigh a token the more, the fewer there are in its part. Let `losses` be a generator, so that each part's
    graph is freed before the next one is built:

        tokens = sum(int((labels != padding_id).sum()) for _, labels in parts)
        accumulate_gradients((loss_of(model(inputs), labels) for inputs, labels in parts), tokens)

    `ValueError` for less than one token, and for no losses.
    """
    require_at_least(1, tokens=tokens)
    means = []
    for loss in losses:
        mean = loss / tokens
        mean.backward()
        means.append(mean.detach())
    if not means:
        raise ValueError("losses must hold at least one loss, got none")
    return torch.stack(means).sum()
