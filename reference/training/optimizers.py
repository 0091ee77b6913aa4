"""The optimizers that the documents name, each torch's own with its rule spelt out; `g` is the gradient of the loss.

Gradient descent and its stochastic form are one rule. If `g` comes from all data it is gradient descent
(`accumulate_gradients` gets it from parts that fit into memory); if it comes from a random batch, it is the other.
"""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW

from reference.training.regularisation import affine_weights
from reference.validation import require_at_least


def gradient_descent(parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.0) -> SGD:
    """Step against the gradient, or against a decaying sum of the gradients so far.

    `v = momentum * v + g`, `w = w - lr * v` (Sutskever et al. 2013, section 2, with the learning rate taken out of
    `v`). Under a constant gradient the steps grow to `lr / (1 - momentum) * g`. `ValueError` for a momentum outside
    [0, 1), with which they would grow for ever.
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be at least 0 and below 1, got {momentum}")
    return SGD(parameters, lr=lr, momentum=momentum)


def adam(parameters: Iterable[nn.Parameter], lr: float = 1.0) -> Adam:
    """Adam (Kingma and Ba 2015, algorithm 1) with the constants of Vaswani et al. 2017, section 5.3.

    `m = 0.9 m + 0.1 g`, `v = 0.98 v + 0.02 g^2`, `w = w - lr * m / (1 - 0.9^n) / (sqrt(v / (1 - 0.98^n)) + 1e-9)` at
    update n = 1, 2, ... The rate of 1 is for `reference.schedule.noam`, whose factor is the rate of the paper.
    """
    return Adam(parameters, lr=lr, betas=(0.9, 0.98), eps=1e-9)


def adamw(model: nn.Module, lr: float, weight_decay: float) -> AdamW:
    """`adam` that also shrinks the weights of affine maps by the factor `1 - lr * weight_decay` in each step.

    The decay is decoupled from the gradient and its moments (Loshchilov and Hutter 2019, algorithm 2; the factor `lr`
    is torch's).
    """
    return AdamW(decay_groups(model, weight_decay), lr=lr, betas=(0.9, 0.98), eps=1e-9)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, list[nn.Parameter] | float]]:
    """Split the parameters of `model`, frozen ones left out, into those that decay and those that do not.

    Which decay: `affine_weights`. `ValueError` for a negative decay.
    """
    require_at_least(0, weight_decay=weight_decay)
    decaying = set(affine_weights(model))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter in decaying], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter not in decaying], "weight_decay": 0.0},
    ]
