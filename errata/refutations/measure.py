"""What the refutations measure with: seeded inputs, influence by gradient, counted costs, fitted growth."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import grad
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

Built = TypeVar("Built")

NOISE = 1e-12
"""What float64 rounding may leave behind; a smaller number counts as 0."""


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal values in float64, the same ones at every call."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def seeded(build: Callable[[], Built], seed: int = 0) -> Built:
    """What `build` makes when the global generator starts at `seed`; the generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def rounded(value: float | Tensor) -> float:
    """Four significant digits for a reader, and 0 for noise."""
    number = value.item() if isinstance(value, Tensor) else value
    return 0.0 if abs(number) < NOISE else float(f"{number:.4g}")


def largest_difference(first: Tensor, second: Tensor) -> float:
    """The largest absolute difference between two tensors."""
    return float((first - second).detach().abs().max())


def influence(output: Tensor, inputs: Tensor) -> Tensor:
    """How strongly each element of `inputs` moves the sum of `output`, as an absolute gradient; 0 where it does not.

    The sum is weighted at random, so that opposite influences do not cancel.
    """
    weights = normal(*output.shape, seed=1)
    (gradient,) = grad((weights * output).sum(), inputs, retain_graph=True, allow_unused=True)
    return torch.zeros_like(inputs) if gradient is None else gradient.abs()


def flops(run: Callable[[], object]) -> int:
    """Floating-point operations of matrix products and convolutions in `run`.

    The fused attention kernel is not counted: give the step by step twin.
    """
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


class _Record(TorchDispatchMode):
    """Remembers the size of the largest result; one that shares the memory of an argument, such as a view, is none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        taken = {argument.untyped_storage().data_ptr() for argument in args if isinstance(argument, Tensor)}
        if isinstance(result, Tensor) and result.untyped_storage().data_ptr() not in taken:
            self.largest = max(self.largest, result.numel())
        return result


def largest_result(run: Callable[[], object]) -> int:
    """The number of elements of the largest new tensor that an operation of `run` returns."""
    record = _Record()
    with record:
        run()
    return record.largest


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The `p` of `cost ~ size^p` between the last two sizes, where lower powers weigh least."""
    return math.log(costs[-1] / costs[-2]) / math.log(sizes[-1] / sizes[-2])
