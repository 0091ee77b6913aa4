"""Penalties on the size of the weights, as terms of the loss (Goodfellow et al. 2016, section 7.1).

Dropout, the third kind of regularisation that the documents name, is in `reference.dropout`.

Under plain gradient descent the L2 penalty shrinks every weight by the factor `1 - lr * strength`, and is weight decay.
Under Adam it is not: its gradient is divided by the root of the second moment like the rest, so weights with large
gradients hardly shrink. `reference.training.optimizers.adamw` shrinks all alike (Loshchilov and Hutter 2019).
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.validation import require_at_least

AFFINE_MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def affine_weights(model: nn.Module) -> list[nn.Parameter]:
    """List the weights of the affine maps, those that a norm penalty covers.

    Left out are biases, the gains of norms, and tables of vectors, which are looked up rather than multiplied: of
    tokens, with the output projection that is tied to them, and of positions.
    """
    affine = [module for module in model.modules() if isinstance(module, AFFINE_MAPS)]
    others = [module for module in model.modules() if not isinstance(module, AFFINE_MAPS)]
    elsewhere = {parameter for module in others for parameter in module.parameters(recurse=False)}
    candidates = dict.fromkeys(parameter for module in affine for parameter in module.parameters(recurse=False))
    return [parameter for parameter in candidates if parameter.ndim >= 2 and parameter not in elsewhere]


def l1_penalty(weights: Iterable[Float[Tensor, "..."]], strength: float) -> Float[Tensor, ""]:
    """Add up `strength * |w|`, whose gradient `strength * sign(w)` pushes weights to exactly 0.

    `ValueError` for a negative strength, and for no weights, as an iterator that is used up has none.
    """
    require_at_least(0, strength=strength)
    return strength * _total([weight.abs().sum() for weight in weights])


def l2_penalty(weights: Iterable[Float[Tensor, "..."]], strength: float) -> Float[Tensor, ""]:
    """Add up `strength / 2 * w^2`, the norm squared, whose gradient is `strength * w`.

    `strength` is then the `weight_decay` of `torch.optim.SGD`. Errors: `l1_penalty`.
    """
    require_at_least(0, strength=strength)
    return strength / 2 * _total([weight.square().sum() for weight in weights])


def _total(sums: list[Tensor]) -> Tensor:
    if not sums:
        raise ValueError("weights must hold at least one tensor, got none: is an iterator used up?")
    return torch.stack(sums).sum()
