import math

import pytest

from reference.validation import require_at_least, require_probability


@pytest.mark.parametrize("value", [0, -3, math.nan])
def test_at_least_names_the_value_below(value: float) -> None:
    with pytest.raises(ValueError, match=f"^heads must be at least 1, got {value}$"):
        require_at_least(1, width=1, heads=value)


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan])
def test_probability_names_the_value_outside(value: float) -> None:
    with pytest.raises(ValueError, match=f"^dropout must be a probability between 0 and 1, got {value}$"):
        require_probability(dropout=value)


def test_the_limits_belong_to_the_range() -> None:
    require_at_least(1, width=1)
    require_probability(none=0, all=1)
