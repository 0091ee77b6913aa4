"""Export, pruning and quantisation, measured in warnings, stored numbers, operations and bytes."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from errata.refutations.measure import flops, largest_difference, normal, rounded, seeded
from errata.refutations.registry import Adversary, Shown, refutation
from reference import FeedForward


def _script(module: nn.Module) -> object:
    script: Callable[[nn.Module], object] = torch.jit.script
    return script(module)


def to_export(module: nn.Module) -> object:
    """The format that torch names as the successor."""
    return torch.export.export(module, (torch.zeros(1, 2),))


def traced(module: nn.Module) -> object:
    """The other way into TorchScript."""
    return torch.jit.trace(module, torch.zeros(1, 2))


@refutation(
    if_true=to_export,
    adversary=Adversary(
        "tracing, the other way into TorchScript, whose warning does not mention torch.jit.script",
        traced,
        refuted=True,
    ),
)
def torchscript_is_deprecated(export: Callable[[nn.Module], object] = _script) -> Shown:
    """Export a linear map and listen whether torch calls the function deprecated and names another."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        export(nn.Linear(2, 2))
    words = [str(warning.message) for warning in said if "is deprecated. Please switch to" in str(warning.message)]
    return Shown(
        refuted=bool(words),
        numbers={
            "torch": torch.__version__.split("+")[0],
            "what it says of the function": words[0] if words else "nothing",
        },
    )


def _network() -> FeedForward:
    network: FeedForward = seeded(lambda: FeedForward(16, 64))
    return network


def _zero_half(network: FeedForward) -> FeedForward:
    for linear in (network.inner, network.outer):
        prune.l1_unstructured(linear, "weight", amount=0.5)
        prune.remove(linear, "weight")
    return network


def narrower(_network: FeedForward) -> FeedForward:
    """A network of half the width, as structured pruning leaves it."""
    network: FeedForward = seeded(lambda: FeedForward(16, 32))
    return network


def _zero_rows(network: FeedForward) -> FeedForward:
    prune.ln_structured(network.inner, "weight", amount=0.5, n=1, dim=0)
    prune.remove(network.inner, "weight")
    prune.ln_structured(network.outer, "weight", amount=0.5, n=1, dim=1)
    prune.remove(network.outer, "weight")
    return network


@refutation(
    if_true=narrower,
    adversary=Adversary(
        "torch's structured pruning, which sets whole rows and columns to 0 and removes none", _zero_rows, refuted=True
    ),
)
def zeroed_weights_cost_as_much(reduce: Callable[[FeedForward], FeedForward] = _zero_half) -> Shown:
    """Set the smaller half of the weights to 0 and count stored numbers and operations before and after.

    The matrices are also stored sparsely (CSR), where each number that is not 0 needs its column beside it.
    """
    x = torch.zeros(4, 16)

    def cost(network: FeedForward) -> tuple[int, int]:
        return sum(p.numel() for p in network.parameters()), flops(lambda: network(x))

    before, reduced = cost(_network()), reduce(_network())
    after = cost(reduced)
    matrices = [reduced.inner.weight.detach(), reduced.outer.weight.detach()]
    weights = torch.cat([matrix.flatten() for matrix in matrices])
    return Shown(
        refuted=after == before,
        numbers={
            "share of weights that are 0 afterwards": rounded((weights == 0).double().mean()),
            "stored numbers before": before[0],
            "stored numbers after": after[0],
            "operations before": before[1],
            "operations after": after[1],
            "bytes of the matrices afterwards": weights.nbytes,
            "bytes of the same in a sparse format": sum(_bytes_as_csr(matrix) for matrix in matrices),
        },
    )


def _bytes_as_csr(matrix: Tensor) -> int:
    """Values, columns and row limits, the last two as 32-bit integers."""
    nonzero = int((matrix != 0).sum())
    return nonzero * (matrix.element_size() + 4) + (len(matrix) + 1) * 4


def _limit(weight: Tensor) -> Tensor:
    return weight.abs().flatten().kthvalue(round(0.9 * weight.numel())).values


def _threshold(weight: Tensor) -> Tensor:
    return weight.where(weight.abs() > _limit(weight), 0.0)


def soft_threshold(weight: Tensor) -> Tensor:
    """What a step of an L1 penalty does: the small weights become 0, and all others smaller."""
    return weight.sign() * (weight.abs() - _limit(weight)).clamp(min=0)


def at_random(weight: Tensor) -> Tensor:
    """As many zeros, in places drawn at random."""
    order = torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(0)).view_as(weight)
    return weight.where(order >= round(0.9 * weight.numel()), 0.0)


@refutation(
    if_true=soft_threshold,
    adversary=Adversary("as many zeros in other places, which have the same sparsity", at_random, refuted=False),
)
def sparsity_is_what_weight_pruning_leaves(sparsify: Callable[[Tensor], Tensor] = _threshold) -> Shown:
    """Prune the smallest 90 % of the weights with torch, set the smallest 90 % of them to 0, and compare the two."""
    linear = nn.Linear(20, 20)
    linear.weight = nn.Parameter(normal(20, 20))
    prune.l1_unstructured(linear, "weight", amount=0.9)
    pruned, sparse = linear.weight.detach(), sparsify(normal(20, 20))
    difference = largest_difference(pruned, sparse)
    return Shown(
        refuted=difference == 0,
        numbers={
            "difference between pruned and sparsified weights": rounded(difference),
            "share of zeros after weight pruning": rounded((pruned == 0).double().mean()),
            "share of zeros after sparsification": rounded((sparse == 0).double().mean()),
        },
    )


def _keep(weight: Tensor) -> Tensor:
    return weight


def to_int8(weight: Tensor) -> Tensor:
    """The nearest of 255 equally spaced levels, as an integer."""
    return (weight / weight.abs().max() * 127).round().to(torch.int8)


def _distinct(values: Tensor) -> int:
    return len(set(values.tolist()))


def onto_levels(weight: Tensor) -> Tensor:
    """The same levels, but stored as floating-point numbers."""
    return to_int8(weight).float()


@refutation(
    if_true=to_int8,
    adversary=Adversary(
        "quantised values that are still stored as 32-bit numbers: no byte is saved, but it is a quantisation",
        onto_levels,
        refuted=False,
    ),
)
def keeping_the_numbers_compresses_nothing(quantise: Callable[[Tensor], Tensor] = _keep) -> Shown:
    """Keep 1000 float32 weights as they are, as stated, and count bytes and distinct values."""
    weight = normal(1000).float()
    kept = quantise(weight)
    return Shown(
        refuted=kept.nbytes == weight.nbytes and _distinct(kept) == _distinct(weight),
        numbers={
            "bytes of the weights before": weight.nbytes,
            "bytes afterwards": kept.nbytes,
            "distinct values before": _distinct(weight),
            "distinct values afterwards": _distinct(kept),
        },
    )
