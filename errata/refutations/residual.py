"""Statements about residual connections and what they carry."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd import grad

from errata.findings import Figure
from errata.refutations.measure import NOISE, influence, largest_difference, normal, rounded, seeded
from errata.refutations.registry import Shown, refutation
from reference import FeedForward, MultiHeadAttention, ResidualSublayer

WIDTH, DEPTH = 8, 12

Layer = Callable[[Tensor], Tensor]


def plain_layers() -> list[nn.Module]:
    """Layers of which each shrinks what it is given, in the order in which they stand."""
    return seeded(lambda: [nn.Linear(WIDTH, WIDTH).double() for _ in range(DEPTH)])


def in_order(layers: Sequence[Layer], x: Tensor) -> list[Tensor]:
    """The input and what each layer returns, first layer first, each with a residual connection."""
    states = [x]
    for layer in layers:
        states.append(states[-1] + layer(states[-1]))
    return states


@refutation
def gradients_flow_to_earlier_layers(run: Callable[[Sequence[Layer], Tensor], list[Tensor]] = in_order) -> Shown:
    """Read a loss off the middle of a stack with residual connections, and see which layers get a gradient.

    And compare the gradient that reaches the first layer with and without the connections.
    """
    layers, x = plain_layers(), normal(4, WIDTH)
    weights = [layer.get_parameter("weight") for layer in layers]
    middle = DEPTH // 2
    gradients = grad(run(layers, x)[middle].sum(), weights, allow_unused=True)
    earlier, deeper = gradients[:middle], gradients[middle:]

    def by_layer(residual: bool) -> list[float]:
        state = x
        for layer in layers:
            state = layer(state) + (state if residual else 0)
        return [float(gradient.norm()) for gradient in grad(state.square().mean().sqrt(), weights)]

    connected, bare = by_layer(True), by_layer(False)
    return Shown(
        refuted=all(gradient is not None for gradient in earlier) and all(gradient is None for gradient in deeper),
        numbers={
            "layers": DEPTH,
            "earlier layers that get a gradient from the middle": sum(g is not None for g in earlier),
            "deeper layers that get a gradient from the middle": sum(g is not None for g in deeper),
            "gradient at the first layer, as a share of the last, with connections": rounded(
                connected[0] / connected[-1]
            ),
            "gradient at the first layer, as a share of the last, without": rounded(bare[0] / bare[-1]),
        },
        figure=Figure(
            kind="lines",
            title="Gradient of the loss at each layer, last layer = 1",
            x_label="layer",
            y_label="norm of the gradient",
            data={
                "x": list(range(1, DEPTH + 1)),
                "with residual connections": [rounded(value / connected[-1]) for value in connected],
                "without": [rounded(value / bare[-1]) for value in bare],
            },
        ),
    )


@refutation
def post_norm_transforms_what_is_passed_on(pre_norm: bool = False) -> Shown:
    """Give a residual sublayer a branch that returns 0 and compare what comes out with what went in.

    In post-LN, the paper's order, the sum is normalised on its way to the next layer; in pre-LN it is not.
    """
    x = normal(2, 3, WIDTH)
    changes = {
        order: largest_difference(x, ResidualSublayer(WIDTH, pre_norm=order).double()(x, torch.zeros_like))
        for order in (False, True)
    }
    return Shown(
        refuted=changes[pre_norm] > NOISE,
        numbers={
            "largest change on the way to the next layer, post-LN": rounded(changes[False]),
            "largest change on the way to the next layer, pre-LN": rounded(changes[True]),
        },
    )


def printed_sum(x: Tensor, branch: Tensor) -> Tensor:
    """The last line of the printed code, `x + x`, where `x` has become the output of the branch."""
    x = branch
    return x + x


@refutation
def the_printed_sum_forgets_its_input(combine: Callable[[Tensor, Tensor], Tensor] = printed_sum) -> Shown:
    """Give the printed block a branch that returns 0: what was added to the input must leave the input."""
    x = normal(3, WIDTH).requires_grad_()
    output = combine(x, torch.zeros_like(x).requires_grad_())
    direct = float(influence(output, x).max())
    return Shown(
        refuted=direct == 0,
        numbers={
            "largest element of the input": rounded(x.detach().abs().max()),
            "largest element of the output, branch 0": rounded(output.detach().abs().max()),
            "largest gradient that reaches the input directly": rounded(direct),
        },
    )


def printed_composition(x: Tensor, attend: Layer, transform: Layer) -> Tensor:
    """What the printed forward pass does in evaluation: each sublayer's output replaces its input."""
    return transform(attend(x))


@refutation
def the_printed_model_has_no_residual_path(
    compose: Callable[[Tensor, Layer, Layer], Tensor] = printed_composition,
) -> Shown:
    """Silence both sublayers by zero output weights and ask whether the words still come through.

    A layer of a Transformer passes them on beside each sublayer; the printed one returns the same for all words.
    """
    attention = seeded(lambda: MultiHeadAttention(WIDTH, 2)).double()
    feed_forward = seeded(lambda: FeedForward(WIDTH, 16)).double()
    for layer in (attention.output, feed_forward.outer):
        nn.init.zeros_(layer.weight)
    words = normal(1, 5, WIDTH)
    output = compose(words, lambda x: attention(x, x, x), feed_forward)
    spread = largest_difference(output[:, 0], output[:, 1])
    wrapped = [ResidualSublayer(WIDTH).double() for _ in range(2)]
    layer_output = wrapped[1](wrapped[0](words, lambda x: attention(x, x, x)), feed_forward)
    return Shown(
        refuted=spread < NOISE,
        numbers={
            "largest difference of two words at the input": rounded(largest_difference(words[:, 0], words[:, 1])),
            "after the printed model": rounded(spread),
            "after a layer with residual connections": rounded(
                largest_difference(layer_output[:, 0], layer_output[:, 1])
            ),
        },
    )
