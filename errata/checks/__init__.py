"""Checks: properties that every correct implementation of a component satisfies, and the suite made of them.

For anybody's implementation: say in an adapter (`MultiHeadAttention`, `LayerNorm`, `Transformer`, one class for each
component) how it is built and called, or let `find` take it from a class; then `run` the checks, hand them to pytest
with `parametrize`, or `replay` one case. Importing a component's module registers its checks; their order here is that
of every list.
"""

from errata.checks import (  # noqa: F401
    affine_quantiser,
    alibi,
    attention,
    batch_norm,
    beam_search,
    bleu,
    causal_attention,
    causal_mask,
    checkpoint,
    checkpoint_file,
    classification_metrics,
    cross_fusion,
    data_parallel,
    decoder_layer,
    dropout,
    early_fusion,
    early_stopping,
    encoded_attention,
    encoder,
    encoder_layer,
    feed_forward,
    freezing,
    gradient_accumulation,
    gradient_clipping,
    greedy_search,
    head_pruning,
    incremental_decoding,
    language_model,
    layer_norm,
    learned_positional_encoding,
    learning_rate_schedule,
    lora,
    magnitude_pruning,
    multi_head_attention,
    multi_task_model,
    noam_schedule,
    optimizer,
    padded_attention,
    padding_mask,
    patch_embedding,
    periodic_schedule,
    perplexity,
    pooled_classifier,
    positional_encoding,
    regularisation,
    relative_attention,
    relative_bias,
    relative_positional_encoding,
    residual,
    rms_norm,
    rotary_embedding,
    score_mask,
    segment_mask,
    sequence_loss,
    sequence_squared_error,
    teacher_forcing,
    text_encoder,
    training_loop,
    transformer,
    uncertainty_weighting,
)
from errata.checks.adapters import *  # noqa: F403
from errata.checks.adapters import __all__ as _adapters
from errata.checks.recognise import find
from errata.checks.registry import Check, all_checks, checks_of, get, with_foundations
from errata.checks.report import ConformanceError, Outcome, Report
from errata.checks.suite import parametrize, replay, run

__all__ = [
    *_adapters,
    "Check",
    "ConformanceError",
    "Outcome",
    "Report",
    "all_checks",
    "checks_of",
    "find",
    "get",
    "parametrize",
    "replay",
    "run",
    "with_foundations",
]
