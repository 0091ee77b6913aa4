"""Checks: properties that every correct implementation of a component satisfies.

Importing a component's module registers its checks; their order here is that of every list.
"""

from errata.checks import (  # noqa: F401
    attention,
    batch_norm,
    causal_mask,
    decoder_layer,
    dropout,
    encoder,
    encoder_layer,
    feed_forward,
    layer_norm,
    learning_rate_schedule,
    multi_head_attention,
    noam_schedule,
    padding_mask,
    positional_encoding,
    relative_positional_encoding,
    residual,
    score_mask,
    transformer,
)
from errata.checks.registry import Check, all_checks, checks_of, get

__all__ = ["Check", "all_checks", "checks_of", "get"]
