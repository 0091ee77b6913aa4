"""What all adapters have in common that pass masks."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from errata.checks.adapters.adapter import Adapter, Arguments, Config
from errata.checks.adapters.conventions import MaskConvention, require


@dataclass(frozen=True, kw_only=True)
class Masked(Adapter):
    """What takes one mask or more.

    Attributes:
        mask: how the implementation reads its masks.
    """

    masks: ClassVar[tuple[str, ...]] = ("mask",)
    """Those of the inputs that are masks."""

    mask: MaskConvention = "true-is-attend"

    def __post_init__(self) -> None:
        """As in `Adapter`."""
        require(self.title, "mask", self.mask, MaskConvention)
        super().__post_init__()

    def passed_inputs(self) -> tuple[str, ...]:
        """See `Adapter.passed_inputs`."""
        return tuple(name for name in self.inputs if self.mask != "none" or name not in self.masks)

    def chosen_traits(self) -> frozenset[str]:
        """See `Adapter.chosen_traits`."""
        traits = {"true-is-attend": frozenset[str](), "none": frozenset({"no-mask"})}
        return super().chosen_traits() | traits.get(self.mask, frozenset({"converted-mask"}))

    def convert(self, arguments: Arguments, config: Config) -> Arguments:
        """See `Adapter.convert`."""
        given = {name: arguments[name] for name in self.masks}
        masks = {name: mask for name, mask in given.items() if isinstance(mask, Tensor)}
        converted = {name: with_polarity(self.with_shape(mask, config), self.mask) for name, mask in masks.items()}
        return {**super().convert(arguments, config), **converted}

    def with_shape(self, mask: Tensor, config: Config) -> Tensor:
        """The component's mask in the shape that the implementation takes."""
        return mask


def with_polarity(mask: Tensor, convention: MaskConvention) -> Tensor:
    """A boolean mask, True = may attend, by another convention."""
    if convention == "true-is-attend":
        return mask
    if convention == "true-is-masked":
        return ~mask
    return torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))
