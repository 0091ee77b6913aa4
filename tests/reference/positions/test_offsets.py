import pytest

from reference.positions import key_offsets


def test_offset_of_every_pair() -> None:
    assert key_offsets(3, 3).tolist() == [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]]


@pytest.mark.parametrize("targets", range(5))
def test_queries_are_the_last_of_the_keys(targets: int) -> None:
    assert key_offsets(targets, 4).tolist() == key_offsets(4, 4)[4 - targets :].tolist()


def test_more_queries_than_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="queries among the keys, got 3 queries, 2 keys"):
        key_offsets(3, 2)
