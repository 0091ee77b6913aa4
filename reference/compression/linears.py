"""The linear maps of a model, which hold nearly all of its weights: those that may be changed, and smaller ones."""

from collections import Counter

from jaxtyping import Float
from torch import Tensor, nn


def untied_linears(module: nn.Module) -> list[nn.Linear]:
    """Find every `nn.Linear` whose weight is its own, in the order of `module.modules()`.

    A weight that two modules share, as the embedding and a tied output projection do, is left out: a mask or another
    number format would hold for one of the two only. `ValueError` if nothing remains.
    """
    parts = list(module.modules())
    owners = Counter(id(parameter) for part in parts for parameter in part.parameters(recurse=False))
    linears = [part for part in parts if isinstance(part, nn.Linear) and owners[id(part.weight)] <= 1]
    if not linears:
        raise ValueError(f"{type(module).__name__} has no nn.Linear with a weight of its own")
    return linears


def linear_of(weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None) -> nn.Linear:
    """Make the map `x W^T + b` with copies of these parameters."""
    outputs, inputs = weight.shape
    linear = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")  # no storage: the parameters follow
    linear.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone())
    return linear
