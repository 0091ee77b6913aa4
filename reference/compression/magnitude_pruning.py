"""Weight pruning by magnitude (Han et al. 2015, section 3), through `torch.nn.utils.prune`.

A pruned weight is 0 and still stored: the model gets sparse, neither smaller nor faster on dense kernels. What shrinks
it is to remove whole heads (`remove_heads`) or neurons (`remove_dead_neurons`).
"""

from torch import nn
from torch.nn.utils import prune

from reference.compression.linears import untied_linears
from reference.validation import Number, require_probability


def prune_weights(module: nn.Module, share: Number, *, globally: bool = True) -> None:
    """Mask the `share` of the weights that are smallest in absolute value, in every untied linear map of `module`.

    `globally` ranks all weights together, so that one threshold holds everywhere; otherwise every map loses the same
    share. The masks stay while the model is trained on: the pruned weights remain 0, and the others adapt. A second
    call prunes a share of those that are left. `ValueError` for a share outside [0, 1].
    """
    require_probability(share=share)
    linears = untied_linears(module)
    amount = float(share)  # torch takes an int for a number of weights
    if globally:
        weights = [(linear, "weight") for linear in linears]
        prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=amount)
    else:
        for linear in linears:
            prune.l1_unstructured(linear, "weight", amount)


def make_permanent(module: nn.Module) -> None:
    """Write the zeros into the weights and drop the masks; training on would now revive them."""
    for linear in untied_linears(module):
        if prune.is_pruned(linear):
            prune.remove(linear, "weight")


def sparsity(module: nn.Module) -> float:
    """Return the share of zeros among the weights that `prune_weights` may prune."""
    weights = [linear.weight for linear in untied_linears(module)]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / sum(weight.numel() for weight in weights)
