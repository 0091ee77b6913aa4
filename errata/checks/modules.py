"""What the checks of layers and of whole models share: cases that build a module, and properties of any module.

The properties need no parameter names. Where they have to switch a part off, they find it by what is common to all
implementations: a norm's gain starts at 1, and the parameters of a layer are those that a further layer adds.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Instance
from errata.candidates.candidate import Scalar
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import SRIVASTAVA, VASWANI

INFLUENCE = 1e-9
"""A change that rounding cannot cause in float64, and that a faint attention weight still exceeds."""

EVALUATION = SRIVASTAVA.says("1", "use a single neural net at test time without dropout")
SUBLAYER_DROPOUT = VASWANI.says("5.4", "We apply dropout [33] to the output of each sub-layer")
RESIDUAL = VASWANI.says("3.1", "We employ a residual connection [11] around each of the two sub-layers")
NORMALISED = VASWANI.says("3.1", "the output of each sub-layer is LayerNorm(x + Sublayer(x))")
LEARNED = VASWANI.says("3.2.2", "different, learned linear projections")
OWN_PARAMETERS = VASWANI.says("3.3", "they use different parameters from layer to layer")

Arguments = Mapping[str, Argument]


@dataclass(frozen=True, kw_only=True)
class ModuleCase(Case):
    """A case that knows how its module is built and called."""

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        raise NotImplementedError

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call; the first axis of every tensor is the batch."""
        raise NotImplementedError

    def build(self, candidate: Candidate) -> Instance:
        """The module, with initial weights that follow from the case's seed."""
        return candidate.build(self.config(), dtype=self.dtype, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class StackCase(ModuleCase):
    """A case of a model with ``layers`` layers."""

    layers: int = 1


def answers(candidate: Candidate, case: ModuleCase, first: Arguments, *others: Arguments) -> list[Tensor]:
    """What one module answers to several calls in evaluation."""
    instance = case.build(candidate)
    return [instance.call(arguments).output for arguments in (first, *others)]


def has_shape(candidate: Candidate, case: ModuleCase, *shape: int) -> Evidence:
    """The output has this shape."""
    (output,) = answers(candidate, case, case.inputs())
    return holds(output.shape == shape, expected=f"shape {shape}", actual=f"shape {tuple(output.shape)}")


def all_move(before: Tensor, after: Tensor, *, expected: str, among: Tensor | None = None) -> Evidence:
    """Every position's vector changes, or every one ``among`` those that a boolean ``(B, T)`` names."""
    still = ~((before - after).abs().amax(dim=-1) > INFLUENCE)
    places = (still if among is None else still & among).nonzero().tolist()
    return holds(not places, expected=expected, actual=f"no change at [sequence, position] {places}")


def none_moves(before: Tensor, after: Tensor, *, among: Tensor) -> Evidence:
    """No vector among the positions that a boolean ``(B, T)`` names changes."""
    return equal(after[among], before[among])


def sequences_are_independent(candidate: Candidate, case: ModuleCase) -> Evidence:
    """The last sequence of a batch gets the same answer alone."""
    arguments = case.inputs()
    alone = {name: value[-1:] if isinstance(value, Tensor) else value for name, value in arguments.items()}
    together, single = answers(candidate, case, arguments, alone)
    return equal(single, together[-1:])


def is_deterministic(candidate: Candidate, case: ModuleCase) -> Evidence:
    """In evaluation, torch's generator plays no part."""
    instance = case.build(candidate)
    first, second = (instance.call(case.inputs(), seed=seed).output for seed in (0, 1))
    return equal(second, first)


def drops_in_training(candidate: Candidate, case: ModuleCase) -> Evidence:
    """In training, two states of torch's generator give two answers."""
    instance = case.build(candidate)
    first, second = (instance.call(case.inputs(), training=True, seed=seed).output for seed in (0, 1))
    return holds(not torch.equal(first, second), expected="two different answers", actual="the same answer twice")


def gradients_reach_parameters(candidate: Candidate, case: ModuleCase) -> Evidence:
    """Every parameter takes part in the output."""
    instance = case.build(candidate)
    output = instance.call(case.inputs()).output
    reply = instance.call(case.inputs(), cotangent=torch.ones_like(output))
    missing = sorted(instance.parameters() - set(reply.parameter_gradients))
    return holds(not missing, expected="a gradient for every parameter", actual=f"none for {', '.join(missing)}")


def state_is_complete(candidate: Candidate, case: ModuleCase) -> Evidence:
    """A module that is given another one's state answers as the other does."""
    first = case.build(candidate)
    second = replace(case, seed=case.seed + 1).build(candidate)
    second.load(first.state())
    arguments = case.inputs()
    return equal(second.call(arguments).output, first.call(arguments).output)


def arguments_stay(candidate: Candidate, case: ModuleCase) -> Evidence:
    """The tensors that were passed in are unchanged after the call."""
    arguments = case.inputs()
    after = case.build(candidate).call(arguments).arguments
    changed = [name for name, value in arguments.items() if isinstance(value, Tensor) and not value.equal(after[name])]
    return holds(not changed, expected="the arguments as they were", actual=f"changed: {', '.join(changed)}")


def keeps_dtype(candidate: Candidate, case: ModuleCase) -> Evidence:
    """A module of one floating type answers in that type."""
    (output,) = answers(candidate, case, case.inputs())
    return holds(output.dtype == getattr(torch, case.dtype), expected=case.dtype, actual=str(output.dtype))


def weights_start_different(candidate: Candidate, case: ModuleCase) -> Evidence:
    """No two weight matrices start with the same numbers."""
    matrices = {name: value for name, value in case.build(candidate).state().items() if _is_weight(value)}
    names = sorted(matrices)
    twins = [f"{a} = {b}" for i, a in enumerate(names) for b in names[i + 1 :] if matrices[a].equal(matrices[b])]
    return holds(not twins, expected="independent draws", actual="; ".join(twins))


def layers_own_parameters(candidate: Candidate, case: StackCase) -> Evidence:
    """Each further layer adds as many parameters as the one before it."""
    sizes = [
        sum(_shapes(replace(case, layers=layers).build(candidate), per_entry=True).values()) for layers in (1, 2, 3)
    ]
    second, third = sizes[1] - sizes[0], sizes[2] - sizes[1]
    return holds(
        0 < second == third,
        expected="as many parameters for the third layer as for the second, and more than 0",
        actual=f"{second} for the second, {third} for the third",
    )


def silence(instance: Instance, names: frozenset[str] | None = None) -> None:
    """Set parameters to 0, of those ``names`` or of all, except the norms' gains: the sublayers then answer 0."""
    state = instance.state()
    chosen = instance.parameters() if names is None else names
    instance.load({name: torch.zeros_like(state[name]) for name in chosen if not bool((state[name] == 1).all())})


def layer_parameters(candidate: Candidate, case: StackCase) -> frozenset[str]:
    """The names of the parameters of a shape that a further layer adds: neither embeddings nor the last projection."""
    instance = case.build(candidate)
    added = _shapes(replace(case, layers=case.layers + 1).build(candidate)) - _shapes(instance)
    state = instance.state()
    return frozenset(name for name in instance.parameters() if tuple(state[name].shape) in added)


def standardised(states: Tensor) -> Tensor:
    """Each vector without its mean, at length 1: what no norm with gain 1 and bias 0 changes."""
    centred = states - states.mean(dim=-1, keepdim=True)
    return centred / centred.norm(dim=-1, keepdim=True)


def spread_of_sizes(states: Tensor) -> float:
    """How far the root mean squares of the vectors lie apart: largest over smallest, less 1."""
    sizes = states.square().mean(dim=-1).sqrt()
    return (sizes.max() / sizes.min() - 1).item()


def _shapes(instance: Instance, *, per_entry: bool = False) -> Counter[tuple[int, ...]]:
    """How many parameters there are of each shape, or how many entries they have."""
    state = instance.state()
    counts: Counter[tuple[int, ...]] = Counter()
    for name in instance.parameters():
        counts[tuple(state[name].shape)] += state[name].numel() if per_entry else 1
    return counts


def _is_weight(value: Tensor) -> bool:
    return value.is_floating_point() and value.ndim >= 2 and bool((value != value.flatten()[0]).any())
