"""The two checks that many constructors share."""


def require_at_least(minimum: float, **values: float) -> None:
    """Raise `ValueError` for the first value below `minimum` (NaN is below everything)."""
    for name, value in values.items():
        if not value >= minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")


def require_probability(**values: float) -> None:
    """Raise `ValueError` for the first value outside [0, 1]."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be a probability between 0 and 1, got {value}")
