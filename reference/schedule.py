"""Learning-rate schedules, each over one optimizer that lives for the whole training.

A new optimizer per epoch would forget Adam's moments. Each schedule multiplies the learning rate that the optimizer was
built with by a factor of the number of `scheduler.step()` calls so far. `state_dict()` is plain data; to resume, build
optimizer and schedule anew and load the state of both: the rates go on where they stopped.
"""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LambdaLR

from reference.validation import require_at_least


def noam(optimizer: Optimizer, width: int, warmup: int = 4000) -> LambdaLR:
    """Rise linearly for `warmup` steps, then fall with the root: section 5.3, equation 3, of Vaswani et al. 2017.

    `lr(n) = lr * width^-0.5 * min(n^-0.5, n * warmup^-1.5)` at update n = 1, 2, ...; build the optimizer with `lr=1.0`
    for the paper's rate, and call `scheduler.step()` after each update. `ValueError` for a width or a warmup below 1.
    """
    require_at_least(1, width=width, warmup=warmup)

    def factor(step: int) -> float:
        update = step + 1  # the scheduler counts from 0, the paper from 1
        return float(width**-0.5 * min(update**-0.5, update * warmup**-1.5))

    return LambdaLR(optimizer, factor)


def exponential(optimizer: Optimizer, decay_rate: float) -> LambdaLR:
    """Multiply by `decay_rate` each step: `lr(n) = lr * decay_rate^n`, n = 0, 1, ...

    `ValueError` unless 0 < `decay_rate` <= 1.
    """
    if not 0 < decay_rate <= 1:
        raise ValueError(f"decay_rate must be above 0 and at most 1, got {decay_rate}")
    return LambdaLR(optimizer, lambda step: decay_rate**step)


def inverse_time(optimizer: Optimizer, decay_rate: float) -> LambdaLR:
    """Divide by a growing number: `lr(n) = lr / (1 + decay_rate * n)`, n = 0, 1, ...

    `ValueError` for a negative `decay_rate`.
    """
    require_at_least(0, decay_rate=decay_rate)
    return LambdaLR(optimizer, lambda step: 1 / (1 + decay_rate * step))


def cosine_with_restarts(
    optimizer: Optimizer, period: int, *, growth: int = 1, lowest: float = 0.0
) -> CosineAnnealingWarmRestarts:
    """Fall along half a cosine within each period, then start again from the initial rate (Loshchilov and Hutter 2017).

    `lr(n) = lowest + (lr - lowest) / 2 * (1 + cos(pi * k / P))` at step k = 0, ..., P - 1 of a period, their section 3,
    equation 5. The first period has P = `period` steps, each later one `growth` times as many as the one before it.
    `ValueError` for a period or a growth below 1, and for a `lowest` that is negative or above the initial rate.
    """
    require_at_least(1, period=period, growth=growth)
    require_at_least(0, lowest=lowest)
    for group in optimizer.param_groups:
        require_at_least(lowest, lr=group.get("initial_lr", group["lr"]))
    return CosineAnnealingWarmRestarts(optimizer, T_0=period, T_mult=growth, eta_min=lowest)
