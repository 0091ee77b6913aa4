import pytest

from reference.scaling.sharding import shard


@pytest.mark.parametrize("examples", [0, 1, 4, 7])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_each_example_goes_to_one_process(examples: int, size: int) -> None:
    batch = [f"example {number}" for number in range(examples)]
    shards = [shard(batch, rank, size) for rank in range(size)]
    assert sorted(example for part in shards for example in part) == sorted(batch)
    lengths = [len(part) for part in shards]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(
    ("rank", "size", "message"),
    [
        (0, 0, "size must be at least 1, got 0"),
        (2, 2, "rank must be at least 0 and below size 2, got 2"),
        (-1, 2, "rank must be at least 0 and below size 2, got -1"),
    ],
)
def test_bad_arguments(rank: int, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shard([1, 2, 3], rank, size)
