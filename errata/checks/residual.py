"""A block with a residual connection: ``build(width)``, ``call(x)`` with x ``(B, T, D)``.

The trait ``post-norm`` says that a norm follows the sum, with parameters named ``norm.*``; ``pre-norm`` that one stands
in front of the branch, as a part of it. What the branch computes is not known: checks silence it by its parameters.
``feed-forward-branch`` says that it is documented as a feed-forward network: two linear maps with a ReLU, or one of its
kind, in between.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Instance
from errata.candidates.candidate import Scalar
from errata.checks import modules, precision
from errata.checks.evidence import Evidence, different, equal, holds, printed
from errata.checks.literature import HE, SRIVASTAVA, VASWANI, XIONG
from errata.checks.modules import ModuleCase, answers
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class ResidualCase(ModuleCase):
    """One call."""

    batch: int = 1
    positions: int = 1
    width: int = 3

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"width": self.width}

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call: all drawn."""
        return {"x": self.x()}

    def x(self, name: str = "x") -> Tensor:
        """Drawn contents."""
        return self.normal(name, self.batch, self.positions, self.width)

    def silenced(self, candidate: Candidate) -> Instance:
        """The block with a branch that answers 0."""
        instance = self.build(candidate)
        modules.silence(instance)
        return instance


DOMAIN = {"batch": (1, 2, 3), "positions": (1, 2, 4), "width": (3, 4, 6), "scale": (1.0, 10.0)}

NEAR = 1e-4 / torch.finfo(torch.float64).eps
"""Tolerance for numerical derivatives, and where a norm's eps has a part in the result."""

SUM = HE.says("3.2", "The operation F + x is performed by a shortcut connection and element-wise addition")
IDENTITY = HE.says("1", "if an identity mapping were optimal, it would be easier to push the residual to zero")
SHORTCUT = HE.says("1", "Identity shortcut connections add neither extra parameter nor computational complexity")
RUNS = "residual.accepts-valid-input"
DETERMINISTIC = "residual.evaluation-is-deterministic"
PASSES = "residual.input-passes-the-branch"


@check(
    RUNS,
    "a residual block answers x of shape (B, T, D) with a tensor of the same shape, or it could not be added to x",
    spec=SUM,
    level="paper",
    hint="Run it once: a missing import, or a branch that changes the width, shows at once.",
    case=ResidualCase,
    domain=DOMAIN | {"width": (1, 2, 3, 6)},
)
def accepts_valid_input(candidate: Candidate, case: ResidualCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.positions, case.width)


@check(
    DETERMINISTIC,
    "in evaluation no dropout acts: the same input gives the same output",
    spec=SRIVASTAVA.says("1", "use a single neural net at test time without dropout"),
    level="paper",
    hint="Use nn.Dropout, or pass training=self.training to F.dropout.",
    case=ResidualCase,
    domain=DOMAIN | {"positions": (4,), "width": (4, 6)},
    builds_on=[RUNS],
)
def evaluation_is_deterministic(candidate: Candidate, case: ResidualCase) -> Evidence:
    return modules.is_deterministic(candidate, case)


@check(
    "residual.zero-branch-is-identity",
    "with F = 0 the block answers F(x) + x = x itself, or norm(x) where a norm follows the sum",
    spec=IDENTITY,
    level="paper",
    hint="Keep the block's input under a name of its own (residual = x) and add that: x is overwritten by the branch.",
    case=ResidualCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def zero_branch_is_identity(candidate: Candidate, case: ResidualCase) -> Evidence:
    output, x = case.silenced(candidate).call(case.inputs()).output, case.x()
    if "post-norm" in candidate.traits:
        return equal(modules.standardised(output), modules.standardised(x), scale=1e4)
    return equal(output, x)


@check(
    PASSES,
    "with F = 0 something of the input is left: another x gives another output",
    spec=SUM,
    level="paper",
    hint="The block's input never reaches its output but through the branch: add it.",
    case=ResidualCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def input_passes_the_branch(candidate: Candidate, case: ResidualCase) -> Evidence:
    instance = case.silenced(candidate)
    first, second = (instance.call({"x": case.x(name)}).output for name in ("x", "other"))
    return different(second, first, expected="another output for another input")


@check(
    "residual.gradient-passes-the-branch",
    "with F = 0 the gradient of the input is the derivative of the output: no detach cuts the shortcut",
    spec=HE.says("3.2", "y = F(x, {Wi}) + x"),
    level="paper",
    hint="Add x itself, not x.detach(), x.data or a copy made under no_grad.",
    case=ResidualCase,
    domain=DOMAIN,
    builds_on=[PASSES],
    tolerance=NEAR,
)
def gradient_passes_the_branch(candidate: Candidate, case: ResidualCase) -> Evidence:
    instance, x = case.silenced(candidate), case.x()
    cotangent, direction = case.x("cotangent"), case.x("direction")
    step = 1e-6
    ahead, behind = (instance.call({"x": x + sign * step * direction}).output for sign in (1, -1))
    derivative = ((ahead - behind) / (2 * step) * cotangent).sum()
    gradient = instance.call({"x": x}, cotangent=cotangent).gradients.get("x", torch.zeros_like(x))
    return equal((gradient * direction).sum(), derivative, scale=case.scale**2)


@check(
    "residual.branch-is-added-once",
    "the branch is added as it is: moving its last bias by b moves the output by b",
    spec=SUM,
    level="convention",
    hint="x + x after the branch doubles the branch; one of the two should be the block's input.",
    case=ResidualCase,
    domain=DOMAIN,
    unless=["post-norm"],
    builds_on=[DETERMINISTIC],
)
def branch_is_added_once(candidate: Candidate, case: ResidualCase) -> Evidence:
    # Which bias is the last one: in a silenced branch it is the only one that moves the output.
    state = case.build(candidate).state()
    bias = case.normal("bias", case.width).abs()
    unmoved = case.silenced(candidate).call(case.inputs()).output
    moves = [torch.zeros_like(unmoved)]
    for name in sorted(name for name, value in state.items() if value.shape == bias.shape):
        instance = case.silenced(candidate)
        instance.load({name: bias})
        moves.append(instance.call(case.inputs()).output - unmoved)
    largest = max(moves, key=lambda move: move.abs().max().item())
    return equal(
        largest, bias.expand_as(largest) if largest.any() else largest, scale=max(1.0, unmoved.abs().max().item())
    )


@check(
    "residual.branch-is-trained",
    "the branch has parameters, and each of them has a part in the output",
    spec=HE.says("3.2", "The function F(x, {Wi}) represents the residual mapping to be learned"),
    level="paper",
    hint="Add the branch's result, and make its layers in __init__ as attributes of the module.",
    case=ResidualCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def branch_is_trained(candidate: Candidate, case: ResidualCase) -> Evidence:
    names = case.build(candidate).parameters()
    if not names:
        return holds(False, expected="parameters of the branch", actual="the block has no parameters")
    return modules.gradients_reach(candidate, case, *sorted(names))


@check(
    "residual.output-is-normalised",
    "post-norm normalises the sum: the output norm(x + F(x)) has the same root mean square at every position",
    spec=VASWANI.says("3.1", "the output of each sub-layer is LayerNorm(x + Sublayer(x))"),
    level="paper",
    hint="The norm takes the sum; norm(x) + F(x) and x + norm(F(x)) are other blocks.",
    case=ResidualCase,
    domain=DOMAIN | {"batch": (2, 3), "positions": (4, 5)},
    needs=["post-norm"],
    builds_on=[RUNS],
)
def output_is_normalised(candidate: Candidate, case: ResidualCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    return modules.is_normalised(output)


@check(
    "residual.branch-sees-a-normalised-input",
    "pre-norm normalises what the branch sees: F(norm(x)) does not depend on the scale of x",
    spec=XIONG.says("abstract", "the layer normalization is put inside the residual blocks"),
    level="paper",
    hint="Give the branch norm(x), and add x.",
    case=ResidualCase,
    domain=DOMAIN | {"scale": (1000.0,)},
    needs=["pre-norm"],
    builds_on=[RUNS],
    tolerance=NEAR,
)
def branch_sees_a_normalised_input(candidate: Candidate, case: ResidualCase) -> Evidence:
    x = case.x()
    once, twice = answers(candidate, case, {"x": x}, {"x": 2 * x})
    return equal(twice - 2 * x, once - x)


@check(
    "residual.branch-is-not-odd",
    "a feed-forward branch has an activation: without biases, branch(-x) = -branch(x) does not hold for all x",
    spec=VASWANI.says("3.3", "two linear transformations with a ReLU activation in between"),
    level="convention",
    hint="Linear maps, norms and dropout are odd functions, and two linear maps are one: put a ReLU or GELU between.",
    case=ResidualCase,
    domain=DOMAIN,
    needs=["feed-forward-branch"],
    builds_on=[DETERMINISTIC],
)
def branch_is_not_odd(candidate: Candidate, case: ResidualCase) -> Evidence:
    instance, x = case.build(candidate), case.x()
    vectors = {name: value for name, value in instance.state().items() if value.ndim == 1}
    modules.silence(instance, instance.parameters() & vectors.keys())
    # The shortcut is odd as well, so it plays no part.
    output, mirrored = (instance.call({"x": given}).output for given in (x, -x))
    gap = (output + mirrored).abs().max().item()
    return holds(
        gap > 1e-6,
        expected="f(-x) other than -f(x)",
        actual=f"f(x) = {printed(output)}, f(-x) = {printed(mirrored)}",
    )


@check(
    "residual.examples-are-independent",
    "the last example gets the same output alone as in a batch",
    spec=SUM,
    level="paper",
    hint="A norm or a sum over the batch axis mixes examples.",
    case=ResidualCase,
    domain=DOMAIN,
    builds_on=[DETERMINISTIC],
)
def examples_are_independent(candidate: Candidate, case: ResidualCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "residual.arguments-are-not-changed",
    "the tensor that is passed in keeps its values: the caller may need it for a shortcut of its own",
    spec=SHORTCUT,
    level="robustness",
    hint="x = x + branch makes a new tensor; x += branch overwrites the caller's.",
    case=ResidualCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def arguments_are_not_changed(candidate: Candidate, case: ResidualCase) -> Evidence:
    return modules.arguments_stay(candidate, case)


@check(
    "residual.runs-under-autocast",
    "under autocast to bfloat16 or float16, a float32 module answers as without, to the rounding of that type",
    spec=precision.AUTOCAST,
    level="robustness",
    hint="Linear maps and products come out in the lower type: write none into a tensor of the inputs' type.",
    case=ResidualCase,
    domain=DOMAIN | {"scale": (1.0,), "dtype": precision.LOWER},
    builds_on=[DETERMINISTIC],
    tolerance=precision.ROUNDINGS,
)
def runs_under_autocast(candidate: Candidate, case: ResidualCase) -> Evidence:
    single = replace(case, dtype="float32")
    return precision.under_autocast(single.build(candidate), single.inputs(), case.dtype)
