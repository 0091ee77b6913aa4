"""Statements about dropout: how much, where, and what for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from errata.findings import Figure
from errata.refutations.measure import NOISE, largest_difference, normal, rounded, seeded
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation

WIDTH = 8

Build = Callable[[], nn.Module]


def printed_transformer() -> nn.Module:
    """The class of question 5, verbatim, with the sizes and classes that its block takes from elsewhere."""
    classes = printed("000_q03_multi_head_attention.py") | printed("000_q04_feed_forward.py")
    block = printed("000_q05_transformer.py", **classes, vocab_size=11, pos_embedding_size=16)
    model: nn.Module = seeded(lambda: block["Transformer"](WIDTH, 16, 2))
    return model


def torch_transformer(**dropout: Any) -> nn.Module:
    """Torch's Transformer, with its own default for dropout unless it is given."""
    return seeded(lambda: nn.Transformer(WIDTH, 2, 2, 2, 16, batch_first=True, **dropout))


@refutation(
    if_true=(partial(torch_transformer, dropout=0.5),),
    adversary=Adversary("`torch.nn.Dropout` by itself, whose default is 0.5", (nn.Dropout,), refuted=False),
)
def a_transformer_drops_a_tenth(builds: tuple[Build, ...] = (printed_transformer, torch_transformer)) -> Shown:
    """Send ones through every dropout of the printed model and of torch's Transformer, and count the zeros."""
    modules = [module for build in builds for module in build().train().modules()]
    layers = [module for module in modules if isinstance(module, nn.Dropout)]
    ones = torch.ones(5000)
    zeros = seeded(lambda: torch.stack([layer(ones) == 0 for layer in layers])).double().mean(dim=-1)
    return Shown(
        refuted=float(zeros.max()) < 0.25,
        numbers={
            "dropouts in the models": len(layers),
            "share of elements dropped, mean": rounded(zeros.mean()),
            "share of elements dropped, largest": rounded(zeros.max()),
        },
    )


def torch_encoder(probability: float = 0.1) -> nn.Module:
    """Torch's encoder, whose input comes from outside."""

    def build() -> nn.Module:
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=probability, batch_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    return seeded(build).double()


@refutation(
    if_true=partial(torch_encoder, 0.0),
    adversary=Adversary(
        "an encoder handed over in evaluation, in which no dropout acts", lambda: torch_encoder().eval(), refuted=True
    ),
)
def dropout_acts_inside_every_layer(build: Build = torch_encoder) -> Shown:
    """Give torch's encoder the same vectors twice in training, and see whether its output is random.

    Dropout on the input sequence alone has acted before, so that nothing would be random any more.
    """
    encoder, words = build().train(), normal(1, 6, WIDTH)
    first, second = (seeded(partial(encoder, words), seed) for seed in (1, 2))
    difference = largest_difference(first, second)
    acting = [module for module in encoder.modules() if isinstance(module, nn.Dropout) and module.p > 0]
    return Shown(
        refuted=difference > NOISE,
        numbers={
            "dropouts behind the input": len(acting),
            "difference of two passes in training, same input": rounded(difference),
        },
    )


Fit = Callable[[float], tuple[float, float]]
"""From a probability of dropout to the training and the held-out error of a fit."""


def errors(probability: float, count: int = 20) -> tuple[float, float]:
    """The errors of a linear model with 15 features, fitted under dropout of its inputs and measured without.

    It is fitted by least squares to 10,000 dropped copies of its examples.
    """
    truth = normal(15, 1, seed=1)

    def examples(number: int, seed: int) -> tuple[Tensor, Tensor]:
        inputs = normal(number, 15, seed=seed)
        return inputs, inputs @ truth + 3 * normal(number, 1, seed=seed + 1)

    inputs, targets = examples(count, seed=2)
    copies = 10_000 // count
    dropped = seeded(lambda: nn.functional.dropout(inputs.repeat(copies, 1), probability))
    weights = torch.linalg.lstsq(dropped, targets.repeat(copies, 1)).solution
    held_out, answers = examples(1000, seed=4)
    return float((inputs @ weights - targets).square().mean()), float((held_out @ weights - answers).square().mean())


def errors_with_less(probability: float) -> tuple[float, float]:
    """The errors of a fit from which dropout is taken away: 0.6 less the probability."""
    return errors(0.6 - probability)


@refutation(
    if_true=errors_with_less,
    adversary=Adversary(
        "so many examples that dropout has nothing to gain on new ones", partial(errors, count=2000), refuted=True
    ),
)
def dropout_raises_the_training_error(fit: Fit = errors) -> Shown:
    """Fit a linear model to 20 examples with dropout of 0 to 0.6, and measure its error on them and on new ones."""
    probabilities = [step / 10 for step in range(7)]
    training, held_out = zip(*(fit(probability) for probability in probabilities), strict=True)
    return Shown(
        refuted=training[-1] > training[0],
        numbers={
            "training error without dropout": rounded(training[0]),
            "training error with dropout 0.6": rounded(training[-1]),
            "error on new examples without dropout": rounded(held_out[0]),
            "error on new examples with dropout 0.6": rounded(held_out[-1]),
        },
        figure=Figure(
            kind="lines",
            title="Error of a linear model fitted to 20 examples under dropout",
            x_label="probability of dropout",
            y_label="mean squared error",
            data={
                "x": probabilities,
                "on the training examples": [rounded(error) for error in training],
                "on new examples": [rounded(error) for error in held_out],
            },
        ),
    )
