"""Adapters of attention together with what stands in front of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from errata.checks.adapters.adapter import Adapter, Arguments, Config
from errata.checks.adapters.conventions import Layout, require, with_layout
from errata.checks.adapters.layers import Sequencewise


@dataclass(frozen=True, kw_only=True)
class OverSequences(Adapter):
    """Attention of queries, keys and values that is given no mask.

    Attributes:
        layout: the axes of query, key, value and output.
        self_only: it takes one sequence instead of the three.
    """

    sizes: ClassVar[tuple[str, ...]] = ("width", "heads")

    layout: Layout = "batch-first"
    self_only: bool = False

    def __post_init__(self) -> None:
        """As in `Adapter`."""
        require(self.title, "layout", self.layout, Layout)
        super().__post_init__()

    def passed_inputs(self) -> tuple[str, ...]:
        """See `Adapter.passed_inputs`."""
        left_out = ("key", "value") if self.self_only else ()
        return tuple(name for name in self.inputs if name not in left_out)

    def chosen_traits(self) -> frozenset[str]:
        """See `Adapter.chosen_traits`."""
        return super().chosen_traits() | ({"self-only"} if self.self_only else set())

    def convert(self, arguments: Arguments, config: Config) -> Arguments:
        """See `Adapter.convert`."""
        return {
            name: with_layout(value, self.layout) if isinstance(value, Tensor) and value.ndim == 3 else value
            for name, value in arguments.items()
        }

    def revert(self, outputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Adapter.revert`."""
        return {**outputs, "output": with_layout(outputs["output"], self.layout)}


@dataclass(frozen=True, kw_only=True)
class PaddedAttention(OverSequences):
    """Attention over padded sequences: ``call(query, key, value, lengths)``, see `errata.checks.padded_attention`.

    Of modules ``build(width, heads)`` and ``call(module, query, key, value, lengths)``. A mask maker and attention are
    joined in ``call``: ``attention(query, key, value, None if lengths is None else mask_of(lengths, key.shape[1]))``.
    With ``self_only`` it is ``call(x, lengths)``. Traits: ``same-length`` (as many queries as keys), ``one-length``
    (one sequence at a time).
    """

    component: ClassVar[str] = "padded_attention"
    inputs: ClassVar[tuple[str, ...]] = ("query", "key", "value", "lengths")
    known_traits: ClassVar[frozenset[str]] = frozenset({"one-length", "same-length"})


@dataclass(frozen=True, kw_only=True)
class CausalAttention(OverSequences):
    """Causal self-attention, given no mask: ``call(query, key, value)``, see `errata.checks.causal_attention`.

    Of modules ``build(width, heads)`` and ``call(module, query, key, value)``. With ``self_only`` it is ``call(x)``.
    Trait: ``no-projections`` (attention of its arguments themselves, with one head).
    """

    component: ClassVar[str] = "causal_attention"
    inputs: ClassVar[tuple[str, ...]] = ("query", "key", "value")
    known_traits: ClassVar[frozenset[str]] = frozenset({"no-projections"})


@dataclass(frozen=True, kw_only=True)
class EncodedAttention(Sequencewise):
    """Self-attention over words that know their positions: ``call(x)``, see `errata.checks.encoded_attention`.

    Of modules ``build(width, heads)`` and ``call(module, x)``. A positional encoding and attention are joined in
    ``call``.
    """

    component: ClassVar[str] = "encoded_attention"
    sizes: ClassVar[tuple[str, ...]] = ("width", "heads")
