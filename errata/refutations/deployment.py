"""Export, pruning and quantisation, measured in warnings, stored numbers, operations and bytes."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from errata.refutations.measure import flops, largest_difference, normal, rounded, seeded
from errata.refutations.registry import Shown, refutation
from reference import FeedForward


def _script(module: nn.Module) -> object:
    script: Callable[[nn.Module], object] = torch.jit.script
    return script(module)


@refutation
def torchscript_is_deprecated(export: Callable[[nn.Module], object] = _script) -> Shown:
    """Export a linear map through TorchScript and listen to what torch says about it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        export(nn.Linear(2, 2))
    words = [str(warning.message) for warning in said if issubclass(warning.category, DeprecationWarning)]
    return Shown(
        refuted=bool(words),
        numbers={"torch": torch.__version__.split("+")[0], "its first warning": words[0] if words else "none"},
    )


def _network() -> FeedForward:
    network: FeedForward = seeded(lambda: FeedForward(16, 64))
    return network


def _zero_half(network: FeedForward) -> FeedForward:
    for linear in (network.inner, network.outer):
        prune.l1_unstructured(linear, "weight", amount=0.5)
        prune.remove(linear, "weight")
    return network


@refutation
def zeroed_weights_cost_as_much(reduce: Callable[[FeedForward], FeedForward] = _zero_half) -> Shown:
    """Set the smaller half of the weights to 0 and count stored numbers and operations before and after."""
    x = torch.zeros(4, 16)

    def cost(network: FeedForward) -> tuple[int, int]:
        return sum(p.numel() for p in network.parameters()), flops(lambda: network(x))

    before, reduced = cost(_network()), reduce(_network())
    after = cost(reduced)
    weights = torch.cat([reduced.inner.weight.flatten(), reduced.outer.weight.flatten()])
    return Shown(
        refuted=after == before,
        numbers={
            "share of weights that are 0 afterwards": rounded((weights == 0).double().mean()),
            "stored numbers before": before[0],
            "stored numbers after": after[0],
            "operations before": before[1],
            "operations after": after[1],
        },
    )


def _threshold(weight: Tensor) -> Tensor:
    limit = weight.abs().flatten().kthvalue(round(0.9 * weight.numel())).values
    return weight.where(weight.abs() > limit, 0.0)


@refutation
def sparsity_is_what_weight_pruning_leaves(sparsify: Callable[[Tensor], Tensor] = _threshold) -> Shown:
    """Prune the smallest 90 % of the weights, set the smallest 90 % of them to 0, and compare the two results."""
    linear = nn.Linear(20, 20)
    linear.weight = nn.Parameter(normal(20, 20))
    prune.l1_unstructured(linear, "weight", amount=0.9)
    pruned = linear.weight.detach()
    difference = largest_difference(pruned, sparsify(normal(20, 20)))
    return Shown(
        refuted=difference == 0,
        numbers={
            "difference between pruned and sparsified weights": rounded(difference),
            "sparsity after weight pruning": rounded((pruned == 0).double().mean()),
        },
    )


def _keep(weight: Tensor) -> Tensor:
    return weight


def to_int8(weight: Tensor) -> Tensor:
    """The nearest of 255 equally spaced levels, as an integer."""
    return (weight / weight.abs().max() * 127).round().to(torch.int8)


def _distinct(values: Tensor) -> int:
    return len(set(values.tolist()))


@refutation
def keeping_the_numbers_compresses_nothing(quantise: Callable[[Tensor], Tensor] = _keep) -> Shown:
    """Keep 1000 float32 weights as they are, as stated, and count bytes and distinct values; and again as int8."""
    weight = normal(1000).float()
    kept, integers = quantise(weight), to_int8(weight)
    return Shown(
        refuted=kept.nbytes == weight.nbytes and _distinct(kept) == _distinct(weight),
        numbers={
            "bytes of the weights": weight.nbytes,
            "bytes when they are kept as they are": kept.nbytes,
            "bytes as 8-bit integers": integers.nbytes,
            "distinct values kept as they are": _distinct(kept),
            "distinct values as 8-bit integers": _distinct(integers),
        },
    )
