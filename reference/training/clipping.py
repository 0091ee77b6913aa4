"""Gradient clipping by the global norm (Pascanu et al. 2013, algorithm 1)."""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Float[Tensor, ""]:
    """Multiply all gradients by `min(1, max_norm / norm)`, where `norm` is that of all of them as one vector.

    One factor for all: the step keeps its direction. Returns `norm`, worth watching. `ValueError` unless `max_norm` is
    positive. A gradient that is NaN or infinite raises `RuntimeError` and leaves the others as they are: scaled by it,
    they would all become NaN or 0, and the optimizer's state with them.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, got {max_norm}")
    return clip_grad_norm_(parameters, max_norm, error_if_nonfinite=True)
