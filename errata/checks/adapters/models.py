"""Adapters of whole models over token ids."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from errata.candidates import Argument
from errata.checks.adapters.adapter import Adapter, Arguments, Config
from errata.checks.adapters.masked import Masked

STACK = ("vocabulary", "width", "heads", "hidden", "layers")


@dataclass(frozen=True, kw_only=True)
class Model(Masked):
    """A model over token ids: ``build(vocabulary, width, heads, hidden, layers)``. Id 0 is never passed.

    Attributes:
        cached: ``cached(model, *inputs, chunks)``: the same answer through a cache, fed piece by piece; ``chunks`` are
            the lengths of the pieces, whole numbers.
        loss: ``loss(model, *inputs, labels)``: the mean loss; labels are -100 where they do not count, and label t
            belongs to the logits at t.
        eager: ``eager(model, *inputs)``: the same answer by a plainly written attention.
    """

    sizes: ClassVar[tuple[str, ...]] = STACK
    known_traits: ClassVar[frozenset[str]] = frozenset({"one-layer"})
    unlocked_by: ClassVar[Mapping[str, str]] = {
        **Adapter.unlocked_by,
        "cache": "cached",
        "loss": "loss",
        "eager": "eager",
    }

    cached: Callable[..., Any] | None = None
    loss: Callable[..., Any] | None = None
    eager: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        """As in `Adapter`."""
        super().__post_init__()
        for role, function, last in (
            ("cached", self.cached, ("chunks",)),
            ("loss", self.loss, ("labels",)),
            ("eager", self.eager, ()),
        ):
            if function is not None:
                self._require_callable(role, function, (*self.call_parameters(), *last))

    def chosen_traits(self) -> frozenset[str]:
        """See `Adapter.chosen_traits`."""
        roles = {"cache": self.cached, "loss": self.loss, "eager": self.eager}
        given = frozenset(trait for trait, function in roles.items() if function is not None)
        return super().chosen_traits() | given

    def invoke(self, config: Config, *built: Any, **arguments: Argument) -> Mapping[str, Tensor]:
        """See `Adapter.invoke`: what a call asks for decides which callable answers."""
        role, function, last = self._asked(arguments)
        converted = self.convert(arguments, config)
        passed = {name: converted[name] for name in self.passed_inputs()}
        return self.read(role, function(*built, *passed.values(), *last), passed)

    def _asked(self, arguments: Arguments) -> tuple[str, Callable[..., Any], tuple[Any, ...]]:
        chunks = arguments.get("chunks")
        if self.cached and isinstance(chunks, Tensor):
            return "cached", self.cached, (chunks.tolist(),)
        if self.loss and arguments.get("labels") is not None:
            return "loss", self.loss, (arguments["labels"],)
        if self.eager and arguments.get("eager"):
            return "eager", self.eager, ()
        return "call", self.call, ()


@dataclass(frozen=True, kw_only=True)
class Encoder(Masked):
    """An encoder with a mask for each query: ``call(model, ids, mask)``, mask ``(B, T, T)``.

    See `errata.checks.encoder`. For a mask that marks padding, ``(B, T)``, use `TextEncoder`.
    """

    component: ClassVar[str] = "encoder"
    sizes: ClassVar[tuple[str, ...]] = STACK
    inputs: ClassVar[tuple[str, ...]] = ("ids", "mask")
    known_traits: ClassVar[frozenset[str]] = frozenset({"one-layer", "post-norm", "pre-norm"})


@dataclass(frozen=True, kw_only=True)
class TextEncoder(Model):
    """An encoder of padded texts: ``call(model, ids, mask)`` gives states ``(B, T, D)``; mask ``(B, T)``.

    See `errata.checks.text_encoder`.
    """

    component: ClassVar[str] = "text_encoder"
    inputs: ClassVar[tuple[str, ...]] = ("ids", "mask")
    known_traits: ClassVar[frozenset[str]] = Model.known_traits | {"relative-positions", "right-padding-only"}


@dataclass(frozen=True, kw_only=True)
class LanguageModel(Model):
    """A decoder-only model: ``call(model, ids, mask)`` gives logits ``(B, T, V)``; mask ``(B, T)``.

    See `errata.checks.language_model`.
    """

    component: ClassVar[str] = "language_model"
    inputs: ClassVar[tuple[str, ...]] = ("ids", "mask")
    known_traits: ClassVar[frozenset[str]] = Model.known_traits | {"tied", "right-padding-only", "single-steps"}


@dataclass(frozen=True, kw_only=True)
class Transformer(Model):
    """The encoder-decoder: ``call(model, source, target, source_mask)`` gives logits ``(B, T, V)``; mask ``(B, S)``.

    See `errata.checks.transformer`. The implementation adds the causal mask itself. Weights: ``encoder``, its layers.
    """

    component: ClassVar[str] = "transformer"
    inputs: ClassVar[tuple[str, ...]] = ("source", "target", "source_mask")
    masks: ClassVar[tuple[str, ...]] = ("source_mask",)
    known_traits: ClassVar[frozenset[str]] = Model.known_traits | {"tied", "single-steps"}


@dataclass(frozen=True, kw_only=True)
class IncrementalDecoding(Adapter):
    """Decoding with a cache: ``call(model, source, target, source_mask, chunks)`` gives cached and full logits.

    See `errata.checks.incremental_decoding`.
    """

    component: ClassVar[str] = "incremental_decoding"
    sizes: ClassVar[tuple[str, ...]] = STACK
    inputs: ClassVar[tuple[str, ...]] = ("source", "target", "source_mask", "chunks")
    known_traits: ClassVar[frozenset[str]] = frozenset({"single-steps"})

    returns: tuple[str, ...] = ("output", "full")
