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
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import SRIVASTAVA, VASWANI

INFLUENCE = 1e-13
"""A change that rounding cannot cause in float64, and that a faint attention weight still exceeds."""

EPSILON_OF_NORMS = 1e-3 / torch.finfo(torch.float64).eps
"""Tolerance where an oracle has to guess the epsilon of the norms."""

FLOAT32_INSIDE = 2.0**33
"""Tolerance where tensors of two shapes are compared, 2e-6 in float64: many models compute softmax, norms or losses in
float32 whatever their own type, and its rounding depends on the shape."""

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

    def inputs(self) -> Mapping[str, Argument]:
        """The arguments of a call; the first axis of every tensor is the batch."""
        raise NotImplementedError

    def build(self, candidate: Candidate) -> Instance:
        """The module, with initial weights that follow from the case's seed."""
        return candidate.build(self.config(), dtype=self.dtype, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class StackCase(ModuleCase):
    """A case of a model with ``layers`` layers over ``vocabulary`` tokens."""

    vocabulary: int = 6
    layers: int = 1


def answers(candidate: Candidate, case: ModuleCase, first: Arguments, *others: Arguments) -> list[Tensor]:
    """What one module answers to several calls in evaluation."""
    instance = case.build(candidate)
    return [instance.call(arguments).output for arguments in (first, *others)]


def given(arguments: Arguments, name: str) -> Tensor:
    """An argument that is a tensor."""
    value = arguments[name]
    assert isinstance(value, Tensor)
    return value


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
    missing = sorted(instance.parameters() - _reached(instance, case))
    return holds(not missing, expected="a gradient for every parameter", actual=f"none for {', '.join(missing)}")


def gradients_reach(candidate: Candidate, case: ModuleCase, *names: str) -> Evidence:
    """The parameters of these names are registered, and take part in the output."""
    reached = _reached(case.build(candidate), case)
    missing = [name for name in names if name not in reached]
    return holds(not missing, expected=f"gradients for {', '.join(names)}", actual=f"none for {', '.join(missing)}")


def learning(candidate: Candidate, case: ModuleCase) -> int:
    """How many numbers have a gradient of the output's sum."""
    instance = case.build(candidate)
    return size(instance, _reached(instance, case))


def size(instance: Instance, names: frozenset[str] | None = None) -> int:
    """How many numbers the parameters hold, those of these ``names`` or all."""
    state = instance.state()
    return sum(state[name].numel() for name in (instance.parameters() if names is None else names))


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
    """No two weight matrices start with the same numbers; tied ones are one."""
    instance = case.build(candidate)
    state = instance.state()
    matrices = {name: state[name] for name in instance.parameters() if state[name].ndim >= 2}
    names = sorted(matrices)
    twins = [f"{a} = {b}" for i, a in enumerate(names) for b in names[i + 1 :] if matrices[a].equal(matrices[b])]
    return holds(not twins, expected="independent draws", actual="; ".join(twins))


def layers_own_parameters(candidate: Candidate, case: StackCase) -> Evidence:
    """Each further layer adds as many parameters as the one before it, and shares no matrix with another."""
    one, two, three = (replace(case, layers=layers).build(candidate) for layers in (1, 2, 3))
    second, third = size(two) - size(one), size(three) - size(two)
    shared = sorted(_second_names(two) - _second_names(one))
    return holds(
        0 < second == third and not shared,
        expected="as many parameters for the third layer as for the second, more than 0, none shared",
        actual=f"{second} for the second, {third} for the third, shared: {', '.join(shared) or 'none'}",
    )


def residual_stream(candidate: Candidate, case: ModuleCase) -> Evidence:
    """With silent sublayers the input ``x`` is left, up to norms."""
    output, x = _silent(candidate, case)
    return equal(standardised(output), standardised(x))


def norm_placement(candidate: Candidate, case: ModuleCase) -> Evidence:
    """The output is normalised (post-norm), or silent sublayers leave ``x`` as it is (pre-norm)."""
    (output,) = answers(candidate, case, case.inputs())
    post_norm, pre_norm = is_normalised(output), equal(*_silent(candidate, case))
    if "pre-norm" in candidate.traits:
        return pre_norm
    if "post-norm" in candidate.traits:
        return post_norm
    return min(post_norm, pre_norm, key=lambda evidence: evidence.deviation)


def _silent(candidate: Candidate, case: ModuleCase) -> tuple[Tensor, Tensor]:
    """A layer's output with silent sublayers, and its input ``x``."""
    instance = case.build(candidate)
    silence(instance)
    arguments = case.inputs()
    return instance.call(arguments).output, given(arguments, "x")


def silence(instance: Instance, names: frozenset[str] | None = None) -> None:
    """Set parameters to 0, of those ``names`` or of all, except the norms' gains: the sublayers then answer 0."""
    state = instance.state()
    chosen = instance.parameters() if names is None else names
    instance.load({name: torch.zeros_like(state[name]) for name in chosen if not bool((state[name] == 1).all())})


def layer_parameters(candidate: Candidate, case: StackCase) -> frozenset[str]:
    """The parameters of the layers: those of a shape that a further layer adds, so neither embeddings nor projections.

    A candidate may have a fixed number of layers. Then it is all those that a larger vocabulary leaves as they are.
    """
    instance = case.build(candidate)
    state, names = instance.state(), instance.parameters()
    added = _shapes(replace(case, layers=case.layers + 1).build(candidate)) - _shapes(instance)
    if added:
        return frozenset(name for name in names if tuple(state[name].shape) in added)
    larger = replace(case, vocabulary=case.vocabulary + 1).build(candidate).state()
    return frozenset(name for name in names if state[name].shape == larger[name].shape)


def standardised(states: Tensor) -> Tensor:
    """Each vector without its mean, at length 1: what no norm with gain 1 and bias 0 changes."""
    centred = states - states.mean(dim=-1, keepdim=True)
    return torch.nn.functional.normalize(centred, dim=-1, eps=0.0)


def is_normalised(states: Tensor) -> Evidence:
    """All vectors have the same root mean square, up to what a norm's epsilon does."""
    sizes = states.square().mean(dim=-1).sqrt()
    return holds(
        bool(sizes.max() < 1.01 * sizes.min()),
        expected="the same root mean square at all positions",
        actual=printed(sizes),
    )


def filled(instance: Instance, case: Case) -> Mapping[str, Tensor]:
    """Give every parameter drawn values, so that no initial 0 or 1 hides anything; returns the new state."""
    state = instance.state()
    instance.load({name: case.normal(name, *state[name].shape) for name in sorted(instance.parameters())})
    return instance.state()


def _reached(instance: Instance, case: ModuleCase) -> frozenset[str]:
    """The parameters that have a gradient of the output's sum."""
    output = instance.call(case.inputs()).output
    return frozenset(instance.call(case.inputs(), cotangent=torch.ones_like(output)).parameter_gradients)


def _shapes(instance: Instance) -> Counter[tuple[int, ...]]:
    """How many parameters there are of each shape."""
    state = instance.state()
    return Counter(tuple(state[name].shape) for name in instance.parameters())


def _second_names(instance: Instance) -> frozenset[str]:
    """The names in the state that stand for a weight matrix which has another name already."""
    state, own = instance.state(), instance.parameters()
    weights = [state[name] for name in own if state[name].ndim >= 2]
    others = state.keys() - own
    return frozenset(name for name in others if any(weight.equal(state[name]) for weight in weights))
