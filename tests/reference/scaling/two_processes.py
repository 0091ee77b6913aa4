"""What each of the processes of `test_data_parallel` runs: `torchrun --nproc-per-node 2 two_processes.py FOLDER`.

Trains the example replicated and fully sharded, and writes the histories and the weights to the folder; then one
process fails.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from reference import Transformer
from reference.scaling import Process, full_weights, fully_sharded, process_group, replicated
from reference.scaling.example import example_model, train_example
from reference.training.checkpoint import save_checkpoint
from reference.training.training_run import UpdateRecord


def train(model: nn.Module, process: Process | None) -> list[UpdateRecord]:
    """The last batch of each epoch has one row: the other process gets none."""
    return train_example(model, process, examples=18, epochs=2)


def model() -> Transformer:
    return example_model().double()


def local_parts(model: nn.Module) -> list[Tensor]:
    return [p.to_local() if hasattr(p, "to_local") else p for p in model.parameters()]


WAYS: dict[str, Callable[[Transformer, Process], nn.Module]] = {
    "replicated": replicated,
    "sharded": lambda model, process: fully_sharded(model, process, [*model.encoder.layers, *model.decoder.layers]),
}


def main(folder: Path) -> None:
    with process_group() as process:
        for name, spread in WAYS.items():
            trained = spread(model(), process)
            history = train(trained, process)
            held = sum(weight.numel() for weight in local_parts(trained))
            (folder / f"{name}-{process.rank}.json").write_text(json.dumps({"history": history, "held": held}))
            weights = full_weights(trained)
            if process.rank == 0:
                save_checkpoint(folder / f"{name}.safetensors", weights)
            else:
                assert weights == {}
        if process.rank == 1:
            raise ArithmeticError("one process fails, the other waits for it")
        process.sum_over_processes(torch.ones(1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
