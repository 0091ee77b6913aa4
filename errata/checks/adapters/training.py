"""Adapters of what trains a model."""

from dataclasses import dataclass
from typing import ClassVar

from errata.checks.adapters.adapter import Adapter


@dataclass(frozen=True, kw_only=True)
class SequenceLoss(Adapter):
    """The loss of padded sequences: ``build(smoothing, padding)``, ``call(built, logits, target)``.

    See `errata.checks.sequence_loss`.
    """

    component: ClassVar[str] = "sequence_loss"
    sizes: ClassVar[tuple[str, ...]] = ("smoothing", "padding")
    inputs: ClassVar[tuple[str, ...]] = ("logits", "target")
    known_traits: ClassVar[frozenset[str]] = frozenset(
        {"spread-over-all", "spread-over-other-tokens", "spread-over-others", "spread-over-tokens"}
    )


@dataclass(frozen=True, kw_only=True)
class SequenceSquaredError(Adapter):
    """Mean-squared error over padded sequences: ``call(prediction, target, present)``.

    See `errata.checks.sequence_squared_error`.
    """

    component: ClassVar[str] = "sequence_squared_error"
    inputs: ClassVar[tuple[str, ...]] = ("prediction", "target", "present")


@dataclass(frozen=True, kw_only=True)
class TeacherForcing(Adapter):
    """The decoder's input and labels: ``call(target, start, padding)``, see `errata.checks.teacher_forcing`."""

    component: ClassVar[str] = "teacher_forcing"
    inputs: ClassVar[tuple[str, ...]] = ("target", "start", "padding")

    returns: tuple[str, ...] = ("output", "labels")


@dataclass(frozen=True, kw_only=True)
class NoamSchedule(Adapter):
    """The learning rate of the paper: ``build(width, warmup)``, ``call(built, steps)``.

    See `errata.checks.noam_schedule`.
    """

    component: ClassVar[str] = "noam_schedule"
    sizes: ClassVar[tuple[str, ...]] = ("width", "warmup")
    inputs: ClassVar[tuple[str, ...]] = ("steps",)


@dataclass(frozen=True, kw_only=True)
class LearningRateSchedule(Adapter):
    """A decaying learning rate: ``build(initial, decay)``, ``call(built, gradients)``.

    See `errata.checks.learning_rate_schedule`.
    """

    component: ClassVar[str] = "learning_rate_schedule"
    sizes: ClassVar[tuple[str, ...]] = ("initial", "decay")
    inputs: ClassVar[tuple[str, ...]] = ("gradients",)
    known_traits: ClassVar[frozenset[str]] = frozenset({"exponential", "inverse-time"})

    returns: tuple[str, ...] = ("output", "weights")


@dataclass(frozen=True, kw_only=True)
class PeriodicSchedule(Adapter):
    """A learning rate with restarts: ``build(initial, period)``, ``call(built, steps)``.

    See `errata.checks.periodic_schedule`.
    """

    component: ClassVar[str] = "periodic_schedule"
    sizes: ClassVar[tuple[str, ...]] = ("initial", "period")
    inputs: ClassVar[tuple[str, ...]] = ("steps",)
    known_traits: ClassVar[frozenset[str]] = frozenset({"cosine", "linear"})


@dataclass(frozen=True, kw_only=True)
class Optimizer(Adapter):
    """Optimizers: ``build(rule, rate, momentum, beta1, beta2, epsilon, decay)``, ``call(built, start, gradients)``.

    See `errata.checks.optimizer`.
    """

    component: ClassVar[str] = "optimizer"
    sizes: ClassVar[tuple[str, ...]] = ("rule", "rate", "momentum", "beta1", "beta2", "epsilon", "decay")
    inputs: ClassVar[tuple[str, ...]] = ("start", "gradients")
    known_traits: ClassVar[frozenset[str]] = frozenset({"adam", "adamw", "gradient-descent", "momentum"})


@dataclass(frozen=True, kw_only=True)
class GradientAccumulation(Adapter):
    """Micro-batches: ``call(weight, x, y, lengths)``, see `errata.checks.gradient_accumulation`."""

    component: ClassVar[str] = "gradient_accumulation"
    inputs: ClassVar[tuple[str, ...]] = ("weight", "x", "y", "lengths")


@dataclass(frozen=True, kw_only=True)
class GradientClipping(Adapter):
    """Clipping by norm: ``build(max_norm)``, ``call(built, first, second)``, see `errata.checks.gradient_clipping`."""

    component: ClassVar[str] = "gradient_clipping"
    sizes: ClassVar[tuple[str, ...]] = ("max_norm",)
    inputs: ClassVar[tuple[str, ...]] = ("first", "second")

    returns: tuple[str, ...] = ("output", "second")


@dataclass(frozen=True, kw_only=True)
class Regularisation(Adapter):
    """Penalties: ``build(kind, strength)``, ``call(built, first, second, bias)``.

    See `errata.checks.regularisation`.
    """

    component: ClassVar[str] = "regularisation"
    sizes: ClassVar[tuple[str, ...]] = ("kind", "strength")
    inputs: ClassVar[tuple[str, ...]] = ("first", "second", "bias")
    known_traits: ClassVar[frozenset[str]] = frozenset({"l1", "l2"})


@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Adapter):
    """Early stopping: ``build(patience, minimum_improvement)``, ``call(built, losses, weights)``.

    See `errata.checks.early_stopping`.
    """

    component: ClassVar[str] = "early_stopping"
    sizes: ClassVar[tuple[str, ...]] = ("patience", "minimum_improvement")
    inputs: ClassVar[tuple[str, ...]] = ("losses", "weights")

    returns: tuple[str, ...] = ("output", "seen")


@dataclass(frozen=True, kw_only=True)
class TrainingLoop(Adapter):
    """A whole loop: ``build(rate, decay, dropout, max_norm)`` and ``call`` with the built object and six inputs.

    See `errata.checks.training_loop`.
    """

    component: ClassVar[str] = "training_loop"
    sizes: ClassVar[tuple[str, ...]] = ("rate", "decay", "dropout", "max_norm")
    inputs: ClassVar[tuple[str, ...]] = ("inputs", "targets", "counts", "held_inputs", "held_targets", "every")

    returns: tuple[str, ...] = ("output", "losses", "held_out_losses")


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Adapter):
    """Resuming: ``build(rate, decay, momentum, dropout)``, ``call(built, inputs, targets, interrupt)``.

    See `errata.checks.checkpoint`.
    """

    component: ClassVar[str] = "checkpoint"
    sizes: ClassVar[tuple[str, ...]] = ("rate", "decay", "momentum", "dropout")
    inputs: ClassVar[tuple[str, ...]] = ("inputs", "targets", "interrupt")


@dataclass(frozen=True, kw_only=True)
class CheckpointFile(Adapter):
    """A file of tensors: ``call(first, second, kept)``, see `errata.checks.checkpoint_file`."""

    component: ClassVar[str] = "checkpoint_file"
    inputs: ClassVar[tuple[str, ...]] = ("first", "second", "kept")

    returns: tuple[str, ...] = ("output", "second")


@dataclass(frozen=True, kw_only=True)
class DataParallel(Adapter):
    """Several processes: ``call(weights, inputs, targets, counts, processes)``, see `errata.checks.data_parallel`."""

    component: ClassVar[str] = "data_parallel"
    inputs: ClassVar[tuple[str, ...]] = ("weights", "inputs", "targets", "counts", "processes")

    returns: tuple[str, ...] = ("output", "loss", "visits")


@dataclass(frozen=True, kw_only=True)
class UncertaintyWeighting(Adapter):
    """Learned loss weights: ``build(regressions, classifications)``, ``call(built, losses, log_variances, present)``.

    See `errata.checks.uncertainty_weighting`.
    """

    component: ClassVar[str] = "uncertainty_weighting"
    sizes: ClassVar[tuple[str, ...]] = ("regressions", "classifications")
    inputs: ClassVar[tuple[str, ...]] = ("losses", "log_variances", "present")
    known_traits: ClassVar[frozenset[str]] = frozenset({"absent-tasks", "regression-only"})
