"""Training on several processes, by PyTorch's own engines. Q15.

What "parallel" means for a Transformer: all positions of a sequence at once within a layer, and several processes
that each train on a part of the batch. `torchrun` starts them; `reference.scaling.example` is all of it in one file.

Let process 0 alone write checkpoints. `full_weights` gives it what a single process can load. The whole run of a
`replicated` model can be saved, too, but with the random generators of process 0 only: seed the others anew.
"""

from reference.scaling.data_parallel import full_weights, fully_sharded, replicated
from reference.scaling.process_group import Process, process_group
from reference.scaling.sharding import shard

__all__ = ["Process", "full_weights", "fully_sharded", "process_group", "replicated", "shard"]
