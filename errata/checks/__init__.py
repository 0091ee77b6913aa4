"""Checks: properties that every correct implementation of a component satisfies."""

from errata.checks import (
    attention,
    batch_norm,
    causal_mask,
    dropout,
    feed_forward,
    layer_norm,
    multi_head_attention,
    padding_mask,
    positional_encoding,
    relative_positional_encoding,
    residual,
    score_mask,
)
from errata.checks.registry import Check, all_checks, checks_of, get

__all__ = [
    "Check",
    "all_checks",
    "attention",
    "batch_norm",
    "causal_mask",
    "checks_of",
    "dropout",
    "feed_forward",
    "get",
    "layer_norm",
    "multi_head_attention",
    "padding_mask",
    "positional_encoding",
    "relative_positional_encoding",
    "residual",
    "score_mask",
]
