"""Adapters of the parts of a layer, and of layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from errata.candidates.weights import Shapes
from errata.checks.adapters.adapter import Adapter, Arguments, Config
from errata.checks.adapters.attention import MaskShape, projections, with_mask_shape
from errata.checks.adapters.conventions import Layout, require, with_layout
from errata.checks.adapters.masked import Masked
from errata.errors import ErrataError

NormPlacement = Literal["post", "pre", "unknown"]
"""``post``: a norm follows each sum, as in the paper; ``pre``: one stands in front of each sublayer."""


@dataclass(frozen=True, kw_only=True)
class Sequencewise(Adapter):
    """What maps one sequence of vectors ``(B, T, D)`` to another: ``call(module, x)``.

    Attributes:
        layout: the axes of x and of the output.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x",)

    layout: Layout = "batch-first"

    def __post_init__(self) -> None:
        """As in `Adapter`."""
        require(self.title, "layout", self.layout, Layout)
        super().__post_init__()

    def convert(self, arguments: Arguments, config: Config) -> Arguments:
        """See `Adapter.convert`."""
        return {**super().convert(arguments, config), **_moved(arguments, ("x", "memory"), self.layout)}

    def revert(self, outputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Adapter.revert`."""
        return {**outputs, "output": with_layout(outputs["output"], self.layout)}


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Sequencewise):
    """Layer normalisation: ``build(width, eps)``, ``call(module, x)``, see `errata.checks.layer_norm`.

    Weights: ``gain`` and ``bias``, both ``(D,)``.
    """

    component: ClassVar[str] = "layer_norm"
    sizes: ClassVar[tuple[str, ...]] = ("width", "eps")

    def shapes(self, config: Config) -> Shapes:
        """See `Adapter.shapes`."""
        return norm(int(config["width"]))


@dataclass(frozen=True, kw_only=True)
class RMSNorm(Sequencewise):
    """Root mean square normalisation: ``build(width, eps)``, ``call(module, x)``, see `errata.checks.rms_norm`.

    Weights: ``gain``, ``(D,)``.
    """

    component: ClassVar[str] = "rms_norm"
    sizes: ClassVar[tuple[str, ...]] = ("width", "eps")

    def shapes(self, config: Config) -> Shapes:
        """See `Adapter.shapes`."""
        return {"gain": (int(config["width"]),)}


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Sequencewise):
    """Batch normalisation over sequences: ``build(width)``, ``call(module, x)``, see `errata.checks.batch_norm`.

    Weights: ``gain`` and ``bias``; running ``mean`` and ``variance``; all ``(D,)``.
    """

    component: ClassVar[str] = "batch_norm"
    sizes: ClassVar[tuple[str, ...]] = ("width",)

    def shapes(self, config: Config) -> Shapes:
        """See `Adapter.shapes`."""
        return {name: (int(config["width"]),) for name in ("gain", "bias", "mean", "variance")}


@dataclass(frozen=True, kw_only=True)
class Dropout(Adapter):
    """Dropout: ``build(probability)``, ``call(module, x)``, see `errata.checks.dropout`."""

    component: ClassVar[str] = "dropout"
    sizes: ClassVar[tuple[str, ...]] = ("probability",)
    inputs: ClassVar[tuple[str, ...]] = ("x",)


@dataclass(frozen=True, kw_only=True)
class FeedForward(Sequencewise):
    """Position-wise feed-forward network: ``build(width, hidden)``, ``call(module, x)``.

    See `errata.checks.feed_forward`. Weights: ``inner`` and ``outer``, each with ``.weight`` as in `torch.nn.Linear`
    and ``.bias``. Traits: ``gelu`` names an activation that is not the paper's; ``no-biases``: the maps have none.
    """

    component: ClassVar[str] = "feed_forward"
    sizes: ClassVar[tuple[str, ...]] = ("width", "hidden")
    known_traits: ClassVar[frozenset[str]] = frozenset({"gelu", "no-biases"})

    def shapes(self, config: Config) -> Shapes:
        """See `Adapter.shapes`."""
        return feed_forward(config)


@dataclass(frozen=True, kw_only=True)
class Residual(Sequencewise):
    """A block with a residual connection: ``build(width)``, ``call(block, x)``, see `errata.checks.residual`.

    Traits: ``post-norm`` or ``pre-norm``; ``feed-forward-branch``, where the branch is two linear maps with a ReLU, or
    one of its kind, in between. Weights: with ``post-norm``, ``norm``.
    """

    component: ClassVar[str] = "residual"
    sizes: ClassVar[tuple[str, ...]] = ("width",)
    known_traits: ClassVar[frozenset[str]] = frozenset({"feed-forward-branch", "post-norm", "pre-norm"})


@dataclass(frozen=True, kw_only=True)
class Layer(Sequencewise, Masked):
    """What the layers of encoder and decoder have in common.

    Attributes:
        mask_shape: the shape in which it takes its masks.
        norm: where the norms stand; must be known where weights are.
    """

    sizes: ClassVar[tuple[str, ...]] = ("width", "heads", "hidden")
    attentions: ClassVar[tuple[str, ...]]

    mask_shape: MaskShape = "(B, 1, T, S)"
    norm: NormPlacement = "unknown"

    def __post_init__(self) -> None:
        """As in `Adapter`."""
        require(self.title, "mask_shape", self.mask_shape, MaskShape)
        require(self.title, "norm", self.norm, NormPlacement)
        if self.norm == "unknown" and (self.weights or self.set_weights):
            raise ErrataError(f"{self.title}: to compare with the formula, say norm='post' or norm='pre'")
        super().__post_init__()

    def chosen_traits(self) -> frozenset[str]:
        """See `Adapter.chosen_traits`."""
        placed = set() if self.norm == "unknown" else {f"{self.norm}-norm"}
        return super().chosen_traits() | placed

    def shapes(self, config: Config) -> Shapes:
        """See `Adapter.shapes`."""
        width = int(config["width"])
        shapes = dict(feed_forward(config, "feed_forward.")) | dict(norm(width, "feed_forward_norm."))
        for attention in self.attentions:
            shapes |= {**projections(width, f"{attention}."), **norm(width, f"{attention}_norm.")}
        return shapes

    def with_shape(self, mask: Tensor, config: Config) -> Tensor:
        """See `Masked.with_shape`."""
        return with_mask_shape(mask[:, None], self.mask_shape, int(config["heads"]))


@dataclass(frozen=True, kw_only=True)
class EncoderLayer(Layer):
    """One layer of the encoder: ``build(width, heads, hidden)``, ``call(layer, x, mask)``.

    See `errata.checks.encoder_layer`. Weights: ``self_attention`` (as for `MultiHeadAttention`), ``feed_forward`` (as
    for `FeedForward`), ``self_attention_norm`` and ``feed_forward_norm`` (``gain``, ``bias``).
    """

    component: ClassVar[str] = "encoder_layer"
    inputs: ClassVar[tuple[str, ...]] = ("x", "mask")
    attentions: ClassVar[tuple[str, ...]] = ("self_attention",)


@dataclass(frozen=True, kw_only=True)
class DecoderLayer(Layer):
    """One layer of the decoder: ``build(width, heads, hidden)``, ``call(layer, x, memory, mask, memory_mask)``.

    See `errata.checks.decoder_layer`. Weights as for `EncoderLayer`, and ``cross_attention`` with its
    ``cross_attention_norm``.
    """

    component: ClassVar[str] = "decoder_layer"
    inputs: ClassVar[tuple[str, ...]] = ("x", "memory", "mask", "memory_mask")
    masks: ClassVar[tuple[str, ...]] = ("mask", "memory_mask")
    attentions: ClassVar[tuple[str, ...]] = ("self_attention", "cross_attention")


def norm(width: int, prefix: str = "") -> Shapes:
    """The parameters of layer normalisation."""
    return {f"{prefix}gain": (width,), f"{prefix}bias": (width,)}


def feed_forward(config: Config, prefix: str = "") -> Shapes:
    """The parameters of the feed-forward network."""
    width, hidden = int(config["width"]), int(config["hidden"])
    return {
        f"{prefix}inner.weight": (hidden, width),
        f"{prefix}inner.bias": (hidden,),
        f"{prefix}outer.weight": (width, hidden),
        f"{prefix}outer.bias": (width,),
    }


def _moved(arguments: Arguments, names: tuple[str, ...], layout: Layout) -> dict[str, Tensor]:
    """The sequences among the arguments, in another layout."""
    found = {name: arguments[name] for name in names if name in arguments}
    return {name: with_layout(value, layout) for name, value in found.items() if isinstance(value, Tensor)}
