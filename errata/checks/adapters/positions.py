"""Adapters of what tells positions apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from errata.candidates import Argument
from errata.candidates.weights import Shapes
from errata.checks.adapters.adapter import Adapter, Config
from errata.checks.adapters.attention import projections
from errata.checks.adapters.conventions import Layout, require, with_layout
from errata.checks.adapters.layers import Sequencewise


@dataclass(frozen=True, kw_only=True)
class PositionalEncoding(Adapter):
    """Sinusoidal positional encoding: ``call(length, width)`` gives ``(T, D)``.

    See `errata.checks.positional_encoding`.

    Attributes:
        build: ``build(width)`` gives a module that adds the table to its input; then ``call(module, x)`` gives the sum.
        layout: the axes of x and of the sum.
    """

    component: ClassVar[str] = "positional_encoding"
    inputs: ClassVar[tuple[str, ...]] = ("length", "width")

    layout: Layout = "batch-first"

    def __post_init__(self) -> None:
        """As in `Adapter`."""
        require(self.title, "layout", self.layout, Layout)
        super().__post_init__()

    def build_sizes(self) -> tuple[str, ...]:
        """See `Adapter.build_sizes`."""
        return ("width",)

    def passed_inputs(self) -> tuple[str, ...]:
        """See `Adapter.passed_inputs`."""
        return ("x",) if self.build else self.inputs

    def construct(self, config: Config) -> Any:
        """See `Adapter.construct`: the width is known at the call only."""
        return None

    def invoke(self, config: Config, *built: Any, **arguments: Argument) -> Mapping[str, Tensor]:
        """See `Adapter.invoke`."""
        if self.build is None:
            return super().invoke(config, **arguments)
        length, width = arguments["length"], arguments["width"]
        assert isinstance(length, int)
        assert isinstance(width, int)
        module = self.build(width)
        if isinstance(module, nn.Module):
            module.eval()
        x = with_layout(torch.zeros(1, length, width), self.layout)
        found = self.read("call", self.call(module, x), {"x": x})
        return {"output": with_layout(found["output"], self.layout)[0]}


@dataclass(frozen=True, kw_only=True)
class LearnedPositionalEncoding(Sequencewise):
    """Learned absolute positions: ``build(length, width)``, ``call(module, x)``.

    See `errata.checks.learned_positional_encoding`.
    """

    component: ClassVar[str] = "learned_positional_encoding"
    sizes: ClassVar[tuple[str, ...]] = ("length", "width")


@dataclass(frozen=True, kw_only=True)
class RelativePositionalEncoding(Adapter):
    """A table of offsets: ``call(length, width)`` gives ``(T, T, D)``.

    See `errata.checks.relative_positional_encoding`.
    """

    component: ClassVar[str] = "relative_positional_encoding"
    inputs: ClassVar[tuple[str, ...]] = ("length", "width")


@dataclass(frozen=True, kw_only=True)
class RotaryEmbedding(Adapter):
    """Rotary embedding: ``build(width)``, ``call(module, query, key)`` gives both turned.

    See `errata.checks.rotary_embedding`. Traits: ``interleaved`` or ``half-split``.

    Attributes:
        heads_first: queries and keys are ``(B, H, T, d)``; otherwise ``(B, T, H, d)``.
    """

    component: ClassVar[str] = "rotary_embedding"
    sizes: ClassVar[tuple[str, ...]] = ("width",)
    inputs: ClassVar[tuple[str, ...]] = ("query", "key")
    known_traits: ClassVar[frozenset[str]] = frozenset({"interleaved", "half-split"})

    returns: tuple[str, ...] = ("output", "key")
    heads_first: bool = True

    def convert(self, arguments: Mapping[str, Argument], config: Config) -> Mapping[str, Argument]:
        """See `Adapter.convert`."""
        return {name: self._swapped(value) for name, value in arguments.items() if isinstance(value, Tensor)}

    def revert(self, outputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Adapter.revert`."""
        return {name: self._swapped(value) for name, value in outputs.items()}

    def _swapped(self, states: Tensor) -> Tensor:
        return states if self.heads_first else states.transpose(1, 2)


@dataclass(frozen=True, kw_only=True)
class RelativeAttention(Adapter):
    """Self-attention with relative positions: ``build(width, heads, distance)``, ``call(module, x, mask)``.

    See `errata.checks.relative_attention`. Weights as for `MultiHeadAttention`, and ``relative_keys`` and
    ``relative_values`` ``(2k + 1, d)``.
    """

    component: ClassVar[str] = "relative_attention"
    sizes: ClassVar[tuple[str, ...]] = ("width", "heads", "distance")
    inputs: ClassVar[tuple[str, ...]] = ("x", "mask")
    known_traits: ClassVar[frozenset[str]] = frozenset({"no-mask"})

    def passed_inputs(self) -> tuple[str, ...]:
        """See `Adapter.passed_inputs`."""
        return ("x",) if "no-mask" in self.traits else self.inputs

    def shapes(self, config: Config) -> Shapes:
        """See `Adapter.shapes`."""
        width, heads, distance = (int(config[name]) for name in self.sizes)
        rows = (2 * distance + 1, width // heads)
        return {**projections(width), "relative_keys": rows, "relative_values": rows}


@dataclass(frozen=True, kw_only=True)
class RelativeBias(Adapter):
    """The bias of T5: ``build(heads, buckets, max_distance, bidirectional)``, ``call(module, length)``.

    See `errata.checks.relative_bias`. Weights: ``table``, ``(buckets, H)``.
    """

    component: ClassVar[str] = "relative_bias"
    sizes: ClassVar[tuple[str, ...]] = ("heads", "buckets", "max_distance", "bidirectional")
    inputs: ClassVar[tuple[str, ...]] = ("length",)

    def shapes(self, config: Config) -> Shapes:
        """See `Adapter.shapes`."""
        return {"table": (int(config["buckets"]), int(config["heads"]))}


@dataclass(frozen=True, kw_only=True)
class Alibi(Adapter):
    """Attention with linear biases: ``build(heads)``, ``call(module, length)``, see `errata.checks.alibi`."""

    component: ClassVar[str] = "alibi"
    sizes: ClassVar[tuple[str, ...]] = ("heads",)
    inputs: ClassVar[tuple[str, ...]] = ("length",)


@dataclass(frozen=True, kw_only=True)
class PatchEmbedding(Adapter):
    """Patches as vectors: ``build(height, breadth, patch, channels, width)``, ``call(module, images)``.

    See `errata.checks.patch_embedding`. Weights: ``projection`` (``weight (D, C, patch, patch)``, ``bias``) and
    ``positions (P, D)``.
    """

    component: ClassVar[str] = "patch_embedding"
    sizes: ClassVar[tuple[str, ...]] = ("height", "breadth", "patch", "channels", "width")
    inputs: ClassVar[tuple[str, ...]] = ("images",)

    def shapes(self, config: Config) -> Shapes:
        """See `Adapter.shapes`."""
        height, breadth, patch, channels, width = (int(config[name]) for name in self.sizes)
        return {
            "projection.weight": (width, channels, patch, patch),
            "projection.bias": (width,),
            "positions": (height // patch * (breadth // patch), width),
        }
