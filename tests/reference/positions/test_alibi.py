import pytest
import torch
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from reference import MultiHeadAttention, causal_mask, masked_softmax
from reference.positions import AlibiBias, alibi_slopes


def bias_of(heads: int, targets: int, sources: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    queries, keys = torch.zeros(1, heads, targets, 1, dtype=dtype), torch.zeros(1, heads, sources, 1, dtype=dtype)
    bias = AlibiBias(heads)(queries, keys)[2]
    assert bias.dtype == dtype
    return bias[0]


def slopes_of_the_authors(heads: int) -> list[float]:
    """The rule of the published code, for a power of two and otherwise, from what it does."""
    if heads & (heads - 1) == 0:
        return [2 ** (-8 * h / heads) for h in range(1, heads + 1)]
    smaller = 1 << (heads.bit_length() - 1)
    return slopes_of_the_authors(smaller) + slopes_of_the_authors(2 * smaller)[::2][: heads - smaller]


@pytest.mark.parametrize("heads", [*range(1, 18), 24, 40])
def test_slopes_are_those_of_the_authors(heads: int) -> None:
    assert alibi_slopes(heads).tolist() == pytest.approx(slopes_of_the_authors(heads), rel=1e-15)


def test_slopes_of_the_paper() -> None:
    assert alibi_slopes(8).tolist() == [1 / 2**h for h in range(1, 9)]
    assert alibi_slopes(16)[0] == pytest.approx(2**-0.5)


def test_bias_by_hand() -> None:
    distance = [[0, 1, 2], [1, 0, 1], [2, 1, 0]]
    expected = [[[-slope * x for x in row] for row in distance] for slope in (1 / 16, 1 / 256)]
    assert bias_of(2, 3, 3).tolist() == expected
    assert bias_of(2, 1, 3).tolist() == [[row[-1]] for row in expected]


@pytest.mark.parametrize("heads", [1, 3, 8, 12])
def test_equals_bloom_up_to_a_constant_for_each_query(heads: int) -> None:
    length = 9
    theirs = build_alibi_tensor(torch.ones(1, length), heads, torch.float64).expand(heads, length, length)
    difference = bias_of(heads, length, length) - theirs
    visible = causal_mask(length)
    constant = difference.diagonal(dim1=1, dim2=2)[..., None].expand_as(difference)
    torch.testing.assert_close(difference[:, visible], constant[:, visible], rtol=0, atol=1e-6)
    torch.testing.assert_close(
        masked_softmax(bias_of(heads, length, length), visible), masked_softmax(theirs, visible), rtol=0, atol=1e-7
    )


def test_half_precision_rounds_the_product_alone() -> None:
    """`module.half()` leaves the slopes as they are, and distances that bfloat16 cannot hold are multiplied first."""
    for dtype in (torch.float16, torch.bfloat16):
        module = AlibiBias(12).to(dtype)
        x = torch.zeros(1, 12, 600, 1, dtype=dtype)
        exact = bias_of(12, 600, 600)
        bias = module(x, x)[2][0]
        assert bias.dtype == dtype
        torch.testing.assert_close(bias.double(), exact, rtol=0.51 * torch.finfo(dtype).eps, atol=0)


def test_without_a_causal_mask_a_reversed_sequence_is_the_same_to_it() -> None:
    """The extension to encoders has no direction; the mask gives it one."""
    module = MultiHeadAttention(12, 3, position=AlibiBias(3)).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    torch.testing.assert_close(module(*3 * [x.flip(1)]), module(x, x, x).flip(1), rtol=0, atol=1e-12)
    causal = causal_mask(5)
    assert not torch.allclose(module(*3 * [x.flip(1)], causal), module(x, x, x, causal).flip(1))


def test_bad_arguments() -> None:
    for make in (AlibiBias, alibi_slopes):
        with pytest.raises(ValueError, match="heads must be at least 1, got 0"):
            make(0)
