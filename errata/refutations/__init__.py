"""Refutations: functions that show by running that a statement is false."""

from errata.refutations import (  # noqa: F401  importing a file registers its refutations
    architecture,
    attention,
    complexity,
    deployment,
    dropout,
    evaluation,
    feed_forward,
    heads,
    masks,
    norm,
    optimisation,
    position,
    residual,
    schedule,
    splitting,
    training,
    transfer,
    wiring,
)
from errata.refutations.registry import Refutation, Shown, get, names

__all__ = ["Refutation", "Shown", "get", "names"]
