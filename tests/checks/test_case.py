import json
from dataclasses import dataclass, replace

import pytest
import torch

from errata.checks.case import Case


@dataclass(frozen=True, kw_only=True)
class SizedCase(Case):
    length: int = 1
    masked: bool = False


def test_contents_follow_from_name_and_seed_alone() -> None:
    first, again, other = SizedCase(seed=1), SizedCase(seed=1, length=3), SizedCase(seed=2)
    torch.manual_seed(5)
    x = first.normal("x", 4)
    assert torch.equal(x, again.normal("x", 4))
    assert not torch.equal(x, other.normal("x", 4))
    assert not torch.equal(x, first.normal("y", 4))


def test_types_scale_and_ranges() -> None:
    case = SizedCase(scale=100.0, dtype="float32")
    assert case.normal("x", 2).dtype == torch.float32
    assert torch.equal(
        case.normal("x", 2).double(), (100 * replace(case, scale=1.0, dtype="float64").normal("x", 2)).float().double()
    )
    assert set(case.integers("ids", 2, 5, 100).tolist()) == {2, 3, 4}
    assert case.booleans("mask", 3).dtype == torch.bool


def test_values_replace_the_drawn_contents() -> None:
    case = SizedCase(values={"x": [[1.0, 2.0]]})
    assert torch.equal(case.normal("x", 1, 2), torch.tensor([[1.0, 2.0]], dtype=torch.float64))


def test_a_case_survives_json() -> None:
    case = SizedCase(length=3, scale=0.1, values={"x": [1.0]}, masked=True)
    assert SizedCase.from_json(json.loads(json.dumps(case.to_json()))) == case


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"width": 3}, "no field 'width'; it has seed, scale, dtype, values, length, masked"),
        ({"length": "3"}, "int is wanted"),
    ],
)
def test_a_record_of_another_shape_is_refused(record, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SizedCase.from_json(record)
