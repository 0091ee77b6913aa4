"""Dependency depth: how many steps of a computation must wait for one another, however many processors there are.

That, and not the number of operations, decides what can be computed in parallel: the column "Sequential Operations" of
table 1 of Vaswani et al. 2017 is O(n) for a recurrent layer of n positions and O(1) for self-attention and for a
convolution. Calls of a library show nothing of it: a fused recurrent kernel is a single call for any n, and a loop over
positions that do not need each other is n calls, none of which has to wait.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

CELLS: dict[type[nn.RNNBase], Callable[[int, int], nn.RNNCellBase]] = {
    nn.RNN: nn.RNNCell,
    nn.LSTM: nn.LSTMCell,
    nn.GRU: nn.GRUCell,
}


def longest_chain(output: Tensor) -> int:
    """The length of the longest chain of operations behind `output` each of which waits for the one before.

    Read from the graph that autograd records, so something of what `output` is computed from must require a gradient.

    Raises:
        ValueError: when nothing was recorded, or when a fused recurrent kernel hides its steps.
    """
    if output.grad_fn is None:
        raise ValueError("nothing was recorded; let the input or a weight require a gradient")
    chains: dict[Any, int] = {}
    waiting = [output.grad_fn]
    while waiting:
        node = waiting[-1]
        if "Rnn" in node.name():
            raise ValueError(f"{node.name()} is a fused kernel and hides its steps; measure step_by_step(module)")
        before = [earlier for earlier, _ in node.next_functions if earlier is not None]
        unknown = [earlier for earlier in before if earlier not in chains]
        if unknown:
            waiting.extend(unknown)
        else:
            chains[node] = 1 + max((chains[earlier] for earlier in before), default=0)
            waiting.pop()
    return chains[output.grad_fn]


def step_by_step(module: nn.RNNBase) -> Callable[[Tensor], Tensor]:
    """What `module`, of one layer and one direction, answers for words `(B, T, D)`: cell by cell, with its weights."""
    cell = CELLS[type(module)](module.input_size, module.hidden_size).to(next(module.parameters()).dtype)
    cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in module.state_dict().items()})

    def read(words: Tensor) -> Tensor:
        state, outputs = None, []
        for word in words.unbind(dim=1):
            state = cell(word, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, dim=1)

    return read
