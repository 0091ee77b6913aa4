"""Rotary position embedding: ``build(width)``, ``call(query, key)``, both of shape ``(B, H, T, d)``.

The answer is the turned query, ``output``, and the turned key, ``key``. Traits: ``interleaved`` turns features 2i and
2i + 1 together, ``half-split`` features i and i + d/2; without either, both are accepted. Which position is called the
first does not matter, since scores know offsets alone.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.candidates.candidate import Scalar
from errata.checks.evidence import Evidence, different, equal, holds, refuses
from errata.checks.literature import PYTORCH, SU
from errata.checks.modules import Arguments, ModuleCase
from errata.checks.oracles import Array, array
from errata.checks.positional_encoding import BASE, SINGLE
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class RotaryCase(ModuleCase):
    """Sizes of one query and one key."""

    batch: int = 1
    heads: int = 1
    positions: int = 1
    width: int = 2

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"width": self.width}

    def inputs(self) -> Arguments:
        """The arguments of a call."""
        return self.vectors()

    def vectors(self) -> dict[str, Tensor]:
        """Query and key."""
        return {
            name: self.normal(name, self.batch, self.heads, self.positions, self.width) for name in ("query", "key")
        }

    def repeated(self) -> dict[str, Tensor]:
        """The same query, and the same key, at every place."""
        return {name: self.normal(name, self.width).expand(self._shape()).clone() for name in ("query", "key")}

    def _shape(self) -> tuple[int, ...]:
        return self.batch, self.heads, self.positions, self.width


DOMAIN = {"batch": (1, 2), "heads": (1, 2, 3), "positions": (1, 2, 3, 5), "width": (2, 4, 6, 8), "scale": (1.0, 10.0)}
SEVERAL = DOMAIN | {"positions": (2, 3, 5)}
LATE = 512
HALF = 0.05 / torch.finfo(torch.float64).eps
"""Tolerance for vectors in bfloat16, whose products are off by two per cent."""

ROTATED = SU.says("3.2.1", "rotate the affine-transformed word embedding vector by amount of angle multiples")
OFFSET = SU.says("3.1", "we hope that the inner product encodes position information only in the relative form")
NORM = SU.says("3.3", "which keeps the norm of hidden representations unchanged")
PAIRS = SU.says("3.2.2", "we divide the d-dimension space into d/2 sub-spaces")

RUNS = "rotary_embedding.accepts-valid-input"
NORMS = "rotary_embedding.norms-are-kept"
TOEPLITZ = "rotary_embedding.scores-depend-on-the-offset-alone"


def turned(candidate: Candidate, case: RotaryCase, vectors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The candidate's query and key."""
    outputs = case.build(candidate).call(vectors).outputs
    return outputs["output"], outputs["key"]


def scores(candidate: Candidate, case: RotaryCase, vectors: dict[str, Tensor]) -> Tensor:
    """The inner products of the candidate's queries and keys, in float64."""
    query, key = turned(candidate, case, vectors)
    return query.double() @ key.double().mT


def formula(vectors: dict[str, Tensor], width: int, half_split: bool) -> Array:
    """``Re(sum_i q_i conj(k_i) exp(i (m - n) theta_i))`` of the pairs as complex numbers (equations 12 and 16)."""
    pairs = []
    for name in ("query", "key"):
        x = array(vectors[name])
        first, second = np.split(x, 2, axis=-1) if half_split else (x[..., 0::2], x[..., 1::2])
        position = np.arange(x.shape[-2])[:, None]
        pairs.append((first + 1j * second) * np.exp(1j * position * BASE ** (-np.arange(0, width, 2) / width)))
    products: Array = (pairs[0] @ np.conj(np.swapaxes(pairs[1], -1, -2))).real
    return products


def closest(candidate: Candidate, actual: Tensor, vectors: dict[str, Tensor], width: int, query: slice) -> Evidence:
    """The scores of some queries beside the formula's, in the layout that the candidate claims, or in either."""
    layouts = {"interleaved": False, "half-split": True}
    claimed = [half for name, half in layouts.items() if name in candidate.traits] or list(layouts.values())
    size = float(vectors["query"].norm(dim=-1).max() * vectors["key"].norm(dim=-1).max())
    wanted = (torch.from_numpy(formula(vectors, width, half))[..., query, :] for half in claimed)
    compared = (equal(actual[..., query, :], expected, scale=size) for expected in wanted)
    return min(compared, key=lambda evidence: evidence.deviation)


@check(
    RUNS,
    "query and key keep their shape (B, H, T, d), for every even width",
    spec=PAIRS,
    level="paper",
    hint="Run it once; cosine and sine must broadcast over (B, H, T, d), the positions being the last axis but one.",
    case=RotaryCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: RotaryCase) -> Evidence:
    vectors = case.vectors()
    shapes = [tuple(vector.shape) for vector in turned(candidate, case, vectors)]
    wanted = tuple(vectors["query"].shape)
    return holds(shapes == [wanted, wanted], expected=f"shape {wanted}, twice", actual=f"shapes {shapes}")


@check(
    NORMS,
    "a rotation keeps the length: |R_m q| = |q| and |R_m k| = |k|",
    spec=NORM,
    level="paper",
    hint="Both features of a pair take part: (a cos - b sin, a sin + b cos). Nothing is added, dropped or overwritten.",
    case=RotaryCase,
    domain=DOMAIN,
    builds_on=[RUNS],
    tolerance=SINGLE,
)
def norms_are_kept(candidate: Candidate, case: RotaryCase) -> Evidence:
    vectors = case.vectors()
    lengths = torch.stack([vector.norm(dim=-1) for vector in turned(candidate, case, vectors)])
    return equal(lengths, torch.stack([vectors[name].norm(dim=-1) for name in ("query", "key")]))


@check(
    TOEPLITZ,
    "(R_m q) . (R_n k) depends on n - m alone: it stays when both positions grow by 1",
    spec=OFFSET,
    level="paper",
    hint="Turn query and key in the same direction, by angles proportional to their positions.",
    case=RotaryCase,
    domain=DOMAIN | {"positions": (3, 5, 7)},
    builds_on=[RUNS],
    tolerance=SINGLE,
)
def scores_depend_on_the_offset_alone(candidate: Candidate, case: RotaryCase) -> Evidence:
    vectors = case.repeated()
    products = scores(candidate, case, vectors)
    size = float(vectors["query"].norm(dim=-1).max() * vectors["key"].norm(dim=-1).max())
    return equal(products[..., 1:, 1:], products[..., :-1, :-1], scale=size)


@check(
    "rotary_embedding.offsets-are-told-apart",
    "one query gives one key different scores at neighbouring offsets",
    spec=ROTATED,
    level="paper",
    hint="The angle grows with the position on the axis T: look for one position for all, or whole turns.",
    case=RotaryCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def offsets_are_told_apart(candidate: Candidate, case: RotaryCase) -> Evidence:
    gaps = scores(candidate, case, case.repeated()).diff(dim=-1).abs()
    return different(gaps.amin(), torch.zeros(()), expected="different scores at neighbouring offsets", by=1e-7)


@check(
    "rotary_embedding.direction-is-told-apart",
    "a key before the query and one after it at the same distance get different scores",
    spec=OFFSET,
    level="paper",
    hint="Sines carry the sign of the offset: without them, or with the distance in its place, it is lost.",
    case=RotaryCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def direction_is_told_apart(candidate: Candidate, case: RotaryCase) -> Evidence:
    products = scores(candidate, case, case.repeated())
    gap = products[..., 0, 1] - products[..., 1, 0]
    return different(gap, torch.zeros_like(gap), expected="another score for the opposite offset", by=1e-7)


@check(
    "rotary_embedding.heads-and-sequences-are-turned-alike",
    "the angle knows the position alone: equal vectors in all heads and sequences stay equal",
    spec=ROTATED,
    level="paper",
    hint="Heads stand before positions here, (B, H, T, d): a table for (B, T, H, d) turns by the number of the head.",
    case=RotaryCase,
    domain=DOMAIN | {"batch": (2, 3), "heads": (2, 3)},
    builds_on=[RUNS],
)
def heads_and_sequences_are_turned_alike(candidate: Candidate, case: RotaryCase) -> Evidence:
    both = torch.stack(turned(candidate, case, case.repeated()))
    return equal(both, both[:, :1, :1].expand_as(both))


@check(
    "rotary_embedding.matches-formula",
    "pair i turns by m 10000^(-2i/d): the scores are q_m^T R_(n - m) k_n",
    spec=SU.says("3.2.2", "is the rotary matrix with pre-defined parameters"),
    level="paper",
    hint="Frequencies run from 1 down to 10000^(-(d-2)/d); check base, exponent, direction, and that pairs match.",
    case=RotaryCase,
    domain=DOMAIN,
    builds_on=[NORMS, TOEPLITZ],
    tolerance=SINGLE,
)
def matches_formula(candidate: Candidate, case: RotaryCase) -> Evidence:
    vectors = case.vectors()
    return closest(candidate, scores(candidate, case, vectors), vectors, case.width, slice(None))


@check(
    "rotary_embedding.keeps-the-dtype",
    "vectors of one type stay in that type",
    spec=PYTORCH.says(
        "torch.nn.functional.scaled_dot_product_attention", "A float mask of the same type as query, key, value"
    ),
    level="convention",
    hint="Turn in float32 or better, and cast back to the type of the vectors.",
    case=RotaryCase,
    domain=DOMAIN | {"dtype": ("bfloat16", "float32", "float64")},
    builds_on=[RUNS],
)
def keeps_the_dtype(candidate: Candidate, case: RotaryCase) -> Evidence:
    types = [str(vector.dtype).removeprefix("torch.") for vector in turned(candidate, case, case.vectors())]
    return holds(types == [case.dtype] * 2, expected=f"{case.dtype}, twice", actual=f"{types}")


@check(
    "rotary_embedding.late-positions-are-right-in-bfloat16",
    f"in bfloat16 the scores of position {LATE - 1} are right to five per cent",
    spec=OFFSET,
    level="robustness",
    hint="bfloat16 has no whole numbers between 256 and 258: compute positions and angles in float32 or better.",
    case=RotaryCase,
    domain={"positions": (LATE,), "width": (2, 4, 8), "dtype": ("bfloat16",)},
    builds_on=["rotary_embedding.matches-formula"],
    tolerance=HALF,
)
def late_positions_are_right_in_bfloat16(candidate: Candidate, case: RotaryCase) -> Evidence:
    vectors = case.repeated()
    return closest(candidate, scores(candidate, case, vectors), vectors, case.width, slice(-1, None))


@check(
    "rotary_embedding.odd-width-is-refused",
    "features are turned in pairs: an odd width is refused, when it is built or when it is called",
    spec=PAIRS,
    level="robustness",
    hint="Raise a ValueError: with an odd width one feature has no partner.",
    case=RotaryCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def odd_width_is_refused(candidate: Candidate, case: RotaryCase) -> Evidence:
    odd = replace(case, width=case.width + 1)
    return refuses(lambda: odd.build(candidate).call(odd.inputs()), expected=f"a refusal of width {odd.width}")
