"""Checks: properties that every correct implementation of a component satisfies."""

from errata.checks import (
    attention,
    layer_norm,
    positional_encoding,
    relative_positional_encoding,
)
from errata.checks.registry import Check, all_checks, checks_of, get

__all__ = [
    "Check",
    "all_checks",
    "attention",
    "checks_of",
    "get",
    "layer_norm",
    "positional_encoding",
    "relative_positional_encoding",
]
