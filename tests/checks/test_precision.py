"""Lower precision: how a candidate is put under autocast, and what counts as near."""

import math

import pytest
import torch

from errata.candidates import LocalCandidate, Program, Source
from errata.checks import precision

IMPORTS = """
import torch
from torch import nn
"""


def candidate(body: str) -> LocalCandidate:
    adapter = f"def build():\n    return nn.Linear(2, 2)\n\ndef call(layer, x):\n    return {body}\n"
    return LocalCandidate(Program("a map", (Source.whole(IMPORTS, "map"),), adapter))


@pytest.mark.parametrize("dtype", precision.LOWER)
def test_a_call_runs_under_autocast_and_leaves_none_behind(dtype: str) -> None:
    instance = candidate("layer(x)").build({}, dtype="float32")
    x = torch.ones(3, 2)
    lowered = instance.call({"x": x}, autocast=dtype, cotangent=torch.ones(3, 2, dtype=getattr(torch, dtype)))
    assert lowered.output.dtype == getattr(torch, dtype)
    assert lowered.gradients["x"].dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")
    assert instance.call({"x": x}).output.dtype == torch.float32


@pytest.mark.parametrize("dtype", precision.LOWER)
def test_rounding_is_near_and_a_quarter_is_not(dtype: str) -> None:
    expected = torch.tensor([1.0, 1 / 3])
    for type_ in (getattr(torch, dtype), torch.float32):
        assert precision.near(expected.to(type_), expected, dtype).deviation <= 1
    far = precision.near(expected * 1.25, expected, dtype)
    assert far.deviation > precision.ROUNDINGS
    assert precision.near(expected.double(), expected, dtype).deviation == math.inf


def test_a_result_written_into_a_tensor_of_another_type_is_seen() -> None:
    x = {"x": torch.ones(3, 2)}
    written = "torch.zeros(3, 2).index_put((torch.arange(3),), layer(x))"
    right, wrong = (candidate(body).build({}, dtype="float32") for body in ("layer(x)", written))
    assert precision.under_autocast(right, x, "bfloat16").deviation <= precision.ROUNDINGS
    with pytest.raises(Exception, match="dtypes match"):
        precision.under_autocast(wrong, x, "bfloat16")


@pytest.mark.parametrize(("width", "size"), precision.OVERFLOWING.items())
def test_products_overflow_before_the_scale_and_not_after(width: int, size: float) -> None:
    largest = torch.finfo(torch.float16).max
    assert math.sqrt(width) * size**2 < largest < width * size**2
