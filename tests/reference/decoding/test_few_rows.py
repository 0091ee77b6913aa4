import pytest
import torch
from torch import nn

from reference.decoding.few_rows import FEW_ROWS, MANY_ROWS, NARROW_INPUT, FewRowsLinear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [5, NARROW_INPUT, NARROW_INPUT + 1])
@pytest.mark.parametrize("rows", [0, 1, FEW_ROWS, FEW_ROWS + 1, MANY_ROWS, MANY_ROWS + 1])
def test_every_form_equals_linear(rows: int, width: int, bias: bool) -> None:
    first, second = (nn.Linear(width, out, bias=bias).double() for out in (7, 3))
    x = torch.randn(rows, width).double()
    torch.testing.assert_close(FewRowsLinear(first)(x), first(x), rtol=0, atol=1e-12)
    expected = torch.cat([first(x), second(x)], dim=1)
    torch.testing.assert_close(FewRowsLinear(first, second)(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("width", "copied"), [(NARROW_INPUT, True), (NARROW_INPUT + 1, False)])
def test_only_narrow_weights_are_copied(width: int, copied: bool) -> None:
    linear = nn.Linear(width, 3)
    x = torch.randn(2, width)
    fast, before = FewRowsLinear(linear), linear(x)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
    assert torch.equal(fast(x), torch.zeros(2, 3)) != copied
    if copied:
        torch.testing.assert_close(fast(x), before)
