"""Several processes train one small Transformer to copy rows of digits.

    torchrun --standalone --nproc-per-node 2 -m reference.scaling.example [--sharded]

The losses are those of one process, whatever the number of processes, replicated or sharded.
"""

import sys
from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from reference.scaling.data_parallel import fully_sharded, replicated
from reference.scaling.process_group import Process, process_group
from reference.scaling.sharding import shard
from reference.training.batch_order import batch_order
from reference.training.fit import fit
from reference.training.training_run import TrainingRun, UpdateRecord
from reference.transformer import Transformer


def example_model() -> Transformer:
    """The same weights in every process."""
    torch.manual_seed(0)
    return Transformer(10, 10, width=16, heads=2, inner_width=32, layers=2, dropout=0.0, tied=True)


def example_rows(count: int) -> Int[Tensor, "N 6"]:
    """Digits 1 to 9, in rows of 2 to 6, padded with 0: the shards of a batch differ in their number of tokens."""
    digits = torch.randint(1, 10, (count, 6), generator=torch.Generator().manual_seed(0))
    lengths = 2 + torch.arange(count) % 5
    return digits.masked_fill(torch.arange(6) >= lengths[:, None], 0)


def train_example(
    model: nn.Module, process: Process | None, *, examples: int = 60, batch_size: int = 7, epochs: int = 3
) -> list[UpdateRecord]:
    """Train alone, or with the other processes on a shard of each batch; a sixth of the rows is held out."""
    rank, size = (process.rank, process.size) if process else (0, 1)
    rows = example_rows(examples).to(process.device if process else "cpu")
    kept = examples * 5 // 6

    def loss(model: nn.Module, indices: list[int]) -> tuple[Tensor, Tensor]:
        target = rows[indices]
        logits = model(target, F.pad(target[:, :-1], (1, 0), value=9))
        total = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=0, reduction="sum")
        return total, (target != 0).sum()

    def batches(epoch: int) -> Iterator[list[int]]:
        return (shard(batch, rank, size) for batch in batch_order(kept, batch_size, seed=0, epoch=epoch))

    return fit(
        TrainingRun(model, torch.optim.Adam(model.parameters(), lr=0.01)),
        loss,
        batches,
        epochs=epochs,
        max_norm=1.0,
        held_out=[shard(range(kept, examples), rank, size)],
        every=5,
        sum_over_processes=process.sum_over_processes if process else torch.clone,
        progress=rank == 0,
    )


if __name__ == "__main__":
    with process_group() as group:
        whole = example_model()
        layers = [*whole.encoder.layers, *whole.decoder.layers]
        spread = fully_sharded(whole, group, layers) if "--sharded" in sys.argv else replicated(whole, group)
        for record in train_example(spread, group):
            if group.rank == 0:
                print({name: round(value, 4) for name, value in record.items()})
