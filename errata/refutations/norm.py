"""Statements about layer and batch normalisation."""

import math
from collections.abc import Callable

from torch import Tensor, nn

from errata.refutations.measure import NOISE, influence, normal, rounded
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation

WIDTH = 64

Norm = Callable[[Tensor], Tensor]
"""From `(B, T, D)` to the same shape."""

Build = Callable[[int], Norm]
"""From the number of features to a norm of them."""


class OverBatch(nn.Module):
    """Torch's batch normalisation, which wants the features in the middle, for `(B, T, D)`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each feature over the batch and its words."""
        normalised: Tensor = self.norm(x.mT).mT
        return normalised


def torch_layer_norm(width: int) -> nn.Module:
    """Torch's layer normalisation."""
    return nn.LayerNorm(width).double()


def torch_batch_norm(width: int) -> nn.Module:
    """Torch's batch normalisation, in training."""
    return OverBatch(width).double()


def torch_rms_norm(width: int) -> nn.Module:
    """Torch's root-mean-square normalisation."""
    return nn.RMSNorm(width).double()


def printed_layer_norm(width: int) -> nn.Module:
    """The class of question 25, verbatim."""
    module: nn.Module = printed("000_q25_layer_norm.py")["LayerNorm"](width)
    return module.double()


def printed_batch_norm(width: int) -> nn.Module:
    """The class of question 27, verbatim."""
    module: nn.Module = printed("000_q27_batch_norm.py")["BatchNorm"](width)
    return module.double()


def by_variance(_: int) -> Norm:
    """Subtract the mean and divide by the variance."""
    return lambda x: (x - x.mean(-1, keepdim=True)) / x.var(-1, correction=0, keepdim=True)


@refutation(
    if_true=(by_variance,),
    adversary=Adversary(
        "a root-mean-square norm, which subtracts no mean but divides by a root as well",
        (torch_rms_norm,),
        refuted=True,
    ),
)
def a_norm_divides_by_the_deviation(
    builds: tuple[Build, ...] = (torch_layer_norm, torch_batch_norm, printed_layer_norm, printed_batch_norm),
) -> Shown:
    """Normalise values of deviation 3 by torch's norms and by the printed ones, and measure the deviation afterwards.

    Dividing by the deviation gives 1; dividing by the variance would give 1/3. The printed norms are 0.8 percent off,
    since they take the variance of a sample.
    """
    x = 3 * normal(1, WIDTH, WIDTH)
    after = [float(build(WIDTH)(x).detach().std(correction=0)) for build in builds]
    return Shown(
        refuted=all(math.isclose(deviation, 1, rel_tol=0.05) for deviation in after),
        numbers={
            "deviation before": rounded(x.std(correction=0)),
            "deviation after, smallest": rounded(min(after)),
            "deviation after, largest": rounded(max(after)),
        },
    )


def standard(x: Tensor) -> Tensor:
    """The last axis with mean 0 and variance 1."""
    return nn.functional.layer_norm(x, x.shape[-1:], eps=0.0)


def scale_and_shift(norm: Norm, x: Tensor) -> tuple[float, float]:
    """The slope and the intercept of a norm's output over the standardised input."""
    output = norm(x).detach()
    return float((output * standard(x)).mean()), float(output.mean())


def by_the_reciprocals(_: int) -> Norm:
    """Scale by the reciprocal of the variance and shift by that of the mean."""
    return lambda x: standard(x) / x.var(-1, correction=0, keepdim=True) + 1 / x.mean(-1, keepdim=True)


def after_training(width: int) -> nn.Module:
    """Torch's layer norm with scale 3 and shift 2, as training might leave them."""
    norm = nn.LayerNorm(width)
    nn.init.constant_(norm.weight, 3.0)
    nn.init.constant_(norm.bias, 2.0)
    return norm.double()


@refutation(
    if_true=by_the_reciprocals,
    adversary=Adversary(
        "a layer norm after training, whose scale and shift are not 1 and 0", after_training, refuted=True
    ),
)
def scale_and_shift_are_learned(build: Build = torch_layer_norm) -> Shown:
    """Fit scale and shift of the output of torch's layer norm for inputs of two sizes.

    As reciprocals of variance and mean they would differ from input to input. They are the same whatever comes in:
    parameters, which start at 1 and 0.
    """
    norm = build(WIDTH)
    small, large = normal(1, WIDTH) + 2, 10 * normal(1, WIDTH) + 5
    (scale, shift), (scale_large, shift_large) = scale_and_shift(norm, small), scale_and_shift(norm, large)
    parameters = norm.parameters() if isinstance(norm, nn.Module) else ()
    return Shown(
        refuted=math.isclose(scale, scale_large, rel_tol=1e-3) and math.isclose(shift, shift_large, abs_tol=1e-3),
        numbers={
            "scale, first input": rounded(scale),
            "scale, second input": rounded(scale_large),
            "shift, first input": rounded(shift),
            "shift, second input": rounded(shift_large),
            "reciprocal of the variance, first input": rounded(1 / small.var(correction=0)),
            "reciprocal of the variance, second input": rounded(1 / large.var(correction=0)),
            "learned parameters": sum(weight.numel() for weight in parameters),
        },
    )


def over_the_sequence(_: int) -> Norm:
    """One mean and one variance of all that the layer gets of a sequence."""
    return lambda x: nn.functional.layer_norm(x, x.shape[1:])


def one_group(_: int) -> Norm:
    """Torch's group norm with a single group, which takes the words of a sequence together."""
    return lambda x: nn.functional.group_norm(x.mT, 1).mT


@refutation(
    if_true=over_the_sequence,
    adversary=Adversary(
        "a group norm with a single group, which also goes by the name of layer norm", one_group, refuted=False
    ),
)
def a_layer_norm_treats_each_word_alone(build: Build = printed_layer_norm) -> Shown:
    """Ask whether the other words of a sequence move the normalised first word, in the printed code.

    With one mean and one variance for all that the layer gets they would.
    """
    words = normal(1, 5, 4).requires_grad_()
    moved = influence(build(4)(words)[0, 0], words)[0]
    return Shown(
        refuted=float(moved[1:].max()) < NOISE < float(moved[0].max()),
        numbers={
            "influence of the word itself": rounded(moved[0].max()),
            "influence of the other words": rounded(moved[1:].max()),
        },
    )


def handed_over_in_evaluation(width: int) -> nn.Module:
    """Torch's batch normalisation, switched to evaluation, where no sequence sees another."""
    return torch_batch_norm(width).eval()


@refutation(
    if_true=torch_batch_norm,
    adversary=Adversary(
        "torch's batch normalisation handed over in evaluation, where no sequence sees another",
        handed_over_in_evaluation,
        refuted=False,
    ),
)
def the_printed_batch_norm_ignores_the_batch(build: Callable[[int], nn.Module] = printed_batch_norm) -> Shown:
    """Ask whether the other sequences of a batch move the normalised first one in training, in the printed code.

    In batch normalisation they do, since mean and variance are those of the batch.
    """
    batch = normal(3, 5, 4).requires_grad_()
    moved = influence(build(4).train()(batch)[0], batch)
    return Shown(
        refuted=float(moved[1:].max()) < NOISE < float(moved[0].max()),
        numbers={
            "influence of the sequence itself": rounded(moved[0].max()),
            "influence of the other sequences": rounded(moved[1:].max()),
        },
    )
