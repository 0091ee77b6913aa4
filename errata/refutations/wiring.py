"""How residual connections and layer norms are wired into a layer, and what they do to gradients."""

from collections.abc import Callable
from math import log10
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd import grad

from errata.findings import Figure
from errata.refutations.measure import NOISE, influence, largest_difference, normal, rounded, seeded
from errata.refutations.models import WIDTH, small_transformer, vectors
from errata.refutations.registry import Shown, refutation
from reference import Encoder, EncoderLayer, FeedForward, LayerNorm, MultiHeadAttention, ResidualSublayer

Combine = Callable[[Tensor, Tensor], Tensor]
"""From the input of a block and the output of its branch to the output of the block."""


def plain(_x: Tensor, branch: Tensor) -> Tensor:
    """No shortcut."""
    return branch


def add(x: Tensor, branch: Tensor) -> Tensor:
    """A residual connection."""
    return x + branch


def _gradient_at_the_input(combine: Combine, gain: float) -> float:
    """The norm of the gradient after 24 blocks whose branch is a rotation times `gain`; 1 at their output."""
    x = normal(16).requires_grad_()
    state = x
    for block in range(24):
        rotation, _ = torch.linalg.qr(normal(16, 16, seed=block))
        state = combine(state, gain * rotation @ state)
    weights = normal(16, seed=99)
    return float(grad(weights / weights.norm() @ state, x)[0].norm())


@refutation
def shortcuts_do_not_tame_growing_gradients(combine: Combine = add) -> Shown:
    """Send a gradient of norm 1 back through 24 blocks that halve it, and through 24 that multiply it by 1.5.

    With a shortcut around each block the shrinking gradient survives, and the growing one grows faster.
    """
    names = {0.5: "shrink by 0.5", 1.5: "grow by 1.5"}
    bare = {gain: _gradient_at_the_input(plain, gain) for gain in names}
    short = {gain: _gradient_at_the_input(combine, gain) for gain in names}
    return Shown(
        refuted=short[1.5] > bare[1.5],
        numbers={f"gradient at the input, blocks {name}": rounded(bare[gain]) for gain, name in names.items()}
        | {f"the same with residual connections, blocks {name}": rounded(short[gain]) for gain, name in names.items()},
    )


def one_shortcut(layer: EncoderLayer, x: Tensor) -> Tensor:
    """An encoder layer as stated: its input is added once, to the output of the whole layer."""
    output: Tensor = layer.around_feed_forward.norm(x + layer.feed_forward(layer.self_attention(x, x, x)))
    return output


def _as_built(layer: EncoderLayer, x: Tensor) -> Tensor:
    output: Tensor = layer(x)
    return output


@refutation
def each_sublayer_has_its_own_shortcut(run: Callable[[EncoderLayer, Tensor], Tensor] = _as_built) -> Shown:
    """Count the residual sums of a layer and hold its output against that of one sum around the whole layer."""
    model, x = small_transformer(), normal(1, 5, WIDTH)
    encoder_layer, decoder_layer = cast(EncoderLayer, model.encoder.layers[0]), model.decoder.layers[0]
    difference = largest_difference(run(encoder_layer, x), one_shortcut(encoder_layer, x))
    sums = [
        sum(isinstance(part, ResidualSublayer) for part in layer.modules()) for layer in (encoder_layer, decoder_layer)
    ]
    return Shown(
        refuted=difference > NOISE,
        numbers={
            "residual sums in an encoder layer": sums[0],
            "residual sums in a decoder layer": sums[1],
            "largest difference from one sum around the layer": rounded(difference),
        },
    )


@refutation
def a_residual_branch_learns_the_difference(combine: Combine = add) -> Shown:
    """Fit a linear branch so that the block maps 20 vectors x to y = A x, and look at the weights that it learned.

    The branch sees x and must give what is missing: y - x, so its weights are A - I.
    """
    x, target = normal(20, 4), normal(4, 4, seed=1)
    y = x @ target
    rest = y - combine(x, torch.zeros_like(x))
    learned = torch.linalg.lstsq(x, rest).solution
    from_target = largest_difference(learned, target)
    from_difference = largest_difference(learned, target - torch.eye(4))
    return Shown(
        refuted=from_difference < 1e-9 < from_target,
        numbers={
            "distance of the learned weights from the map from input to output": rounded(from_target),
            "distance from that map minus the identity": rounded(from_difference),
        },
    )


def _share_of_the_gradient(normed: bool, depth: int) -> float:
    """The gradient at the input of an encoder by that at its output, with or without its norms."""

    def layer() -> EncoderLayer:
        built = EncoderLayer(MultiHeadAttention(WIDTH, 2), FeedForward(WIDTH, 32), dropout=0.0)
        for weight in built.parameters():
            if weight.ndim == 2:
                nn.init.xavier_uniform_(weight)
        if not normed:
            for around in (built.around_self_attention, built.around_feed_forward):
                around.norm = nn.Identity()  # type: ignore[assignment]
        return built

    encoder = seeded(lambda: Encoder(layer() for _ in range(depth))).double()
    x = normal(2, 6, WIDTH).requires_grad_()
    weights = normal(2, 6, WIDTH, seed=1)
    (gradient,) = grad((weights * encoder(x)).sum(), x)
    return float(gradient.norm() / weights.norm())


@refutation
def layer_norm_does_not_strengthen_gradients(share: Callable[[bool, int], float] = _share_of_the_gradient) -> Shown:
    """Send a gradient back through encoders of 2 to 12 layers with residual connections, with and without their norms.

    Without the norms it does not vanish but grows; the norms make it smaller, so what they relieve is the growth.
    """
    depths = (2, 4, 8, 12)
    bare, normed = ([share(kind, depth) for depth in depths] for kind in (False, True))
    return Shown(
        refuted=bare[-1] > 1 and normed[-1] < bare[-1],
        numbers={
            "gradient at the input of 12 layers, output = 1, without layer norms": rounded(bare[-1]),
            "the same with layer norms": rounded(normed[-1]),
        },
        figure=Figure(
            kind="lines",
            title="Gradient at the input of an encoder, output = 1",
            x_label="layers",
            y_label="decimal logarithm of the gradient's norm",
            data={
                "x": list(depths),
                "without layer norms": [rounded(log10(value)) for value in bare],
                "with layer norms": [rounded(log10(value)) for value in normed],
            },
        ),
    )


Norm = Callable[[Tensor], Tensor]
Branch = Callable[[Tensor], Tensor]


def exact_norm() -> LayerNorm:
    """A float64 layer norm with eps 0, so that its invariances are exact."""
    return LayerNorm(WIDTH, eps=0.0).double()


def _normed_input_plus_output(x: Tensor, norm: Norm, branch: Branch) -> Tensor:
    return norm(x) + branch(x)


def post_norm(x: Tensor, norm: Norm, branch: Branch) -> Tensor:
    """The paper's order."""
    return norm(x + branch(x))


def pre_norm(x: Tensor, norm: Norm, branch: Branch) -> Tensor:
    """The usual other order."""
    return x + branch(norm(x))


@refutation
def norming_the_shortcut_is_neither_order(
    wire: Callable[[Tensor, Norm, Branch], Tensor] = _normed_input_plus_output,
) -> Shown:
    """Wire a sublayer as stated, `LayerNorm(x) + Sublayer(x)`, and compare with post-LN and with pre-LN.

    With a sublayer that returns 0, pre-LN hands x on unchanged; after post-LN each vector has variance 1.
    """
    x, branch = 3 * normal(1, 5, WIDTH), seeded(lambda: FeedForward(WIDTH, 16)).double()
    norm = exact_norm()
    stated = wire(x, norm, branch)
    to_post = largest_difference(stated, post_norm(x, norm, branch))
    to_pre = largest_difference(stated, pre_norm(x, norm, branch))
    return Shown(
        refuted=min(to_post, to_pre) > NOISE,
        numbers={
            "largest difference from post-LN": rounded(to_post),
            "largest difference from pre-LN": rounded(to_pre),
            "change of x when the sublayer returns 0": rounded(largest_difference(wire(x, norm, torch.zeros_like), x)),
            "distance of the output's variances from 1": rounded(
                largest_difference(stated.var(dim=-1, correction=0), torch.ones(1, 5))
            ),
        },
    )


@refutation
def layer_norm_forgets_mean_and_scale(norm: Norm | None = None) -> Shown:
    """Normalise x and 3 x + 5: two inputs of different mean and scale."""
    norm = norm or exact_norm()
    x = normal(4, WIDTH)
    before, after = largest_difference(x, 3 * x + 5), largest_difference(norm(x), norm(3 * x + 5))
    return Shown(
        refuted=after < NOISE < before,
        numbers={
            "largest difference of the two inputs": rounded(before),
            "largest difference of the two outputs": rounded(after),
        },
    )


def _the_shortcut(x: Tensor, _branch: Branch) -> Tensor:
    return x


@refutation
def the_printed_formula_has_no_sublayer(
    residual_connection: Callable[[Tensor, Branch], Tensor] = _the_shortcut,
) -> Shown:
    """Evaluate `LayerNorm(Input + Residual Connection)`, where the residual connection is the input that is passed on.

    The sum is 2 x, so the result is that of normalising x alone, whatever attention or feed-forward network is there.
    """
    x, branch, norm = vectors(5), seeded(lambda: FeedForward(WIDTH, 16)).double(), exact_norm()
    printed = norm(x + residual_connection(x, branch))
    by_weights = float(influence(printed, branch.outer.weight).max())
    return Shown(
        refuted=by_weights == 0,
        numbers={
            "influence of the sublayer's weights on the printed formula": rounded(by_weights),
            "its difference from LayerNorm(x)": rounded(largest_difference(printed, norm(x))),
            "its difference from LayerNorm(x + Sublayer(x))": rounded(
                largest_difference(printed, post_norm(x, norm, branch))
            ),
        },
    )
