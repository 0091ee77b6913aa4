"""Many tasks, one model: a shared encoder, a head for each task, and one loss for all (Q24).

One more axis letter: `K` tasks. Several models, one per task, are not multi-task learning: nothing that one of them
learns reaches another (Caruana 1997, section 1.3).
"""

from reference.multitask.heads import SequenceHead, TokenHead, mean_pool
from reference.multitask.losses import labelled_losses, weighted_loss
from reference.multitask.model import MultiTaskModel
from reference.multitask.uncertainty import TaskKind, UncertaintyWeighting

__all__ = [
    "MultiTaskModel",
    "SequenceHead",
    "TaskKind",
    "TokenHead",
    "UncertaintyWeighting",
    "labelled_losses",
    "mean_pool",
    "weighted_loss",
]
