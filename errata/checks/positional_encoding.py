"""Sinusoidal positional encoding: ``call(length, width)`` gives the table ``(T, D)``.

Columns ``2i`` and ``2i + 1`` form pair ``i``: a point that turns from one position to the next. Most checks look at
pairs, so that each says one thing: that the point lies on the unit circle, where it starts, how fast it turns.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks import oracles
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import VASWANI
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class TableCase(Case):
    """Size of one table."""

    length: int = 1
    width: int = 2


DOMAIN = {"length": (2, 3, 4, 5, 7, 12), "width": (2, 4, 6, 8, 14)}

BASE = 10000.0
MANY = 5000

SINGLE = 1e-5 / torch.finfo(torch.float64).eps
"""Tolerance for angles that were computed in float32, as most code does, whatever the type of the table."""

FORMULA = VASWANI.says("3.5", "PE(pos,2i) = sin(pos/10000^(2i/dmodel)), PE(pos,2i+1) = cos(pos/10000^(2i/dmodel))")
RUNS = "positional_encoding.accepts-valid-input"
TOLD_APART = "positional_encoding.positions-are-told-apart"
WRITTEN = "positional_encoding.every-column-is-written"
CIRCLE = "positional_encoding.pairs-lie-on-the-unit-circle"
STARTS = "positional_encoding.first-position-has-angle-zero"
LAYOUT = "positional_encoding.sine-is-in-the-even-columns"
SPEED = "positional_encoding.first-pair-turns-by-one-radian"
SPEEDS = "positional_encoding.frequencies-fall-geometrically"
OFFSET = "positional_encoding.inner-products-depend-on-the-offset"
EXTENDS = "positional_encoding.longer-table-extends-the-shorter"
EQUALS = "positional_encoding.matches-formula"


def answer(candidate: Candidate, case: Case, length: int, width: int) -> Tensor:
    """The candidate's table in float64. A table of integers is left to the check that is about them."""
    return candidate.build({}, dtype=case.dtype).call({"length": length, "width": width}).output.double()


def turn(table: Tensor) -> Tensor:
    """The angle by which each pair turns from position 0 to position 1."""
    (sine, cosine), (next_sine, next_cosine) = table[:2].reshape(2, -1, 2).movedim(-1, 1)
    return torch.atan2(next_sine * cosine - next_cosine * sine, next_sine * sine + next_cosine * cosine)


@check(
    RUNS,
    "PE answers every length and even width with a table of shape (T, D)",
    spec=VASWANI.says("3.5", "The positional encodings have the same dimension dmodel as the embeddings"),
    level="paper",
    hint="Run it once: a missing import, or a Python number where a function wants a tensor, shows at once.",
    case=TableCase,
    domain=DOMAIN | {"length": (1, 2, 3, 5, 12)},
)
def accepts_valid_input(candidate: Candidate, case: TableCase) -> Evidence:
    table = answer(candidate, case, case.length, case.width)
    return holds(
        table.shape == (case.length, case.width),
        expected=f"shape {(case.length, case.width)}",
        actual=f"shape {tuple(table.shape)}",
    )


@check(
    "positional_encoding.table-is-floating-point",
    "PE holds real numbers: an integer table would round every sine to -1, 0 or 1",
    spec=FORMULA,
    level="paper",
    hint="Give the table a floating dtype; torch.zeros_like of integer positions, or a cast, makes it integer.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def table_is_floating_point(candidate: Candidate, case: TableCase) -> Evidence:
    table = candidate.build({}, dtype=case.dtype).call({"length": case.length, "width": case.width}).output
    return holds(table.is_floating_point(), expected="a floating dtype", actual=str(table.dtype))


@check(
    TOLD_APART,
    "different positions have different rows: PE(s) = PE(t) only if s = t",
    spec=VASWANI.says("3.5", "we must inject some information about the relative or absolute position of the tokens"),
    level="paper",
    hint="The angle must grow with the position: use torch.arange(length) as a column, not the length itself.",
    case=TableCase,
    domain=DOMAIN | {"length": (2, 3, 4, 5, 7), "width": (4, 6, 8, 14)},  # a wrong frequency may come round later
    builds_on=[RUNS],
)
def positions_are_told_apart(candidate: Candidate, case: TableCase) -> Evidence:
    table = answer(candidate, case, case.length, case.width)
    gaps = torch.cdist(table, table, p=torch.inf).fill_diagonal_(torch.inf)
    first, second = divmod(int(gaps.argmin()), case.length)
    shown = f"rows {first} and {second} are {printed(table[first])} and {printed(table[second])}"
    return holds(bool(gaps.min() > 1e-3), expected="different rows", actual=shown)


@check(
    WRITTEN,
    "no column of PE is zero at every position",
    spec=VASWANI.says("3.5", "each dimension of the positional encoding corresponds to a sinusoid"),
    level="paper",
    hint="Write all even columns with 0::2 and all odd ones with 1::2; indices 0 and 1 are single columns.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def every_column_is_written(candidate: Candidate, case: TableCase) -> Evidence:
    table = answer(candidate, case, case.length, case.width)
    blank = (~table.ne(0).any(dim=0)).nonzero().flatten().tolist()
    return holds(not blank, expected="no column of zeros", actual=f"only zeros in columns {blank} of {case.width}")


@check(
    CIRCLE,
    "columns 2i and 2i+1 are sine and cosine of one angle: PE(pos, 2i)^2 + PE(pos, 2i+1)^2 = 1",
    spec=FORMULA,
    level="paper",
    hint="Both columns of a pair share the exponent 2i/D, and nothing scales the table.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[WRITTEN],
    tolerance=SINGLE,
)
def pairs_lie_on_the_unit_circle(candidate: Candidate, case: TableCase) -> Evidence:
    table = answer(candidate, case, case.length, case.width)
    squares = table.square().reshape(case.length, -1, 2).sum(dim=-1)
    return equal(squares, torch.ones_like(squares))


@check(
    STARTS,
    "positions count from 0, where every angle is 0: row 0 holds only sin 0 = 0 and cos 0 = 1",
    spec=FORMULA,
    level="paper",
    hint="The first position is 0, not 1.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[TOLD_APART],
    tolerance=SINGLE,
)
def first_position_has_angle_zero(candidate: Candidate, case: TableCase) -> Evidence:
    row = answer(candidate, case, case.length, case.width)[0]
    return equal(row, row.round().clamp(0, 1))


@check(
    LAYOUT,
    "sines stand in the even columns and cosines in the odd ones: PE(0) = (0, 1, 0, 1, ...)",
    spec=FORMULA,
    level="paper",
    hint="Sine to 0::2, cosine to 1::2. Sines and cosines may be swapped, overwritten, or in two halves.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[WRITTEN, STARTS],
    tolerance=SINGLE,
)
def sine_is_in_the_even_columns(candidate: Candidate, case: TableCase) -> Evidence:
    row = answer(candidate, case, case.length, case.width)[0]
    return equal(row, torch.tensor([0.0, 1.0]).repeat(case.width // 2))


@check(
    SPEED,
    "the first pair has frequency 10000^0 = 1: from one position to the next it turns by one radian",
    spec=VASWANI.says("3.5", "The wavelengths form a geometric progression from 2π to 10000 · 2π"),
    level="paper",
    hint="The angle of pair 0 is the position itself: no factor pi or 2 pi, no division by the width or the length.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[TOLD_APART, CIRCLE],
    tolerance=SINGLE,
)
def first_pair_turns_by_one_radian(candidate: Candidate, case: TableCase) -> Evidence:
    return equal(turn(answer(candidate, case, case.length, case.width))[0].abs(), torch.tensor(1.0))


@check(
    SPEEDS,
    "pair i turns 10000^(2i/D) times slower than pair 0: turn_i / turn_0 = 10000^(-2i/D)",
    spec=VASWANI.says("3.5", "The wavelengths form a geometric progression from 2π to 10000 · 2π"),
    level="paper",
    hint="The exponent is 2i/D with i = 0, 1, ..., D/2 - 1: each pair has its own, and arange(0, D, 2) is 2i already.",
    case=TableCase,
    domain=DOMAIN | {"width": (4, 6, 8, 14)},
    builds_on=[TOLD_APART, CIRCLE],
    tolerance=SINGLE,
)
def frequencies_fall_geometrically(candidate: Candidate, case: TableCase) -> Evidence:
    turns = turn(answer(candidate, case, case.length, case.width))
    slower = BASE ** (-2 * torch.arange(case.width // 2, dtype=torch.float64) / case.width)
    # A fast pair may have gone around the circle, so the slowest is the measure of all.
    wanted = turns[-1] / slower[-1] * slower
    seen = equal(turns, torch.atan2(wanted.sin(), wanted.cos()), scale=1 / max(turns[-1].abs().item(), 1 / BASE))
    return replace(seen, expected=printed(slower), actual=printed(turns / turns[0]))


@check(
    OFFSET,
    "PE(s) . PE(t) = sum_i cos((s - t) / 10000^(2i/D)) depends on the offset s - t alone",
    spec=VASWANI.says("3.5", "for any fixed offset k, PEpos+k can be represented as a linear function of PEpos"),
    level="paper",
    hint="The angle must be proportional to the position.",
    case=TableCase,
    domain=DOMAIN | {"length": (3, 4, 5, 7, 12)},
    builds_on=[CIRCLE],
    tolerance=SINGLE,
)
def inner_products_depend_on_the_offset(candidate: Candidate, case: TableCase) -> Evidence:
    table = answer(candidate, case, case.length, case.width)
    products = table @ table.T
    return equal(products[1:, 1:], products[:-1, :-1])


@check(
    EXTENDS,
    "a row does not depend on the length of the table: the longer table begins with the shorter",
    spec=VASWANI.says(
        "3.5",
        "it may allow the model to extrapolate to sequence lengths longer than the ones encountered during training",
    ),
    level="paper",
    hint="The length must not enter the angle: neither as a factor nor as a divisor.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[RUNS],
    tolerance=SINGLE,
)
def longer_table_extends_the_shorter(candidate: Candidate, case: TableCase) -> Evidence:
    longer = answer(candidate, case, 2 * case.length + 1, case.width)
    return equal(answer(candidate, case, case.length, case.width), longer[: case.length])


@check(
    EQUALS,
    "PE(pos, 2i) = sin(pos / 10000^(2i/D)) and PE(pos, 2i+1) = cos(pos / 10000^(2i/D))",
    spec=FORMULA,
    level="paper",
    hint="All simpler properties hold, so compare later positions and the direction of the turn.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[TOLD_APART, WRITTEN, CIRCLE, STARTS, LAYOUT, SPEED, SPEEDS, OFFSET, EXTENDS],
    tolerance=SINGLE,
)
def matches_formula(candidate: Candidate, case: TableCase) -> Evidence:
    expected = torch.from_numpy(oracles.sinusoids(case.length, case.width))
    return equal(answer(candidate, case, case.length, case.width), expected)


@check(
    "positional_encoding.accepts-odd-width",
    "an odd width, 1 among them, ends with the sine of its last pair",
    spec=FORMULA,
    level="robustness",
    hint="With an odd width there is one cosine less: cut the cosines to the columns 1::2.",
    case=TableCase,
    domain=DOMAIN | {"length": (1, 2, 3, 5, 12), "width": (1, 3, 5, 7)},
    builds_on=[EQUALS],
    tolerance=SINGLE,
)
def accepts_odd_width(candidate: Candidate, case: TableCase) -> Evidence:
    return matches_formula(candidate, case)


@check(
    "positional_encoding.accepts-no-position",
    "length 0 gives the empty table of shape (0, D)",
    spec=VASWANI.says("3.5", "The positional encodings have the same dimension dmodel as the embeddings"),
    level="robustness",
    hint="torch.arange(0) is fine; what needs at least one position is not.",
    case=TableCase,
    domain=DOMAIN | {"length": (0,)},
    builds_on=[RUNS],
)
def accepts_no_position(candidate: Candidate, case: TableCase) -> Evidence:
    return accepts_valid_input(candidate, case)


@check(
    "positional_encoding.is-exact-in-float32",
    f"in float32 row {MANY - 1} is exact to rounding",
    spec=FORMULA,
    level="robustness",
    hint="Compute angles, sines and cosines in float64 and cast once: a float32 angle of 5000 is off by 4e-4.",
    case=TableCase,
    domain={"length": (MANY,), "width": (2, 4, 6, 8), "dtype": ("float32",)},
    builds_on=[EQUALS],
    tolerance=SINGLE / 10,
)
def is_exact_in_float32(candidate: Candidate, case: TableCase) -> Evidence:
    expected = torch.from_numpy(oracles.sinusoids(case.length, case.width)[-1])
    return equal(answer(candidate, case, case.length, case.width)[-1], expected)
