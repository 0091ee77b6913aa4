"""The processes that train together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class Process:
    """This process among those that train together: number `rank` of `size`, computing on `device`."""

    rank: int
    size: int
    device: torch.device

    def sum_over_processes(self, tensor: Tensor) -> Tensor:
        """Add `tensor` up over all processes; each of them must call this, and each gets the sum."""
        total = tensor.to(self.device, copy=True)
        dist.all_reduce(total)
        return total


@contextmanager
def process_group(timeout: timedelta = timedelta(minutes=10)) -> Iterator[Process]:
    """Join the other processes that `torchrun` has started, and leave them however the block ends.

    On GPUs, one a process, they talk through NCCL, elsewhere through Gloo. If one of them fails, `torchrun` stops the
    others; if one hangs, they fail after `timeout`. `RuntimeError` where `torchrun` did not start this process.
    """
    if not dist.is_torchelastic_launched():
        raise RuntimeError("no torchrun started this process: torchrun --standalone --nproc-per-node 2 script.py")
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timeout)
    try:
        yield Process(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
