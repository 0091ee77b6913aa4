"""Statements about feed-forward networks and fully connected layers."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from errata.refutations.measure import NOISE, influence, normal, operations, rounded, seeded
from errata.refutations.registry import Shown, refutation
from reference import FeedForward

WORDS, WIDTH = 6, 8

Layer = Callable[[Tensor], Tensor]


def feed_forward(x: Tensor) -> Tensor:
    """The reference's feed-forward network with fixed weights."""
    output: Tensor = seeded(lambda: FeedForward(WIDTH, 32)).double()(x)
    return output


@refutation
def the_second_map_has_no_relu(network: Layer = feed_forward) -> Shown:
    """Count negative outputs of the feed-forward network. After a ReLU there could be none."""
    output = network(normal(100, WIDTH))
    negative = float((output < 0).double().mean())
    return Shown(
        refuted=negative > 0,
        numbers={
            "share of the outputs below 0": rounded(negative),
            "share below 0 if a ReLU followed the second map": rounded((torch.relu(output) < 0).double().mean()),
        },
    )


def fully_connected(features: int) -> nn.Linear:
    """A fully connected layer with fixed weights."""
    return seeded(lambda: nn.Linear(features, features)).double()


@refutation
def a_fully_connected_layer_takes_all_features_at_once(build: Callable[[int], Layer] = fully_connected) -> Shown:
    """Count the operations that a fully connected layer issues one after the other for 8 and for 256 features.

    A layer that went feature by feature would issue 32 times as many for the wider input.
    """
    issued = {}
    for features in (8, 256):
        layer, x = build(features), normal(1, features)
        issued[features] = operations(partial(layer, x))
    return Shown(
        refuted=issued[8] == issued[256],
        numbers={f"operations issued for {features} features": count for features, count in issued.items()},
    )


def over_the_whole_sequence(words: Tensor) -> Tensor:
    """One fully connected layer on all words of the sequence laid side by side."""
    output: Tensor = fully_connected(WORDS * WIDTH)(words.flatten())
    return output.view(WORDS, WIDTH)


@refutation
def a_fully_connected_layer_reaches_every_position(layer: Layer = over_the_whole_sequence) -> Shown:
    """Ask how strongly the first word moves the last output of one fully connected layer.

    What such a layer lacks is thrift: its parameters grow with the square of the length, for which it is fixed.
    """
    words = normal(WORDS, WIDTH).requires_grad_()
    moved = influence(layer(words)[-1], words).amax(dim=-1)
    return Shown(
        refuted=float(moved[0]) > NOISE,
        numbers={
            "influence of the first word on the last output": rounded(moved[0]),
            "influence of the last word on the last output": rounded(moved[-1]),
        }
        | {
            f"parameters for {length} words": sum(w.numel() for w in fully_connected(length * WIDTH).parameters())
            for length in (WORDS, 2 * WORDS)
        },
    )
