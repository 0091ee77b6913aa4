"""Layer normalisation: ``build(width, eps)``, ``call(x)`` with x ``(B, T, D)``.

Parameters ``gain`` and ``bias``, both ``(D,)``.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.candidates.candidate import Scalar
from errata.checks import modules, oracles, precision
from errata.checks.evidence import Evidence, equal, finite
from errata.checks.literature import BA, IOFFE, PYTORCH
from errata.checks.modules import ModuleCase, answers
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class LayerNormCase(ModuleCase):
    """One call."""

    batch: int = 1
    positions: int = 1
    width: int = 3
    eps: float = 1e-9

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"width": self.width, "eps": self.eps}

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call: all drawn."""
        return {"x": self.x()}

    def x(self) -> Tensor:
        """Contents that are spelt out, or drawn with a different mean in each position."""
        x = self.normal("x", self.batch, self.positions, self.width)
        return x if "x" in self.values else x.add_(self.normal("mean", self.batch, self.positions, 1))

    def whole(self) -> Tensor:
        """Contents rounded to whole numbers, which every type holds exactly."""
        return self.x().round_()

    def asked(self, candidate: Candidate) -> precision.Ask:
        """What a module in float32 answers to a tensor, under autocast or without."""
        instance = replace(self, dtype="float32").build(candidate)
        return lambda x, autocast: instance.call({"x": x}, autocast=autocast).output


DOMAIN = {
    "batch": (1, 2, 3),
    "positions": (1, 2, 4),
    "width": (3, 5, 8),  # two features may be almost equal, and then the result is noise
    "eps": (1e-9, 1e-12),
    "scale": (1.0, 10.0, 100.0),
}

WHOLE = DOMAIN | {"eps": (1e-5,), "scale": (1.0, 3.0), "dtype": precision.LOWER}
"""Numbers of a few digits, and an eps that float16 still holds."""

ALMOST = 1e-5 / torch.finfo(torch.float64).eps
"""Tolerance where eps, tiny as it is, has a part in the result."""

EQUATION = BA.says("3, equation 3", "where H denotes the number of hidden units in a layer")
SINGLE_CASE = BA.says("abstract", "from all of the summed inputs to the neurons in a layer on a single training case")
ADAPTIVE = BA.says("abstract", "we also give each neuron its own adaptive bias and gain")
EPSILON = IOFFE.says("3", "ϵ is a constant added to the mini-batch variance for numerical stability")
RUNS = "layer_norm.accepts-valid-input"
MEAN = "layer_norm.output-mean-is-zero"
VARIANCE = "layer_norm.output-variance-is-one"
ALONE = "layer_norm.positions-are-independent"


@check(
    RUNS,
    "LayerNorm answers x of shape (B, T, D) with a tensor of the same shape",
    spec=SINGLE_CASE,
    level="paper",
    hint="Run it once: a missing import, or statistics that do not broadcast (keepdim=True), show at once.",
    case=LayerNormCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: LayerNormCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.positions, case.width)


@check(
    MEAN,
    "before training, the output at each position has mean 0 over its features",
    spec=EQUATION,
    level="paper",
    hint="Subtract the mean over the last axis.",
    case=LayerNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def output_mean_is_zero(candidate: Candidate, case: LayerNormCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    mean = output.mean(dim=-1)
    # A row of almost equal numbers has a mean that is rounding noise, amplified.
    return equal(mean, torch.zeros_like(mean), scale=1e4)


@check(
    VARIANCE,
    "before training, the output at each position has mean square 1: the variance is biased, sum (x - mean)^2 / D",
    spec=EQUATION,
    level="paper",
    hint="Divide the sum of squares by D, not D - 1 (torch: unbiased=False), and divide by its root.",
    case=LayerNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
    tolerance=ALMOST,
)
def output_variance_is_one(candidate: Candidate, case: LayerNormCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    variance = output.square().mean(dim=-1)
    return equal(variance, torch.ones_like(variance))


@check(
    ALONE,
    "each position is normalised by itself: the last position of the last example gets the same output alone",
    spec=SINGLE_CASE,
    level="paper",
    hint="Take mean and variance over the last axis only.",
    case=LayerNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def positions_are_independent(candidate: Candidate, case: LayerNormCase) -> Evidence:
    x = case.x()
    together, alone = answers(candidate, case, {"x": x}, {"x": x[-1:, -1:]})
    return equal(alone, together[-1:, -1:], scale=1e4)


@check(
    "layer_norm.matches-formula",
    "LayerNorm(x) = (x - mean) / sqrt(variance + eps) before training, where eps is tiny",
    spec=EQUATION,
    level="paper",
    hint="Mean and variance are right, so compare signs.",
    case=LayerNormCase,
    domain=DOMAIN,
    builds_on=[MEAN, VARIANCE, ALONE],
    tolerance=ALMOST,
)
def matches_formula(candidate: Candidate, case: LayerNormCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    return equal(output, torch.from_numpy(oracles.normalised(case.x(), axes=-1, eps=case.eps)))


@check(
    "layer_norm.eps-stands-inside-the-root",
    "where the variance is far below eps, (x - mean) / sqrt(variance + eps) is (x - mean) / sqrt(eps)",
    spec=EPSILON,
    level="convention",
    hint="Write sqrt(variance + eps), not sqrt(variance) + eps.",
    case=LayerNormCase,
    domain=DOMAIN | {"scale": (1e-6, 1e-5), "eps": (1e-2, 1e-3)},
    builds_on=[RUNS],
    tolerance=ALMOST,
)
def eps_stands_inside_the_root(candidate: Candidate, case: LayerNormCase) -> Evidence:
    x = case.x()
    (output,) = answers(candidate, case, {"x": x})
    centred = x - x.mean(dim=-1, keepdim=True)
    return equal(output * case.eps**0.5 / case.scale, centred / case.scale)


@check(
    "layer_norm.gain-and-bias-act-per-feature",
    "each feature has its own gain g and bias b: LayerNorm(x; g, b) = g * LayerNorm(x; 1, 0) + b",
    spec=ADAPTIVE,
    level="paper",
    hint="gain and bias have shape (D,); multiply after the division, then add.",
    case=LayerNormCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS],
)
def gain_and_bias_act_per_feature(candidate: Candidate, case: LayerNormCase) -> Evidence:
    gain, bias = case.normal("gain", case.width), case.normal("bias", case.width)
    instance = case.build(candidate)
    plain = instance.call(case.inputs()).output
    instance.load({"gain": gain, "bias": bias})
    return equal(instance.call(case.inputs()).output, gain * plain + bias)


@check(
    "layer_norm.gradients-reach-parameters",
    "gain and bias are parameters that learn: each has a gradient",
    spec=ADAPTIVE,
    level="paper",
    hint="Wrap them in nn.Parameter and use them in forward.",
    case=LayerNormCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS],
)
def gradients_reach_parameters(candidate: Candidate, case: LayerNormCase) -> Evidence:
    return modules.gradients_reach(candidate, case, "gain", "bias")


@check(
    "layer_norm.gradient-accounts-for-the-statistics",
    "the statistics depend on x: a common shift of the features changes nothing, so the gradient sums to 0 over them",
    spec=IOFFE.says("2", "account for the normalization, and for its dependence on the model parameters"),
    level="paper",
    hint="Do not detach the mean, nor compute the statistics under no_grad.",
    case=LayerNormCase,
    domain=DOMAIN,
    builds_on=[MEAN],
)
def gradient_accounts_for_the_statistics(candidate: Candidate, case: LayerNormCase) -> Evidence:
    cotangent = case.normal("cotangent", case.batch, case.positions, case.width)
    gradient = case.build(candidate).call(case.inputs(), cotangent=cotangent).gradients["x"]
    total = gradient.sum(dim=-1)
    return equal(total, torch.zeros_like(total), scale=max(1.0, gradient.abs().max().item()))


@check(
    "layer_norm.training-equals-evaluation",
    "LayerNorm does the same in training as in evaluation, call after call",
    spec=BA.says("abstract", "layer normalization performs exactly the same computation at training and test times"),
    level="paper",
    hint="No running statistics and no dropout.",
    case=LayerNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def training_equals_evaluation(candidate: Candidate, case: LayerNormCase) -> Evidence:
    instance = case.build(candidate)
    training = instance.call(case.inputs(), training=True, seed=1).output
    return equal(instance.call(case.inputs()).output, training)


@check(
    "layer_norm.arguments-are-not-changed",
    "the tensor that is passed in keeps its values",
    spec=EQUATION,
    level="robustness",
    hint="x = x - mean makes a new tensor; x -= mean overwrites the caller's.",
    case=LayerNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def arguments_are_not_changed(candidate: Candidate, case: LayerNormCase) -> Evidence:
    return modules.arguments_stay(candidate, case)


@check(
    "layer_norm.constant-row-gives-the-bias",
    "a position whose features are all equal has variance 0 and gives the bias, 0 before training",
    spec=EPSILON,
    level="robustness",
    hint="Without eps it is 0/0.",
    case=LayerNormCase,
    domain=DOMAIN | {"eps": (1e-5, 1e-3)},
    builds_on=[RUNS],
)
def constant_row_gives_the_bias(candidate: Candidate, case: LayerNormCase) -> Evidence:
    x = case.x()
    x[..., 1:] = x[..., :1]
    (output,) = answers(candidate, case, {"x": x})
    return equal(output, torch.zeros_like(output), scale=100 * case.scale / case.eps**0.5)


@check(
    "layer_norm.gradient-at-a-constant-row-is-finite",
    "a position whose features are all equal has a finite gradient",
    spec=EPSILON,
    level="robustness",
    hint="The root has an infinite slope at 0: eps under the root keeps the gradient away from it.",
    case=LayerNormCase,
    domain=DOMAIN | {"eps": (1e-5, 1e-3)},
    builds_on=[RUNS],
)
def gradient_at_a_constant_row_is_finite(candidate: Candidate, case: LayerNormCase) -> Evidence:
    x = torch.full((case.batch, case.positions, case.width), case.scale, dtype=torch.float64)
    return finite(case.build(candidate).call({"x": x}, cotangent=case.x()).gradients["x"])


@check(
    "layer_norm.single-feature-gives-the-bias",
    "with width 1 the variance is 0 and the output is the bias, 0 before training",
    spec=EQUATION,
    level="robustness",
    hint="The unbiased variance of one number is 0/0: divide by D.",
    case=LayerNormCase,
    domain=DOMAIN | {"width": (1,), "eps": (1e-5, 1e-3)},
    builds_on=[RUNS],
)
def single_feature_gives_the_bias(candidate: Candidate, case: LayerNormCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    return equal(output, torch.zeros_like(output))


@check(
    "layer_norm.accepts-a-matrix",
    "positions without a batch, (T, D), are normalised as in a batch of one",
    spec=PYTORCH.says("torch.nn.LayerNorm", "over the last D dimensions"),
    level="robustness",
    hint="Count axes from the end: dim=-1, not dim=2.",
    case=LayerNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def accepts_a_matrix(candidate: Candidate, case: LayerNormCase) -> Evidence:
    x = case.x()
    inside, matrix = answers(candidate, case, {"x": x[:1]}, {"x": x[0]})
    return equal(matrix, inside[0], scale=1e4)


@check(
    "layer_norm.survives-a-large-mean",
    "in float32, features that differ by 1 around a mean of 4096 are normalised as exactly as their digits allow",
    spec=EQUATION,
    level="robustness",
    hint="Centre first: mean(x^2) - mean(x)^2 cancels.",
    case=LayerNormCase,
    domain=DOMAIN | {"width": (5, 8), "scale": (1.0,), "dtype": ("float32",)},
    builds_on=[VARIANCE],
)
def survives_a_large_mean(candidate: Candidate, case: LayerNormCase) -> Evidence:
    x = case.x()
    x[x < 2048] += 4096.0  # what is spelt out may contain it already
    (output,) = answers(candidate, case, {"x": x})
    return equal(output, torch.from_numpy(oracles.normalised(x, axes=-1, eps=case.eps)), scale=4096.0)


@check(
    "layer_norm.survives-half-precision",
    "in float16, features of 1000 and -1000, whose squares overflow, are normalised to rounding",
    spec=EQUATION,
    level="robustness",
    hint="Compute mean and variance in float32 and cast the result back.",
    case=LayerNormCase,
    domain=DOMAIN | {"width": (3, 5, 8), "scale": (1.0,), "eps": (1e-5,), "dtype": ("float16",)},
    builds_on=[VARIANCE],
    tolerance=16.0,
)
def survives_half_precision(candidate: Candidate, case: LayerNormCase) -> Evidence:
    x = case.x()
    x.copy_(torch.where(x > 0, 1000.0, -1000.0))
    x[..., 0], x[..., 1] = 1000.0, -1000.0
    (output,) = answers(candidate, case, {"x": x})
    return equal(output, torch.from_numpy(oracles.normalised(x, axes=-1, eps=case.eps)))


@check(
    "layer_norm.runs-under-autocast",
    "under autocast to bfloat16 or float16, a float32 module answers as without, also to an input of the lower type",
    spec=precision.AUTOCAST,
    level="robustness",
    hint="A linear map before it gives x in the lower type: convert x, or what is made of it, to the parameters' type.",
    case=LayerNormCase,
    domain=WHOLE,
    builds_on=[RUNS],
    tolerance=precision.ROUNDINGS,
)
def runs_under_autocast(candidate: Candidate, case: LayerNormCase) -> Evidence:
    return precision.after_a_linear_map(case.asked(candidate), case.whole(), case.dtype)


@check(
    "layer_norm.accepts-input-of-another-precision",
    "a float32 module answers bfloat16 and float16 as the same numbers in float32, to the rounding of that type",
    spec=precision.ARITHMETIC,
    level="robustness",
    hint="Compute in float32 at least, x.to(torch.promote_types(x.dtype, torch.float32)), and cast the result back.",
    case=LayerNormCase,
    domain=WHOLE,
    builds_on=[RUNS],
    tolerance=precision.ROUNDINGS,
)
def accepts_input_of_another_precision(candidate: Candidate, case: LayerNormCase) -> Evidence:
    return precision.to_the_lower_type(case.asked(candidate), case.whole(), case.dtype)
