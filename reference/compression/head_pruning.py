"""Structured pruning of attention: whole heads go (Michel et al. 2019).

One more letter: `xi_h` is the gate of head h in `sum_h xi_h Att_h(x)` (section 2.3), where `Att_h` is the head with its
part of the output projection.
"""

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.compression.linears import linear_of
from reference.compression.magnitude_pruning import make_permanent
from reference.multi_head_attention import MultiHeadAttention
from reference.positions.alibi import AlibiBias
from reference.positions.t5_bias import RelativeBias
from reference.validation import require_at_least


@contextmanager
def gated_heads(attention: MultiHeadAttention, gates: Float[Tensor, "*B H"]) -> Iterator[None]:
    """Multiply the output of each head by its gate, as long as the context lasts.

    `gates` is `(H,)`, or `(B, 1, H)` for one gate per sequence.
    """

    def gate(output: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        heads: Tensor = inputs[0].unflatten(-1, (attention.heads, -1))
        return (heads * gates.unsqueeze(-1)).flatten(-2)

    handle = attention.output.register_forward_pre_hook(gate)
    try:
        yield
    finally:
        handle.remove()


def head_importance(
    attention: MultiHeadAttention, batch: int, losses: Callable[[], Float[Tensor, " B"]]
) -> Float[Tensor, " H"]:
    """Estimate what each head matters to the loss: `I_h = E_x |dL(x) / d xi_h|` (section 4.1, equation 2).

    `losses` runs the model and returns the loss of each of the `batch` sequences; `attention` is part of the model.
    """
    require_at_least(1, batch=batch)
    weight = attention.output.weight
    gates = torch.ones(batch, 1, attention.heads, dtype=weight.dtype, device=weight.device, requires_grad=True)
    with gated_heads(attention, gates):
        (gradient,) = torch.autograd.grad(losses().sum(), gates)
    return gradient.abs().mean(dim=(0, 1))


def remove_heads(attention: MultiHeadAttention, heads: Collection[int]) -> None:
    """Remove these heads: the output is that with their gates at 0, and all four matrices shrink.

    Head h owns rows `h d` to `h d + d - 1` of the three projections and the same columns of the output projection,
    whose bias belongs to no head and stays. The head width d stays too, so fewer heads are narrower together than the
    model. A `position` that has a slope or a bias for each head is replaced by a copy for those kept. An optimizer that
    was made before holds the old parameters. `ValueError` for heads that do not exist, and if none would be left.
    """
    unknown = sorted(set(heads) - set(range(attention.heads)))
    if unknown:
        raise ValueError(f"heads must lie within 0..{attention.heads - 1}, got {unknown}")
    kept = [head for head in range(attention.heads) if head not in heads]
    if not kept:
        raise ValueError(f"heads must leave one of the {attention.heads}: leave out the whole sublayer instead")
    make_permanent(attention)
    rows = torch.arange(attention.output.in_features).view(attention.heads, -1)[kept].flatten()
    for name in ("query", "key", "value"):
        linear = getattr(attention, name)
        setattr(attention, name, linear_of(linear.weight[rows], None if linear.bias is None else linear.bias[rows]))
    attention.output = linear_of(attention.output.weight[:, rows], attention.output.bias)
    attention.heads = len(kept)
    if isinstance(attention.position, AlibiBias | RelativeBias):
        position = attention.position = copy.deepcopy(attention.position)
        if isinstance(position, AlibiBias):
            position.slopes = position.slopes[kept]
        else:
            position.table = nn.Parameter(position.table.detach()[:, kept])
