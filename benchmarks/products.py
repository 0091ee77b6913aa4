"""The bound: the matrix products of the full model in its shapes, and nothing else.

No bias, softmax, norm, dropout, mask or activation, no autograd; results are thrown away. Each projection has a weight
of its own, so the weights come from memory as they do in a model. Attention counts in full, causal or not, and padded
tokens count like others.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from benchmarks.measure import Run
from benchmarks.peers import Size


def projections(size: Size) -> list[tuple[int, int]]:
    """The widths (in, out) of every linear map that each position passes, on either side."""
    square, feed_forward = (size.width, size.width), [(size.width, size.inner), (size.inner, size.width)]
    encoder_layer = [square] * 4 + feed_forward
    decoder_layer = [square] * 8 + feed_forward
    return (encoder_layer + decoder_layer) * size.layers + [(size.width, size.vocabulary)]


def floating_point_operations(size: Size) -> int:
    """Of the forward products; a training step has three times as many."""
    tokens = size.batch * size.length
    linears = sum(2 * tokens * before * after for before, after in projections(size))
    attention = 3 * size.layers * 2 * (2 * tokens * size.length * size.width)
    return linears + attention


def forward(size: Size) -> Run:
    """The products of a forward pass."""
    inputs, weights, heads = _operands(size)

    def run() -> None:
        for weight in weights:
            linear(inputs[weight.shape[1]], weight)
        for _ in range(3 * size.layers):
            torch.matmul(torch.matmul(heads, heads.mT), heads)

    return run


def training_step(size: Size) -> Run:
    """The products of a forward pass and the two of each on the way back: one to the input, one to the weight."""
    inputs, weights, heads = _operands(size)
    scores = heads @ heads.mT

    def run() -> None:
        for weight in weights:
            x, gradient = inputs[weight.shape[1]], inputs[weight.shape[0]]
            linear(x, weight)
            torch.mm(gradient, weight)
            torch.mm(gradient.T, x)
        for _ in range(3 * size.layers):
            torch.matmul(heads, heads.mT)  # the scores
            torch.matmul(scores, heads)  # their use
            torch.matmul(heads, heads.mT)  # back to the scores,
            torch.matmul(scores.mT, heads)  # to the values,
            torch.matmul(scores, heads)  # to the queries,
            torch.matmul(scores.mT, heads)  # and to the keys

    return run


def _operands(size: Size) -> tuple[dict[int, Tensor], list[Tensor], Tensor]:
    """Activations by width, one weight a projection, and queries, keys or values `(B * H, T, d)`."""
    tokens = size.batch * size.length
    widths = {width for pair in projections(size) for width in pair}
    inputs = {width: torch.randn(tokens, width) for width in sorted(widths)}
    weights = [torch.randn(after, before) for before, after in projections(size)]
    heads = torch.randn(size.batch * size.heads, size.length, size.width // size.heads)
    return inputs, weights, heads
