"""Statements about feed-forward networks and fully connected layers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from errata.refutations.depth import longest_chain
from errata.refutations.measure import NOISE, influence, largest_difference, normal, rounded, seeded
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation

WORDS, WIDTH = 6, 8

Layer = Callable[[Tensor], Tensor]


def printed_network(*changes: tuple[str, str]) -> Any:
    """The module of question 4, with the same weights at every call."""
    build = printed("000_q04_feed_forward.py", *changes)["FeedForward"]
    return seeded(lambda: build(WIDTH, 32)).double()


def with_two_relus() -> Any:
    """The module, were it as the sentence says."""
    return printed_network(("x = self.linear_2(x)", "x = self.relu(self.linear_2(x))"))


def with_a_large_bias() -> Any:
    """The module as printed, with a bias that keeps every output positive."""
    network = printed_network()
    nn.init.constant_(network.linear_2.bias, 100.0)
    return network


@refutation(
    if_true=with_two_relus,
    adversary=Adversary(
        "a last bias so large that no output is negative even without a ReLU", with_a_large_bias, refuted=True
    ),
)
def the_second_map_has_no_relu(build: Callable[[], Any] = printed_network) -> Shown:
    """Turn the sign of the second linear map of the printed network and compare its outputs before and after.

    They turn their sign as well. After a ReLU no output would be negative, before or after.
    """
    network, x = build(), normal(100, WIDTH)
    with torch.no_grad():
        output = network(x)
        network.linear_2.weight.neg_()
        network.linear_2.bias.neg_()
        turned = network(x)
    difference = largest_difference(output, -turned)
    return Shown(
        refuted=difference < NOISE,
        numbers={
            "share of the outputs below 0": rounded((output < 0).double().mean()),
            "the same with the sign of the second map turned": rounded((turned < 0).double().mean()),
            "largest difference between the outputs and the others turned back": rounded(difference),
        },
    )


def encoder_layer() -> nn.TransformerEncoderLayer:
    """PyTorch's encoder layer, in the paper's order of sublayers."""
    return seeded(lambda: nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True, dtype=torch.float64))


class WithoutResidual(nn.TransformerEncoderLayer):
    """An encoder layer whose feed-forward network takes the output of the attention."""

    normalise = False

    def forward(self, src: Tensor, *_: Any, **__: Any) -> Tensor:
        """Attention, then the network, and nothing beside."""
        attended = self.self_attn(src, src, src, need_weights=False)[0]
        output: Tensor = self._ff_block(self.norm1(attended) if self.normalise else attended)
        return output


class NormalisedWithoutResidual(WithoutResidual):
    """The same with a layer normalisation in between."""

    normalise = True


def without_residual(kind: type[WithoutResidual] = WithoutResidual) -> nn.TransformerEncoderLayer:
    """A layer of this kind, with the weights of PyTorch's."""
    return seeded(lambda: kind(WIDTH, 2, 16, dropout=0.0, batch_first=True, dtype=torch.float64))


@refutation(
    if_true=without_residual,
    adversary=Adversary(
        "a layer that normalises what attention returns, but has no shortcut: not the same vectors, yet nothing else",
        lambda: without_residual(NormalisedWithoutResidual),
        refuted=False,
    ),
)
def the_network_takes_more_than_the_attention_returns(
    build: Callable[[], nn.TransformerEncoderLayer] = encoder_layer,
) -> Shown:
    """Look at what enters the feed-forward network of PyTorch's encoder layer, and silence the attention before it.

    Were it the attention's output, a word would then no longer matter to it. It is the normalised sum of that output
    and the word's own vector.
    """
    layer, entered, attended = build(), list[Tensor](), list[Tensor]()
    layer.linear1.register_forward_pre_hook(lambda _layer, inputs: entered.append(inputs[0]))
    layer.self_attn.register_forward_hook(lambda _layer, _inputs, output: attended.append(output[0]))
    words = normal(1, WORDS, WIDTH).requires_grad_()
    layer(words)
    for weight in (layer.self_attn.out_proj.weight, layer.self_attn.out_proj.bias):
        nn.init.zeros_(weight)
    layer(words)
    left = float(influence(entered[1], words).max())
    return Shown(
        refuted=left > NOISE,
        numbers={
            "largest difference between the network's input and the attention's output": rounded(
                largest_difference(entered[0], attended[0])
            ),
            "influence of the words on the network's input, attention silenced": rounded(left),
        },
    )


def fully_connected(features: int) -> nn.Linear:
    """A fully connected layer with fixed weights."""
    return seeded(lambda: nn.Linear(features, features)).double()


def feature_by_feature(features: int) -> Layer:
    """A layer that adds what one feature brings to what those before have brought."""
    layer = fully_connected(features)
    return lambda x: sum((x[:, [i]] * layer.weight[:, i] for i in range(features)), start=layer.bias)


def unit_by_unit(features: int) -> Layer:
    """The fully connected layer in a loop over its outputs."""
    layer = fully_connected(features)
    return lambda x: torch.stack([x @ weight + bias for weight, bias in zip(layer.weight, layer.bias, strict=True)])


@refutation(
    if_true=feature_by_feature,
    adversary=Adversary(
        "the layer in a loop over its outputs: many calls, none of which waits for another", unit_by_unit, refuted=True
    ),
)
def a_fully_connected_layer_takes_all_features_at_once(build: Callable[[int], Layer] = fully_connected) -> Shown:
    """Measure the longest chain of operations that wait for one another in a fully connected layer.

    For 8 and for 256 features: in what goes feature by feature, the chain grows with them.
    """
    few, many = (longest_chain(build(features)(normal(1, features).requires_grad_())) for features in (8, 256))
    return Shown(
        refuted=few == many,
        numbers={"longest chain of operations, 8 features": few, "longest chain of operations, 256 features": many},
    )


def over_the_whole_sequence(words: Tensor) -> Tensor:
    """One fully connected layer on all words of the sequence laid side by side."""
    output: Tensor = fully_connected(WORDS * WIDTH)(words.flatten())
    return output.view(WORDS, WIDTH)


def position_by_position(words: Tensor) -> Tensor:
    """One fully connected layer on each word by itself, as in the Transformer."""
    output: Tensor = fully_connected(WIDTH)(words)
    return output


def between_neighbours(words: Tensor) -> Tensor:
    """One fully connected layer on each word and the one before."""
    output: Tensor = seeded(lambda: nn.Linear(2 * WIDTH, WIDTH)).double()(torch.cat([words, words.roll(1, 0)], dim=-1))
    return output


@refutation(
    if_true=position_by_position,
    adversary=Adversary(
        "a layer on each word and the one before: its outputs depend on other words, but on near ones alone",
        between_neighbours,
        refuted=False,
    ),
)
def a_fully_connected_layer_reaches_every_position(layer: Layer = over_the_whole_sequence) -> Shown:
    """Ask how strongly the first word moves the last output of one fully connected layer over the whole sequence.

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
            f"parameters of a layer over {length} words": sum(
                weight.numel() for weight in fully_connected(length * WIDTH).parameters()
            )
            for length in (WORDS, 2 * WORDS)
        },
    )


SIDE = 8


def images(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy images `(N, 1, side, side)` of one short line somewhere, and whether it is level or upright."""
    generator = torch.Generator().manual_seed(seed)
    x = 0.3 * normal(number, 1, SIDE, SIDE, seed=seed)
    level = torch.randint(2, (number,), generator=generator)
    starts = torch.randint(SIDE - 2, (number,), generator=generator)
    rows = torch.randint(SIDE, (number,), generator=generator)
    for image, lies, start, row in zip(x, level, starts, rows, strict=True):
        image = image[0] if lies else image[0].T
        image[row, start : start + 3] += 1
    return x, level


def fully_connected_network() -> nn.Sequential:
    """A fully connected network of two layers on all pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 32), nn.ReLU(), nn.Linear(32, 2))


def convolutional_network(kernel: int = 3) -> nn.Sequential:
    """A convolution, the strongest answer of each channel, and a linear layer."""
    return nn.Sequential(nn.Conv2d(1, 8, kernel), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def _trained(build: Callable[[], nn.Sequential], order: Tensor) -> tuple[list[float], float]:
    """The losses of training on images whose pixels are put into this order, and the accuracy on new ones."""
    network = seeded(build).double()
    first = next(layer for layer in network if isinstance(layer, nn.Linear | nn.Conv2d))
    nn.init.zeros_(first.weight)  # a start that favours no order of the pixels

    def shuffled(x: Tensor) -> Tensor:
        return x.flatten(1)[:, order].view_as(x)

    x, kinds = images(400, seed=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = cross_entropy(network(shuffled(x)), kinds)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    x, kinds = images(1000, seed=1)
    return losses, float((network(shuffled(x)).argmax(dim=1) == kinds).double().mean())


@refutation(
    if_true=convolutional_network,
    adversary=Adversary(
        "a convolution whose kernel is as large as the image: in truth a fully connected layer",
        lambda: convolutional_network(SIDE),
        refuted=True,
    ),
)
def a_fully_connected_network_knows_no_neighbours(
    build: Callable[[], nn.Sequential] = fully_connected_network,
) -> Shown:
    """Train a network to tell level lines from upright ones, and once more with all pixels in another, fixed order.

    To a network that is made for images the order of the pixels matters; to the fully connected one it does not.
    """
    in_place, shuffled = torch.arange(SIDE**2), torch.randperm(SIDE**2, generator=torch.Generator().manual_seed(0))
    (losses, accuracy), (others, other_accuracy) = _trained(build, in_place), _trained(build, shuffled)
    difference = max(abs(loss - other) for loss, other in zip(losses, others, strict=True))
    return Shown(
        refuted=difference < 1e-6,
        numbers={
            "accuracy on new images, pixels in their places": round(accuracy, 2),
            "accuracy on new images, pixels in another order": round(other_accuracy, 2),
            "largest difference between the losses in training": round(difference, 2),
        },
    )
