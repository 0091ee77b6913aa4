"""Freezing: parameters that fine-tuning leaves as they are."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


def freeze(model: nn.Module, *prefixes: str) -> None:
    """Stop the training of the parameters under each dotted name, e.g. "encoder.layers.0"; of all, without a name.

    Their gradients go too: an optimizer would still apply one that is left. Dropout and running statistics do not
    stop, see `Frozen`. `ValueError` for a name with no parameter.
    """
    for parameter in _parameters_under(model, prefixes):
        parameter.requires_grad_(False)
        parameter.grad = None


def unfreeze(model: nn.Module, *prefixes: str) -> None:
    """Train the parameters under each dotted name again, or all. `ValueError` for a name with no parameter."""
    for parameter in _parameters_under(model, prefixes):
        parameter.requires_grad_(True)


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """List what an optimizer shall get: what is not frozen, each once, be it tied or not."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def trainable_weights(model: nn.Module) -> dict[str, Tensor]:
    """Collect what is not frozen by name: all that has to be saved beside the pretrained weights.

    `load_weights(model, ..., strict=False)` puts it back.
    """
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


class Frozen(nn.Module):
    """A module that no longer changes: its parameters are frozen, and it stays in evaluation mode.

    Whatever `train()` says, it drops nothing and its running statistics stand still. Gradients flow through it. The
    names of its weights begin with "module.". To train it after all, take `module` out and `unfreeze` it.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        freeze(module)
        self.train()

    def train(self, mode: bool = True) -> "Frozen":
        """Stay in evaluation."""
        return super().train(False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module."""
        return self.module(*args, **kwargs)


def _parameters_under(model: nn.Module, prefixes: tuple[str, ...]) -> Iterator[nn.Parameter]:
    named = dict(model.named_parameters(remove_duplicate=False))  # a tied parameter is found by each of its names
    if not prefixes:
        yield from named.values()
    for prefix in prefixes:
        under = [parameter for name, parameter in named.items() if f"{name}.".startswith(f"{prefix}.")]
        if not under:
            parts = sorted({name.split(".")[0] for name in named})
            raise ValueError(f"no parameter is called {prefix!r} or lies under it; there are: {', '.join(parts)}")
        yield from under
