"""Lower precision, which a module meets in mixed precision: measures that several components share.

The parameters stay in float32; a case's ``dtype`` is the lower type, that of autocast or of the input. What float32
answers is what is expected, up to the rounding of the lower type.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from errata.candidates import Argument, Instance
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import MICIKEVICIUS, PYTORCH

AUTOCAST = PYTORCH.says("torch.autocast", "When entering an autocast-enabled region, Tensors may be any type.")
ARITHMETIC = MICIKEVICIUS.says(
    "3.3", "still read and write FP16 tensors from memory, performing the arithmetic in FP32"
)

NAN_RAISES = PYTORCH.says(
    "torch.autograd.detect_anomaly", 'any backward computation that generate "nan" value will raise an error.'
)

OVERFLOWING = {4: 150.0, 16: 100.0, 64: 40.0}
"""For a width d of queries and keys, entries a such that d a^2 overflows float16, 65504, and sqrt(d) a^2 does not."""

LOWER = ("bfloat16", "float16")

ROUNDINGS = 16.0
"""Tolerance: a module rounds several times on its way."""

Ask = Callable[[Tensor, str | None], Tensor]
"""What a fresh module in float32 answers to a tensor, under autocast to a type or without."""


def let_the_first_win(key: Tensor, size: float, value: Tensor) -> None:
    """Fill keys ``(B, S, D)`` with ``size`` at the first and its negative at the others, and values with 1 and 0."""
    value.zero_()
    value[:, 0] = 1.0
    key.fill_(-size)  # after the values, which may be the same tensor
    key[:, 0] = size


def near(actual: Tensor, expected: Tensor, dtype: str) -> Evidence:
    """The answer is in the lower type or in float32, and it is ``expected`` up to the rounding of the lower type."""
    lower = getattr(torch, dtype)
    if actual.dtype not in (lower, torch.float32):
        return holds(False, expected=f"{dtype} or float32", actual=str(actual.dtype).removeprefix("torch."))
    return equal(actual.to(lower), expected)


def under_autocast(instance: Instance, arguments: Mapping[str, Argument], dtype: str) -> Evidence:
    """A module in float32 answers to float32 under autocast what it answers without."""
    plain, lowered = (instance.call(arguments, autocast=autocast).output for autocast in (None, dtype))
    return near(lowered, plain, dtype)


def after_a_linear_map(ask: Ask, x: Tensor, dtype: str) -> Evidence:
    """Under autocast, the answer is the same to float32 and to the lower type, which a linear map before it gives."""
    plain = ask(x.float(), None)
    return max((near(ask(given, dtype), plain, dtype) for given in (x.float(), x)), key=lambda seen: seen.deviation)


def to_the_lower_type(ask: Ask, x: Tensor, dtype: str) -> Evidence:
    """Without autocast, the answer to the lower type is that to the same numbers in float32."""
    return near(ask(x, None), ask(x.float(), None), dtype)
