"""Statements about dropout: how much, where, and what for."""

from collections.abc import Callable

import torch
from torch import Tensor

from errata.findings import Figure
from errata.refutations.measure import NOISE, largest_difference, normal, rounded, seeded
from errata.refutations.models import SOURCE, TARGET, small_transformer
from errata.refutations.registry import Shown, refutation
from reference import Dropout, Transformer, dropout


@refutation
def a_transformer_drops_a_tenth(build: Callable[[], Transformer] = small_transformer) -> Shown:
    """Send ones through every dropout of a Transformer and count the zeros that come out."""
    layers = [module for module in build().train().modules() if isinstance(module, Dropout)]
    ones = torch.ones(2000)
    zeros = seeded(lambda: torch.stack([layer(ones) == 0 for layer in layers])).double().mean(dim=-1)
    return Shown(
        refuted=float(zeros.max()) < 0.25,
        numbers={
            "dropouts in the model": len(layers),
            "share of elements dropped, mean": rounded(zeros.mean()),
            "share of elements dropped, largest": rounded(zeros.max()),
        },
    )


@refutation
def dropout_acts_inside_every_layer(build: Callable[[], Transformer] = small_transformer) -> Shown:
    """Switch off the dropout of the input, and see whether the output of a training pass is still random.

    Dropout on the input sequence alone would leave nothing random. And count dropped elements word by word: each word
    has a pattern of its own.
    """
    model = build().train()
    layers = sum(isinstance(module, Dropout) for module in model.modules())
    model.positional_encoding.dropout = Dropout(0.0)
    first, second = (seeded(lambda: model(SOURCE, TARGET), seed) for seed in (1, 2))
    patterns = seeded(lambda: dropout(torch.ones(8, 64), 0.5)) == 0
    return Shown(
        refuted=largest_difference(first, second) > NOISE,
        numbers={
            "dropouts in the model": layers,
            "difference of two passes with the input's dropout off": rounded(largest_difference(first, second)),
            "different patterns among 8 words of one example": len(torch.unique(patterns, dim=0)),
        },
    )


def errors(probability: float) -> tuple[float, float]:
    """The training and held-out error of a linear model fitted under dropout of its inputs.

    It is fitted by least squares to 500 dropped copies of 20 examples with 15 features.
    """
    truth = normal(15, 1, seed=1)

    def examples(count: int, seed: int) -> tuple[Tensor, Tensor]:
        inputs = normal(count, 15, seed=seed)
        return inputs, inputs @ truth + 3 * normal(count, 1, seed=seed + 1)

    inputs, targets = examples(20, seed=2)
    dropped = seeded(lambda: dropout(inputs.repeat(500, 1), probability))
    weights = torch.linalg.lstsq(dropped, targets.repeat(500, 1)).solution
    held_out, answers = examples(1000, seed=4)
    return float((inputs @ weights - targets).square().mean()), float((held_out @ weights - answers).square().mean())


@refutation
def dropout_raises_the_training_error(fit: Callable[[float], tuple[float, float]] = errors) -> Shown:
    """Fit a linear model to few examples with dropout of 0 to 0.6, and measure its error on them and on new ones."""
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
