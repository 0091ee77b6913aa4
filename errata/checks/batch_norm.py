"""Batch normalisation over sequences: ``build(width)``, ``call(x)`` with x ``(B, T, D)``, in training or evaluation.

Parameters ``gain`` and ``bias``, buffers ``mean`` and ``variance``, all ``(D,)``. Neither eps nor the momentum is an
argument, and implementations choose them differently: checks allow any eps up to 1e-3 and any momentum.
A single position in training has no variance; to refuse it and to answer the bias are both legitimate.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, CandidateError, Instance
from errata.candidates.candidate import Scalar
from errata.checks import modules, oracles, precision
from errata.checks.evidence import Evidence, different, equal, holds
from errata.checks.literature import IOFFE, PYTORCH
from errata.checks.modules import ModuleCase, answers
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class BatchNormCase(ModuleCase):
    """One batch."""

    batch: int = 2
    positions: int = 2
    width: int = 1

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"width": self.width}

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call: all drawn."""
        return {"x": self.x()}

    def x(self, name: str = "x") -> Tensor:
        """Contents that are spelt out, or drawn with a different mean in each feature."""
        x = self.normal(name, self.batch, self.positions, self.width)
        return x if name in self.values else x.add_(self.normal(f"mean of {name}", self.width))

    def whole(self) -> Tensor:
        """Contents rounded to whole numbers, which every type holds exactly."""
        return self.x().round_()

    def asked(self, candidate: Candidate) -> precision.Ask:
        """What a new module in float32 answers to a tensor in training and then in evaluation."""
        single = replace(self, dtype="float32")

        def answered(x: Tensor, autocast: str | None) -> Tensor:
            instance = single.build(candidate)
            outputs = [instance.call({"x": x}, training=t, autocast=autocast).output for t in (True, False)]
            return torch.cat(outputs)

        return answered


DOMAIN = {"batch": (2, 3, 4), "positions": (2, 3, 5), "width": (1, 2, 3, 4), "scale": (1.0, 10.0, 100.0)}

WIDE = DOMAIN | {"scale": (10.0, 100.0)}
"""Variances so large that an unknown eps hardly shows."""

WHOLE = DOMAIN | {"scale": (1.0, 3.0), "dtype": precision.LOWER}
"""Numbers of a few digits."""

NEAR = 1e-2 / torch.finfo(torch.float64).eps
"""Tolerance for what is left of it."""

ALGORITHM = IOFFE.says("3, algorithm 1", "Batch Normalizing Transform, applied to activation x over a mini-batch")
PER_FEATURE = IOFFE.says("3", "we will normalize each scalar feature independently")
LOCATIONS = IOFFE.says("3.2", "we jointly normalize all the activations in a mini-batch, over all locations")
INFERENCE = IOFFE.says("3.1", "we want the output to depend only on the input, deterministically")
MOVING = IOFFE.says("3.1", "Using moving averages instead, we can track the accuracy of a model as it trains")
LEARNED = IOFFE.says("3", "These parameters are learned along with the original model parameters")
EPSILON = IOFFE.says("3", "ϵ is a constant added to the mini-batch variance for numerical stability")
RUNS = "batch_norm.accepts-valid-input"
EVALUATES = "batch_norm.accepts-evaluation"
MEAN = "batch_norm.output-mean-is-zero"
VARIANCE = "batch_norm.output-variance-is-one"
BATCH = "batch_norm.statistics-span-the-batch"
POSITIONS = "batch_norm.statistics-span-the-positions"
FEATURES = "batch_norm.features-are-independent"
AFFINE = "batch_norm.evaluation-is-affine"


def trained(instance: Instance, x: Tensor) -> Tensor:
    """The output of one call in training."""
    return instance.call({"x": x}, training=True).output


@check(
    RUNS,
    "in training BatchNorm answers x of shape (B, T, D) with a tensor of the same shape",
    spec=ALGORITHM,
    level="paper",
    hint="Run it once: a missing import, or statistics that do not broadcast (keepdim=True), show at once.",
    case=BatchNormCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: BatchNormCase) -> Evidence:
    shape = (case.batch, case.positions, case.width)
    actual = tuple(trained(case.build(candidate), case.x()).shape)
    return holds(actual == shape, expected=f"shape {shape}", actual=f"shape {actual}")


@check(
    EVALUATES,
    "in evaluation BatchNorm answers every batch, one position alone among them, with a tensor of the same shape",
    spec=INFERENCE,
    level="paper",
    hint="Evaluation needs no variance of the batch.",
    case=BatchNormCase,
    domain=DOMAIN | {"batch": (1, 2, 3), "positions": (1, 2, 5)},
)
def accepts_evaluation(candidate: Candidate, case: BatchNormCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.positions, case.width)


@check(
    MEAN,
    "in training, before any step, each feature has mean 0 over all positions of all examples",
    spec=IOFFE.says("3", "by making it have the mean of zero and the variance of 1"),
    level="paper",
    hint="Subtract the mean over batch and time, dim=(0, 1), which leaves one number for each feature.",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def output_mean_is_zero(candidate: Candidate, case: BatchNormCase) -> Evidence:
    mean = trained(case.build(candidate), case.x()).mean(dim=(0, 1))
    return equal(mean, torch.zeros_like(mean), scale=1e4)


@check(
    VARIANCE,
    "in training, before any step, each feature has mean square 1: the variance is biased, sum (x - mean)^2 / (B T)",
    spec=IOFFE.says("3", "by making it have the mean of zero and the variance of 1"),
    level="paper",
    hint="Divide the sum of squares by the number of positions n, not by n - 1 (torch: unbiased=False).",
    case=BatchNormCase,
    domain=WIDE,
    builds_on=[RUNS],
    tolerance=NEAR,
)
def output_variance_is_one(candidate: Candidate, case: BatchNormCase) -> Evidence:
    variance = trained(case.build(candidate), case.x()).square().mean(dim=(0, 1))
    return equal(variance, torch.ones_like(variance))


@check(
    BATCH,
    "in training the statistics span the batch: another last example changes the first example's output",
    spec=IOFFE.says("3", "depends both on the training example and the other examples in the mini-batch"),
    level="paper",
    hint="Take mean and variance over the batch axis as well, dim=(0, 1).",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def statistics_span_the_batch(candidate: Candidate, case: BatchNormCase) -> Evidence:
    x = case.x()
    moved = x.clone()
    moved[-1] = case.x("other")[-1]
    first, second = (trained(case.build(candidate), batch)[0] for batch in (x, moved))
    return different(second, first, expected="an output that depends on the other examples", by=1e-9)


@check(
    POSITIONS,
    "in training the statistics span the positions: another last position changes the first position's output",
    spec=LOCATIONS,
    level="paper",
    hint="Take mean and variance over the time axis as well, dim=(0, 1).",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def statistics_span_the_positions(candidate: Candidate, case: BatchNormCase) -> Evidence:
    x = case.x()
    moved = x.clone()
    moved[:, -1] = case.x("other")[:, -1]
    first, second = (trained(case.build(candidate), batch)[:, 0] for batch in (x, moved))
    return different(second, first, expected="an output that depends on the other positions", by=1e-9)


@check(
    FEATURES,
    "in training each feature is normalised by itself: another last feature changes no other feature's output",
    spec=PER_FEATURE,
    level="paper",
    hint="Take no mean over the last axis: that is layer normalisation.",
    case=BatchNormCase,
    domain=DOMAIN | {"width": (2, 3, 4)},
    builds_on=[RUNS],
)
def features_are_independent(candidate: Candidate, case: BatchNormCase) -> Evidence:
    x = case.x()
    moved = x.clone()
    moved[..., -1] = case.x("other")[..., -1]
    first, second = (trained(case.build(candidate), batch)[..., :-1] for batch in (x, moved))
    return equal(second, first)


@check(
    "batch_norm.matches-formula",
    "in training, before any step, BatchNorm(x) = (x - mean) / sqrt(variance + eps) for some small eps",
    spec=ALGORITHM,
    level="paper",
    hint="Mean and variance are right, so compare signs.",
    case=BatchNormCase,
    domain=WIDE,
    builds_on=[MEAN, VARIANCE, BATCH, POSITIONS, FEATURES],
    tolerance=NEAR,
)
def matches_formula(candidate: Candidate, case: BatchNormCase) -> Evidence:
    expected = torch.from_numpy(oracles.normalised(case.x(), axes=(0, 1), eps=0.0))
    return equal(trained(case.build(candidate), case.x()), expected)


@check(
    "batch_norm.gain-and-bias-act-per-feature",
    "each feature has its own gain g and bias b: BatchNorm(x; g, b) = g * BatchNorm(x; 1, 0) + b",
    spec=IOFFE.says("3", "which scale and shift the normalized value"),
    level="paper",
    hint="gain and bias have shape (D,); multiply after the division, then add.",
    case=BatchNormCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS],
)
def gain_and_bias_act_per_feature(candidate: Candidate, case: BatchNormCase) -> Evidence:
    gain, bias = case.normal("gain", case.width), case.normal("bias", case.width)
    instance = case.build(candidate)
    plain = trained(instance, case.x())
    instance.load({"gain": gain, "bias": bias})
    return equal(trained(instance, case.x()), gain * plain + bias)


@check(
    "batch_norm.gradients-reach-parameters",
    "gain and bias are parameters that learn: each has a gradient",
    spec=LEARNED,
    level="paper",
    hint="Wrap them in nn.Parameter and use them in forward.",
    case=BatchNormCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[EVALUATES],
)
def gradients_reach_parameters(candidate: Candidate, case: BatchNormCase) -> Evidence:
    return modules.gradients_reach(candidate, case, "gain", "bias")


@check(
    "batch_norm.gradient-accounts-for-the-statistics",
    "mean and variance depend on x: since a common shift of a feature changes nothing, its gradient sums to 0",
    spec=IOFFE.says("2", "account for the normalization, and for its dependence on the model parameters"),
    level="paper",
    hint="Detach the running statistics only, not the batch's mean and variance.",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[MEAN],
)
def gradient_accounts_for_the_statistics(candidate: Candidate, case: BatchNormCase) -> Evidence:
    reply = case.build(candidate).call(case.inputs(), training=True, cotangent=case.x("cotangent"))
    total = reply.gradients["x"].sum(dim=(0, 1))
    return equal(total, torch.zeros_like(total), scale=1e4 * max(1.0, reply.gradients["x"].abs().max().item()))


@check(
    "batch_norm.evaluation-does-not-depend-on-the-batch",
    "in evaluation an example gets the same output alone as in a batch",
    spec=INFERENCE,
    level="paper",
    hint="In evaluation use the running statistics, not the batch's.",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[EVALUATES],
)
def evaluation_does_not_depend_on_the_batch(candidate: Candidate, case: BatchNormCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    AFFINE,
    "in evaluation the statistics are constants, so the layer is affine: f(x + y) + f(0) = f(x) + f(y)",
    spec=IOFFE.says(
        "3.1",
        "Since the means and variances are fixed during inference, the normalization is simply a linear transform",
    ),
    level="paper",
    hint="Keep running statistics in training (register_buffer), and use them in evaluation.",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[EVALUATES],
)
def evaluation_is_affine(candidate: Candidate, case: BatchNormCase) -> Evidence:
    x, y = case.x(), case.x("y")
    both, neither, first, second = answers(
        candidate, case, {"x": x + y}, {"x": torch.zeros_like(x)}, {"x": x}, {"x": y}
    )
    return equal(both + neither, first + second, scale=10 * case.scale)


@check(
    "batch_norm.fresh-evaluation-is-the-identity",
    "before any training the running mean is 0 and the variance 1: evaluation answers x / sqrt(1 + eps), almost x",
    spec=PYTORCH.says("torch.nn.BatchNorm1d", "which are then used for normalization during evaluation"),
    level="convention",
    hint="Start the buffers with zeros and ones, and use them in evaluation instead of the batch's own statistics.",
    case=BatchNormCase,
    domain=DOMAIN | {"batch": (1, 2, 3)},
    builds_on=[EVALUATES],
    tolerance=NEAR,
)
def fresh_evaluation_is_the_identity(candidate: Candidate, case: BatchNormCase) -> Evidence:
    x = case.x()
    return equal(case.build(candidate).call({"x": x}).output, x)


@check(
    "batch_norm.training-moves-the-mean",
    "training moves the running mean towards the batch's: afterwards evaluation centres that batch better",
    spec=MOVING,
    level="paper",
    hint="In training: mean = (1 - momentum) * mean + momentum * batch_mean, written to the buffer itself.",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[RUNS, AFFINE],
)
def training_moves_the_mean(candidate: Candidate, case: BatchNormCase) -> Evidence:
    x = torch.from_numpy(oracles.normalised(case.x(), axes=(0, 1), eps=0.0)) + 5.0
    # In deviations, so that what becomes of the variance plays no part.
    before, after = (
        output.mean(dim=(0, 1)).abs() / output.std(dim=(0, 1), correction=0)
        for output in _around_training(candidate, case, x)
    )
    return holds(
        bool((after < before - 1e-6).all()),
        expected=f"a mean closer to 0 than {before.max().item():.4g} deviations, as before training",
        actual=f"{after.max().item():.4g}",
    )


@check(
    "batch_norm.training-moves-the-variance",
    "training moves the running variance towards the batch's: afterwards evaluation scales that batch better",
    spec=MOVING,
    level="paper",
    hint="In training: variance = (1 - momentum) * variance + momentum * batch_variance, written to the buffer itself.",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[RUNS, AFFINE],
)
def training_moves_the_variance(candidate: Candidate, case: BatchNormCase) -> Evidence:
    x = 10.0 * torch.from_numpy(oracles.normalised(case.x(), axes=(0, 1), eps=0.0))
    before, after = (output.std(dim=(0, 1), correction=0) for output in _around_training(candidate, case, x))
    return holds(
        bool((after < before - 1e-6).all()),
        expected=f"a deviation closer to 1 than {before.max().item():.4g}, as before training",
        actual=f"{after.max().item():.4g}",
    )


def _around_training(candidate: Candidate, case: BatchNormCase, x: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs in evaluation before and after three steps of training, with the same batch throughout."""
    instance = case.build(candidate)
    before = instance.call({"x": x}).output
    for _ in range(3):
        trained(instance, x)
    return before, instance.call({"x": x}).output


@check(
    "batch_norm.evaluation-learns-nothing",
    "evaluation leaves the running statistics alone: a batch in between changes no later output",
    spec=IOFFE.says("3.1", "the means and variances are fixed during inference"),
    level="paper",
    hint="Update the running statistics only if self.training.",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[EVALUATES],
)
def evaluation_learns_nothing(candidate: Candidate, case: BatchNormCase) -> Evidence:
    before, _, after = answers(candidate, case, case.inputs(), {"x": 5 + case.x("other")}, case.inputs())
    return equal(after, before)


@check(
    "batch_norm.momentum-is-one-tenth",
    "the first step moves the running mean from 0 by a tenth of the way: mean = 0.1 * batch_mean",
    spec=PYTORCH.says("torch.nn.BatchNorm1d", "momentum of 0.1"),
    level="convention",
    hint="torch weighs the new batch by momentum; others weigh the past by it, as 0.9 or 0.99.",
    case=BatchNormCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS, AFFINE],
)
def momentum_is_one_tenth(candidate: Candidate, case: BatchNormCase) -> Evidence:
    mean, _ = _statistics_after_one_step(candidate, case)
    return equal(mean, 0.1 * case.x().mean(dim=(0, 1)), scale=case.scale)


@check(
    "batch_norm.running-variance-is-unbiased",
    "the running variance follows the unbiased variance of the batch, sum (x - mean)^2 / (n - 1)",
    spec=IOFFE.says("3.1", "unbiased variance estimate"),
    level="convention",
    hint="Normalise with the biased variance, and keep n / (n - 1) times as much for evaluation.",
    case=BatchNormCase,
    domain=DOMAIN,
    needs=["weights"],
    builds_on=[RUNS, AFFINE],
)
def running_variance_is_unbiased(candidate: Candidate, case: BatchNormCase) -> Evidence:
    mean, variance = _statistics_after_one_step(candidate, case)
    batch = case.x().flatten(0, 1)
    step = (mean / batch.mean(dim=0)).mean()  # the momentum, whatever it is
    return equal(variance, 1 + step * (batch.var(dim=0, correction=1) - 1), scale=1e4 * case.scale**2)


def _statistics_after_one_step(candidate: Candidate, case: BatchNormCase) -> tuple[Tensor, Tensor]:
    instance = case.build(candidate)
    trained(instance, case.x())
    state = instance.state()
    missing = [name for name in ("mean", "variance") if name not in state]
    if missing:
        raise CandidateError("KeyError", f"no buffer {', '.join(missing)}; there are: {', '.join(state)}")
    return state["mean"], state["variance"]


@check(
    "batch_norm.arguments-are-not-changed",
    "the tensor that is passed in keeps its values",
    spec=ALGORITHM,
    level="robustness",
    hint="x = x - mean makes a new tensor; x -= mean overwrites the caller's.",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def arguments_are_not_changed(candidate: Candidate, case: BatchNormCase) -> Evidence:
    return equal(case.build(candidate).call(case.inputs(), training=True).arguments["x"], case.x())


@check(
    "batch_norm.constant-feature-is-finite",
    "a feature that is the same at every position has variance 0 and gives the bias, 0 before any step",
    spec=EPSILON,
    level="robustness",
    hint="Without eps it is 0/0.",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def constant_feature_is_finite(candidate: Candidate, case: BatchNormCase) -> Evidence:
    x = case.x()
    x.copy_(x[:1, :1].clone())
    output = trained(case.build(candidate), x)
    return equal(output, torch.zeros_like(output), scale=1e6 * case.scale)


@check(
    "batch_norm.accepts-a-matrix",
    "positions without a time axis, (N, D), are normalised as the same positions in a batch",
    spec=PYTORCH.says("torch.nn.BatchNorm1d", "over a 2D or 3D input"),
    level="robustness",
    hint="Take the statistics over all axes but the last.",
    case=BatchNormCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def accepts_a_matrix(candidate: Candidate, case: BatchNormCase) -> Evidence:
    sequences = trained(case.build(candidate), case.x()).flatten(0, 1)
    return equal(trained(case.build(candidate), case.x().flatten(0, 1)), sequences)


@check(
    "batch_norm.survives-a-large-mean",
    "in float32, a feature that varies by 1 around a mean of 4096 is normalised as exactly as its digits allow",
    spec=ALGORITHM,
    level="robustness",
    hint="Centre first: mean(x^2) - mean(x)^2 cancels.",
    case=BatchNormCase,
    domain=DOMAIN | {"batch": (3, 4), "positions": (3, 5), "scale": (1.0,), "dtype": ("float32",)},
    builds_on=[VARIANCE],
)
def survives_a_large_mean(candidate: Candidate, case: BatchNormCase) -> Evidence:
    x = case.x()
    x[x < 2048] += 4096.0  # what is spelt out may contain it already
    return equal(
        trained(case.build(candidate), x), torch.from_numpy(oracles.normalised(x, (0, 1), eps=0.0)), scale=4096.0
    )


@check(
    "batch_norm.runs-under-autocast",
    "under autocast to bfloat16 or float16, a float32 module answers as without, also to an input of the lower type",
    spec=precision.AUTOCAST,
    level="robustness",
    hint="A linear map before it gives x in the lower type: convert x, or what is made of it, to the parameters' type.",
    case=BatchNormCase,
    domain=WHOLE,
    builds_on=[RUNS],
    tolerance=precision.ROUNDINGS,
)
def runs_under_autocast(candidate: Candidate, case: BatchNormCase) -> Evidence:
    return precision.after_a_linear_map(case.asked(candidate), case.whole(), case.dtype)


@check(
    "batch_norm.accepts-input-of-another-precision",
    "a float32 module answers bfloat16 and float16 as the same numbers in float32, to the rounding of that type",
    spec=precision.ARITHMETIC,
    level="robustness",
    hint="Compute in float32 at least, x.to(torch.promote_types(x.dtype, torch.float32)), and cast the result back.",
    case=BatchNormCase,
    domain=WHOLE,
    builds_on=[RUNS],
    tolerance=precision.ROUNDINGS,
)
def accepts_input_of_another_precision(candidate: Candidate, case: BatchNormCase) -> Evidence:
    return precision.to_the_lower_type(case.asked(candidate), case.whole(), case.dtype)


@check(
    "batch_norm.half-precision-statistics-stay-finite",
    "in float16, 300 and -300, whose variance overflows, become 1 and -1 in training, and are told apart in evaluation",
    spec=precision.ARITHMETIC,
    level="robustness",
    hint="Compute mean and variance in float32. An infinite running variance makes every later evaluation 0.",
    case=BatchNormCase,
    domain=DOMAIN | {"batch": (2, 4), "scale": (1.0,), "dtype": ("float16",)},
    builds_on=[RUNS],
    tolerance=precision.ROUNDINGS,
)
def half_precision_statistics_stay_finite(candidate: Candidate, case: BatchNormCase) -> Evidence:
    x = case.x()
    x[::2], x[1::2] = 300.0, -300.0
    instance = case.build(candidate)
    outputs = trained(instance, x), instance.call({"x": x}).output
    # By how much one step moves the running statistics is left open: what is left to compare is the sign.
    signs = outputs[0], outputs[1] / outputs[1].abs().amax(dim=(0, 1)).clamp(min=1e-3)
    return max((equal(output, x.sign()) for output in signs), key=lambda seen: seen.deviation)
