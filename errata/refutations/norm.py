"""Statements about layer and batch normalisation."""

from collections.abc import Callable

import torch
from torch import Tensor

from errata.refutations.measure import NOISE, influence, largest_difference, normal, rounded
from errata.refutations.registry import Shown, refutation
from reference import BatchNorm, LayerNorm

WIDTH = 64

Normalise = Callable[[Tensor], Tensor]


def layer_norm(x: Tensor) -> Tensor:
    """Torch's layer normalisation, without gain and bias."""
    return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=0.0)


def batch_norm(x: Tensor) -> Tensor:
    """Torch's batch normalisation of `(N, D)` in training, without gain and bias."""
    return torch.nn.functional.batch_norm(x, None, None, training=True, eps=1e-15)


@refutation
def a_norm_divides_by_the_deviation(over_features: Normalise = layer_norm, over_batch: Normalise = batch_norm) -> Shown:
    """Normalise values of deviation 3 and measure the deviation of the result.

    Dividing by the deviation gives 1; dividing by the variance would give 1/3, and another result for every scale.
    """
    x = 3 * normal(WIDTH, WIDTH)
    by_layer = over_features(x).std(dim=-1, correction=0)
    by_batch = over_batch(x).std(dim=0, correction=0)
    by_variance = ((x - x.mean(-1, keepdim=True)) / x.var(-1, correction=0, keepdim=True)).std(-1, correction=0)
    ones = torch.ones(WIDTH, dtype=x.dtype)
    return Shown(
        refuted=max(largest_difference(by_layer, ones), largest_difference(by_batch, ones)) < NOISE,
        numbers={
            "deviation before": rounded(x.std(dim=-1, correction=0).mean()),
            "deviation after layer normalisation": rounded(by_layer.mean()),
            "deviation after batch normalisation": rounded(by_batch.mean()),
            "deviation after dividing by the variance": rounded(by_variance.mean()),
        },
    )


def gain_and_bias(norm: Normalise, x: Tensor) -> tuple[float, float]:
    """The slope and the intercept of a norm's output over the standardised input."""
    standard = layer_norm(x)
    output = norm(x).detach()
    return float((output * standard).mean() / standard.square().mean()), float(output.mean())


@refutation
def scale_and_shift_are_learned(norm: Normalise | None = None) -> Shown:
    """Fit scale and shift of a new layer norm's output for inputs of two sizes.

    As reciprocals of variance and mean they would undo the normalisation, and differ from input to input. They start
    at 1 and 0 whatever comes in, and get gradients.
    """
    layer = LayerNorm(WIDTH, eps=0.0).double()
    norm = norm or layer
    small, large = normal(1, WIDTH) + 2, 10 * normal(1, WIDTH) + 5
    (scale, shift), (scale_large, shift_large) = gain_and_bias(norm, small), gain_and_bias(norm, large)
    return Shown(
        refuted=abs(scale - scale_large) < NOISE and abs(shift - shift_large) < NOISE,
        numbers={
            "scale, first input": rounded(scale),
            "scale, second input": rounded(scale_large),
            "shift, first input": rounded(shift),
            "shift, second input": rounded(shift_large),
            "reciprocal of the variance, first input": rounded(1 / small.var(correction=0)),
            "reciprocal of the variance, second input": rounded(1 / large.var(correction=0)),
            "learned parameters": sum(weight.numel() for weight in layer.parameters() if weight.requires_grad),
        },
    )


def printed_batch_norm(x: Tensor) -> Tensor:
    """The printed code: mean and variance over axis 1, the words of each sequence."""
    return (x - x.mean([1], keepdim=True)) / torch.sqrt(x.var([1], keepdim=True) + 1e-6)


@refutation
def the_printed_batch_norm_ignores_the_batch(normalise: Normalise = printed_batch_norm) -> Shown:
    """Ask whether the other sequences of a batch move the normalised first one, as they do in batch normalisation."""
    batch = normal(3, 5, 4).requires_grad_()
    printed = float(influence(normalise(batch)[0], batch)[1:].max())
    true = float(influence(BatchNorm(4).double()(batch)[0], batch)[1:].max())
    return Shown(
        refuted=printed < NOISE < true,
        numbers={
            "influence of the other sequences, printed code": rounded(printed),
            "influence of the other sequences, batch normalisation": rounded(true),
        },
    )
