"""Independent float64 NumPy implementations, written from the formulas, that checks compare candidates with.

They share no line with `reference`, which is judged by the same checks as everyone else.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def array(tensor: Tensor) -> Array:
    """A tensor's numbers in float64."""
    return tensor.detach().to(torch.float64).numpy()


def softmax(scores: Array) -> Array:
    """``exp(s) / sum(exp(s))`` over the last axis; a row of minus infinities gives zeros."""
    highest = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isfinite(highest), highest, 0.0))
    total = exponentials.sum(axis=-1, keepdims=True)
    return np.divide(exponentials, total, out=np.zeros_like(exponentials), where=total > 0)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Array, Array]:
    """Output and weights of ``softmax(QK^T / sqrt(d_k)) V`` (Vaswani et al. 2017, 3.2.1); mask True = may attend."""
    scores = array(query) @ np.swapaxes(array(key), -1, -2) / np.sqrt(query.shape[-1])
    if mask is not None:
        scores = np.where(mask.numpy(), scores, -np.inf)
    weights = softmax(scores)
    return weights @ array(value), weights


def sinusoids(length: int, width: int) -> Array:
    """``PE(pos, 2i) = sin(pos / 10000^(2i/D))``, ``PE(pos, 2i+1) = cos(...)`` (Vaswani et al. 2017, 3.5), shape (T, D)."""
    column = np.arange(width)
    angle = np.arange(length)[:, None] / 10000.0 ** ((column - column % 2) / width)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle))
