"""In which order an epoch visits its examples."""

import torch

from reference.validation import require_at_least


def batch_order(examples: int, batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Shuffle the indices of all examples and cut them into batches; the last one keeps the remainder.

    The order follows from `seed` and `epoch` alone, not from how often anybody drew before: whoever resumes in the
    middle of an epoch finds the batches that are left. Another epoch has another order. `ValueError` for sizes below 1.
    """
    require_at_least(1, examples=examples, batch_size=batch_size)
    require_at_least(0, seed=seed, epoch=epoch)
    generator = torch.Generator()
    for number in (seed, epoch):  # seed + epoch alone would let seed 1 repeat what seed 0 does an epoch later
        generator.manual_seed(number + int(torch.randint(2**62, (), generator=generator)))
    order: list[int] = torch.randperm(examples, generator=generator).tolist()
    return [order[start : start + batch_size] for start in range(0, examples, batch_size)]
