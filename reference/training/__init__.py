"""Training: teacher forcing, losses, optimizers, regularisation, the loop, and checkpoints. Q16, Q17, Q18, Q27."""

from reference.training.accumulation import accumulate_gradients
from reference.training.batch_order import batch_order
from reference.training.checkpoint import load_checkpoint, save_checkpoint
from reference.training.clipping import clip_gradients
from reference.training.early_stopping import EarlyStopping
from reference.training.fit import evaluate, fit, module_mode
from reference.training.fused_cross_entropy import fused_cross_entropy
from reference.training.loss import sequence_cross_entropy, sequence_squared_error
from reference.training.optimizers import adam, adamw, decay_groups, gradient_descent
from reference.training.regularisation import affine_weights, l1_penalty, l2_penalty
from reference.training.teacher_forcing import shift_right, teacher_forcing
from reference.training.training_run import TrainingRun, random_state, set_random_state

__all__ = [
    "EarlyStopping",
    "TrainingRun",
    "accumulate_gradients",
    "adam",
    "adamw",
    "affine_weights",
    "batch_order",
    "clip_gradients",
    "decay_groups",
    "evaluate",
    "fit",
    "fused_cross_entropy",
    "gradient_descent",
    "l1_penalty",
    "l2_penalty",
    "load_checkpoint",
    "module_mode",
    "random_state",
    "save_checkpoint",
    "sequence_cross_entropy",
    "sequence_squared_error",
    "set_random_state",
    "shift_right",
    "teacher_forcing",
]
