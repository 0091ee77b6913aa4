"""Root mean square normalisation: ``build(width, eps)``, ``call(x)`` with x ``(B, T, D)``.

Parameter ``gain``, ``(D,)``. The checks run in float32: many implementations compute the mean square in it whatever
they are given.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.candidates.candidate import Scalar
from errata.checks import modules, oracles
from errata.checks.evidence import Evidence, equal, finite
from errata.checks.literature import BA, PYTORCH, ZHANG
from errata.checks.modules import ModuleCase, answers
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class RMSNormCase(ModuleCase):
    """One call."""

    batch: int = 1
    positions: int = 1
    width: int = 3
    eps: float = 1e-9
    dtype: str = "float32"

    def config(self) -> dict[str, Scalar]:
        """See `ModuleCase.config`."""
        return {"width": self.width, "eps": self.eps}

    def inputs(self) -> dict[str, Argument]:
        """See `ModuleCase.inputs`."""
        return {"x": self.x()}

    def x(self) -> Tensor:
        """Drawn contents, with a mean of its own in each position, and never a row that is almost 0."""
        x = self.normal("x", self.batch, self.positions, self.width)
        return x + self.scale * torch.where(x.mean(dim=-1, keepdim=True) < 0, -1.0, 1.0).to(x.dtype)

    def cotangent(self) -> Tensor:
        """Of the output."""
        return self.normal("cotangent", self.batch, self.positions, self.width)


DOMAIN = {
    "batch": (1, 2, 3),
    "positions": (1, 2, 4),
    "width": (3, 5, 8),
    "eps": (1e-9, 1e-12),
    "scale": (1.0, 10.0, 100.0),
}

EQUATION = ZHANG.says("4, equation 4", "regularizes the summed inputs simply according to the root mean square")
RESCALING = ZHANG.says("abstract", "giving the model re-scaling invariance property")
NO_MEAN = ZHANG.says("4", "RMSNorm simplifies LayerNorm by totally removing the mean statistic")
GAIN = ZHANG.says("3", "is the gain parameter used to re-scale the standardized summed inputs")
LAST_AXIS = PYTORCH.says("torch.nn.RMSNorm", "The RMS is taken over the last D dimensions")
STABILITY = PYTORCH.says("torch.nn.RMSNorm", "a value added to the denominator for numerical stability")

RUNS = "rms_norm.accepts-valid-input"
SIZE = "rms_norm.output-mean-square-is-one"
ALONE = "rms_norm.positions-are-independent"


@check(
    RUNS,
    "RMSNorm answers x of shape (B, T, D) with a tensor of the same shape",
    spec=EQUATION,
    level="paper",
    hint="Run it once: a missing import, or a mean square that does not broadcast (keepdim=True), shows at once.",
    case=RMSNormCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: RMSNormCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.positions, case.width)


@check(
    SIZE,
    "before training, the output at each position has mean square 1",
    spec=EQUATION,
    level="paper",
    hint="Divide by the root of the mean of the squares over the last axis: not by their sum, nor without the root.",
    case=RMSNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def output_mean_square_is_one(candidate: Candidate, case: RMSNormCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    mean_square = output.square().mean(dim=-1)
    return equal(mean_square, torch.ones_like(mean_square))


@check(
    ALONE,
    "each position is normalised by itself: the last position of the last example gets the same output alone",
    spec=LAST_AXIS,
    level="convention",
    hint="Take the mean square over the last axis only.",
    case=RMSNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def positions_are_independent(candidate: Candidate, case: RMSNormCase) -> Evidence:
    x = case.x()
    together, alone = answers(candidate, case, {"x": x}, {"x": x[-1:, -1:]})
    return equal(alone, together[-1:, -1:])


@check(
    "rms_norm.mean-is-not-subtracted",
    "a position whose features all equal c gives c / |c|: its mean stays",
    spec=NO_MEAN,
    level="paper",
    hint="Divide x itself, not x - mean; and take the mean of the squares, not the variance.",
    case=RMSNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def mean_is_not_subtracted(candidate: Candidate, case: RMSNormCase) -> Evidence:
    x = case.x()[..., :1].expand(-1, -1, case.width)
    x = x + x.sign() * case.scale  # away from 0
    (output,) = answers(candidate, case, {"x": x})
    return equal(output, x.sign())


@check(
    "rms_norm.scale-is-normalised-away",
    "k x gives what x gives, for any k > 0",
    spec=RESCALING,
    level="paper",
    hint="The root mean square must grow as x does: take the root, and square x itself.",
    case=RMSNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def scale_is_normalised_away(candidate: Candidate, case: RMSNormCase) -> Evidence:
    x = case.x()
    output, rescaled = answers(candidate, case, {"x": x}, {"x": 16.0 * x})
    return equal(rescaled, output)


@check(
    "rms_norm.matches-formula",
    "RMSNorm(x) = x / sqrt(mean(x^2) + eps) before training",
    spec=EQUATION,
    level="paper",
    hint="The size of the output is right, so compare signs.",
    case=RMSNormCase,
    domain=DOMAIN,
    builds_on=[SIZE, ALONE],
)
def matches_formula(candidate: Candidate, case: RMSNormCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    return equal(output, torch.from_numpy(oracles.root_mean_square_normalised(case.x(), case.eps)))


@check(
    "rms_norm.eps-stands-inside-the-root",
    "where the mean square is far below eps, x / sqrt(mean(x^2) + eps) is x / sqrt(eps)",
    spec=PYTORCH.says("torch.nn.RMSNorm", r"\text{RMS}(x) = \sqrt{\epsilon + \frac{1}{n} \sum_{i=1}^{n} x_i^2}"),
    level="convention",
    hint="Write sqrt(mean(x^2) + eps), not sqrt(mean(x^2)) + eps.",
    case=RMSNormCase,
    domain=DOMAIN | {"scale": (1e-6, 1e-5), "eps": (1e-2, 1e-3)},
    builds_on=[RUNS],
)
def eps_stands_inside_the_root(candidate: Candidate, case: RMSNormCase) -> Evidence:
    x = case.x()
    (output,) = answers(candidate, case, {"x": x})
    return equal(output * case.eps**0.5 / case.scale, x / case.scale)


@check(
    "rms_norm.gain-acts-per-feature",
    "each feature has its own gain g: RMSNorm(x; g) = g * RMSNorm(x; 1)",
    spec=GAIN,
    level="paper",
    hint="gain has shape (D,), starts at 1, and multiplies after the division.",
    case=RMSNormCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS],
)
def gain_acts_per_feature(candidate: Candidate, case: RMSNormCase) -> Evidence:
    gain = case.normal("gain", case.width)
    instance = case.build(candidate)
    plain = instance.call(case.inputs()).output
    instance.load({"gain": gain})
    return equal(instance.call(case.inputs()).output, gain * plain)


@check(
    "rms_norm.has-no-bias",
    "whatever the parameters are, a row of zeros stays zero: there is a gain, and nothing is added",
    spec=EQUATION,
    level="convention",
    hint="Leave the bias out: x / RMS(x) * gain.",
    case=RMSNormCase,
    domain=DOMAIN | {"eps": (1e-5, 1e-3)},
    builds_on=[RUNS],
)
def has_no_bias(candidate: Candidate, case: RMSNormCase) -> Evidence:
    instance = case.build(candidate)
    modules.filled(instance, case)
    nothing = torch.zeros_like(case.x())
    return equal(instance.call({"x": nothing}).output, nothing, scale=1.0)


@check(
    "rms_norm.gradients-reach-parameters",
    "the gain is a parameter that learns: it has a gradient",
    spec=GAIN,
    level="paper",
    hint="Wrap it in nn.Parameter and use it in forward.",
    case=RMSNormCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS],
)
def gradients_reach_parameters(candidate: Candidate, case: RMSNormCase) -> Evidence:
    return modules.gradients_reach(candidate, case, "gain")


@check(
    "rms_norm.gradient-accounts-for-the-statistics",
    "the root mean square depends on x: longer x changes nothing, so the gradient has no part along x",
    spec=RESCALING,
    level="paper",
    hint="Do not detach the mean square, nor compute it under no_grad.",
    case=RMSNormCase,
    domain=DOMAIN,
    builds_on=["rms_norm.scale-is-normalised-away"],
)
def gradient_accounts_for_the_statistics(candidate: Candidate, case: RMSNormCase) -> Evidence:
    gradient = case.build(candidate).call(case.inputs(), cotangent=case.cotangent()).gradients["x"]
    along = (gradient * case.x()).sum(dim=-1)
    return equal(along, torch.zeros_like(along), scale=case.cotangent().abs().sum().item())


@check(
    "rms_norm.training-equals-evaluation",
    "RMSNorm does the same in training as in evaluation, call after call",
    spec=BA.says("abstract", "layer normalization performs exactly the same computation at training and test times"),
    level="convention",
    hint="No running statistics and no dropout.",
    case=RMSNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def training_equals_evaluation(candidate: Candidate, case: RMSNormCase) -> Evidence:
    instance = case.build(candidate)
    training = instance.call(case.inputs(), training=True, seed=1).output
    return equal(instance.call(case.inputs()).output, training)


@check(
    "rms_norm.arguments-are-not-changed",
    "the tensor that is passed in keeps its values",
    spec=EQUATION,
    level="robustness",
    hint="x = x / rms makes a new tensor; x /= rms overwrites the caller's.",
    case=RMSNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def arguments_are_not_changed(candidate: Candidate, case: RMSNormCase) -> Evidence:
    return modules.arguments_stay(candidate, case)


@check(
    "rms_norm.zero-row-gives-zero",
    "a position whose features are all 0 gives 0",
    spec=STABILITY,
    level="robustness",
    hint="Without eps it is 0/0.",
    case=RMSNormCase,
    domain=DOMAIN | {"eps": (1e-5, 1e-3)},
    builds_on=[RUNS],
)
def zero_row_gives_zero(candidate: Candidate, case: RMSNormCase) -> Evidence:
    nothing = torch.zeros_like(case.x())
    (output,) = answers(candidate, case, {"x": nothing})
    return equal(output, nothing, scale=1.0)


@check(
    "rms_norm.gradient-at-a-zero-row-is-finite",
    "a position whose features are all 0 has a finite gradient",
    spec=STABILITY,
    level="robustness",
    hint="The root has an infinite slope at 0: eps under the root keeps the gradient away from it.",
    case=RMSNormCase,
    domain=DOMAIN | {"eps": (1e-5, 1e-3)},
    builds_on=[RUNS],
)
def gradient_at_a_zero_row_is_finite(candidate: Candidate, case: RMSNormCase) -> Evidence:
    reply = case.build(candidate).call({"x": torch.zeros_like(case.x())}, cotangent=case.cotangent())
    return finite(reply.gradients["x"])


@check(
    "rms_norm.accepts-a-matrix",
    "positions without a batch, (T, D), are normalised as in a batch of one",
    spec=LAST_AXIS,
    level="robustness",
    hint="Count axes from the end: dim=-1, not dim=2.",
    case=RMSNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def accepts_a_matrix(candidate: Candidate, case: RMSNormCase) -> Evidence:
    x = case.x()
    inside, matrix = answers(candidate, case, {"x": x[:1]}, {"x": x[0]})
    return equal(matrix, inside[0])


@check(
    "rms_norm.survives-half-precision",
    "in float16, features of size 1000, whose squares overflow, are normalised to rounding",
    spec=EQUATION,
    level="robustness",
    hint="Compute the mean square in float32 and cast the result back.",
    case=RMSNormCase,
    domain=DOMAIN | {"scale": (1000.0,), "eps": (1e-5,), "dtype": ("float16",)},
    builds_on=[SIZE],
    tolerance=16.0,
)
def survives_half_precision(candidate: Candidate, case: RMSNormCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    return equal(output, torch.from_numpy(oracles.root_mean_square_normalised(case.x(), case.eps)))


@check(
    "rms_norm.keeps-its-type",
    "a norm of one floating type answers in that type",
    spec=LAST_AXIS,
    level="robustness",
    hint="Cast the result back to the type of x.",
    case=RMSNormCase,
    domain=DOMAIN | {"dtype": ("bfloat16", "float64")},
    builds_on=[RUNS],
)
def keeps_its_type(candidate: Candidate, case: RMSNormCase) -> Evidence:
    return modules.keeps_dtype(candidate, case)
