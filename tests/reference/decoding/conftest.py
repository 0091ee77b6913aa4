"""A table of logits as a language model, and small models."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reference import Transformer

PADDING, END, START = 0, 1, 2


class Table:
    """`logits[b, t, i]` scores step t of sequence b, whose id before is i."""

    def __init__(self, logits: Tensor, beams: int = 1) -> None:
        self.logits = logits.repeat_interleave(beams, dim=0)
        self.asked: list[Tensor] = []

    def __call__(self, ids: Tensor) -> Tensor:
        self.asked.append(ids)
        return self.logits[torch.arange(len(ids)), len(self.asked) - 1, ids]

    def select(self, rows: Tensor) -> None:
        self.logits = self.logits[rows]


@pytest.fixture
def table() -> type[Table]:
    return Table


@pytest.fixture
def small() -> Callable[..., Transformer]:
    def small(**options: object) -> Transformer:
        torch.manual_seed(3)
        sizes = {"width": 12, "heads": 3, "inner_width": 7, "layers": 2}
        return Transformer(11, 13, **(sizes | options)).double().eval()

    return small


@pytest.fixture
def source() -> Tensor:
    """One without padding, one with, and one of padding alone."""
    return torch.tensor([[3, 1, 4, 1, 5], [9, 2, 0, 0, 0], [0, 0, 0, 0, 0]])
