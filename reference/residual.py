"""The one place for residual, norm and dropout (He et al. 2016; Vaswani et al. 2017, sections 3.1 and 5.4)."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from reference.dropout import Dropout
from reference.layer_norm import LayerNorm


class ResidualSublayer(nn.Module):
    """`norm(x + dropout(sublayer(x)))` (post-LN, the paper) or `x + dropout(sublayer(norm(x)))` (pre-LN).

    In pre-LN nothing stands on the path of x, so a stack of such sublayers needs one more norm at its end
    (Xiong et al. 2020).
    """

    def __init__(self, width: int, dropout: float = 0.0, *, pre_norm: bool = False) -> None:
        """`ValueError` for a width below 1 or a dropout that is no probability."""
        super().__init__()
        self.pre_norm = pre_norm
        self.norm = LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"], sublayer: Callable[[Tensor], Tensor]) -> Float[Tensor, "B T D"]:
        """Wrap `sublayer`, which maps `(B, T, D)` to `(B, T, D)`."""
        if self.pre_norm:
            output: Tensor = x + self.dropout(sublayer(self.norm(x)))
        else:
            output = self.norm(x + self.dropout(sublayer(x)))
        return output
