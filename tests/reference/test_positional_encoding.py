import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import PositionalEncoding, sinusoids, sinusoids_at

quick = settings(max_examples=30, deadline=None, database=None, derandomize=True)


def closed_form(position: int, feature: int, width: int) -> float:
    angle = position / 10000 ** (feature // 2 * 2 / width)
    return math.cos(angle) if feature % 2 else math.sin(angle)


@quick
@given(length=st.integers(0, 12), width=st.integers(1, 9))
def test_closed_form_also_for_odd_widths(length: int, width: int) -> None:
    table = sinusoids(length, width, dtype=torch.float64)
    assert table.shape == (length, width)
    expected = [[closed_form(t, i, width) for i in range(width)] for t in range(length)]
    torch.testing.assert_close(
        table, torch.tensor(expected, dtype=torch.float64).reshape(length, width), rtol=0, atol=1e-14
    )


@quick
@given(positions=st.lists(st.integers(-99, 99), min_size=1, max_size=4), offset=st.integers(-9, 9))
def test_a_shift_is_a_rotation_of_each_pair(positions: list[int], offset: int) -> None:
    """PE(pos + k) is a linear function of PE(pos) that does not depend on pos (section 3.5)."""
    width = 6
    here = sinusoids_at(torch.tensor(positions), width)
    there = sinusoids_at(torch.tensor(positions) + offset, width)
    sine, cosine = here[:, 0::2], here[:, 1::2]
    turn = sinusoids_at(torch.tensor([offset]), width)
    torch.testing.assert_close(there[:, 0::2], sine * turn[:, 1::2] + cosine * turn[:, 0::2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_cast_once_from_float64(dtype: torch.dtype) -> None:
    """In float32 the table would be off by 4e-4 at these positions; in bfloat16 positions above 256 would coincide."""
    assert torch.equal(sinusoids(5000, 8, dtype=dtype), sinusoids(5000, 8, dtype=torch.float64).to(dtype))
    exact = torch.tensor([closed_form(4999, i, 8) for i in range(8)], dtype=torch.float64)
    torch.testing.assert_close(sinusoids(5000, 8, dtype=dtype)[-1].double(), exact, rtol=0, atol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_default_dtype_is_followed(default: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        assert sinusoids(2, 3).dtype == default
        assert PositionalEncoding(3)(torch.randn(1, 2, 3)).dtype == default
    finally:
        torch.set_default_dtype(before)


def test_every_sequence_gets_the_first_rows() -> None:
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(PositionalEncoding(5)(x) - x, sinusoids(4, 5).expand(3, 4, 5))


def test_table_grows_with_the_sequence_and_keeps_its_rows() -> None:
    module = PositionalEncoding(5, length=3)
    assert torch.equal(module(torch.zeros(1, 2, 5))[0], sinusoids(2, 5))
    assert torch.equal(module(torch.zeros(1, 3, 5))[0], sinusoids(3, 5))
    assert module.table.shape[0] == 3  # nothing to grow for
    assert torch.equal(module(torch.zeros(1, 4, 5))[0], sinusoids(4, 5))
    assert module.table.shape[0] == 6  # twofold
    assert torch.equal(module(torch.zeros(1, 50, 5))[0], sinusoids(50, 5))
    assert torch.equal(module(torch.zeros(1, 2, 5))[0], sinusoids(2, 5))


def test_a_later_start_adds_later_rows_and_makes_the_table_grow() -> None:
    module = PositionalEncoding(5, length=3)
    assert torch.equal(module(torch.zeros(1, 2, 5), 1)[0], sinusoids(3, 5)[1:])
    assert module.table.shape[0] == 3
    assert torch.equal(module(torch.zeros(1, 1, 5), 3)[0], sinusoids(4, 5)[3:])
    assert module.table.shape[0] == 6


def test_the_table_may_start_empty() -> None:
    assert torch.equal(PositionalEncoding(5, length=0)(torch.zeros(1, 1, 5))[0], sinusoids(1, 5))


def test_dtype_of_the_input_is_kept_and_fully_exact() -> None:
    module = PositionalEncoding(6)
    for dtype in (torch.float64, torch.float16, torch.float32):
        output = module.to(dtype)(torch.zeros(1, 300, 6, dtype=dtype))
        assert torch.equal(output[0], sinusoids(300, 6, dtype=dtype))


def test_no_state_and_a_copy_works() -> None:
    module = PositionalEncoding(4)
    assert not module.state_dict()
    assert not list(module.parameters())
    assert not list(module.buffers())
    x = torch.randn(1, 3, 4)
    assert torch.equal(copy.deepcopy(module)(x), module(x))


def test_the_table_is_kept_as_long_as_it_fits() -> None:
    module = PositionalEncoding(4)
    table = module.table
    assert table.shape == (512, 4)
    module(torch.zeros(1, 512, 4))
    assert module.table is table
    module(torch.zeros(1, 1, 4, dtype=torch.float64))
    assert module.table.shape == (512, 4)


def test_all_is_done_on_the_device_of_the_input() -> None:
    assert sinusoids_at(torch.empty(3, device="meta"), 4).device.type == "meta"
    module = PositionalEncoding(4)
    assert module(torch.empty(1, 3, 4, device="meta")).device.type == "meta"
    assert module.table.device.type == "meta"


def test_dropout_acts_on_the_sum_in_training_only() -> None:
    module = PositionalEncoding(40, 0.5)
    x = torch.full((1, 20, 40), 9.0)  # the sum is never 0 by itself
    assert 0.3 < (module(x) == 0).double().mean() < 0.7
    assert torch.equal(module.eval()(x), x + sinusoids(20, 40))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sinusoids(-1, 4), "length must be at least 0, got -1"),
        (lambda: sinusoids(3, 0), "width must be at least 1, got 0"),
        (lambda: PositionalEncoding(0), "width must be at least 1, got 0"),
        (lambda: PositionalEncoding(4)(torch.zeros(1, 1, 4), -1), "start must be at least 0, got -1"),
        (lambda: PositionalEncoding(4, 2.0), "dropout must be a probability"),
        (lambda: PositionalEncoding(4)(torch.zeros(1, 3, 1)), r"x must have the shape \(B, T, 4\), got \(1, 3, 1\)"),
    ],
)
def test_bad_arguments(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
