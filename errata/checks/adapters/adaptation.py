"""Adapters of what changes a trained model."""

from dataclasses import dataclass
from typing import ClassVar

from errata.checks.adapters.adapter import Adapter


@dataclass(frozen=True, kw_only=True)
class AffineQuantiser(Adapter):
    """An affine quantiser: ``call(seen, values, bits, symmetric, per_channel)``.

    See `errata.checks.affine_quantiser`.
    """

    component: ClassVar[str] = "affine_quantiser"
    inputs: ClassVar[tuple[str, ...]] = ("seen", "values", "bits", "symmetric", "per_channel")
    known_traits: ClassVar[frozenset[str]] = frozenset({"asymmetric-only", "per-tensor-only", "symmetric-only"})

    returns: tuple[str, ...] = ("output", "integers", "scale", "zero_point")


@dataclass(frozen=True, kw_only=True)
class MagnitudePruning(Adapter):
    """Pruning of weights: ``call(first, second, gradient, share, together)``, see `errata.checks.magnitude_pruning`."""

    component: ClassVar[str] = "magnitude_pruning"
    inputs: ClassVar[tuple[str, ...]] = ("first", "second", "gradient", "share", "together")
    known_traits: ClassVar[frozenset[str]] = frozenset({"apart-only", "no-training", "together-only"})

    returns: tuple[str, ...] = ("output", "second", "trained")


@dataclass(frozen=True, kw_only=True)
class HeadPruning(Adapter):
    """Pruning of heads: ``build(width, heads)``, ``call(module, query, memory, kept)``.

    See `errata.checks.head_pruning`.
    """

    component: ClassVar[str] = "head_pruning"
    sizes: ClassVar[tuple[str, ...]] = ("width", "heads")
    inputs: ClassVar[tuple[str, ...]] = ("query", "memory", "kept")
    known_traits: ClassVar[frozenset[str]] = frozenset({"masks-only"})

    returns: tuple[str, ...] = ("output", "parameters")


@dataclass(frozen=True, kw_only=True)
class Freezing(Adapter):
    """Fine-tuning with a frozen part: ``build(width, classes)``, ``call(model, x, targets, steps)``.

    See `errata.checks.freezing`.
    """

    component: ClassVar[str] = "freezing"
    sizes: ClassVar[tuple[str, ...]] = ("width", "classes")
    inputs: ClassVar[tuple[str, ...]] = ("x", "targets", "steps")
    known_traits: ClassVar[frozenset[str]] = frozenset({"by-name"})

    returns: tuple[str, ...] = (
        "output",
        "head_before",
        "body_before",
        "body_after",
        "statistics_before",
        "statistics_after",
        "features",
        "features_again",
    )


@dataclass(frozen=True, kw_only=True)
class LoRA(Adapter):
    """LoRA on a linear layer: ``build(inputs, outputs, rank, alpha, dropout)``, ``call(layer, x, merges)``.

    See `errata.checks.lora`.
    """

    component: ClassVar[str] = "lora"
    sizes: ClassVar[tuple[str, ...]] = ("inputs", "outputs", "rank", "alpha", "dropout")
    inputs: ClassVar[tuple[str, ...]] = ("x", "merges")
    known_traits: ClassVar[frozenset[str]] = frozenset({"rank-stabilised"})


@dataclass(frozen=True, kw_only=True)
class PooledClassifier(Adapter):
    """A classifier on states: ``build(width, classes)``, ``call(model, states, real)``.

    See `errata.checks.pooled_classifier`.
    """

    component: ClassVar[str] = "pooled_classifier"
    sizes: ClassVar[tuple[str, ...]] = ("width", "classes")
    inputs: ClassVar[tuple[str, ...]] = ("states", "real")
    known_traits: ClassVar[frozenset[str]] = frozenset({"first", "mean"})


@dataclass(frozen=True, kw_only=True)
class MultiTaskModel(Adapter):
    """A model of two tasks: ``build`` with six sizes, ``call`` with the model and eight inputs.

    See `errata.checks.multi_task_model`.
    """

    component: ClassVar[str] = "multi_task_model"
    sizes: ClassVar[tuple[str, ...]] = ("width", "heads", "hidden", "layers", "classes", "numbers")
    inputs: ClassVar[tuple[str, ...]] = (
        "x",
        "lengths",
        "tags",
        "score",
        "tagged",
        "scored",
        "tags_weight",
        "score_weight",
    )

    returns: tuple[str, ...] = ("output", "tags", "score")


@dataclass(frozen=True, kw_only=True)
class EarlyFusion(Adapter):
    """One encoder for two modes: ``build`` with four sizes, ``call(model, text, image, text_real, image_real)``.

    See `errata.checks.early_fusion`.
    """

    component: ClassVar[str] = "early_fusion"
    sizes: ClassVar[tuple[str, ...]] = ("width", "heads", "hidden", "layers")
    inputs: ClassVar[tuple[str, ...]] = ("text", "image", "text_real", "image_real")


@dataclass(frozen=True, kw_only=True)
class CrossFusion(Adapter):
    """Two streams that attend each other: ``build`` and ``call`` as for `EarlyFusion`.

    See `errata.checks.cross_fusion`.
    """

    component: ClassVar[str] = "cross_fusion"
    sizes: ClassVar[tuple[str, ...]] = ("width", "heads", "hidden", "layers")
    inputs: ClassVar[tuple[str, ...]] = ("text", "image", "text_real", "image_real")
    known_traits: ClassVar[frozenset[str]] = frozenset({"no-self-attention", "one-way"})
