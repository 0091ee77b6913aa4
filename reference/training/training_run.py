"""A training run: everything that changes while a model is trained, so that it can be saved and resumed."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from reference.training.checkpoint import load_checkpoint, save_checkpoint
from reference.training.early_stopping import EarlyStopping

RunState: TypeAlias = dict[str, Any]
UpdateRecord: TypeAlias = dict[str, float | int]


@dataclass
class TrainingRun:
    """What is trained, by what, and how far it has come: `batch` batches of epoch `epoch` are done.

    To resume, build the same run again, call `resume`, and go on with `fit`: it gives bit for bit what an
    uninterrupted run gives, on the same machine with the same number of threads.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler | None = None
    early_stopping: EarlyStopping | None = None
    epoch: int = 0
    batch: int = 0
    history: list[UpdateRecord] = field(default_factory=list)

    def save(self, path: str | Path) -> None:
        """Write a checkpoint, atomically."""
        save_checkpoint(path, self.state_dict())

    def resume(self, path: str | Path) -> None:
        """Go back to a checkpoint; `ValueError` that names the file if it is damaged or of another kind of run."""
        state = load_checkpoint(path)
        try:
            self.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{path} does not fit this run: {error}") from error

    def state_dict(self) -> RunState:
        """Everything, also the states of the random generators."""
        return {
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
            "types": {name: type(part).__name__ for name, part in self._parts().items()},
            "progress": {"epoch": self.epoch, "batch": self.batch, "history": self.history},
            "random": random_state(),
        }

    def load_state_dict(self, state: Any) -> None:
        """The inverse of `state_dict`. `ValueError` for the state of another kind of run, before anything changes."""
        _require_same_run(self, state)
        for name, part in self._parts().items():
            part.load_state_dict(state["parts"][name])
        progress = state["progress"]
        self.epoch, self.batch, self.history = progress["epoch"], progress["batch"], progress["history"]
        set_random_state(state["random"])

    def _parts(self) -> dict[str, Any]:
        parts = {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "early_stopping": self.early_stopping,
        }
        return {name: part for name, part in parts.items() if part is not None}


def random_state() -> RunState:
    """The states of Python's generator and of torch's on the CPU and on each GPU."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "cpu": torch.get_rng_state(), "gpus": gpus}


def set_random_state(state: RunState) -> None:
    """Put the generators back; the states of GPUs that are not here are left out."""
    random.setstate(state["python"])
    torch.set_rng_state(state["cpu"])
    for device, gpu in zip(range(torch.cuda.device_count()), state["gpus"], strict=False):
        torch.cuda.set_rng_state(gpu, device)


def _require_same_run(run: TrainingRun, state: Any) -> None:
    """Compare all that can be compared, because torch would copy half a model before it finds a wrong shape."""
    if not (isinstance(state, dict) and state.keys() == {"parts", "types", "progress", "random"}):
        raise ValueError("it holds no training run")
    wanted = run.state_dict()
    _require_same("its parts are", state["types"], wanted["types"])
    _require_same("the model's tensors are", _described(state), _described(wanted))
    _require_same("the sizes of the optimizer's parameter groups are", _group_sizes(state), _group_sizes(wanted))


def _require_same(what: str, found: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):  # show what differs, not all of a large model
        names = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
        found, wanted = ({name: side.get(name) for name in names} for side in (found, wanted))
    if found != wanted:
        raise ValueError(f"{what} {found}, wanted {wanted}")


def _described(state: RunState) -> dict[str, str]:
    def described(value: Any) -> str:
        return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__

    return {name: described(value) for name, value in state["parts"]["model"].items()}


def _group_sizes(state: RunState) -> list[int]:
    return [len(group["params"]) for group in state["parts"]["optimizer"]["param_groups"]]
