import pytest
import torch

from reference.decoding.bounds import length_limits, require_in_vocabulary

START = torch.tensor([1, 1, 1])


def test_one_length_for_all_or_one_for_each() -> None:
    assert length_limits(4, START).tolist() == [4, 4, 4]
    assert length_limits(torch.tensor([4, 1, 2]), START).tolist() == [4, 1, 2]


@pytest.mark.parametrize("length", [0, torch.tensor([3, 0, 2])])
def test_bad_lengths(length: int | torch.Tensor) -> None:
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        length_limits(length, START)


def test_ids_outside_the_vocabulary() -> None:
    require_in_vocabulary(5, end_id=0, padding_id=4)
    with pytest.raises(ValueError, match=r"padding_id must lie within 0\.\.4, the vocabulary, got 5"):
        require_in_vocabulary(5, end_id=1, padding_id=5)
    with pytest.raises(ValueError, match=r"end_id must lie within 0\.\.4, the vocabulary, got -1"):
        require_in_vocabulary(5, end_id=-1, padding_id=0)


def test_the_limits_are_where_the_ids_are() -> None:
    assert length_limits(3, torch.empty(0, dtype=torch.long, device="meta")).device.type == "meta"
