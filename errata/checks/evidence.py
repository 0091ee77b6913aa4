"""What a check measured.

Every check ends in one comparison, and says how far apart the two sides are in units of rounding noise. The engine
holds that against the tolerance; the check itself passes no judgement.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from errata.candidates import Argument, CandidateError, Reply

PRINTED_DIGITS = 4


@dataclass(frozen=True)
class Evidence:
    """One comparison.

    Attributes:
        deviation: distance in units of rounding noise; 0 is perfect, infinity a plain contradiction.
        expected: what the statement demands, as JSON.
        actual: what the candidate did, as JSON.
        raised: the exception's class name, where the candidate raised one.
        place: where it was raised, as ``file:line``.
        noise: one unit of rounding noise, where two numbers were compared.
    """

    deviation: float
    expected: Any
    actual: Any
    raised: str | None = None
    place: str | None = None
    noise: float | None = None


def equal(actual: Tensor, expected: Tensor, *, scale: float = 1.0) -> Evidence:
    """The two tensors are equal up to rounding.

    Args:
        actual: the candidate's.
        expected: the oracle's, of the same shape.
        scale: magnitude of the largest intermediate result, where it exceeds that of ``expected``.
    """
    if actual.shape != expected.shape:
        return Evidence(math.inf, f"shape {_shape(expected)}", f"shape {_shape(actual)}")
    wanted = expected.to(actual.dtype) if actual.is_floating_point() else expected
    if not actual.is_floating_point():
        return Evidence(0.0 if torch.equal(actual, wanted) else math.inf, printed(wanted), printed(actual))
    same = (actual == wanted) | (actual.isnan() & wanted.isnan())  # equal infinities have no difference
    gap = (actual - wanted).abs().masked_fill(same, 0.0)
    finite = wanted.abs()[wanted.isfinite()]
    unit = torch.finfo(actual.dtype).eps * max(scale, finite.max().item() if finite.numel() else 0.0)
    largest = gap.max().item() if gap.numel() else 0.0
    deviation = math.inf if math.isnan(largest) else largest / unit
    return Evidence(deviation, printed(wanted), printed(actual), noise=unit)


def different(first: Tensor, second: Tensor, *, expected: str, by: float = 1e-6) -> Evidence:
    """The two tensors of one shape differ somewhere, by more than ``by``."""
    gap = (first.double() - second.double()).abs().max().item() if first.numel() else 0.0
    return holds(math.isnan(gap) or gap > by, expected=expected, actual=f"they are equal: {printed(first)}")


def finite(actual: Tensor) -> Evidence:
    """No entry is NaN or infinite."""
    return holds(bool(actual.isfinite().all()), expected="finite numbers", actual=printed(actual))


def all_finite(tensors: Iterable[Tensor]) -> Evidence:
    """No entry of any of them is NaN or infinite."""
    return finite(torch.cat([torch.zeros(0), *(tensor.flatten() for tensor in tensors)]))


def holds(condition: bool, *, expected: Any, actual: Any) -> Evidence:
    """A plain yes or no; ``expected`` and ``actual`` say what was looked at."""
    return Evidence(0.0 if condition else math.inf, expected, actual)


def refuses(action: Callable[[], Any], *, expected: str) -> Evidence:
    """The candidate raises instead of answering."""
    try:
        reply = action()
    except CandidateError as error:
        return holds(True, expected=expected, actual=str(error))
    shown = f"an answer of shape {_shape(reply.output)}" if hasattr(reply, "output") else "no complaint"
    return holds(False, expected=expected, actual=shown)


def equal_or_refused(action: Callable[[], Reply], expected: Tensor) -> Evidence:
    """The candidate either raises, or answers with the tensor expected: what it must not do is answer otherwise."""
    try:
        reply = action()
    except CandidateError as error:
        return holds(True, expected=printed(expected), actual=str(error))
    return equal(reply.output, expected)


def unchanged(passed: Mapping[str, Argument], reply: Reply) -> Evidence:
    """The arguments are after the call what they were before."""
    for name, after in reply.arguments.items():
        before = passed[name]
        if isinstance(before, Tensor) and not torch.equal(before, after):
            return holds(False, expected=f"{name} = {printed(before)}", actual=f"{name} = {printed(after)}")
    return holds(True, expected="the arguments as they were", actual="the arguments as they were")


def raised(error: CandidateError) -> Evidence:
    """The candidate raised where it should have answered."""
    return Evidence(math.inf, "an answer", f"{error.kind}: {error.message}", error.kind, error.place)


def printed(tensor: Tensor) -> Any:
    """A tensor as nested lists, rounded for people; special values as text, so that it is strict JSON."""
    return _rounded(tensor.tolist())


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return str(value)
    rounded = float(f"{value:.{PRINTED_DIGITS}g}")
    # Rounding noise differs between machines; what it stands for is zero.
    return 0.0 if abs(rounded) < 1e-12 else rounded


def _shape(tensor: Tensor) -> str:
    return "(" + ", ".join(map(str, tensor.shape)) + ")"
