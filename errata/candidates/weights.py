"""Where the numbers of a component lie among a module's own tensors."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from errata.errors import ErrataError

Tensors = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]

FIRST_MARK = 2.0**20
"""Marks are whole numbers from here on: no weight and no buffer starts with such a number, and float32 holds them."""


class Names(Protocol):
    """A translation between a component's names and a module's own."""

    def read(self, own: Tensors) -> dict[str, Tensor]:
        """The tensors by the component's names; those that the component does not know keep their own."""
        ...

    def write(self, own: Tensors, state: Tensors) -> None:
        """Copy ``state``, by the component's names, into the module's ``own`` tensors.

        Raises:
            KeyError: when a name is unknown.
            ValueError: when a shape differs.
        """
        ...


@dataclass(frozen=True)
class Prefixes:
    """The same tensors under other names.

    Attributes:
        prefixes: the component's names, as dotted prefixes, to the module's own.
    """

    prefixes: Mapping[str, str]

    def read(self, own: Tensors) -> dict[str, Tensor]:
        """See `Names.read`."""
        return {self._component_name(name): value for name, value in own.items()}

    def write(self, own: Tensors, state: Tensors) -> None:
        """See `Names.write`."""
        named = self.read(own)
        for name, value in state.items():
            _require_place(name, value, named)
            named[name].copy_(value)

    def _component_name(self, own: str) -> str:
        for component_name, prefix in self.prefixes.items():
            if own == prefix or own.startswith(prefix + "."):
                return component_name + own[len(prefix) :]
        return own


@dataclass(frozen=True)
class Places:
    """The same numbers in tensors of other shapes: transposed, packed, or one matrix a head.

    Attributes:
        owners: the module's own tensors that hold numbers of the component, in the order in which ``index`` counts.
        index: for each of the component's tensors the place of every number in the owners, laid end to end.
    """

    owners: tuple[str, ...]
    index: Mapping[str, Tensor]

    def read(self, own: Tensors) -> dict[str, Tensor]:
        """See `Names.read`. Where an owner is missing, what it holds is missing too."""
        others = {name: value for name, value in own.items() if name not in self.owners}
        if not all(name in own for name in self.owners):
            return others
        flat = torch.cat([own[name].flatten() for name in self.owners])
        return {name: flat[index] for name, index in self.index.items()} | others

    def write(self, own: Tensors, state: Tensors) -> None:
        """See `Names.write`."""
        flat = torch.cat([own[name].flatten() for name in self.owners])
        others = Prefixes({})
        for name, value in state.items():
            if name in self.index:
                _require_place(name, value, self.index)
                flat[self.index[name]] = value.to(flat.dtype)
            else:
                others.write({key: tensor for key, tensor in own.items() if key not in self.owners}, {name: value})
        start = 0
        for name in self.owners:
            size = own[name].numel()
            own[name].copy_(flat[start : start + size].reshape(own[name].shape))
            start += size


def find(module: nn.Module, shapes: Shapes, set_weights: Callable[[Any, Tensors], Any]) -> Places:
    """Watch where ``set_weights`` puts which number, on a copy of the module.

    Args:
        module: any instance.
        shapes: of the component's tensors. Biases that are put nowhere are taken for absent.
        set_weights: copies the component's tensors, by name, into a module.

    Raises:
        ErrataError: when it copies only some numbers of a tensor, or leaves a parameter of the module as it was.
    """
    twin = deepcopy(module).double()
    marks = _marks(shapes)
    with torch.no_grad():
        set_weights(twin, {name: mark.clone() for name, mark in marks.items()})
    own = _distinct(twin.state_dict())
    last = FIRST_MARK + sum(mark.numel() for mark in marks.values())
    owners = tuple(name for name, value in own.items() if bool(((value >= FIRST_MARK) & (value < last)).any()))
    left = {name for name, value in own.items() if name not in owners}
    forgotten = [name for name, value in twin.named_parameters() if value.requires_grad and name in left]
    if forgotten:
        raise ErrataError(
            f"set_weights was given {', '.join(shapes)} and left {', '.join(forgotten)} of the module as it was: "
            "copy into every parameter"
        )
    flat = torch.cat([own[name].flatten() for name in owners])
    places = {int(number): place for place, number in reversed(list(enumerate(flat.tolist())))}
    index = {}
    for name, mark in marks.items():
        found = [places.get(int(number), -1) for number in mark.flatten().tolist()]
        if min(found) >= 0:
            index[name] = torch.tensor(found).reshape(mark.shape)
        elif max(found) >= 0 or not name.endswith("bias"):
            missing = sum(place < 0 for place in found)
            raise ErrataError(
                f"set_weights was given {name} of shape {tuple(mark.shape)}, and {missing} of its {mark.numel()} "
                "numbers are nowhere in the module afterwards: copy them as they are"
            )
    return Places(owners, index)


def _marks(shapes: Shapes) -> dict[str, Tensor]:
    """For each of the component's tensors, numbers that occur nowhere else."""
    sizes = [torch.Size(shape).numel() for shape in shapes.values()]
    numbers = FIRST_MARK + torch.arange(sum(sizes), dtype=torch.float64)
    return {name: part.reshape(shapes[name]) for name, part in zip(shapes, numbers.split(sizes), strict=True)}


def _distinct(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors, those of one memory once."""
    by_place = {value.data_ptr(): name for name, value in reversed(list(tensors.items()))}
    return {name: value.detach() for name, value in tensors.items() if by_place[value.data_ptr()] == name}


def _require_place(name: str, value: Tensor, places: Tensors) -> None:
    if name not in places:
        raise KeyError(f"no parameter or buffer {name!r}; there are: {', '.join(places)}")
    if places[name].shape != value.shape:
        raise ValueError(f"{name} has shape {tuple(places[name].shape)}, not {tuple(value.shape)}")
