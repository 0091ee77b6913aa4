"""Checks: properties that every correct implementation of a component satisfies."""

from errata.checks import attention
from errata.checks.registry import Check, all_checks, checks_of, get

__all__ = ["Check", "all_checks", "attention", "checks_of", "get"]
