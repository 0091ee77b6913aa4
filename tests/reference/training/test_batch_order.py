import pytest
import torch

from reference.training.batch_order import batch_order


def flat(order: list[list[int]]) -> list[int]:
    return [index for batch in order for index in batch]


@pytest.mark.parametrize(("examples", "batch_size"), [(1, 1), (7, 3), (6, 3), (2, 5)])
def test_an_epoch_visits_every_example_once(examples: int, batch_size: int) -> None:
    order = batch_order(examples, batch_size, seed=3, epoch=2)
    assert sorted(flat(order)) == list(range(examples))
    assert {len(batch) for batch in order[:-1]} <= {batch_size}
    assert 1 <= len(order[-1]) <= batch_size


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    first = batch_order(50, 4, seed=1, epoch=2)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert batch_order(50, 4, seed=1, epoch=2) == first
    assert torch.equal(torch.get_rng_state(), before)


def test_every_epoch_of_every_seed_has_its_own_order() -> None:
    orders = {tuple(flat(batch_order(50, 4, seed=seed, epoch=epoch))) for seed in range(6) for epoch in range(6)}
    assert len(orders) == 36
    assert tuple(range(50)) not in orders


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": 0}, "examples must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"epoch": -1}, "epoch must be at least 0, got -1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_bad_arguments(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batch_order(**{"examples": 3, "batch_size": 2, "seed": 0, "epoch": 0} | arguments)


def test_the_order_is_the_same_from_release_to_release() -> None:
    """Whoever resumes a run relies on it."""
    assert batch_order(7, 3, seed=1, epoch=2) == [[0, 1, 6], [5, 3, 2], [4]]
