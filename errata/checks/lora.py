"""LoRA on a linear layer: ``build(inputs, outputs, rank, alpha, dropout)``, ``call(x, merges)`` gives ``(B, T, out)``.

The candidate wraps a layer with bias. ``merges`` says how often it is asked to merge its update into the weight before
it answers with the merged layer; 0 leaves it apart. Every call begins unmerged: an adapter unmerges after a merged one.
Names in the state: ``base.weight``, ``base.bias``, ``down`` (A, ``(r, in)``) and ``up`` (B, ``(out, r)``). Trait
``rank-stabilised``: the scale is alpha / sqrt(r).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Instance
from errata.candidates.candidate import Scalar
from errata.checks import modules, oracles
from errata.checks.evidence import Evidence, equal, equal_or_refused, holds
from errata.checks.literature import HU
from errata.checks.modules import ModuleCase
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class LoRACase(ModuleCase):
    """One wrapped layer and its input."""

    batch: int = 1
    positions: int = 1
    width: int = 3
    outer: int = 4
    rank: int = 1
    alpha: float = 2.0
    dropout: float = 0.0

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        sizes = {"inputs": self.width, "outputs": self.outer, "rank": self.rank}
        return {**sizes, "alpha": self.alpha, "dropout": self.dropout}

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call without merging."""
        return {"x": self.x(), "merges": 0}

    def x(self) -> Tensor:
        """Drawn inputs."""
        return self.normal("x", self.batch, self.positions, self.width)

    def trained(self, candidate: Candidate) -> Instance:
        """A layer whose trained parameters have drawn values, as after some training."""
        instance = self.build(candidate)
        state = instance.state()
        instance.load({name: self.normal(name, *state[name].shape) for name in sorted(instance.parameters())})
        return instance

    def answer(self, instance: Instance, merges: int = 0) -> Tensor:
        """The output in evaluation."""
        return instance.call(self.inputs() | {"merges": merges}).output


DOMAIN = {
    "batch": (1, 2),
    "positions": (1, 3),
    "width": (3, 5),
    "outer": (4, 6, 3),
    "rank": (1, 2, 3),
    "alpha": (2.0, 1.0, 16.0),
    "scale": (1.0, 10.0),
}

RUNS = "lora.accepts-valid-input"
START = "lora.starts-as-the-base"
FORMULA = "lora.update-is-scaled-by-alpha-over-rank"
MERGED = "lora.merged-equals-unmerged"

FORWARD = HU.says("4.1", "their respective output vectors are summed coordinate-wise")
ZERO = HU.says("4.1", "is zero at the beginning of training")
GAUSSIAN = HU.says("4.1", "We use a random Gaussian initialization for A and zero for B")
FROZEN = HU.says("4.1", "is frozen and does not receive gradient updates, while A and B contain trainable parameters")
DECOMPOSITION = HU.says("4.1", "by representing the latter with a low-rank decomposition")
SCALE = HU.says("4.1", "where α is a constant in r")
DEPLOYED = HU.says("4.1", "and perform inference as usual")
RECOVERED = HU.says("4.1", "a quick operation with very little memory overhead")


def base(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """``W x + b`` in float64."""
    return torch.from_numpy(
        oracles.array(x) @ oracles.array(state["base.weight"]).T + oracles.array(state["base.bias"])
    )


@check(
    RUNS,
    "the wrapped layer maps (B, T, in) to (B, T, out), as the layer does",
    spec=FORWARD,
    level="paper",
    hint="Wrap the layer, and call it on the same input.",
    case=LoRACase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: LoRACase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.positions, case.outer)


@check(
    START,
    "before training the answer is that of the base: B A = 0, so W x + b",
    spec=ZERO,
    level="paper",
    hint="Start B at zero, and wrap the pretrained layer itself, bias and all.",
    case=LoRACase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS],
)
def starts_as_the_base(candidate: Candidate, case: LoRACase) -> Evidence:
    instance = case.build(candidate)
    return equal(case.answer(instance), base(case.x(), instance.state()))


@check(
    "lora.learns-from-the-start",
    "before training some factor has a gradient other than 0: not both start at zero",
    spec=GAUSSIAN,
    level="paper",
    hint="Start A at random: if A = 0 and B = 0 the gradient of each is 0 for ever.",
    case=LoRACase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def learns_from_the_start(candidate: Candidate, case: LoRACase) -> Evidence:
    cotangent = case.normal("cotangent", case.batch, case.positions, case.outer)
    gradients = case.build(candidate).call(case.inputs(), cotangent=cotangent).parameter_gradients
    learning = sorted(name for name, gradient in gradients.items() if bool(gradient.any()))
    return holds(bool(learning), expected="a gradient for some parameter", actual="all gradients are zero or absent")


@check(
    "lora.only-the-factors-train",
    "A and B alone train: r (in + out) numbers; the layer's weight and bias are frozen",
    spec=FROZEN,
    level="paper",
    hint="Call requires_grad_(False) on the base, weight and bias, and register A and B as parameters.",
    case=LoRACase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def only_the_factors_train(candidate: Candidate, case: LoRACase) -> Evidence:
    trained = modules.size(case.build(candidate))
    expected = case.rank * (case.width + case.outer)
    return holds(trained == expected, expected=f"{expected} trained numbers", actual=f"{trained} trained numbers")


@check(
    "lora.update-has-the-rank",
    "what training adds to the weight is a matrix of rank at most r",
    spec=DECOMPOSITION,
    level="paper",
    hint="The inner size of both factors is r.",
    case=LoRACase,
    domain=DOMAIN | {"rank": (1, 2)},
    builds_on=[RUNS],
)
def update_has_the_rank(candidate: Candidate, case: LoRACase) -> Evidence:
    def linear_part(instance: Instance) -> Tensor:
        rows = torch.cat([torch.zeros(1, case.width), torch.eye(case.width)]).to(case.x().dtype)[None]
        output = instance.call({"x": rows, "merges": 0}).output[0].double()
        return output[1:] - output[0]

    update = linear_part(case.trained(candidate)) - linear_part(case.build(candidate))
    rank = int(torch.linalg.matrix_rank(update, rtol=1e-9))
    return holds(0 < rank <= case.rank, expected=f"a rank of 1..{case.rank}", actual=f"rank {rank}")


@check(
    FORMULA,
    "h = W x + b + (alpha / r) B A x",
    spec=SCALE,
    level="paper",
    hint="Multiply the update by alpha / r, not by alpha, and apply A before B.",
    case=LoRACase,
    domain=DOMAIN,
    needs=["weights"],
    unless=["rank-stabilised"],
    builds_on=[START],
)
def update_is_scaled_by_alpha_over_rank(candidate: Candidate, case: LoRACase) -> Evidence:
    instance = case.trained(candidate)
    state = instance.state()
    hidden = oracles.array(case.x()) @ oracles.array(state["down"]).T
    update = torch.from_numpy(case.alpha / case.rank * hidden @ oracles.array(state["up"]).T)
    return equal(case.answer(instance), base(case.x(), state) + update, scale=_size(update, case))


@check(
    "lora.dropout-leaves-the-base-path",
    "in training, dropout acts on the update's path alone: while B = 0 the answer is that of the base",
    spec=ZERO,
    level="convention",
    hint="Give the dropped input to A only; the frozen layer sees x itself.",
    case=LoRACase,
    domain=DOMAIN | {"dropout": (0.5, 0.1), "width": (5, 8), "positions": (3, 5)},
    needs=["weights"],
    builds_on=[START],
)
def dropout_leaves_the_base_path(candidate: Candidate, case: LoRACase) -> Evidence:
    instance = case.build(candidate)
    return equal(instance.call(case.inputs(), training=True).output, base(case.x(), instance.state()))


@check(
    "lora.drops-in-training",
    "in training, dropout acts on the update",
    spec=FORWARD,
    level="convention",
    hint="Use the dropout that was asked for.",
    case=LoRACase,
    domain=DOMAIN | {"dropout": (0.5,), "width": (8,), "batch": (3,), "positions": (8,)},
    builds_on=[RUNS],
)
def drops_in_training(candidate: Candidate, case: LoRACase) -> Evidence:
    instance = case.trained(candidate)
    first, second = (instance.call(case.inputs(), training=True, seed=seed).output for seed in (0, 1))
    return holds(not torch.equal(first, second), expected="two different answers", actual="the same answer twice")


@check(
    MERGED,
    "the merged layer, W + (alpha / r) B A, answers as the two paths do",
    spec=DEPLOYED,
    level="paper",
    hint="Merge with the scale, B before A, and keep the bias.",
    case=LoRACase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def merged_equals_unmerged(candidate: Candidate, case: LoRACase) -> Evidence:
    instance = case.trained(candidate)
    apart = case.answer(instance)
    return equal(case.answer(instance, merges=1), apart, scale=_size(apart, case))


@check(
    "lora.merging-twice-merges-once",
    "asked to merge again, the candidate refuses or changes nothing: the update is not added twice",
    spec=DEPLOYED,
    level="convention",
    hint="Remember that the weight is merged, or return a new layer and leave the old one as it is.",
    case=LoRACase,
    domain=DOMAIN,
    builds_on=[MERGED],
)
def merging_twice_merges_once(candidate: Candidate, case: LoRACase) -> Evidence:
    instance = case.trained(candidate)
    once = case.answer(instance, merges=1)
    return equal_or_refused(lambda: instance.call(case.inputs() | {"merges": 2}), once)


@check(
    "lora.merging-can-be-taken-back",
    "after a merged call the layer answers unmerged as before",
    spec=RECOVERED,
    level="paper",
    hint="Subtract exactly what was added, or never add it in place.",
    case=LoRACase,
    domain=DOMAIN,
    builds_on=[MERGED],
)
def merging_can_be_taken_back(candidate: Candidate, case: LoRACase) -> Evidence:
    instance = case.trained(candidate)
    before = case.answer(instance)
    case.answer(instance, merges=1)
    return equal(case.answer(instance), before, scale=_size(before, case))


@check(
    "lora.update-is-proportional-to-alpha",
    "twice the alpha, with the same factors, is twice the update",
    spec=HU.says("4.1", "tuning α is roughly the same as tuning the learning rate"),
    level="paper",
    hint="Use alpha: a scale that ignores it cannot be kept when the rank changes.",
    case=LoRACase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def update_is_proportional_to_alpha(candidate: Candidate, case: LoRACase) -> Evidence:
    def update(one: LoRACase) -> Tensor:
        return one.answer(one.trained(candidate)) - one.answer(one.build(candidate))

    single, double = update(case), update(replace(case, alpha=2 * case.alpha))
    return equal(double, 2 * single, scale=_size(double, case))


def _size(output: Tensor, case: LoRACase) -> float:
    """The magnitude of the intermediate results: products of three drawn tensors, and differences of outputs."""
    return max(float(output.abs().max()), case.alpha * case.scale**3)
