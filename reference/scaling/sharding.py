"""Which part of a batch each process trains on."""

from collections.abc import Sequence
from typing import TypeVar

from reference.validation import require_at_least

Example = TypeVar("Example")


def shard(batch: Sequence[Example], rank: int, size: int) -> list[Example]:
    """Every `size`-th example, from number `rank` on: each example goes to exactly one process, whatever is left over.

    Sizes differ by at most one, and a shard may be empty. Divide summed losses by the number of tokens of the whole
    batch, not each by its own: the shards' means do not average to the batch's mean. `ValueError` for a `size` below 1
    or a `rank` outside [0, size).
    """
    require_at_least(1, size=size)
    if not 0 <= rank < size:
        raise ValueError(f"rank must be at least 0 and below size {size}, got {rank}")
    return list(batch[rank::size])
