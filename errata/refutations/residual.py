"""Statements about residual connections and what they carry."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.functional import cross_entropy

from errata.findings import Figure
from errata.refutations.measure import NOISE, largest_difference, normal, rounded, seeded
from errata.refutations.models import SOURCE, VOCABULARY
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation

WIDTH, DEPTH = 8, 12

Run = Callable[[Sequence[nn.Linear], Tensor, bool], Tensor]
"""From layers and an input to the output, with or without residual connections."""


def in_order(layers: Sequence[nn.Linear], x: Tensor, shortcuts: bool) -> Tensor:
    """The output of the last layer."""
    for layer in layers:
        x = layer(x) + (x if shortcuts else 0)
    return x


def entered_at_the_deep_end(layers: Sequence[nn.Linear], x: Tensor, shortcuts: bool) -> Tensor:
    """The output of the first layer, where the last one reads the input: the deep layers are far from the loss."""
    return in_order(layers[::-1], x, shortcuts)


def of_strength_0(layers: Sequence[nn.Linear], x: Tensor, _shortcuts: bool) -> Tensor:
    """The output of the last layer, where the connections carry nothing."""
    return in_order(layers, x, shortcuts=False)


@refutation(
    if_true=entered_at_the_deep_end,
    adversary=Adversary(
        "connections of strength 0: here too the layers behind a loss get no gradient, but no connection is at work",
        of_strength_0,
        refuted=False,
    ),
)
def shortcuts_serve_the_shallow_layers(run: Run = in_order) -> Shown:
    """Compare the gradients that reach each of 12 layers, each of which shrinks its input, with and without shortcuts.

    The loss is the size of the output. If the connections led gradients to the deeper layers, those would gain most.
    """
    layers = seeded(lambda: [nn.Linear(WIDTH, WIDTH, dtype=torch.float64) for _ in range(DEPTH)])

    def by_layer(shortcuts: bool) -> list[float]:
        loss = run(layers, normal(WIDTH), shortcuts).square().mean().sqrt()
        return [float(gradient.norm()) for gradient in grad(loss, [layer.bias for layer in layers])]

    connected, bare = by_layer(True), by_layer(False)
    gain = [long / short for long, short in zip(connected, bare, strict=True)]
    return Shown(
        refuted=gain[0] > 10 * gain[-1],
        numbers={
            f"layer {layer}: gradient with connections, by that without": rounded(gain[layer - 1])
            for layer in (1, DEPTH // 2, DEPTH)
        },
        figure=Figure(
            kind="lines",
            title="Gradient of the loss at the output of each layer, last layer = 1",
            x_label="layer",
            y_label="norm of the gradient",
            data={
                "x": list(range(1, DEPTH + 1)),
                "with residual connections": [rounded(value / connected[-1]) for value in connected],
                "without": [rounded(value / bare[-1]) for value in bare],
            },
        ),
    )


def silenced(last: nn.Linear) -> None:
    """Let a branch return 0 from now on."""
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


def encoder(*, norm_first: bool, final_norm: bool = False) -> nn.TransformerEncoder:
    """Two encoder layers of torch whose sublayers return 0, with or without a norm behind them."""
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True, norm_first=norm_first)
    for last in (layer.self_attn.out_proj, layer.linear2):
        silenced(last)
    norm = nn.LayerNorm(WIDTH) if final_norm else None
    return nn.TransformerEncoder(layer, 2, norm, enable_nested_tensor=False).double()


POST_NORM = partial(encoder, norm_first=False)


@refutation(
    if_true=partial(encoder, norm_first=True),
    adversary=Adversary(
        "pre-LN with the usual norm at its end, where the output differs but what the layers pass on does not",
        partial(encoder, norm_first=True, final_norm=True),
        refuted=False,
    ),
)
def post_norm_transforms_what_is_passed_on(build: Callable[[], nn.TransformerEncoder] = POST_NORM) -> Shown:
    """Give the sublayers of torch's encoder branches that return 0, and follow the input through it.

    In post-LN, the paper's order, the sum is normalised on its way to the next layer; in pre-LN it is not.
    """
    model, x = seeded(build), 3 * normal(2, 3, WIDTH)
    first = cast(nn.TransformerEncoderLayer, model.layers[0])
    change = largest_difference(x, first(x))
    return Shown(
        refuted=change > NOISE,
        numbers={
            "largest change on the way to the next layer": rounded(change),
            "largest change at the end of the encoder": rounded(largest_difference(x, model(x))),
        },
    )


Build = Callable[[], nn.Module]


def block(*changes: tuple[str, str]) -> Build:
    """The printed residual block, as it stands or with changes."""

    def build() -> nn.Module:
        found: nn.Module = printed("000_q26_residual_block.py", *changes)["ResidualBlock"](WIDTH)
        return found.double().eval()

    return build


PRINTED_BLOCK = block()


@refutation(
    if_true=block(("x = self.norm1(x)", "given, x = x, self.norm1(x)"), ("x + x", "given + x")),
    adversary=Adversary(
        "the block when it adds its normalised input, which is passed on, but is not the input",
        block(("x = self.norm1(x)", "given = x = self.norm1(x)"), ("x + x", "given + x")),
        refuted=True,
    ),
)
def the_printed_sum_forgets_its_input(build: Build = PRINTED_BLOCK) -> Shown:
    """Run the printed block with its last linear map set to 0: if its output were added to the input, this returns."""
    residual_block, x = seeded(build), 3 * normal(3, WIDTH)
    silenced(cast(nn.Linear, residual_block.fc2))
    output = residual_block(x)
    change = largest_difference(output, x)
    return Shown(
        refuted=change > NOISE,
        numbers={
            "largest element of the input": rounded(x.abs().max()),
            "largest element of the output, last map 0": rounded(output.detach().abs().max()),
            "largest difference between the two": rounded(change),
        },
    )


ATTEND = "x = self.多头注意力(x, x, x, mask=mask)\n        x = self.dropout(x)"
TRANSFORM = "x = self.前馈网络(x)\n        x = self.dropout(x)"
AROUND_ATTENTION = (ATTEND, "x = x + self.dropout(self.多头注意力(x, x, x, mask=mask))")
AROUND_FEED_FORWARD = (TRANSFORM, "x = x + self.dropout(self.前馈网络(x))")


def model(*changes: tuple[str, str]) -> Build:
    """The printed Transformer with what stops it repaired: the dot after `self`, and the names that are not defined."""

    def build() -> nn.Module:
        names = printed(
            "000_q05_transformer.py",
            ("self多", "self.多"),
            ("self前", "self.前"),
            *changes,
            MultiHeadAttention=printed("000_q03_multi_head_attention.py")["MultiHeadAttention"],
            FeedForward=printed("000_q04_feed_forward.py")["FeedForward"],
            vocab_size=VOCABULARY,
            pos_embedding_size=VOCABULARY,
        )
        found: nn.Module = names["Transformer"](d_model=WIDTH, d_ff=16, num_heads=2)
        return found.double().eval()

    return build


PRINTED_MODEL = model()


@refutation(
    if_true=model(AROUND_ATTENTION, AROUND_FEED_FORWARD),
    adversary=Adversary(
        "the model with a residual connection around one of its two sublayers only",
        model(AROUND_ATTENTION),
        refuted=True,
    ),
)
def the_printed_model_has_no_residual_path(build: Build = PRINTED_MODEL) -> Shown:
    """Let both sublayers of the printed model return 0 and ask whether the words still come through.

    Every layer of a Transformer passes them on beside each sublayer.
    """
    transformer = seeded(build)
    for name in ("多头注意力.out_linear", "前馈网络.linear_2"):
        silenced(cast(nn.Linear, transformer.get_submodule(name)))
    words = transformer.get_submodule("embedding")(SOURCE) + transformer.get_submodule("positional_encoding")(SOURCE)
    output = transformer(SOURCE)
    spread = largest_difference(output[:, 0], output[:, 1])
    return Shown(
        refuted=spread < NOISE,
        numbers={
            "largest difference of two words at the input": rounded(largest_difference(words[:, 0], words[:, 1])),
            "the same at the output, sublayers silent": rounded(spread),
        },
    )


class Training(NamedTuple):
    """How a stack is trained; in its warm-up the learning rate grows linearly."""

    norm_first: bool = False
    updates: int = 80
    warm_up: int = 1


def _loss_after(training: Training, layers: int) -> float:
    """The mean loss of the last ten updates when an encoder of torch learns to reverse four of eight symbols."""
    width, symbols, length = 16, 8, 4
    stack = [
        nn.TransformerEncoderLayer(width, 2, 32, dropout=0.0, batch_first=True, norm_first=training.norm_first)
        for _ in range(layers)
    ]
    embedding = nn.Embedding(symbols, width).double()
    encode = nn.Sequential(*stack, nn.LayerNorm(width), nn.Linear(width, symbols)).double()
    positions = torch.randn(length, width, dtype=torch.float64)
    optimizer = torch.optim.Adam([*embedding.parameters(), *encode.parameters()])
    losses = []
    for update in range(training.updates):
        optimizer.param_groups[0]["lr"] = 0.015 * min(1.0, (update + 1) / training.warm_up)
        ids = torch.randint(symbols, (32, length))
        loss = cross_entropy(encode(embedding(ids) + positions).flatten(0, 1), ids.flip(1).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return sum(losses[-10:]) / 10


@refutation(
    if_true=Training(norm_first=True),
    adversary=Adversary(
        "post-LN with a warm-up, which can be deep: what fails without it is not residual connections as such",
        Training(updates=200, warm_up=150),
        refuted=False,
    ),
)
def depth_can_cost_in_spite_of_shortcuts(training: Training = Training()) -> Shown:  # noqa: B008
    """Train encoders of torch, with 2 and with 12 layers, to reverse four symbols, and compare their losses.

    Every sublayer has its residual connection. Adam has a rate of 0.015 from the first update on; guessing among the
    eight symbols has a loss of 2.079. One digit behind the point is shown, as all further ones depend on the machine.
    """
    shallow, deep = (seeded(partial(_loss_after, training, layers)) for layers in (2, 12))
    return Shown(
        refuted=deep > 10 * shallow and deep > 1,
        numbers={"loss with 2 layers": round(shallow, 1), "loss with 12 layers": round(deep, 1)},
    )
