"""LoRA: fine-tuning by updates of low rank (Hu et al. 2021, section 4)."""

from collections.abc import Callable, Iterable
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from reference.dropout import Dropout
from reference.transfer.freezing import freeze
from reference.validation import Number, require_at_least


class LoRALinear(nn.Module):
    """`W x + b + (alpha / r) B A x` with `A (r, in)` and `B (out, r)` trained, `W` and `b` frozen (section 4.1).

    `A`, here `down`, starts random: normal with deviation `1 / sqrt(in)`, which leaves the size of x. `B`, here `up`,
    starts at 0, so nothing changes before the first update. Dropout acts on the input of the update alone.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: Number, *, dropout: float = 0.0) -> None:
        """`ValueError` for a rank outside 1..min(in, out), and for a dropout that is no probability."""
        super().__init__()
        require_at_least(1, rank=rank)
        if rank > min(base.weight.shape):
            raise ValueError(f"rank must be at most {min(base.weight.shape)}, the smaller width, got {rank}")
        freeze(base)
        self.base = base
        self.scale = alpha / rank
        self.dropout = Dropout(dropout)
        self.down = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.normal_(self.down, std=base.in_features**-0.5)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """Any shape `(..., in)` to `(..., out)`."""
        output: Tensor = self.base(x) + self.scale * linear(linear(self.dropout(x), self.down), self.up)
        return output

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Make the plain layer of weight `W + (alpha / r) B A`, equal to rounding; this one stays as it is.

        It owns its weight, also where `W` is tied to an embedding, and is frozen as `W` is.
        """
        plain = deepcopy(self.base)
        plain.weight += self.scale * self.up @ self.down
        return plain


def add_lora(
    model: nn.Module, names: Iterable[str] = ("query", "value"), *, rank: int, alpha: Number, dropout: float = 0.0
) -> list[str]:
    """Freeze `model`, and wrap each `nn.Linear` whose dotted name is, or ends in, one of `names`.

    The paper adapts the queries' and values' projections (section 4.2). A layer that stands at several places keeps
    doing so, with one adapter. The model has to call its layers, not read their weights: `reference.MultiHeadAttention`
    does, `nn.MultiheadAttention` does not.

    Returns:
        The names of the wrapped layers.

    Raises:
        ValueError: for a name that no `nn.Linear` has, for a model with adapters, and as `LoRALinear`.
    """
    if _adapters(model):
        raise ValueError("the model has LoRA adapters: merge or remove them, and give all names at once")
    linears = {n: m for n, m in model.named_modules(remove_duplicate=False) if type(m) is nn.Linear}
    chosen = []
    for wanted in names:
        found = [name for name in linears if f".{name}".endswith(f".{wanted}")]
        if not found:
            raise ValueError(f"no nn.Linear of the model is called {wanted!r}; there are: {', '.join(linears)}")
        chosen += found
    layers = dict.fromkeys(linears[name] for name in chosen)
    adapters = {layer: LoRALinear(layer, rank, alpha, dropout=dropout) for layer in layers}
    freeze(model)
    for name in chosen:
        model.set_submodule(name, adapters[linears[name]])
    return chosen


def merge_lora(model: nn.Module) -> None:
    """Put the merged plain layer in the place of each adapter: inference costs what it did before (section 4.1).

    `ValueError` for a model without adapters, such as one that is merged already.
    """
    _replace_adapters(model, LoRALinear.merged)


def remove_lora(model: nn.Module) -> None:
    """Put the pretrained layers back, bit for bit, still frozen. `ValueError` for a model without adapters."""
    _replace_adapters(model, lambda adapter: adapter.base)


def _replace_adapters(model: nn.Module, plain: Callable[[LoRALinear], nn.Linear]) -> None:
    adapters = _adapters(model)
    if not adapters:
        raise ValueError("the model has no LoRA adapters")
    layers = {adapter: plain(adapter) for adapter in dict.fromkeys(adapters.values())}
    for name, adapter in adapters.items():
        model.set_submodule(name, layers[adapter])


def _adapters(model: nn.Module) -> dict[str, LoRALinear]:
    """All adapters by name; one at two places has two names."""
    return {n: m for n, m in model.named_modules(remove_duplicate=False) if isinstance(m, LoRALinear)}
