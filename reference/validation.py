"""The checks that many constructors and calls share."""

from typing import TypeAlias

from torch import Tensor

Number: TypeAlias = float | int  # both named, because run-time type checkers do not take an int for a float


def require_at_least(minimum: Number, **values: Number) -> None:
    """Raise `ValueError` for the first value below `minimum` (NaN is below everything)."""
    for name, value in values.items():
        if not value >= minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")


def require_probability(**values: Number) -> None:
    """Raise `ValueError` for the first value outside [0, 1]."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be a probability between 0 and 1, got {value}")


def require_sequences(width: int, **values: Tensor) -> None:
    """Raise `ValueError` for the first tensor that is not of shape `(B, T, width)`."""
    for name, x in values.items():
        if x.ndim != 3 or x.shape[-1] != width:
            raise ValueError(f"{name} must have the shape (B, T, {width}), got {tuple(x.shape)}")
