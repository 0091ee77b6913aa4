"""Relative positional encoding: ``call(length, width)`` gives the table ``(T, T, D)``, indexed [query, key].

Fixed and learned vectors, and offsets clipped at some distance, are all legitimate; so the checks that rest on the
paper look at short tables, and compare entries with each other.
"""

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks.case import Case
from errata.checks.evidence import Evidence, different, equal, holds
from errata.checks.literature import SHAW
from errata.checks.positional_encoding import TableCase
from errata.checks.registry import check

DOMAIN = {"length": (3, 4), "width": (1, 2, 3, 4, 6)}

LONG = 64

CLIPPED = SHAW.says("3.2", "The maximum relative position we consider is clipped to a maximum absolute value of k")
RUNS = "relative_positional_encoding.accepts-valid-input"


def answer(candidate: Candidate, case: Case, length: int, width: int) -> Tensor:
    """The candidate's table in float64."""
    return candidate.build({}, dtype=case.dtype).call({"length": length, "width": width}).output.double()


@check(
    RUNS,
    "the table has one vector for each pair of query and key: shape (T, T, D)",
    spec=SHAW.says("3.1", "The edge between input elements xi and xj is represented by vectors"),
    level="paper",
    hint="Run it once: a missing import, or shapes that do not broadcast, show at once.",
    case=TableCase,
    domain=DOMAIN | {"length": (1, 2, 3, 5)},
)
def accepts_valid_input(candidate: Candidate, case: TableCase) -> Evidence:
    table = answer(candidate, case, case.length, case.width)
    shape = (case.length, case.length, case.width)
    return holds(table.shape == shape, expected=f"shape {shape}", actual=f"shape {tuple(table.shape)}")


@check(
    "relative_positional_encoding.depends-on-the-offset-alone",
    "pairs with the same offset share a vector: table[t+1, s+1] = table[t, s]",
    spec=SHAW.says("3.2", "clip(j − i, k)"),
    level="paper",
    hint="Index the vectors by s - t, the key's position minus the query's, not by s or t.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def depends_on_the_offset_alone(candidate: Candidate, case: TableCase) -> Evidence:
    table = answer(candidate, case, case.length, case.width)
    return equal(table[1:, 1:], table[:-1, :-1])


@check(
    "relative_positional_encoding.keys-ahead-are-told-apart",
    "the keys at and after a query have different vectors at small offsets: table[0, s] differs for s = 0, 1, ...",
    spec=CLIPPED,
    level="paper",
    hint="The vector must change with the offset above the diagonal.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def keys_ahead_are_told_apart(candidate: Candidate, case: TableCase) -> Evidence:
    return _told_apart(answer(candidate, case, case.length, case.width)[0])


@check(
    "relative_positional_encoding.keys-behind-are-told-apart",
    "the keys at and before a query have different vectors at small offsets: table[T-1, s] differs for s = 0, 1, ...",
    spec=CLIPPED,
    level="paper",
    hint="Fill the part below the diagonal too: keys before the query have negative offsets.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def keys_behind_are_told_apart(candidate: Candidate, case: TableCase) -> Evidence:
    return _told_apart(answer(candidate, case, case.length, case.width)[-1])


def _told_apart(rows: Tensor) -> Evidence:
    """Each two neighbouring rows, and the first and the last, differ."""
    gaps = (rows - rows.roll(1, dims=0)).abs().amax(dim=-1)
    return different(gaps.amin(), torch.zeros(()), expected="different vectors for different offsets")


@check(
    "relative_positional_encoding.direction-is-told-apart",
    "a key before the query and a key after it at the same distance have different vectors: table[t, s] != table[s, t]",
    spec=SHAW.says("3.2", "2k + 1 unique edge labels"),
    level="paper",
    hint="Keep the sign of the offset: its absolute value says how far, not where.",
    case=TableCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def direction_is_told_apart(candidate: Candidate, case: TableCase) -> Evidence:
    table = answer(candidate, case, case.length, case.width)
    return different(table[0, 1], table[1, 0], expected="table[0, 1] differs from table[1, 0]")


@check(
    "relative_positional_encoding.features-differ",
    "an offset has a vector, not one number repeated D times",
    spec=SHAW.says("3.2", "relative position representations"),
    level="convention",
    hint="Give each feature its own frequency, or its own learned weight: equal features carry one number.",
    case=TableCase,
    domain=DOMAIN | {"width": (2, 3, 4, 6)},
    builds_on=[RUNS],
)
def features_differ(candidate: Candidate, case: TableCase) -> Evidence:
    table = answer(candidate, case, case.length, case.width)
    return different(table, table[..., :1].expand_as(table), expected="features that differ from each other")


@check(
    "relative_positional_encoding.stays-bounded",
    f"entries do not grow with the length: at T = {LONG} they are at most 4 times as large as at T = 4, or as 1",
    spec=CLIPPED,
    level="convention",
    hint="Do not use the offset itself as a feature: encode it by sinusoids, or clip it and look it up.",
    case=TableCase,
    domain=DOMAIN | {"length": (LONG,), "width": (1, 2, 3)},
    builds_on=[RUNS],
)
def stays_bounded(candidate: Candidate, case: TableCase) -> Evidence:
    short, long = (answer(candidate, case, length, case.width).abs().max().item() for length in (4, case.length))
    return holds(long <= 4 * max(1.0, short), expected=f"at most 4 x max(1, {short:.3g})", actual=f"{long:.3g}")
