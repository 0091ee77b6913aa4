"""The two checks that many constructors share."""

from typing import TypeAlias

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
