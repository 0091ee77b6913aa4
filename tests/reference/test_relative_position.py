import pytest
import torch

from reference import relative_sinusoids, sinusoids, sinusoids_at


@pytest.mark.parametrize("width", [1, 4, 7])
def test_each_pair_has_the_encoding_of_its_offset(width: int) -> None:
    table = relative_sinusoids(5, width, dtype=torch.float64)
    for t in range(5):
        for s in range(5):
            assert torch.equal(table[t, s], sinusoids_at(torch.tensor(s - t), width))


def test_table_is_toeplitz_and_its_first_row_is_the_absolute_encoding() -> None:
    table = relative_sinusoids(6, 4)
    assert torch.equal(table[1:, 1:], table[:-1, :-1])
    assert torch.equal(table[0], sinusoids(6, 4))


def test_direction_matters() -> None:
    table = relative_sinusoids(3, 4)
    assert not torch.equal(table[0, 1], table[1, 0])


def test_sizes_and_dtypes() -> None:
    assert relative_sinusoids(0, 4).shape == (0, 0, 4)
    assert relative_sinusoids(1, 3).tolist() == [[[0, 1, 0]]]
    assert relative_sinusoids(2, 3).dtype == torch.float32
    assert relative_sinusoids(2, 3, dtype=torch.float16).dtype == torch.float16
    with pytest.raises(ValueError, match="length must be at least 0, got -2"):
        relative_sinusoids(-2, 4)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        relative_sinusoids(2, 0)
