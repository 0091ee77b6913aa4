"""How residual connections and layer norms are wired into a layer, and what they do to gradients."""

from collections.abc import Callable
from math import log10

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.functional import layer_norm

from errata.findings import Figure
from errata.refutations.measure import NOISE, influence, largest_difference, normal, rounded, seeded
from errata.refutations.models import WIDTH, vectors
from errata.refutations.registry import Adversary, Shown, refutation

Combine = Callable[[Tensor, Tensor], Tensor]
"""From the input of a block and the output of its branch to the output of the block."""

Norm = Callable[[Tensor], Tensor]
Branch = Callable[[Tensor], Tensor]
Wire = Callable[[Tensor, Norm, Branch], Tensor]
"""From the input of a sublayer, its norm and its branch to its output."""


def plain(_x: Tensor, branch: Tensor) -> Tensor:
    """No shortcut."""
    return branch


def add(x: Tensor, branch: Tensor) -> Tensor:
    """A residual connection."""
    return x + branch


def doubled(_x: Tensor, branch: Tensor) -> Tensor:
    """The printed sum `x + x`, in which `x` has become the output of the branch."""
    return branch + branch


def mean(x: Tensor, branch: Tensor) -> Tensor:
    """The mean of the input and the output of the branch."""
    return (x + branch) / 2


def scaled_sum(x: Tensor, branch: Tensor) -> Tensor:
    """A shortcut whose sum is divided by the square root of 2."""
    return (x + branch) / 2**0.5


def _through_rotations(combine: Combine, norm: Norm, gain: float, blocks: int) -> float:
    """The gradient that arrives behind blocks whose branch is a rotation times `gain`; 1 at their output."""
    x = normal(16).requires_grad_()
    state = x
    for block in range(blocks):
        rotation, _ = torch.linalg.qr(normal(16, 16, seed=block))
        state = norm(combine(state, gain * rotation @ state))
    weights = normal(16, seed=99)
    return float(grad(weights / weights.norm() @ state, x)[0].norm())


@refutation(
    if_true=mean,
    adversary=Adversary(
        "a shortcut whose sum is divided by the square root of 2: gradients still grow, but less than without it",
        scaled_sum,
        refuted=False,
    ),
)
def shortcuts_do_not_tame_growing_gradients(combine: Combine = add) -> Shown:
    """Send a gradient of norm 1 back through 24 blocks that halve it, and through 24 that multiply it by 1.5.

    With a shortcut around each block the shrinking gradient survives, and the growing one grows faster.
    """
    names = {0.5: "shrink by 0.5", 1.5: "grow by 1.5"}

    def gradient(combine: Combine, gain: float) -> float:
        return _through_rotations(combine, lambda x: x, gain, blocks=24)

    bare = {gain: gradient(plain, gain) for gain in names}
    short = {gain: gradient(combine, gain) for gain in names}
    return Shown(
        refuted=short[1.5] > bare[1.5],
        numbers={f"gradient at the input, blocks {name}": rounded(bare[gain]) for gain, name in names.items()}
        | {f"the same with residual connections, blocks {name}": rounded(short[gain]) for gain, name in names.items()},
    )


Layer = nn.TransformerEncoderLayer | nn.TransformerDecoderLayer
Run = Callable[[Layer, Tensor, Tensor], Tensor]
"""From a layer, its input and the output of an encoder to the output of the layer."""


def _as_built(layer: Layer, x: Tensor, memory: Tensor) -> Tensor:
    output: Tensor = layer(x) if isinstance(layer, nn.TransformerEncoderLayer) else layer(x, memory)
    return output


def _sublayers(layer: Layer, memory: Tensor) -> list[tuple[nn.Linear, Tensor, Branch]]:
    """Of each sublayer the last map, the weights that read its input, and what it computes."""
    attentions: list[tuple[nn.MultiheadAttention, Tensor | None]] = [(layer.self_attn, None)]
    if isinstance(layer, nn.TransformerDecoderLayer):
        attentions.append((layer.multihead_attn, memory))

    def attend(attention: nn.MultiheadAttention, keys: Tensor | None) -> Branch:
        return lambda x: attention(x, x if keys is None else keys, x if keys is None else keys)[0]

    found = [(part.out_proj, part.in_proj_weight, attend(part, keys)) for part, keys in attentions]
    return [*found, (layer.linear2, layer.linear1.weight, lambda x: layer.linear2(layer.linear1(x).relu()))]


def one_shortcut(layer: Layer, x: Tensor, memory: Tensor) -> Tensor:
    """A layer as stated: its input is added once, to the output of the whole layer."""
    state = x
    for _, _, branch in _sublayers(layer, memory):
        state = branch(state)
    output: Tensor = layer.norm1(x + state)
    return output


def one_shortcut_and_norms_between(layer: Layer, x: Tensor, memory: Tensor) -> Tensor:
    """As stated, with a norm after every sublayer as well."""
    state = x
    for _, _, branch in _sublayers(layer, memory):
        state = layer.norm1(branch(state))
    output: Tensor = layer.norm2(x + state)
    return output


def _working_alone(kind: type[Layer], run: Run) -> int:
    """How many sublayers reach the output of the layer while all others return 0."""
    working = 0
    for number in range(2 if kind is nn.TransformerEncoderLayer else 3):
        layer = seeded(lambda: kind(WIDTH, 2, 16, dropout=0.0, batch_first=True)).double()
        x, memory = normal(1, 5, WIDTH), normal(1, 4, WIDTH, seed=1)
        sublayers = _sublayers(layer, memory)
        for other, (last, _, _) in enumerate(sublayers):
            if other != number:
                nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        working += bool(influence(run(layer, x, memory), sublayers[number][1]).max() > NOISE)
    return working


@refutation(
    if_true=one_shortcut,
    adversary=Adversary(
        "one sum around the whole layer with norms between its sublayers: another output than that of the plain sum",
        one_shortcut_and_norms_between,
        refuted=False,
    ),
)
def each_sublayer_has_its_own_shortcut(run: Run = _as_built) -> Shown:
    """Silence all sublayers but one in torch's encoder and decoder layers, and see whether this one still works.

    A residual connection around each sublayer carries its output past the silent ones. If there were one around the
    whole layer, a silent sublayer would cut off those before it and starve those after it.
    """
    encoder, decoder = (_working_alone(kind, run) for kind in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer))
    return Shown(
        refuted=encoder == 2 and decoder == 3,
        numbers={
            "sublayers of an encoder layer that work while the other is silent, of 2": encoder,
            "sublayers of a decoder layer that work while the others are silent, of 3": decoder,
        },
    )


def in_pre_norm_order(layer: Layer, x: Tensor, memory: Tensor) -> Tensor:
    """The same layer with its norms inside the branches."""
    layer.norm_first = True
    return _as_built(layer, x, memory)


def _norms_at_work(kind: type[Layer], run: Run) -> int:
    """How many norms, each with weights of its own, the output of a layer depends on."""
    layer = seeded(lambda: kind(WIDTH, 2, 16, dropout=0.0, batch_first=True)).double()
    output = run(layer, normal(1, 5, WIDTH), normal(1, 4, WIDTH, seed=1))
    norms = [part for part in layer.modules() if isinstance(part, nn.LayerNorm)]
    return sum(bool(influence(output, norm.weight).max() > NOISE) for norm in norms)


@refutation(
    if_true=one_shortcut,
    adversary=Adversary(
        "pre-LN, where what a layer returns is not normalised, but each sublayer reads from a norm of its own",
        in_pre_norm_order,
        refuted=True,
    ),
)
def each_sublayer_has_its_own_norm(run: Run = _as_built) -> Shown:
    """Count the norms in torch's encoder and decoder layers whose weights move the output of the layer."""
    encoder, decoder = (_norms_at_work(kind, run) for kind in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer))
    return Shown(
        refuted=encoder == 2 and decoder == 3,
        numbers={"norms at work in an encoder layer": encoder, "norms at work in a decoder layer": decoder},
    )


@refutation(
    if_true=plain,
    adversary=Adversary(
        "the printed sum x + x, whose branch learns half of the map and neither the map nor the difference",
        doubled,
        refuted=False,
    ),
)
def a_residual_branch_learns_the_difference(combine: Combine = add) -> Shown:
    """Fit a linear branch so that the block maps 20 vectors x to y = A x, and look at the weights that it learned.

    Without a shortcut they are A. With one, the branch sees x and must give what is missing, y - x: they are A - I.
    """
    x, target = normal(20, 4), normal(4, 4, seed=1)
    nothing = combine(x, torch.zeros_like(x))
    units = torch.eye(16, dtype=torch.float64).view(16, 4, 4)
    columns = torch.stack([(combine(x, x @ unit) - nothing).flatten() for unit in units], dim=1)
    learned = torch.linalg.lstsq(columns, (x @ target - nothing).flatten()[:, None]).solution.view(4, 4)
    from_target = largest_difference(learned, target)
    from_difference = largest_difference(learned, target - torch.eye(4))
    return Shown(
        refuted=from_difference < 1e-9 < from_target,
        numbers={
            "distance of the learned weights from the map from input to output": rounded(from_target),
            "distance from that map minus the identity": rounded(from_difference),
        },
    )


Gradient = Callable[[float, bool, int], float]
"""The gradient at the input of a stack, output = 1, by the gain of its branches, with or without norms, and depth."""


def _of_an_encoder(gain: float, normed: bool, layers: int) -> float:
    """Through encoder layers of torch as they are initialised; `gain` multiplies what their sublayers return."""

    def layer() -> nn.TransformerEncoderLayer:
        built = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True, dtype=torch.float64)
        for last in (built.self_attn.out_proj, built.linear2):
            last.weight.data *= gain
        if not normed:
            built.norm1 = built.norm2 = nn.Identity()  # type: ignore[assignment]
        return built

    stack = seeded(lambda: nn.Sequential(*(layer() for _ in range(layers))))
    x = normal(2, 6, 64).requires_grad_()
    weights = normal(2, 6, 64, seed=1)
    (gradient,) = grad((weights * stack(x)).sum(), x)
    return float(gradient.norm() / weights.norm())


def of_plain_layers(gain: float, normed: bool, layers: int) -> float:
    """Through layers without residual connections."""
    return _through_rotations(plain, lambda x: layer_norm(x, (16,)) if normed else x, gain, layers)


def of_orthogonal_layers(_gain: float, normed: bool, layers: int) -> float:
    """Through plain layers that all keep the length of a gradient."""
    return of_plain_layers(1.0, normed, layers)


@refutation(
    if_true=of_plain_layers,
    adversary=Adversary(
        "orthogonal layers, whose gradients are sound with norms, and are so without them too",
        of_orthogonal_layers,
        refuted=True,
    ),
)
def a_residual_stack_needs_no_norm_against_vanishing(gradient: Gradient = _of_an_encoder) -> Shown:
    """Send a gradient back through 24 layers, with and without their norms, where sublayers are weak or strong.

    The layers are those of torch's encoder, then plain ones. Through plain layers the gradient vanishes or explodes
    without norms and does neither with them. With residual connections it only grows, and the norms hold the growth.
    """
    gains, depths = (0.5, 1.5), (2, 6, 12, 24, 48)
    bare, normed = ({gain: gradient(gain, kind, 24) for gain in gains} for kind in (False, True))
    by_depth = {
        name: [rounded(log10(gradient(1.0, kind, depth))) for depth in depths]
        for name, kind in (("without layer norms", False), ("with layer norms", True))
    }
    return Shown(
        refuted=not any(bare[gain] < 1e-3 < normed[gain] for gain in gains),
        numbers={f"gradient at the input, no norms, gain {gain}": rounded(bare[gain]) for gain in gains}
        | {f"the same with layer norms, gain {gain}": rounded(normed[gain]) for gain in gains},
        figure=Figure(
            kind="lines",
            title="Gradient at the input of an encoder, output = 1",
            x_label="layers",
            y_label="decimal logarithm of the gradient's norm",
            data={"x": list(depths), **by_depth},
        ),
    )


def exact_norm() -> nn.LayerNorm:
    """A float64 layer norm with eps 0, so that its invariances are exact."""
    return nn.LayerNorm(WIDTH, eps=0.0, dtype=torch.float64)


def _normed_input_plus_output(x: Tensor, norm: Norm, branch: Branch) -> Tensor:
    return norm(x) + branch(x)


def _normed_input_plus_output_of_it(x: Tensor, norm: Norm, branch: Branch) -> Tensor:
    return norm(x) + branch(norm(x))


def post_norm(x: Tensor, norm: Norm, branch: Branch) -> Tensor:
    """The paper's order."""
    return norm(x + branch(x))


def pre_norm(x: Tensor, norm: Norm, branch: Branch) -> Tensor:
    """The usual other order."""
    return x + branch(norm(x))


@refutation(
    if_true=(post_norm,),
    adversary=Adversary("pre-LN, which is not the paper's order but is in use", (pre_norm,), refuted=False),
)
def norming_the_shortcut_is_neither_order(
    wirings: tuple[Wire, ...] = (_normed_input_plus_output, _normed_input_plus_output_of_it),
) -> Shown:
    """Compute an encoder layer as stated from the parts of torch's own, and compare with torch in both orders.

    Each sublayer gives `LayerNorm(x) + Sublayer(x)`; whether it reads x or the normed x is left open, and both are
    tried.
    """
    x, memory = 3 * normal(1, 5, WIDTH), normal(1, 4, WIDTH, seed=1)

    def distance(norm_first: bool) -> float:
        layer = seeded(
            lambda: nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
        ).double()
        distances = []
        for wire in wirings:
            state = x
            for norm, (_, _, branch) in zip((layer.norm1, layer.norm2), _sublayers(layer, memory), strict=True):
                state = wire(state, norm, branch)
            distances.append(largest_difference(state, layer(x)))
        return min(distances)

    to_post, to_pre = distance(False), distance(True)
    return Shown(
        refuted=min(to_post, to_pre) > NOISE,
        numbers={"difference from torch's post-LN layer": rounded(to_post)}
        | {"difference from torch's pre-LN layer": rounded(to_pre)},
    )


def identity(x: Tensor) -> Tensor:
    """No norm."""
    return x


def batch_norm(x: Tensor) -> Tensor:
    """Batch normalisation in training."""
    return nn.functional.batch_norm(x, None, None, training=True)


@refutation(
    if_true=identity,
    adversary=Adversary(
        "batch normalisation, which forgets the mean and the scale of a whole batch but not those of a vector in it",
        batch_norm,
        refuted=False,
    ),
)
def layer_norm_forgets_mean_and_scale(norm: Norm | None = None) -> Shown:
    """Give each of four vectors another scale and another mean, and normalise the vectors before and after."""
    norm = norm or exact_norm()
    x = normal(4, WIDTH)
    other = torch.arange(2.0, 6.0)[:, None] * x + torch.arange(4.0)[:, None]
    before, after = largest_difference(x, other), largest_difference(norm(x), norm(other))
    return Shown(
        refuted=after < NOISE < before,
        numbers={
            "largest difference of the inputs": rounded(before),
            "largest difference of the outputs": rounded(after),
        },
    )


def the_shortcut(x: Tensor, _branch: Branch) -> Tensor:
    """A residual connection as the document explains it: the input, passed on."""
    return x


def the_sublayer(x: Tensor, branch: Branch) -> Tensor:
    """The output of the sublayer, which some authors call the residual."""
    return branch(x)


def the_sum(x: Tensor, branch: Branch) -> Tensor:
    """The sum that the connection makes."""
    return x + branch(x)


@refutation(
    if_true=the_sublayer,
    adversary=Adversary(
        "the sum x + Sublayer(x), in which the sublayer does occur, but the input twice", the_sum, refuted=True
    ),
)
def the_printed_formula_adds_the_input_twice(meaning: Callable[[Tensor, Branch], Tensor] = the_shortcut) -> Shown:
    """Evaluate `LayerNorm(Input + Residual Connection)`, where the residual connection is the input that is passed on.

    The sum is 2 x, so the result is that of normalising x alone, whatever attention or feed-forward network is there.
    """
    x, norm = vectors(5), exact_norm()
    inner, outer = seeded(lambda: (nn.Linear(WIDTH, 16).double(), nn.Linear(16, WIDTH).double()))

    def branch(x: Tensor) -> Tensor:
        output: Tensor = outer(inner(x).relu())
        return output

    printed = norm(x + meaning(x, branch))
    from_the_paper = largest_difference(printed, post_norm(x, norm, branch))
    return Shown(
        refuted=from_the_paper > NOISE,
        numbers={
            "influence of the sublayer's weights on the printed formula": rounded(
                influence(printed, outer.weight).max()
            ),
            "its difference from LayerNorm(x)": rounded(largest_difference(printed, norm(x))),
            "its difference from LayerNorm(x + Sublayer(x))": rounded(from_the_paper),
        },
    )
