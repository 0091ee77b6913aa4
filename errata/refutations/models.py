"""Small models and sequences to measure on."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from errata.refutations.measure import normal, seeded
from reference import Transformer

WIDTH = 8
VOCABULARY = 11

SOURCE = torch.tensor([[3, 7, 1, 9, 4]])
TARGET = torch.tensor([[2, 8, 5, 6]])
"""One sentence pair; the id 0 is padding and does not occur."""


def small_transformer(*, layers: int = 2) -> Transformer:
    """A float64 Transformer of width 8 in evaluation mode, the same one at every call."""
    model: Transformer = seeded(
        lambda: Transformer(VOCABULARY, VOCABULARY, width=WIDTH, heads=2, inner_width=16, layers=layers)
    )
    return model.double().eval()


def vectors(positions: int, seed: int = 0) -> Tensor:
    """A sequence of vectors of the model's width, whose influence can be measured."""
    return normal(1, positions, WIDTH, seed=seed).requires_grad_()


@contextmanager
def outputs_of(*modules: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what the modules return, in the order of their calls."""
    seen: list[Tensor] = []
    hooks = [module.register_forward_hook(lambda _module, _inputs, output: seen.append(output)) for module in modules]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
