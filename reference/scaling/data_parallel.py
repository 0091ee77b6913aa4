"""One model on several processes, each with a part of every batch (PyTorch's DDP and FSDP2).

Both average the gradients over the processes after each backward pass, also within an accumulation. Given
`sum_over_processes`, `reference.training.fit` turns that into the gradient of the mean over all tokens of all of them.
"""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from reference.scaling.process_group import Process


def replicated(model: nn.Module, process: Process) -> DistributedDataParallel:
    """Keep a whole copy of the model in each process (Li et al. 2020); all start from the weights of process 0."""
    return DistributedDataParallel(model.to(process.device))


def fully_sharded(model: nn.Module, process: Process, blocks: Iterable[nn.Module]) -> nn.Module:
    """Keep a slice of each parameter, its gradient and its moments in each process (Zhao et al. 2023; ZeRO stage 3).

    The parameters of one of the `blocks`, such as the layers, are gathered when it runs and freed thereafter; what is
    in none of them belongs to one last block. Changes `model` itself, which must have the same weights in all
    processes: build it from one seed. Build the optimizer afterwards, over the slices.
    """
    mesh = init_device_mesh(process.device.type, (process.size,))
    model.to(process.device)
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def full_weights(model: nn.Module) -> dict[str, Any]:
    """Gather the weights of a `replicated` or `fully_sharded` model, under the names that they have without it.

    All processes must call this; process 0 gets them, on the CPU, for `save_checkpoint`, and the others get nothing.
    """
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
