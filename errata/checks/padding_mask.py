"""Padding masks: ``call(lengths, max_length)`` gives a mask ``(B, S, S)``, True = may attend; S is ``max_length``.

Rows are queries, columns are keys. Candidates with the trait ``one-length`` make the mask of one sequence, B = 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate, CandidateError
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import PYTORCH, VASWANI
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class PaddingMaskCase(Case):
    """Sizes of one call.

    Attributes:
        batch: B.
        length: words of the sequence, where B = 1; otherwise the lengths are drawn.
        padding: positions after the longest sequence, so that S is more than ``length``.
    """

    batch: int = 1
    length: int = 1
    padding: int = 0

    @property
    def max_length(self) -> int:
        """S."""
        return self.length + self.padding

    def lengths(self) -> Tensor:
        """How many words each sequence has; one at least."""
        if self.batch == 1:
            return torch.tensor([self.length])
        return self.integers("lengths", 1, self.max_length + 1, self.batch)


FULL = {"length": (1, 2, 3, 4, 7)}
PADDED = FULL | {"padding": (1, 2, 5)}
ANY = FULL | {"padding": (0, 1, 2, 5)}

ILLEGAL = VASWANI.says("3.2.3", "values in the input of the softmax which correspond to illegal connections")
IGNORED = PYTORCH.says("torch.nn.MultiheadAttention", "to ignore for the purpose of attention")

RUNS = "padding_mask.accepts-valid-input"
SHORTER = "padding_mask.length-may-be-shorter"
HIDES = "padding_mask.hides-the-padding"
KEEPS = "padding_mask.permits-the-words"


def mask_of(candidate: Candidate, lengths: Tensor, max_length: int) -> Tensor:
    """The candidate's mask."""
    return candidate.build({}).call({"lengths": lengths, "max_length": max_length}).output


def has_shape(candidate: Candidate, case: PaddingMaskCase) -> Evidence:
    """The mask is ``(B, S, S)``."""
    wanted = (case.batch, case.max_length, case.max_length)
    shape = tuple(mask_of(candidate, case.lengths(), case.max_length).shape)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


def words_columns(candidate: Candidate, case: PaddingMaskCase, columns: slice, *, permitted: bool) -> Evidence:
    """Every word may, or may not, attend to these keys. Whether padding may attend is another matter."""
    rows = mask_of(candidate, case.lengths(), case.max_length)[0, : case.length].bool()
    wanted = rows.clone()
    wanted[:, columns] = permitted
    return holds(torch.equal(rows, wanted), expected=printed(wanted), actual=printed(rows))


@check(
    RUNS,
    "padding_mask(length, S) answers a sequence without padding, length = S, with a mask for S queries and S keys",
    spec=IGNORED,
    level="paper",
    hint="Run it once with the length of the longest sequence.",
    case=PaddingMaskCase,
    domain=FULL,
)
def accepts_valid_input(candidate: Candidate, case: PaddingMaskCase) -> Evidence:
    return has_shape(candidate, case)


@check(
    SHORTER,
    "padding_mask(length, S) answers a sequence with padding, length < S, with a mask for S queries and S keys",
    spec=IGNORED,
    level="paper",
    hint="The mask has an entry for each of the S positions: count up to S, then compare with length.",
    case=PaddingMaskCase,
    domain=PADDED,
    builds_on=[RUNS],
)
def length_may_be_shorter(candidate: Candidate, case: PaddingMaskCase) -> Evidence:
    return has_shape(candidate, case)


@check(
    HIDES,
    "no word attends to padding: mask[t, s] = False for s >= length",
    spec=ILLEGAL,
    level="paper",
    hint="True means that a key may be attended: position < length.",
    case=PaddingMaskCase,
    domain=PADDED,
    builds_on=[RUNS],
)
def hides_the_padding(candidate: Candidate, case: PaddingMaskCase) -> Evidence:
    try:
        return words_columns(candidate, case, slice(case.length, None), permitted=False)
    except CandidateError as error:
        # That it answers at all is for another check to say: this one looks at the masks that come.
        return holds(True, expected="a mask that hides the padding", actual=str(error))


@check(
    KEEPS,
    "every word attends to every word: mask[t, s] = True for s < length",
    spec=VASWANI.says("3.2.3", "Each position in the encoder can attend to all positions in the previous layer"),
    level="paper",
    hint="True means that a key may be attended: position < length. Look for a mask that is False everywhere.",
    case=PaddingMaskCase,
    domain=ANY,
    builds_on=[SHORTER],
)
def permits_the_words(candidate: Candidate, case: PaddingMaskCase) -> Evidence:
    return words_columns(candidate, case, slice(case.length), permitted=True)


@check(
    "padding_mask.is-the-same-for-every-query",
    "which keys are padding does not depend on who asks: all rows are equal, and none of a padding query is empty",
    spec=IGNORED,
    level="convention",
    hint="Mask the keys alone: a row without any key is 0/0 in the softmax.",
    case=PaddingMaskCase,
    domain=PADDED,
    builds_on=[SHORTER],
)
def is_the_same_for_every_query(candidate: Candidate, case: PaddingMaskCase) -> Evidence:
    mask = mask_of(candidate, case.lengths(), case.max_length)
    return equal(mask, mask[:, :1].expand_as(mask))


@check(
    "padding_mask.empty-sequence-has-no-key",
    "a sequence of length 0 has no key that may be attended: mask = False",
    spec=ILLEGAL,
    level="robustness",
    hint="position < 0 is False for every position: no special case is needed.",
    case=PaddingMaskCase,
    domain={"length": (0,), "padding": (1, 2, 5)},
    builds_on=[SHORTER],
)
def empty_sequence_has_no_key(candidate: Candidate, case: PaddingMaskCase) -> Evidence:
    mask = mask_of(candidate, case.lengths(), case.max_length).bool()
    return equal(mask, torch.zeros_like(mask))


@check(
    "padding_mask.each-sequence-has-its-own-length",
    "in a batch, sequence b may attend exactly its own words: mask[b] is the mask of lengths[b] alone",
    spec=ILLEGAL,
    level="paper",
    hint="Compare positions (S,) with lengths[:, None], so that each sequence gets a row of its own.",
    case=PaddingMaskCase,
    domain=ANY | {"batch": (2, 3, 5)},
    unless=["one-length"],
    builds_on=[HIDES, KEEPS],
)
def each_sequence_has_its_own_length(candidate: Candidate, case: PaddingMaskCase) -> Evidence:
    lengths = case.lengths()
    alone = [mask_of(candidate, length[None], case.max_length) for length in lengths]
    return equal(mask_of(candidate, lengths, case.max_length), torch.cat(alone))


@check(
    "padding_mask.is-boolean",
    "the mask is boolean, so that nobody can take it for one that is added to the scores",
    spec=PYTORCH.says(
        "torch.nn.functional.scaled_dot_product_attention",
        "A boolean mask where a value of True indicates that the element should take part in attention.",
    ),
    level="convention",
    hint="A comparison such as positions < lengths[:, None] is boolean already.",
    case=PaddingMaskCase,
    domain=FULL,
    builds_on=[RUNS],
)
def is_boolean(candidate: Candidate, case: PaddingMaskCase) -> Evidence:
    dtype = mask_of(candidate, case.lengths(), case.max_length).dtype
    return holds(dtype == torch.bool, expected="torch.bool", actual=str(dtype))
