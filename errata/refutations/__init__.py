"""Refutations: measurements that show by running that a statement is false."""

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
from errata.refutations.registry import Adversary, Outcome, Refutation, Shown, get, names, outcome

__all__ = ["Adversary", "Outcome", "Refutation", "Shown", "get", "names", "outcome"]
