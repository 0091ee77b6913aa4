"""Position-wise feed-forward network: ``build(width, hidden)``, ``call(x)`` with x ``(B, T, D)``.

Parameters ``inner.weight`` ``(hidden, D)``, ``inner.bias``, ``outer.weight`` ``(D, hidden)``, ``outer.bias``. Traits:
``gelu`` names the activation, where it is not the paper's; ``no-biases``: the maps have none.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Instance
from errata.candidates.candidate import Scalar
from errata.checks import modules, oracles, precision
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import SRIVASTAVA, VASWANI
from errata.checks.modules import ModuleCase, answers
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class FeedForwardCase(ModuleCase):
    """One call."""

    batch: int = 1
    positions: int = 1
    width: int = 1
    hidden: int = 1

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"width": self.width, "hidden": self.hidden}

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call: all drawn."""
        return {"x": self.x()}

    def x(self, name: str = "x") -> Tensor:
        """Drawn contents."""
        return self.normal(name, self.batch, self.positions, self.width)

    def weights(self, candidate: Candidate) -> dict[str, Tensor]:
        """Drawn parameters, those that the candidate has."""
        maps = {
            "inner.weight": self.normal("inner.weight", self.hidden, self.width),
            "outer.weight": self.normal("outer.weight", self.width, self.hidden),
        }
        if "no-biases" in candidate.traits:
            return maps
        biases = {
            "inner.bias": self.normal("inner.bias", self.hidden),
            "outer.bias": self.normal("outer.bias", self.width),
        }
        return maps | biases

    def loaded(self, candidate: Candidate) -> Instance:
        """The module with the drawn parameters."""
        instance = self.build(candidate)
        instance.load(self.weights(candidate))
        return instance


DOMAIN = {"batch": (1, 2, 3), "positions": (1, 2, 4), "width": (1, 2, 3, 4), "hidden": (1, 2, 5, 7)}

LARGE = DOMAIN | {"batch": (2, 3), "positions": (4, 6), "width": (4, 5), "hidden": (8, 16), "scale": (100.0, 1000.0)}
"""So many entries that a property of some of them shows in every draw."""

EQUATION = VASWANI.says("3.3", "FFN(x) = max(0, xW1 + b1)W2 + b2")
TWO_MAPS = VASWANI.says("3.3", "two linear transformations with a ReLU activation in between")
POSITIONS = VASWANI.says("3.3", "applied to each position separately and identically")
INNER = VASWANI.says("3.3", "the inner-layer has dimensionality dff = 2048")
EVALUATION = SRIVASTAVA.says("1", "use a single neural net at test time without dropout")
RUNS = "feed_forward.accepts-valid-input"
DETERMINISTIC = "feed_forward.evaluation-is-deterministic"
HIDDEN = "feed_forward.hidden-width-is-as-asked"
NONLINEAR = "feed_forward.is-not-linear"
NEGATIVE = "feed_forward.outputs-may-be-negative"
ALONE = "feed_forward.positions-are-independent"


@check(
    RUNS,
    "FFN answers x of shape (B, T, D) with a tensor of the same shape",
    spec=VASWANI.says("3.3", "The dimensionality of input and output is dmodel = 512"),
    level="paper",
    hint="Run it once: the second map leads from the hidden width back to D.",
    case=FeedForwardCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.positions, case.width)


@check(
    DETERMINISTIC,
    "in evaluation no dropout acts: the same input gives the same output",
    spec=EVALUATION,
    level="paper",
    hint="Use nn.Dropout, or pass training=self.training to F.dropout.",
    case=FeedForwardCase,
    domain=LARGE,
    builds_on=[RUNS],
)
def evaluation_is_deterministic(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    return modules.is_deterministic(candidate, case)


@check(
    HIDDEN,
    "W1 maps D features to the hidden width, and W2 maps them back",
    spec=INNER,
    level="paper",
    hint="Pass the hidden width to the first map's outputs and the second map's inputs.",
    case=FeedForwardCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS],
)
def hidden_width_is_as_asked(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    state = case.build(candidate).state()
    expected = {name: list(value.shape) for name, value in case.weights(candidate).items()}
    actual = {name: list(state[name].shape) for name in expected if name in state}
    return holds(actual == expected, expected=expected, actual=actual)


@check(
    ALONE,
    "each position is mapped by itself, all by the same function: the last one gets the same output alone",
    spec=POSITIONS,
    level="paper",
    hint="Apply the linear maps to the last axis, without flattening positions into features.",
    case=FeedForwardCase,
    domain=DOMAIN,
    builds_on=[DETERMINISTIC],
)
def positions_are_independent(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    x = case.x()
    together, alone = answers(candidate, case, {"x": x}, {"x": x[-1:, -1:]})
    return equal(alone, together[-1:, -1:])


@check(
    NONLINEAR,
    "an activation stands between the two maps: f(x + y) + f(0) = f(x) + f(y) does not hold everywhere",
    spec=TWO_MAPS,
    level="paper",
    hint="Without an activation the two maps are one linear map: apply it between them, and use its result.",
    case=FeedForwardCase,
    domain=LARGE,
    builds_on=[RUNS],
)
def is_not_linear(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    x, y = case.x(), case.x("y")
    both, neither, first, second = answers(
        candidate, case, {"x": x + y}, {"x": torch.zeros_like(x)}, {"x": x}, {"x": y}
    )
    gap = (both + neither - first - second).abs().max().item()
    return holds(gap > 1e-3, expected="f(x + y) + f(0) differs from f(x) + f(y) somewhere", actual="equal everywhere")


@check(
    NEGATIVE,
    "no activation follows the second map: some outputs are negative",
    spec=TWO_MAPS,
    level="paper",
    hint="The activation stands between the maps only.",
    case=FeedForwardCase,
    domain=LARGE,
    builds_on=[RUNS],
)
def outputs_may_be_negative(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    lowest, bound = output.min().item(), -0.05 * output.abs().max().item()
    # A smooth activation at the end leaves some numbers between -0.3 and 0: little beside what large inputs give.
    return holds(lowest < bound, expected=f"an output below {bound:.4g}", actual=f"the lowest is {lowest:.4g}")


@check(
    "feed_forward.each-hidden-unit-learns-both-ways",
    "a further hidden unit brings at least 2 D weights that learn: D into it and D out of it",
    spec=INNER,
    level="paper",
    hint="Make both maps in __init__, as attributes and of the width asked for, and detach nothing between them.",
    case=FeedForwardCase,
    domain=LARGE,
    builds_on=[RUNS],
)
def each_hidden_unit_learns_both_ways(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    narrow, wide = (modules.learning(candidate, replace(case, hidden=case.hidden + more)) for more in (0, 1))
    least = 2 * case.width
    return holds(wide - narrow >= least, expected=f"at least {least} numbers more", actual=f"{wide - narrow} more")


@check(
    "feed_forward.adds-nothing-of-its-own",
    "with weights and biases of 0 the output is 0: x itself, or anything else, is added elsewhere",
    spec=EQUATION,
    level="paper",
    hint="The residual connection stands around this network, not in it: take it out here, or it is added twice.",
    case=FeedForwardCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def adds_nothing_of_its_own(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    instance = case.build(candidate)
    modules.silence(instance)
    output = instance.call(case.inputs()).output
    return equal(output, torch.zeros_like(output))


@check(
    "feed_forward.outer-bias-shifts-the-output",
    "b2 is added last: another b2 moves every output by the difference",
    spec=EQUATION,
    level="paper",
    hint="Nothing follows the second map: no activation, no norm.",
    case=FeedForwardCase,
    domain=DOMAIN,
    needs=["weights"],
    unless=["no-biases"],
    builds_on=[HIDDEN],
)
def outer_bias_shifts_the_output(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    instance = case.loaded(candidate)
    before = instance.call(case.inputs()).output
    shift = case.normal("shift", case.width)
    instance.load({"outer.bias": case.weights(candidate)["outer.bias"] + shift})
    expected = before + shift
    return equal(instance.call(case.inputs()).output, expected, scale=max(1.0, before.abs().max().item()))


@check(
    "feed_forward.matches-formula",
    "FFN(x) = max(0, x W1 + b1) W2 + b2",
    spec=EQUATION,
    level="paper",
    hint="Two maps and an activation are there, so compare the activation itself, and what is added.",
    case=FeedForwardCase,
    domain=DOMAIN | {"hidden": (2, 5, 7)},
    needs=["weights"],
    unless=["gelu"],
    builds_on=[HIDDEN, ALONE, NONLINEAR, NEGATIVE],
)
def matches_formula(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    output = case.loaded(candidate).call(case.inputs()).output
    biases = {"inner.bias": torch.zeros(case.hidden), "outer.bias": torch.zeros(case.width)}
    expected = oracles.feed_forward(case.x(), biases | case.weights(candidate))
    return equal(output, torch.from_numpy(expected), scale=10.0)


@check(
    "feed_forward.gradients-reach-parameters",
    "both maps are parameters of the module and learn: each has a gradient",
    spec=EQUATION,
    level="paper",
    hint="Make the maps in __init__, as attributes: in a plain list, or made in forward, they are not registered.",
    case=FeedForwardCase,
    domain=LARGE,
    needs=["weights"],
    builds_on=[RUNS],
)
def gradients_reach_parameters(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    return modules.gradients_reach(candidate, case, *case.weights(candidate))


@check(
    "feed_forward.arguments-are-not-changed",
    "the tensor that is passed in keeps its values",
    spec=EQUATION,
    level="robustness",
    hint="In-place operations belong on results of your own.",
    case=FeedForwardCase,
    domain=LARGE,
    builds_on=[RUNS],
)
def arguments_are_not_changed(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    return modules.arguments_stay(candidate, case)


@check(
    "feed_forward.runs-under-autocast",
    "under autocast to bfloat16 or float16, a float32 module answers as without, to the rounding of that type",
    spec=precision.AUTOCAST,
    level="robustness",
    hint="Linear maps and products come out in the lower type: write none into a tensor of the inputs' type.",
    case=FeedForwardCase,
    domain=DOMAIN | {"dtype": precision.LOWER},
    builds_on=[DETERMINISTIC],
    tolerance=precision.ROUNDINGS,
)
def runs_under_autocast(candidate: Candidate, case: FeedForwardCase) -> Evidence:
    single = replace(case, dtype="float32")
    return precision.under_autocast(single.build(candidate), single.inputs(), case.dtype)
