"""Linear maps of a few rows: what counts is how fast the weights are read, and that depends on how they lie."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

NARROW_INPUT = 256
FEW_ROWS = 8
MANY_ROWS = 64


class FewRowsLinear:
    """Several `nn.Linear` of one input, side by side, in the form that is fastest for the shape.

    | rows | input | form |
    |---|---|---|
    | up to `FEW_ROWS` | up to `NARROW_INPUT` wide | `x W^T + b`, where `W^T` is a contiguous copy of all |
    | up to `FEW_ROWS` | wider | `nn.functional.linear` |
    | up to `MANY_ROWS` | any | `(W x^T + b)^T`: the weights are the rows of the product |
    | more | any | `nn.functional.linear` |

    Measured on a CPU in float32. The copies pay only where all weights of a step stay in a cache, so wide ones, which
    would also need the most memory, are read where they are. All forms are equal up to rounding.
    """

    def __init__(self, *linears: nn.Linear) -> None:
        """Copy the weights if their input is narrow."""
        self._weights = [(linear.weight, linear.bias) for linear in linears]
        self._input_major: tuple[Tensor, Tensor | None] | None = None
        if linears[0].in_features <= NARROW_INPUT:
            with torch.no_grad():
                bias = None if linears[0].bias is None else torch.cat([linear.bias for linear in linears])
                self._input_major = torch.cat([linear.weight for linear in linears]).t().contiguous(), bias

    def __call__(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N E"]:
        """Map the rows; the results of the maps follow one another."""
        rows = x.shape[0]
        if self._input_major is not None and rows <= FEW_ROWS:
            weight, bias = self._input_major
            return x @ weight if bias is None else torch.addmm(bias, x, weight)
        one = weights_first if FEW_ROWS < rows <= MANY_ROWS else nn.functional.linear
        parts = [one(x, weight, bias) for weight, bias in self._weights]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def weights_first(x: Float[Tensor, "N D"], weight: Float[Tensor, "E D"], bias: Tensor | None) -> Float[Tensor, "N E"]:
    """Compute `nn.functional.linear(x, weight, bias)` as `(weight x^T + bias)^T`."""
    columns = weight @ x.t()
    return columns.t() if bias is None else columns.add_(bias.unsqueeze(1)).t()
