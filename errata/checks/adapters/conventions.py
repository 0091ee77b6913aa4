"""Conventions that implementations follow, and the way from the checks' own to them."""

from typing import Literal, get_args

from torch import Tensor

from errata.errors import ErrataError

MaskConvention = Literal["true-is-attend", "true-is-masked", "additive", "none"]
"""``true-is-attend`` is the checks' own; ``additive`` is 0 where attention is permitted and -inf elsewhere; ``none``:
the implementation takes no mask."""

Layout = Literal["batch-first", "sequence-first"]
"""``(B, T, D)``, the checks' own, or ``(T, B, D)``."""


def require(title: str, field: str, value: str, allowed: object) -> None:
    """`ErrataError` for a convention that nobody knows."""
    if value not in get_args(allowed):
        raise ErrataError(f"{title}: {field} is {value!r}; choose one of {', '.join(map(repr, get_args(allowed)))}")


def with_layout(states: Tensor, layout: Layout) -> Tensor:
    """Between ``(B, T, D)`` and ``(T, B, D)``: the way there is the way back."""
    return states if layout == "batch-first" else states.transpose(0, 1)
