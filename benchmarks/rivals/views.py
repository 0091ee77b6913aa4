"""Views: components as modules that take a batch, which is what tools for models ask for.

Sizes differ from each other wherever a tool infers an axis from its size: B = 4, T = 6, S = 5, D = 8, H = 2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from errata.candidates import Program

BATCH, LENGTH, MEMORY, WIDTH, HEADS, HIDDEN, VOCABULARY = 4, 6, 5, 8, 2, 12, 11

LENGTHS = (6, 3, 5, 6)
"""How many tokens are real in each sequence of the batch."""

Call = Callable[..., Any]
Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class View:
    """One way to see a component as a module.

    Attributes:
        name: of the view, unique within the component.
        batch: makes a batch, always the same one: tensors by argument name.
        forward: the component's ``call``, bound to what was built, and the batch to the output, a tensor.
        config: the arguments of ``build``.
        built: from the names of the program, where it is not ``build`` that makes the module.
        shape: of the output for one example; None is any size.
        sequence: the batch has ``x``, ``(B, T, D)`` or ids ``(B, T)``, and maybe ``real``, boolean ``(B, T)``; the
            output is ``(B, T, ...)``. Other tensors of the batch are constants.
        causal: no output depends on a later token.
        padded: the argument with the tokens and that, if there is one, with the mask whose False hides them.
        permuted: what happens to the output when the tokens of the first argument are permuted.
        probabilities: the output sums to 1 along its last axis.
        frozen: names of parameters that do not train, as prefixes.
        loss: from the component's ``call``, the output and the batch; by default the mean-squared error to one random
            vector, which every layer that learns can reach.
        optimizer: from the names of the program and a model.
        trained: false where another view of the component trains the same parameters: training takes the longest.
    """

    name: str
    batch: Callable[[], Batch]
    forward: Callable[..., Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    built: Callable[[Mapping[str, Any]], nn.Module] | None = None
    shape: tuple[int | None, ...] | None = None
    sequence: bool = False
    causal: bool = False
    padded: tuple[str, str] | None = None
    permuted: Literal["equivariant", "invariant"] | None = None
    probabilities: bool = False
    frozen: tuple[str, ...] = ()
    loss: Callable[[Call, Tensor, Batch], Tensor] | None = None
    optimizer: Callable[[Mapping[str, Any], nn.Module], torch.optim.Optimizer] | None = None
    trained: bool = True


class Names(dict[str, Any]):
    """Everything that a program defines, its adapter included; a copy of a module shares it."""

    def __init__(self, program: Program) -> None:
        super().__init__(__name__=program.name)
        for source in program.sources:
            exec(source.compile(), self)
        exec(program.adapter, self)

    def __deepcopy__(self, memo: object) -> "Names":
        return self


class Viewed(nn.Module):
    """A program under a view."""

    def __init__(self, view: View, program: Program) -> None:
        super().__init__()
        self.view = view
        self.names = Names(program)
        if view.built:
            self.built = view.built(self.names)
        else:
            self.built = self.names["build"](**view.config) if "build" in self.names else None

    @property
    def call(self) -> Call:
        """The component's call, bound to what was built."""
        call: Call = self.names["call"]
        return call if self.built is None else partial(call, self.built)

    def forward(self, *tensors: Tensor, **named: Tensor) -> Tensor:
        """Answer a batch, whose tensors are given in its order or by name."""
        return self.view.forward(self.call, **dict(zip(self.view.batch(), tensors, strict=False)), **named)


def loss_of(view: View, model: Viewed, batch: Batch) -> Callable[[Tensor], Tensor]:
    """The loss of an output."""

    def loss(output: Tensor) -> Tensor:
        if view.loss:
            return view.loss(model.names["call"], output, batch)
        return (output - normal(output.shape[-1])).square().mean()

    return loss


def tokens(*shape: int) -> Tensor:
    """Ids without 0, which is padding."""
    return torch.randint(1, VOCABULARY, shape, generator=torch.Generator().manual_seed(len(shape)))


def normal(*shape: int) -> Tensor:
    """Normal numbers, others for another shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def real(batch: int = BATCH, length: int = LENGTH) -> Tensor:
    """Which tokens are no padding."""
    return torch.arange(length) < torch.tensor(LENGTHS[:batch])[:, None]


def unpadded() -> Batch:
    """A batch of vectors."""
    return {"x": normal(BATCH, LENGTH, WIDTH)}


def unpadded_ids() -> Batch:
    """A batch of ids."""
    return {"x": tokens(BATCH, LENGTH)}


def vectors() -> Batch:
    """A padded batch of vectors."""
    return {"x": normal(BATCH, LENGTH, WIDTH), "real": real()}


def ids() -> Batch:
    """A padded batch of ids."""
    return {"x": tokens(BATCH, LENGTH).masked_fill(~real(), 0), "real": real()}


def keys_of(real: Tensor) -> Tensor:
    """Every token may attend the real ones: ``(B, T, T)``."""
    return real[:, None].expand(-1, real.shape[1], -1)


def past_of(x: Tensor) -> Tensor:
    """Every token may attend those before it and itself: ``(B, T, T)``."""
    length = x.shape[1]
    return torch.ones(length, length, dtype=torch.bool).tril().expand(len(x), -1, -1)


def whole(view: str, forward: Callable[..., Tensor], batch: Callable[[], Batch] = vectors, **more: Any) -> View:
    """A view of a sequence whose padding must not matter."""
    return View(view, batch, forward, sequence=True, padded=("x", "real"), **more)


def causal(view: str, forward: Callable[..., Tensor], batch: Callable[[], Batch] = unpadded, **more: Any) -> View:
    """A view of a sequence in which the future must not matter."""
    return View(view, batch, forward, sequence=True, causal=True, **more)


def each(forward: Callable[..., Tensor], view: str = "positions", **more: Any) -> View:
    """A view of a layer that treats every position by itself."""
    given = {"shape": (LENGTH, WIDTH), "permuted": "equivariant"} | more
    return View(view, unpadded, forward, sequence=True, causal=True, padded=("x", "real"), **given)


SIZES = {"width": WIDTH, "heads": HEADS}
RELATIVE = SIZES | {"distance": 2}
LAYER = SIZES | {"hidden": HIDDEN}
STACK = LAYER | {"layers": 2}
MODEL = STACK | {"vocabulary": VOCABULARY}
TURNED = {"config": {"width": WIDTH}, "permuted": None}
SAME = {"shape": (LENGTH, WIDTH)}


def bucketed(both_ways: bool) -> Mapping[str, Any]:
    """The configuration of a bias by buckets of distances."""
    return {"heads": HEADS, "buckets": 8, "max_distance": 16, "bidirectional": both_ways}


def heads_of(x: Tensor) -> Tensor:
    """``(B, T, D)`` to ``(B, H, T, d)``."""
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def attended(x: Tensor, mask: Tensor) -> Tensor:
    """Attention of a right implementation, under a mask or a bias ``(B or H, T, T)`` of the component's."""
    return scaled_dot_product_attention(x, x, x, attn_mask=mask)


def biased(x: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """The same with heads: a bias ``(H, T, T)`` of the component's, under a mask ``(B, T, T)``."""
    scores = bias.masked_fill(~mask[:, None], -torch.inf)
    return scaled_dot_product_attention(*[heads_of(x)] * 3, attn_mask=scores).transpose(1, 2).flatten(-2)


def cross() -> Batch:
    """Queries, and keys and values of another length, the keys first."""
    memory = (BATCH, MEMORY, WIDTH)
    return {"key": normal(*memory), "value": normal(*memory) + 1, "query": normal(BATCH, 3, WIDTH)}


def self_attention(more: Mapping[str, Any], mask_of: Callable[[Tensor], Tensor]) -> list[View]:
    """The views of ``call(query, key, value, mask)``; ``mask_of`` makes its mask from one ``(B, T, S)``."""

    def self_attended(call: Call, x: Tensor, real: Tensor) -> Tensor:
        output: Tensor = call(x, x, x, mask_of(keys_of(real)))["output"]
        return output

    return [
        whole("padded", self_attended, permuted="equivariant", **SAME, **more),
        causal("causal", lambda call, x: call(x, x, x, mask_of(past_of(x)))["output"], trained=False, **SAME, **more),
        View(
            "cross", cross, lambda call, query, key, value: call(query, key, value, None)["output"],
            shape=(3, WIDTH), permuted="invariant", trained=False, **more,
        ),
        View(
            "weights", vectors, lambda call, x, real: call(x, x, x, mask_of(keys_of(real)))["weights"],
            probabilities=True, trained=False, **more,
        ),
    ]  # fmt: skip


def decoder_batch() -> Batch:
    """A padded memory and a shorter target."""
    return {"memory": normal(BATCH, LENGTH, WIDTH), "real": real(), "x": normal(BATCH, MEMORY, WIDTH)}


def decoded(call: Call, memory: Tensor, real: Tensor, x: Tensor) -> Tensor:
    """The target attends its past and the real tokens of the memory."""
    output: Tensor = call(x, memory, past_of(x), real[:, None].expand(-1, x.shape[1], -1))
    return output


def translation() -> Batch:
    """A padded source and a shorter target."""
    source = ids()
    return {"source": source["x"], "real": source["real"], "target": tokens(BATCH, MEMORY)}


def constant_source(x: Tensor) -> Tensor:
    """The same source for each target."""
    return tokens(1, 4).expand(len(x), -1)


def frozen_body(names: Mapping[str, Any]) -> nn.Module:
    """A model whose body is frozen by the component."""
    model: nn.Module = names["build"](WIDTH, 3)
    names["freeze"](model, "body")
    model["body"] = names["Frozen"](model["body"])
    return model


def with_image() -> Batch:
    """A padded text, and an image for each."""
    return {**vectors(), "image": normal(BATCH, MEMORY, WIDTH)}


def fused(call: Call, x: Tensor, real: Tensor, image: Tensor) -> Tensor:
    """The answer at the tokens and at the patches."""
    output: Tensor = call(x, image, real, torch.ones(image.shape[:2], dtype=torch.bool))
    return output


def fused_text(call: Call, x: Tensor, real: Tensor, image: Tensor) -> Tensor:
    """The answer at the tokens."""
    return fused(call, x, real, image)[:, : x.shape[1]]


def fused_image(call: Call, x: Tensor, real: Tensor, image: Tensor) -> Tensor:
    """The answer at the patches."""
    return fused(call, x, real, image)[:, x.shape[1] :]


FUSION = [
    View("both", with_image, fused, config=STACK, shape=(LENGTH + MEMORY, WIDTH)),
    whole("text", fused_text, with_image, config=STACK, permuted="equivariant", trained=False, **SAME),
    View(
        "image", with_image, fused_image, config=STACK, shape=(MEMORY, WIDTH),
        padded=("x", "real"), permuted="invariant", trained=False,
    ),
]  # fmt: skip


def multi_task(call: Call, x: Tensor, real: Tensor) -> Mapping[str, Tensor]:
    """What the model of two tasks says, and its loss."""
    tags, score = torch.zeros(x.shape[:2], dtype=torch.long), torch.zeros(len(x), 2)
    answer: Mapping[str, Tensor] = call(
        x, real.sum(dim=1), tags, score, real, torch.ones(len(x), dtype=torch.bool), 1.0, 1.0
    )
    return answer


def both_tasks(call: Call, x: Tensor) -> Tensor:
    """The answers of both heads at each token."""
    answer = multi_task(call, x, torch.ones(x.shape[:2], dtype=torch.bool))
    return torch.cat([answer["tags"], answer["score"][:, None].expand(-1, x.shape[1], -1)], dim=-1)


TASKS = STACK | {"classes": 3, "numbers": 2}


def linear(names: Mapping[str, Any]) -> nn.Module:
    """A model for what is no model itself."""
    return nn.Linear(WIDTH, VOCABULARY)


def classified(call: Call, x: Tensor) -> Tensor:
    """The logits of that model."""
    output: Tensor = call.args[0](x)  # type: ignore[attr-defined]
    return output


def labels_of(batch: Batch) -> Tensor:
    """A label for each real token, which that model can learn, and 0 at padding."""
    return (1 + batch["x"].argmax(dim=-1)).masked_fill(~real(), 0)


def trained_by(name: str, make: Callable[[Mapping[str, Any], nn.Module], torch.optim.Optimizer]) -> View:
    """A model that an optimizer of the component trains."""
    return View(name, unpadded, classified, built=linear, optimizer=make)


VIEWS: dict[str, list[View]] = {
    "attention": self_attention({}, lambda mask: mask),
    "multi_head_attention": self_attention({"config": SIZES}, lambda mask: mask[:, None]),
    "relative_attention": [
        whole("padded", lambda call, x, real: call(x, keys_of(real)[:, None]), config=RELATIVE, **SAME),
        causal("causal", lambda call, x: call(x, past_of(x)[:, None]), config=RELATIVE, trained=False, **SAME),
    ],
    "alibi": [
        whole("padded", lambda call, x, real: biased(x, call(x.shape[1]), keys_of(real)), config={"heads": HEADS}),
        causal("causal", lambda call, x: biased(x, call(x.shape[1]), past_of(x)), config={"heads": HEADS}),
    ],
    "relative_bias": [
        whole("padded", lambda call, x, real: biased(x, call(x.shape[1]), keys_of(real)), config=bucketed(True)),
        causal("causal", lambda call, x: biased(x, call(x.shape[1]), past_of(x)), config=bucketed(False)),
    ],
    "rotary_embedding": [
        each(lambda call, x: call(x[:, None], x[:, None])["output"][:, 0], "query", **TURNED),
        each(lambda call, x: call(x[:, None], x[:, None])["key"][:, 0], "key", **TURNED),
    ],
    "positional_encoding": [each(lambda call, x: x + call(x.shape[1], WIDTH), permuted=None)],
    "learned_positional_encoding": [
        each(lambda call, x: call(x), config={"length": 32, "width": WIDTH}, permuted=None)
    ],
    "layer_norm": [each(lambda call, x: call(x), config={"width": WIDTH, "eps": 1e-5})],
    "batch_norm": [each(lambda call, x: call(x), config={"width": WIDTH})],
    "dropout": [each(lambda call, x: call(x), config={"probability": 0.1})],
    "feed_forward": [each(lambda call, x: call(x), config={"width": WIDTH, "hidden": HIDDEN})],
    "residual": [each(lambda call, x: call(x), config={"width": WIDTH})],
    "encoder_layer": [
        whole("padded", lambda call, x, real: call(x, keys_of(real)), config=LAYER, permuted="equivariant", **SAME),
        causal("causal", lambda call, x: call(x, past_of(x)), config=LAYER, trained=False, **SAME),
    ],
    "encoder": [
        whole("padded", lambda call, x, real: call(x, keys_of(real)), ids, config=MODEL, **SAME),
        causal("causal", lambda call, x: call(x, past_of(x)), unpadded_ids, config=MODEL, trained=False, **SAME),
    ],
    "decoder_layer": [
        View(
            "memory", decoder_batch, decoded, config=LAYER,
            shape=(MEMORY, WIDTH), padded=("memory", "real"), permuted="invariant",
        ),
        causal(
            "causal", lambda call, x: call(x, normal(1, MEMORY, WIDTH).expand(len(x), -1, -1), past_of(x), None),
            config=LAYER, trained=False, **SAME,
        ),
    ],
    "transformer": [
        View(
            "source", translation, lambda call, source, real, target: call(source, target, real), config=MODEL,
            shape=(MEMORY, VOCABULARY), padded=("source", "real"),
        ),
        causal(
            "causal", lambda call, x: call(constant_source(x), x, None), unpadded_ids, config=MODEL,
            shape=(LENGTH, VOCABULARY), trained=False,
        ),
        whole(
            "memory", lambda call, x, real: call.args[0].encode(x, real[:, None, None]), ids, config=MODEL,
            trained=False, **SAME,
        ),
    ],
    "incremental_decoding": [
        causal(
            "steps",
            lambda call, x: call(constant_source(x), x, None, torch.ones(x.shape[1], dtype=torch.long))["output"],
            unpadded_ids, config=MODEL, shape=(LENGTH, VOCABULARY),
        ),
    ],
    "causal_mask": [causal("causal", lambda call, x: attended(x, call(x.shape[1])))],
    "padding_mask": [
        whole("padded", lambda call, x, real: attended(x, call(real.sum(dim=1), x.shape[1])), permuted=None)
    ],
    "score_mask": [
        whole("padded", lambda call, x, real: call(x @ x.mT, keys_of(real), 1.0)["output"].softmax(dim=-1) @ x),
        causal("causal", lambda call, x: call(x @ x.mT, past_of(x), 1.0)["output"].softmax(dim=-1) @ x),
    ],
    "segment_mask": [whole("padded", lambda call, x, real: attended(x, call((~real).long())), permuted="equivariant")],
    "teacher_forcing": [causal("ids", lambda call, x: call(x, VOCABULARY, 0)["output"], unpadded_ids, shape=(LENGTH,))],
    "pooled_classifier": [
        View(
            "pooled", vectors, lambda call, x, real: call(x, real), config={"width": WIDTH, "classes": 3},
            shape=(3,), padded=("x", "real"), permuted="invariant",
        ),
    ],
    "multi_task_model": [
        View("both", unpadded, both_tasks, config=TASKS, shape=(LENGTH, 5), permuted="equivariant"),
        whole(
            "tokens", lambda call, x, real: multi_task(call, x, real)["tags"], config=TASKS,
            shape=(LENGTH, 3), trained=False,
        ),
        View(
            "sequences", vectors, lambda call, x, real: multi_task(call, x, real)["score"], config=TASKS,
            shape=(2,), padded=("x", "real"), trained=False,
        ),
    ],
    "early_fusion": FUSION,
    "cross_fusion": FUSION,
    "patch_embedding": [
        View(
            "images", lambda: {"x": normal(BATCH, 3, 4, 6)}, lambda call, x: call(x),
            config={"height": 4, "breadth": 6, "patch": 2, "channels": 3, "width": WIDTH}, shape=(6, WIDTH),
        ),
    ],
    "lora": [
        View(
            name, unpadded, lambda call, x, merges=merges: call(x, merges),
            config={"inputs": WIDTH, "outputs": 7, "rank": 2, "alpha": 4.0, "dropout": 0.0},
            shape=(LENGTH, 7), permuted="equivariant", frozen=("built.base",) * (not merges),
        )
        for name, merges in (("apart", 0), ("merged", 1))
    ],
    "freezing": [
        View(
            "head", lambda: {"x": normal(BATCH, WIDTH)},
            lambda call, x: call.args[0]["head"](call.args[0]["body_norm"](call.args[0]["body"](x))),
            built=frozen_body, shape=(3,), frozen=("built.body",),
        ),
    ],
    "sequence_loss": [
        View(
            f"smoothing {smoothing}", unpadded, classified, built=linear,
            loss=lambda call, output, batch, smoothing=smoothing: call((smoothing, 0), output, labels_of(batch)),
        )
        for smoothing in (0.0, 0.1)
    ],
    "sequence_squared_error": [
        View(
            "regression", unpadded, classified, built=linear,
            loss=lambda call, output, batch: call(output, batch["x"] @ normal(WIDTH, VOCABULARY), real()),
        ),
    ],
    "optimizer": [
        trained_by("gradient descent", lambda names, model: names["gradient_descent"](model.parameters(), 0.1)),
        trained_by("momentum", lambda names, model: names["gradient_descent"](model.parameters(), 0.02, 0.9)),
        trained_by("adam", lambda names, model: names["adam"](model.parameters(), 0.05)),
        trained_by("adamw", lambda names, model: names["adamw"](model, 0.05, 0.01)),
    ],
}  # fmt: skip
