"""Affine quantisation, `r = S (q - Z)` (Jacob et al. 2018, section 2.1, equation 1), in the open.

The layers of a model are quantised by a library, see `quantise_dynamically`; this is the arithmetic that it does.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from reference.validation import require_at_least


@dataclass(frozen=True)
class AffineQuantiser:
    """Integers q within `lowest..highest` stand for the reals `S (q - Z)`.

    Attributes:
        scale: S, the distance of two neighbours; it broadcasts to the values, and so does `zero_point`.
        zero_point: Z, the integer that stands for 0, which is therefore exact: padding and ReLUs produce it often.
        lowest: the least integer.
        highest: the greatest.
    """

    scale: Float[Tensor, "..."]
    zero_point: Int8[Tensor, "..."]
    lowest: int
    highest: int

    @classmethod
    def covering(
        cls, values: Float[Tensor, "..."], *, bits: int = 8, symmetric: bool = False, axis: int | None = None
    ) -> "AffineQuantiser":
        """Spread the integers of `bits` bits over the range of `values`, widened to contain 0.

        `symmetric` puts Z at 0 and leaves the lowest integer unused (section 3.1), as is usual for weights; otherwise
        the range is `min..max`, as for activations. With an `axis`, each index along it has a scale of its own: axis
        0 of a weight is the output channel. Constant 0 gets the scale 1. `ValueError` for values that are none or not
        finite, and for bits outside 2..8.
        """
        require_at_least(2, bits=bits)
        if bits > 8:
            raise ValueError(f"bits must be at most 8, got {bits}")
        if values.numel() == 0 or not values.isfinite().all():
            raise ValueError(f"values must be finite and at least one, got shape {tuple(values.shape)}")
        reduced = [dim for dim in range(values.ndim) if axis is None or dim != axis % values.ndim]
        least = values.amin(reduced, keepdim=True).clamp(max=0)
        greatest = values.amax(reduced, keepdim=True).clamp(min=0)
        highest = 2 ** (bits - 1) - 1
        lowest = -highest if symmetric else -highest - 1
        if symmetric:
            greatest = torch.maximum(greatest, -least)
            least = -greatest
        scale = (greatest - least) / (highest - lowest)
        scale = scale.where(scale > 0, 1.0)
        zero_point = torch.zeros_like(scale) if symmetric else lowest - (least / scale).round()
        return cls(scale, zero_point.to(torch.int8), lowest, highest)

    def quantise(self, values: Float[Tensor, "..."]) -> Int8[Tensor, "..."]:
        """Round to the nearest integer; values beyond the range saturate. The error within it is at most S / 2."""
        return ((values / self.scale).round() + self.zero_point).clamp(self.lowest, self.highest).to(torch.int8)

    def dequantise(self, integers: Int8[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return `S (q - Z)`, in the dtype of the scale."""
        return self.scale * (integers.to(self.scale.dtype) - self.zero_point)
