"""Adapters of attention."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from errata.candidates.weights import Shapes
from errata.checks.adapters.adapter import Arguments, Config
from errata.checks.adapters.conventions import Layout, require, with_layout
from errata.checks.adapters.masked import Masked

MaskShape = Literal["(B, 1, T, S)", "(B, H, T, S)", "(B, T, S)", "(B*H, T, S)"]
"""The shape in which a mask is passed; B sequences, H heads, T queries, S keys."""


@dataclass(frozen=True, kw_only=True)
class Attention(Masked):
    """Scaled dot-product attention: ``call(query, key, value, mask)``, see `errata.checks.attention`.

    The mask is ``(B, T, S)``. Trait ``heads-axis``: it is the inner part of multi-head attention, and takes
    ``(B, H, T, d)`` as well as ``(B, T, d)``.

    Attributes:
        heads_axis: it takes ``(B, H, T, d)`` and a mask ``(B, H, T, S)``, instead of ``(B, T, d)``; H is 1 here.
    """

    component: ClassVar[str] = "attention"
    inputs: ClassVar[tuple[str, ...]] = ("query", "key", "value", "mask")
    known_traits: ClassVar[frozenset[str]] = frozenset({"heads-axis"})

    heads_axis: bool = False

    def convert(self, arguments: Arguments, config: Config) -> Arguments:
        """See `Adapter.convert`."""
        converted = super().convert(arguments, config)
        if not self.heads_axis:
            return converted
        return {name: value[:, None] if isinstance(value, Tensor) else value for name, value in converted.items()}

    def revert(self, outputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Adapter.revert`."""
        return {name: value.squeeze(1) for name, value in outputs.items()} if self.heads_axis else outputs


@dataclass(frozen=True, kw_only=True)
class MultiHeadAttention(Masked):
    """Multi-head attention: ``build(width, heads)``, ``call(module, query, key, value, mask)``.

    See `errata.checks.multi_head_attention`. Weights: ``query``, ``key``, ``value`` and ``output``, each with
    ``.weight`` as in `torch.nn.Linear` and maybe ``.bias``; head i owns the i-th of H equal slices.

    Attributes:
        mask_shape: the shape in which it takes a mask.
        layout: the axes of query, key, value and output.
        self_only: it takes one sequence, ``call(module, x, mask)``.
    """

    component: ClassVar[str] = "multi_head_attention"
    sizes: ClassVar[tuple[str, ...]] = ("width", "heads")
    inputs: ClassVar[tuple[str, ...]] = ("query", "key", "value", "mask")

    mask_shape: MaskShape = "(B, 1, T, S)"
    layout: Layout = "batch-first"
    self_only: bool = False

    def __post_init__(self) -> None:
        """As in `Adapter`."""
        require(self.title, "mask_shape", self.mask_shape, MaskShape)
        require(self.title, "layout", self.layout, Layout)
        super().__post_init__()

    def passed_inputs(self) -> tuple[str, ...]:
        """See `Adapter.passed_inputs`."""
        left_out = ("key", "value") if self.self_only else ()
        return tuple(name for name in super().passed_inputs() if name not in left_out)

    def chosen_traits(self) -> frozenset[str]:
        """See `Adapter.chosen_traits`."""
        own = {"self-only"} if self.self_only else set()
        converted = {"converted-mask"} if self.mask_shape != "(B, 1, T, S)" else set()
        return super().chosen_traits() | own | converted

    def shapes(self, config: Config) -> Shapes:
        """See `Adapter.shapes`."""
        return projections(int(config["width"]))

    def convert(self, arguments: Arguments, config: Config) -> Arguments:
        """See `Adapter.convert`."""
        sequences = {name: value for name, value in arguments.items() if name != "mask" and isinstance(value, Tensor)}
        moved = {name: with_layout(value, self.layout) for name, value in sequences.items()}
        return {**super().convert(arguments, config), **moved}

    def with_shape(self, mask: Tensor, config: Config) -> Tensor:
        """See `Masked.with_shape`."""
        return with_mask_shape(mask, self.mask_shape, int(config["heads"]))

    def revert(self, outputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Adapter.revert`."""
        return {**outputs, "output": with_layout(outputs["output"], self.layout)}


def with_mask_shape(mask: Tensor, shape: MaskShape, heads: int) -> Tensor:
    """A mask ``(B, 1, T, S)`` in the shape that an implementation takes."""
    if shape == "(B, T, S)":
        return mask.squeeze(1)
    if shape == "(B, 1, T, S)":
        return mask
    for_heads = mask.expand(-1, heads, -1, -1)
    return for_heads.flatten(0, 1) if shape == "(B*H, T, S)" else for_heads


def projections(width: int, prefix: str = "") -> Shapes:
    """The parameters of multi-head attention."""
    names = ("query", "key", "value", "output")
    weights = {f"{prefix}{name}.weight": (width, width) for name in names}
    return weights | {f"{prefix}{name}.bias": (width,) for name in names}
