"""Mixed precision: fast matrix products in 16 bits, everything that accumulates in 32 (Micikevicius et al. 2018)."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer


class MixedPrecision:
    """One training step in mixed precision, by `torch.autocast` and `torch.amp.GradScaler`.

        with precision.autocast():
            logits = model(source, target)
        precision.backward(cross_entropy(logits.float(), labels))
        precision.step(optimizer)

    The model keeps its float32 parameters, the master weights (section 3.1): autocast rounds them for each product, and
    the optimizer changes the originals, to which an update too small for 16 bits still counts. So does the residual
    stream, which is a sum; norms read it in float32. float16 has few exponents, so the loss is scaled to save small
    gradients (section 3.2) and a step whose gradients overflow is left out; bfloat16 has those of float32.
    """

    def __init__(self, device: str, dtype: torch.dtype = torch.bfloat16) -> None:
        """`device` is a type such as "cpu" or "cuda". `ValueError` for a dtype other than bfloat16 and float16."""
        if dtype not in (torch.bfloat16, torch.float16):
            raise ValueError(f"dtype must be torch.bfloat16 or torch.float16, got {dtype}")
        self.device = device
        self.dtype = dtype
        self.scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)

    def autocast(self) -> torch.autocast:
        """Compute matrix products in 16 bits, as long as the context lasts."""
        return torch.autocast(self.device, self.dtype)

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Add the gradients of the scaled loss. `ValueError` for a loss in 16 bits, whose sum has lost its digits."""
        if loss.dtype in (torch.bfloat16, torch.float16):
            raise ValueError(f"loss must be float32, got {loss.dtype}: compute it from logits.float(), out of autocast")
        self.scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer, *, max_norm: float | None = None) -> bool:
        """Divide the gradients by the scale, clip their norm, and step; False if it was left out for an overflow."""
        self.scaler.unscale_(optimizer)
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(_parameters(optimizer), max_norm)
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= before


def _parameters(optimizer: Optimizer) -> Iterable[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])
