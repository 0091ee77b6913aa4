"""An affine quantiser: ``call(seen, values, bits, symmetric, per_channel)``.

It takes its range from ``seen``, quantises ``values``, both ``(R, C)``, to integers of ``bits`` bits, and answers
``output``, the values that the integers stand for, ``integers``, and ``scale`` and ``zero_point``, one number each, or
``per_channel`` one for each of the R rows. Signed and unsigned integers are both legitimate, and so is either way to
round a tie. Checks run in float32, the one type that all quantisers take.

Traits: ``asymmetric-only``, ``symmetric-only`` and ``per-tensor-only`` for one that ignores the choice.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import JACOB, KRISHNAMOORTHI
from errata.checks.registry import check

FAR = 100.0
"""How many times as far from 0 as all that was seen a value lies that must saturate."""


@dataclass(frozen=True, kw_only=True)
class QuantiserCase(Case):
    """Values to quantise, and how.

    Attributes:
        rows: R, the channels.
        columns: C.
        shift: what is added to the values, in their standard deviations.
        bits: of an integer.
        symmetric: whether the range is symmetric around 0.
        per_channel: whether each row has a range of its own.
    """

    rows: int = 1
    columns: int = 2
    shift: float = 0.0
    bits: int = 8
    symmetric: bool = False
    per_channel: bool = False
    dtype: str = "float32"

    def content(self) -> Tensor:
        """The values, spread around the shift."""
        return self.normal("values", self.rows, self.columns) + self.shift * self.scale


@dataclass(frozen=True)
class Quantised:
    """One answer, in the dtype of the case; scale and zero point broadcast to the values."""

    output: Tensor
    integers: Tensor
    scale: Tensor
    zero_point: Tensor


def quantised(candidate: Candidate, case: QuantiserCase, seen: Tensor, values: Tensor) -> Quantised:
    """What the candidate makes of the values after it has seen others."""
    arguments: dict[str, Argument] = {
        "seen": seen,
        "values": values,
        "bits": case.bits,
        "symmetric": is_symmetric(candidate, case),
        "per_channel": channels(candidate, case) > 1,
    }
    outputs = candidate.build({}, dtype=case.dtype).call(arguments).outputs
    names = ("output", "integers", "scale", "zero_point")
    output, integers, scale, zero_point = (outputs[name].to(values.dtype) for name in names)
    return Quantised(output, integers, scale.reshape(-1, 1), zero_point.reshape(-1, 1))


def is_symmetric(candidate: Candidate, case: QuantiserCase) -> bool:
    """Whether the candidate's range is symmetric in this case."""
    return "symmetric-only" in candidate.traits or (case.symmetric and "asymmetric-only" not in candidate.traits)


def channels(candidate: Candidate, case: QuantiserCase) -> int:
    """How many ranges there are in this case."""
    return case.rows if case.per_channel and "per-tensor-only" not in candidate.traits else 1


DOMAIN = {
    "rows": (1, 2, 3),
    "columns": (2, 4, 5),
    "shift": (0.0, 3.0, -3.0),
    "bits": (8, 4, 2),
    "symmetric": (False, True),
    "per_channel": (False, True),
    "scale": (1.0, 10.0),
}

RUNS = "affine_quantiser.accepts-valid-input"
EQUATION = "affine_quantiser.reals-follow-from-integers"

SCHEME = JACOB.says("2.1, equation 1", "for some constants S and Z")
NEAREST = JACOB.says("3, equation 12", "denotes rounding to the nearest integer")
ZERO = JACOB.says("2.1", "the requirement that the real value r = 0 be exactly representable by a quantized value")
POINT = JACOB.says("2.1", "is in fact the quantized value q corresponding to the real value 0")
WIDTH = JACOB.says("2.1", "For 8-bit quantization, q is quantized as an 8-bit integer")
CLAMPED = JACOB.says("3, equation 12", "[a; b] is the quantization range")
LEVELS = JACOB.says("3, equation 12", "n is the number of quantization levels")
CENTRED = KRISHNAMOORTHI.says("2.2", "the symmetric quantizer, which restricts zero-point to 0")
CHANNELS = KRISHNAMOORTHI.says("2.6", "a different scale and offset for each convolutional kernel")


@check(
    RUNS,
    "each value gets an integer and a real, by one scale and one zero point, or one of each per channel",
    spec=SCHEME,
    level="paper",
    hint="Run it once; count the scales: reduce over every axis but the channel's.",
    case=QuantiserCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: QuantiserCase) -> Evidence:
    values = case.content()
    answer = quantised(candidate, case, values, values)
    shapes = [tuple(tensor.shape) for tensor in (answer.output, answer.integers)]
    counts = [answer.scale.numel(), answer.zero_point.numel()]
    whole = torch.equal(answer.integers, answer.integers.round())
    wanted = channels(candidate, case)
    return holds(
        shapes == [tuple(values.shape)] * 2 and counts == [wanted, wanted] and whole,
        expected=f"two times shape {tuple(values.shape)}, whole integers, {wanted} scales and zero points",
        actual=f"shapes {shapes}, {'whole' if whole else 'broken'} integers, {counts} scales and zero points",
    )


@check(
    EQUATION,
    "an integer stands for the real r = S (q - Z)",
    spec=SCHEME,
    level="paper",
    hint="Subtract the zero point before the scale is applied, in a type that holds the difference.",
    case=QuantiserCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def reals_follow_from_integers(candidate: Candidate, case: QuantiserCase) -> Evidence:
    values = case.content()
    answer = quantised(candidate, case, values, values)
    expected = answer.scale * (answer.integers - answer.zero_point)
    return equal(answer.output, expected, scale=(answer.scale * answer.integers).abs().max().item())


@check(
    "affine_quantiser.error-is-at-most-half-a-step",
    "within the range the nearest level is taken: |S (q - Z) - r| <= S / 2",
    spec=NEAREST,
    level="paper",
    hint="Round, do not truncate; cover the range from min to max, or up to the largest absolute value; clamp last.",
    case=QuantiserCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def error_is_at_most_half_a_step(candidate: Candidate, case: QuantiserCase) -> Evidence:
    values = case.content()
    answer = quantised(candidate, case, values, values)
    half = answer.scale / 2
    within = answer.output.clamp(values - half, values + half)
    return equal(answer.output, within, scale=(answer.scale * answer.zero_point).abs().max().item())


@check(
    "affine_quantiser.zero-is-exact",
    "the real 0 comes back as exactly 0",
    spec=ZERO,
    level="paper",
    hint="Round the zero point to an integer: an offset of min stores reals that miss 0.",
    case=QuantiserCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def zero_is_exact(candidate: Candidate, case: QuantiserCase) -> Evidence:
    values = case.content()
    output = quantised(candidate, case, values, torch.zeros_like(values)).output
    return holds(bool((output == 0).all()), expected="exactly 0", actual=printed(output))


@check(
    "affine_quantiser.zero-point-is-the-integer-of-zero",
    "Z is the integer of the real 0, also where all values have one sign: q(0) = Z",
    spec=POINT,
    level="paper",
    hint="Widen the range to contain 0 before the scale is computed: min(x, 0) and max(x, 0).",
    case=QuantiserCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def zero_point_is_the_integer_of_zero(candidate: Candidate, case: QuantiserCase) -> Evidence:
    values = case.content()
    answer = quantised(candidate, case, values, torch.zeros_like(values))
    return equal(answer.integers, answer.zero_point.expand(values.shape))


@check(
    "affine_quantiser.integers-have-the-bits-asked-for",
    "integers of B bits lie at most 2^B - 1 apart, whatever the values",
    spec=WIDTH,
    level="paper",
    hint="Clamp to -2^(B-1) .. 2^(B-1) - 1, or to 0 .. 2^B - 1: both ends belong to it.",
    case=QuantiserCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def integers_have_the_bits_asked_for(candidate: Candidate, case: QuantiserCase) -> Evidence:
    seen = case.content()
    integers = quantised(candidate, case, seen, _far(seen)).integers
    apart = int(integers.max() - integers.min())
    return holds(apart <= 2**case.bits - 1, expected=f"at most {2**case.bits - 1} apart", actual=f"{apart} apart")


@check(
    "affine_quantiser.values-beyond-the-range-saturate",
    "a value outside the range gets the integer at its end: beyond it nothing changes, and the order is kept",
    spec=CLAMPED,
    level="paper",
    hint="Clamp before the cast to the small integer type, which wraps around.",
    case=QuantiserCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def values_beyond_the_range_saturate(candidate: Candidate, case: QuantiserCase) -> Evidence:
    seen = case.content()
    inside, far, farther = (
        quantised(candidate, case, seen, values).integers for values in (seen, _far(seen), 3 * _far(seen))
    )
    low, high = far[:, :1], far[:, 1:2]
    ordered = (low < high).all() and (low <= inside).all() and (inside <= high).all()
    return holds(
        bool(ordered) and torch.equal(far, farther),
        expected="the two ends of the integers, with all others between",
        actual=f"{printed(far)}, farther out {printed(farther)}, and inside {printed(inside)}",
    )


@check(
    "affine_quantiser.steps-are-no-wider-than-needed",
    "the levels fill the range: S <= (max - min) / (2^B - 2), with the largest absolute value twice if symmetric",
    spec=LEVELS,
    level="convention",
    hint="Divide by the number of steps, 2^B - 1, or by 2^(B-1) - 1 on each side; do not double a one-sided range.",
    case=QuantiserCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def steps_are_no_wider_than_needed(candidate: Candidate, case: QuantiserCase) -> Evidence:
    values = case.content()
    scale = quantised(candidate, case, values, values).scale
    each = values if channels(candidate, case) > 1 else values.reshape(1, -1)
    low, high = each.amin(1, keepdim=True).clamp(max=0), each.amax(1, keepdim=True).clamp(min=0)
    span = 2 * torch.maximum(-low, high) if is_symmetric(candidate, case) else high - low
    widest = span / (2**case.bits - 2) * (1 + 1e-5)
    return holds(bool((scale <= widest).all()), expected=f"steps of at most {printed(widest)}", actual=printed(scale))


@check(
    "affine_quantiser.symmetric-zero-point-is-fixed",
    "with a symmetric range the zero point is the middle of the integers, whatever the values",
    spec=CENTRED,
    level="convention",
    hint="Symmetric: the scale follows from the largest absolute value, and Z from nothing.",
    case=QuantiserCase,
    domain=DOMAIN | {"symmetric": (True,)},
    unless=["asymmetric-only"],
    builds_on=[RUNS],
)
def symmetric_zero_point_is_fixed(candidate: Candidate, case: QuantiserCase) -> Evidence:
    values = case.content()
    first, second = (
        quantised(candidate, case, seen, values).zero_point for seen in (values, values + FAR * case.scale)
    )
    return equal(second, first)


@check(
    "affine_quantiser.channels-are-independent",
    "per channel, larger values in the first row change nothing in the others",
    spec=CHANNELS,
    level="convention",
    hint="Reduce over every axis but that of the channels, and keep it so that the scales broadcast along it.",
    case=QuantiserCase,
    domain=DOMAIN | {"rows": (2, 3), "per_channel": (True,)},
    unless=["per-tensor-only"],
    builds_on=[RUNS],
)
def channels_are_independent(candidate: Candidate, case: QuantiserCase) -> Evidence:
    values = case.content()
    changed = values.clone()
    changed[0] *= FAR
    before, after = (quantised(candidate, case, seen, seen).output for seen in (values, changed))
    return equal(after[1:], before[1:])


@check(
    "affine_quantiser.zeros-stay-zeros",
    "a tensor of zeros comes back as zeros",
    spec=ZERO,
    level="robustness",
    hint="A range of width 0 gives a scale of 0, and 0 / 0 is NaN: take another scale there.",
    case=QuantiserCase,
    domain=DOMAIN | {"shift": (0.0,)},
    builds_on=[RUNS],
)
def zeros_stay_zeros(candidate: Candidate, case: QuantiserCase) -> Evidence:
    zeros = torch.zeros_like(case.content())
    return equal(quantised(candidate, case, zeros, zeros).output, zeros)


def _far(seen: Tensor) -> Tensor:
    """In each row a value far below all that was seen, then values far above it."""
    far = torch.full_like(seen, FAR * seen.abs().max().item())
    far[:, 0] *= -1
    return far
