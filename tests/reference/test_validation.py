import math
import re

import pytest
import torch

from reference.validation import require_at_least, require_probability, require_sequences


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


@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 5), (3,)])
def test_sequences_have_three_axes_and_the_width(shape: tuple[int, ...]) -> None:
    require_sequences(3, x=torch.zeros(2, 4, 3))
    with pytest.raises(ValueError, match=re.escape(f"x must have the shape (B, T, 3), got {shape}")):
        require_sequences(3, x=torch.zeros(shape))
