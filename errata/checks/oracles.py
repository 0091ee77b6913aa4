"""Independent float64 NumPy implementations, written from the formulas, that checks compare candidates with.

They share no line with `reference`, which is judged by the same checks as everyone else.
"""

from collections.abc import Callable, Mapping

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
    weights: Array = np.divide(exponentials, total, out=np.zeros_like(exponentials), where=total > 0)
    return weights


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Array, Array]:
    """Output and weights of ``softmax(QK^T / sqrt(d_k)) V`` (Vaswani et al. 2017, 3.2.1); mask True = may attend."""
    scores = array(query) @ np.swapaxes(array(key), -1, -2) / np.sqrt(query.shape[-1])
    if mask is not None:
        scores = np.where(mask.numpy(), scores, -np.inf)
    weights = softmax(scores)
    return weights @ array(value), weights


def normalised(x: Tensor, axes: int | tuple[int, ...], eps: float) -> Array:
    """``(x - mean) / sqrt(variance + eps)`` with the biased variance (Ba et al. 2016, 3; Ioffe and Szegedy 2015, 3)."""
    centred = array(x) - array(x).mean(axis=axes, keepdims=True)
    rescaled: Array = centred / np.sqrt((centred**2).mean(axis=axes, keepdims=True) + eps)
    return rescaled


def root_mean_square_normalised(x: Tensor, eps: float) -> Array:
    """``x / sqrt(mean(x^2) + eps)`` over the last axis (Zhang and Sennrich 2019, 4, equation 4)."""
    rescaled: Array = array(x) / np.sqrt((array(x) ** 2).mean(axis=-1, keepdims=True) + eps)
    return rescaled


def feed_forward(x: Tensor, weights: Mapping[str, Tensor]) -> Array:
    """``max(0, x W1 + b1) W2 + b2`` (Vaswani et al. 2017, 3.3), weights as in `torch.nn.Linear`."""
    hidden = array(x) @ array(weights["inner.weight"]).T + array(weights["inner.bias"])
    return np.maximum(0.0, hidden) @ array(weights["outer.weight"]).T + array(weights["outer.bias"])


def sinusoids(length: int, width: int) -> Array:
    """``PE(pos, 2i) = sin(pos / 10000^(2i/D))`` and ``PE(pos, 2i+1) = cos(...)`` (Vaswani et al. 2017, 3.5)."""
    column = np.arange(width)
    angle = np.arange(length)[:, None] / 10000.0 ** ((column - column % 2) / width)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle))


State = Mapping[str, Tensor]
"""Parameters by their names in a component."""


def encoder_layer(x: Tensor, mask: Tensor | None, state: State, heads: int, pre_norm: bool) -> Array:
    """Self-attention and the feed-forward network, each in a residual sublayer (Vaswani et al. 2017, 3.1)."""
    stream = _attended(x, None, mask, "self_attention", state, heads, pre_norm)
    return array(_fed_forward(stream, state, pre_norm))


def decoder_layer(
    x: Tensor, memory: Tensor, mask: Tensor | None, memory_mask: Tensor | None, state: State, heads: int, pre_norm: bool
) -> Array:
    """As `encoder_layer`, with attention to the memory between the two (Vaswani et al. 2017, 3.1)."""
    stream = _attended(x, None, mask, "self_attention", state, heads, pre_norm)
    stream = _attended(stream, memory, memory_mask, "cross_attention", state, heads, pre_norm)
    return array(_fed_forward(stream, state, pre_norm))


def adam(rates: Array, gradients: Array) -> Array:
    """The weights after each step from 0 (Kingma and Ba 2015, algorithm 1: beta 0.9 and 0.999, epsilon 1e-8)."""
    weights, first, second = (np.zeros_like(gradients[0]) for _ in range(3))
    path = []
    for step, (rate, gradient) in enumerate(zip(rates, gradients, strict=True), start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weights = weights - rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        path.append(weights)
    return np.array(path)


def noam(steps: int, width: int, warmup: int) -> Array:
    """``D^-0.5 min(n^-0.5, n warmup^-1.5)`` for n = 1..steps (Vaswani et al. 2017, 5.3, equation 3)."""
    n = np.arange(1, steps + 1, dtype=np.float64)
    rates: Array = width**-0.5 * np.minimum(n**-0.5, n * warmup**-1.5)
    return rates


def _attended(
    x: Tensor, memory: Tensor | None, mask: Tensor | None, name: str, state: State, heads: int, pre_norm: bool
) -> Tensor:
    """A residual sublayer of attention to the memory, or to its own input."""
    weights, for_heads = _part(state, name), None if mask is None else mask[:, None]

    def branch(y: Tensor) -> Array:
        keys = y if memory is None else memory
        return multi_head_attention(weights, heads, y, keys, keys, for_heads)

    return _sublayer(x, branch, _part(state, f"{name}_norm"), pre_norm)


def _fed_forward(x: Tensor, state: State, pre_norm: bool) -> Tensor:
    weights = _part(state, "feed_forward")
    return _sublayer(x, lambda y: feed_forward(y, weights), _part(state, "feed_forward_norm"), pre_norm)


def _sublayer(x: Tensor, branch: Callable[[Tensor], Array], norm: State, pre_norm: bool) -> Tensor:
    def normed(y: Tensor) -> Tensor:
        return torch.from_numpy(normalised(y, -1, 1e-5) * array(norm["gain"]) + array(norm["bias"]))

    if pre_norm:
        return x + torch.from_numpy(branch(normed(x)))
    return normed(x + torch.from_numpy(branch(x)))


def _part(state: State, name: str) -> State:
    """The parameters of one submodule, by their names in it."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def _map(x: Array, state: State, name: str) -> Array:
    bias = state.get(f"{name}.bias")
    return x @ array(state[f"{name}.weight"]).T + (0.0 if bias is None else array(bias))


def multi_head_attention(
    state: State, heads: int, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Array:
    """``Concat(head_1, ..., head_H) W^O`` (Vaswani et al. 2017, 3.2.2); head i owns slice i of each projection."""
    projected = (_map(array(x), state, name) for name, x in (("query", query), ("key", key), ("value", value)))
    slices = zip(*(np.split(projection, heads, axis=-1) for projection in projected), strict=True)
    one_for_all = mask if mask is None else mask[:, 0]
    tensors = (tuple(map(torch.from_numpy, parts)) for parts in slices)
    answers = [attention(q, k, v, one_for_all)[0] for q, k, v in tensors]
    return _map(np.concatenate(answers, axis=-1), state, "output")
