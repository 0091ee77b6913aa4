"""Learned absolute positions: ``build(length, width)``, ``call(x)`` with x of shape ``(B, T, D)``, answers ``x + P``.

``length`` is the number of positions that the table knows. Most checks draw new values for every parameter, since a
table may start with zeros.
"""

from dataclasses import dataclass, replace

import torch

from errata.candidates import Candidate
from errata.candidates.candidate import Scalar
from errata.checks.evidence import Evidence, equal, holds, refuses
from errata.checks.literature import GEHRING, VASWANI
from errata.checks.modules import EVALUATION, Arguments, ModuleCase, filled, has_shape, is_deterministic
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class LearnedPositionsCase(ModuleCase):
    """One batch of ``positions`` vectors, and a table with ``unused`` rows more."""

    batch: int = 1
    positions: int = 1
    unused: int = 0
    width: int = 1

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"length": self.positions + self.unused, "width": self.width}

    def inputs(self) -> Arguments:
        """The arguments of a call."""
        return {"x": self.normal("x", self.batch, self.positions, self.width)}


DOMAIN = {"batch": (1, 2, 3), "positions": (1, 2, 3, 5), "unused": (0, 1, 4), "width": (1, 2, 3, 4), "scale": (1.0,)}
SEVERAL = DOMAIN | {"positions": (2, 3, 5)}

SUMMED = VASWANI.says("3.5", "The positional encodings have the same dimension dmodel as the embeddings")
COMBINED = GEHRING.says("3.1", "Both are combined to obtain input element representations")
EMBEDDED = GEHRING.says("3.1", "embedding the absolute position of input elements")

RUNS = "learned_positional_encoding.accepts-valid-input"


@check(
    RUNS,
    "every sequence that the table can hold keeps its shape (B, T, D), also the longest",
    spec=SUMMED,
    level="paper",
    hint="Run it once; a table of L rows holds the positions 0 to L - 1.",
    case=LearnedPositionsCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: LearnedPositionsCase) -> Evidence:
    return has_shape(candidate, case, case.batch, case.positions, case.width)


@check(
    "learned_positional_encoding.one-vector-for-each-position",
    "the same vectors are added to every sequence, whatever its words: f(x)[b, t] - x[b, t] = P[t]",
    spec=COMBINED,
    level="paper",
    hint="Index the table by position, and add; nothing multiplies, and the batch has no part in it.",
    case=LearnedPositionsCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def one_vector_for_each_position(candidate: Candidate, case: LearnedPositionsCase) -> Evidence:
    instance = case.build(candidate)
    filled(instance, case)
    x = case.normal("x", case.batch, case.positions, case.width)
    table = instance.call({"x": torch.zeros_like(x[:1])}).output
    return equal(instance.call({"x": x}).output, x + table)


@check(
    "learned_positional_encoding.positions-are-told-apart",
    "different positions have different vectors",
    spec=EMBEDDED,
    level="paper",
    hint="Take row t for position t: torch.arange(T), not T and not 0.",
    case=LearnedPositionsCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def positions_are_told_apart(candidate: Candidate, case: LearnedPositionsCase) -> Evidence:
    instance = case.build(candidate)
    filled(instance, case)
    (table,) = instance.call({"x": torch.zeros(1, case.positions, case.width, dtype=torch.float64)}).output
    gaps = torch.cdist(table, table, p=torch.inf).fill_diagonal_(torch.inf)
    first, second = divmod(int(gaps.argmin()), case.positions)
    return holds(bool(gaps.min() > 0), expected="different vectors", actual=f"those of {first} and {second} are equal")


@check(
    "learned_positional_encoding.rows-do-not-depend-on-the-length",
    "position t has the same vector in a shorter sequence: f(x)[:, :n] = f(x[:, :n])",
    spec=EMBEDDED,
    level="paper",
    hint="Count from the first position of the sequence: row 0 belongs to it, however long the sequence is.",
    case=LearnedPositionsCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def rows_do_not_depend_on_the_length(candidate: Candidate, case: LearnedPositionsCase) -> Evidence:
    instance = case.build(candidate)
    filled(instance, case)
    x = case.normal("x", case.batch, case.positions, case.width)
    cut = int(case.integers("cut", 1, case.positions, 1))
    return equal(instance.call({"x": x[:, :cut]}).output, instance.call({"x": x}).output[:, :cut])


@check(
    "learned_positional_encoding.table-is-learned",
    "each of the T D numbers that are added receives a gradient",
    spec=VASWANI.says("3.5", "learned positional embeddings"),
    level="paper",
    hint="Hold the table as nn.Parameter or nn.Embedding, and do not detach it.",
    case=LearnedPositionsCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def table_is_learned(candidate: Candidate, case: LearnedPositionsCase) -> Evidence:
    inputs = case.inputs()
    cotangent = torch.ones(case.batch, case.positions, case.width, dtype=torch.float64)
    gradients = case.build(candidate).call(inputs, cotangent=cotangent).parameter_gradients
    trained = sum(int(gradient.count_nonzero()) for gradient in gradients.values())
    wanted = case.positions * case.width
    return holds(trained >= wanted, expected=f"{wanted} trained numbers", actual=f"{trained}")


@check(
    "learned_positional_encoding.evaluation-is-deterministic",
    "in evaluation the same input gives the same output, whatever the state of the random generator",
    spec=EVALUATION,
    level="paper",
    hint="F.dropout drops by default: pass training=self.training, or use nn.Dropout.",
    case=LearnedPositionsCase,
    domain=DOMAIN | {"positions": (5,), "width": (8,)},
    builds_on=[RUNS],
)
def evaluation_is_deterministic(candidate: Candidate, case: LearnedPositionsCase) -> Evidence:
    return is_deterministic(candidate, case)


@check(
    "learned_positional_encoding.beyond-the-table-is-refused",
    "a sequence longer than the table is refused: there is no vector for its last position",
    spec=EMBEDDED,
    level="robustness",
    hint="Raise a ValueError; a table of one row broadcasts silently, and a modulo makes two positions one.",
    case=LearnedPositionsCase,
    domain=DOMAIN | {"unused": (0,)},
    builds_on=[RUNS],
)
def beyond_the_table_is_refused(candidate: Candidate, case: LearnedPositionsCase) -> Evidence:
    longer = replace(case, positions=case.positions + 1)
    return refuses(
        lambda: case.build(candidate).call(longer.inputs()),
        expected=f"a refusal of length {longer.positions} by a table of length {case.positions}",
    )
