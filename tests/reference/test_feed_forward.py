import pytest
import torch
from torch import nn

from reference import FeedForward


def test_closed_form_with_one_activation_between_two_maps() -> None:
    module = FeedForward(2, 3).double()
    x = torch.randn(4, 5, 2, dtype=torch.float64)
    hidden = (x @ module.inner.weight.T + module.inner.bias).clamp(min=0)
    expected = hidden @ module.outer.weight.T + module.outer.bias
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-14)
    assert (expected < 0).any()  # no second activation


def test_positions_are_independent() -> None:
    module = FeedForward(3, 7)
    x = torch.randn(2, 4, 3)
    before = module(x)
    x[1, 2] += 1
    changed = (module(x) != before).any(-1)
    assert changed.nonzero().tolist() == [[1, 2]]


def test_activation_is_a_function_or_a_module() -> None:
    x = torch.randn(4, 3)
    module = FeedForward(3, 5, activation=nn.functional.gelu)
    torch.testing.assert_close(module(x), module.outer(nn.functional.gelu(module.inner(x))))
    assert len(list(FeedForward(3, 5, activation=nn.PReLU()).parameters())) == 5


@pytest.mark.parametrize(
    ("width", "inner", "message"), [(0, 4, "^width must"), (4, -1, "inner_width must be at least 1, got -1")]
)
def test_bad_arguments(width: int, inner: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeedForward(width, inner)
