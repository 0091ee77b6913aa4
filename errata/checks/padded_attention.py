"""Attention over padded sequences: ``call(query, key, value, lengths)``, of modules after ``build(width, heads)``.

Shapes: query ``(B, T, D)``, key and value ``(B, S, D)``, lengths int64 ``(B,)`` or None, which is no padding. From
position ``lengths[b]`` on, keys and values of sequence b are padding. Output ``(B, T, D)``. Unless a check says
otherwise T = S, and what the answer is at padding does not count.

Traits: ``self-only`` takes one sequence, which is query, key and value; ``same-length`` takes as many queries as keys;
``one-length`` takes one sequence at a time, B = 1.

Checks of level paper run in float32, for the reason given in `attention`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks import joined
from errata.checks.evidence import Evidence, equal, finite, holds
from errata.checks.joined import JoinedCase, answer
from errata.checks.literature import PYTORCH, VASWANI
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class PaddedAttentionCase(JoinedCase):
    """Sizes of one call.

    Attributes:
        length: words of the sequence, where B = 1; otherwise the lengths are drawn.
        padding: positions after the longest sequence, so that S is ``length + padding``.
        queries: T; as many as there are keys where None.
    """

    padding: int = 0
    queries: int | None = None
    dtype: str = "float32"

    @property
    def keys(self) -> int:
        """S."""
        return self.length + self.padding

    def sequences(self, candidate: Candidate) -> dict[str, Tensor]:
        """Query, key and value, S positions each."""
        return joined.sequences(candidate, self, self.keys)

    def lengths(self) -> Tensor:
        """How many words each sequence has; one at least."""
        if self.batch == 1:
            return torch.tensor([self.length])
        return self.integers("lengths", 1, self.keys + 1, self.batch)


FULL = joined.SIZES | {"length": (1, 2, 3, 5)}
PADDED = FULL | {"padding": (1, 2, 4)}

MAPPING = VASWANI.says(
    "3.2", "An attention function can be described as mapping a query and a set of key-value pairs to an output"
)
WEIGHTED_SUM = VASWANI.says("3.2", "The output is computed as a weighted sum of the values")
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")
IGNORED = PYTORCH.says("torch.nn.MultiheadAttention", "to ignore for the purpose of attention")

RUNS = "padded_attention.accepts-valid-input"
RUNS_PADDED = "padded_attention.accepts-lengths"
ALONE = "padded_attention.attends-the-words-alone"


def has_shape(candidate: Candidate, case: PaddedAttentionCase, lengths: Tensor | None) -> Evidence:
    """The output is ``(B, S, D)``."""
    wanted = (case.batch, case.keys, case.width)
    shape = tuple(answer(case.build(candidate), case.sequences(candidate), lengths=lengths).shape)
    return holds(shape == wanted, expected=f"shape {wanted}", actual=f"shape {shape}")


@check(
    RUNS,
    "attention over sequences without padding, lengths = None, answers with a tensor of shape (B, T, D)",
    spec=MAPPING,
    level="paper",
    hint="Run it once: a name that is never defined or imported, or an operation on the wrong type, shows at once.",
    case=PaddedAttentionCase,
    domain=FULL,
)
def accepts_valid_input(candidate: Candidate, case: PaddedAttentionCase) -> Evidence:
    return has_shape(candidate, case, None)


@check(
    RUNS_PADDED,
    "attention over S positions of which some are padding, length < S, answers with a tensor of shape (B, T, D)",
    spec=IGNORED,
    level="paper",
    hint="The mask needs a column for each of the S keys, and a shape that broadcasts to the scores.",
    case=PaddedAttentionCase,
    domain=PADDED,
    builds_on=[RUNS],
)
def accepts_lengths(candidate: Candidate, case: PaddedAttentionCase) -> Evidence:
    return has_shape(candidate, case, case.lengths())


@check(
    "padded_attention.full-length-is-no-mask",
    "where every length is S nothing is padding: attention(Q, K, V, S) = attention(Q, K, V)",
    spec=MASKING,
    level="paper",
    hint="What makes the mask and what applies it must mean the same by True: may attend, or is padding.",
    case=PaddedAttentionCase,
    domain=FULL,
    builds_on=[RUNS_PADDED],
)
def full_length_is_no_mask(candidate: Candidate, case: PaddedAttentionCase) -> Evidence:
    instance, inputs = case.build(candidate), case.sequences(candidate)
    without = answer(instance, inputs, lengths=None)
    return equal(answer(instance, inputs, lengths=case.lengths()), without, scale=case.width)


@check(
    ALONE,
    "the words get what they get without padding: attention(Q, K, V, n)[:n] = attention(Q[:n], K[:n], V[:n])",
    spec=MASKING,
    level="paper",
    hint="What makes the mask and what applies it must mean the same by True: may attend, or is padding.",
    case=PaddedAttentionCase,
    domain=PADDED,
    builds_on=[RUNS_PADDED],
)
def attends_the_words_alone(candidate: Candidate, case: PaddedAttentionCase) -> Evidence:
    instance, inputs = case.build(candidate), case.sequences(candidate)
    words = {name: value[:, : case.length] for name, value in inputs.items()}
    padded = answer(instance, inputs, lengths=case.lengths())[:, : case.length]
    return equal(padded, answer(instance, words, lengths=None), scale=case.width)


@check(
    "padded_attention.padding-has-no-influence",
    "other keys and values at padding leave what the words get as it was",
    spec=MASKING,
    level="paper",
    hint="The mask belongs on the scores, before the softmax, with -inf at the columns of the padding.",
    case=PaddedAttentionCase,
    domain=PADDED,
    builds_on=[RUNS_PADDED],
)
def padding_has_no_influence(candidate: Candidate, case: PaddedAttentionCase) -> Evidence:
    instance, inputs = case.build(candidate), case.sequences(candidate)
    moved = joined.keys_moved(candidate, case, inputs, torch.arange(case.keys) >= case.length)
    before, after = (answer(instance, given, lengths=case.lengths())[:, : case.length] for given in (inputs, moved))
    return equal(after, before)


@check(
    "padded_attention.query-length-may-differ",
    "lengths count keys, not queries: attention(Q[i], K, V, n) = attention(Q, K, V, n)[i] for every list i of words",
    spec=VASWANI.says(
        "3.2.3", "This allows every position in the decoder to attend over all positions in the input sequence."
    ),
    level="paper",
    hint="Take the number of columns of the mask from the keys; its rows are as many as the queries, or one for all.",
    case=PaddedAttentionCase,
    domain=PADDED | {"queries": (1, 2, 3, 7)},
    unless=["same-length", "self-only"],
    builds_on=[RUNS_PADDED],
)
def query_length_may_differ(candidate: Candidate, case: PaddedAttentionCase) -> Evidence:
    assert case.queries is not None
    instance, inputs = case.build(candidate), case.sequences(candidate)
    chosen = case.integers("chosen", 0, case.length, case.queries)
    before = answer(instance, inputs, lengths=case.lengths())
    after = answer(instance, inputs | {"query": inputs["query"][:, chosen]}, lengths=case.lengths())
    return equal(after, before[:, chosen], scale=case.width)


@check(
    "padded_attention.each-sequence-has-its-own-length",
    "in a batch of several lengths the words of each sequence get what they get alone",
    spec=VASWANI.says("3.2.3", "values in the input of the softmax which correspond to illegal connections"),
    level="paper",
    hint="Compare positions (S,) with lengths[:, None], and let the mask keep its axis of the batch: (B, 1, S).",
    case=PaddedAttentionCase,
    domain=PADDED | {"batch": (2, 3, 4)},
    unless=["one-length"],
    builds_on=[ALONE],
)
def each_sequence_has_its_own_length(candidate: Candidate, case: PaddedAttentionCase) -> Evidence:
    instance, inputs, lengths = case.build(candidate), case.sequences(candidate), case.lengths()
    words = torch.arange(case.keys) < lengths[:, None]
    alone = [
        answer(instance, {name: value[b : b + 1] for name, value in inputs.items()}, lengths=lengths[b : b + 1])
        for b in range(case.batch)
    ]
    return equal(answer(instance, inputs, lengths=lengths)[words], torch.cat(alone)[words], scale=case.width)


@check(
    "padded_attention.empty-sequence-is-finite",
    "where a sequence has no word, length = 0, the output is finite, not NaN",
    spec=WEIGHTED_SUM,
    level="robustness",
    hint="softmax of a row of -inf is 0/0. Set the weights of such rows to 0 and keep -inf out of their softmax.",
    case=PaddedAttentionCase,
    domain=PADDED | {"length": (0,)},
    builds_on=[RUNS_PADDED],
)
def empty_sequence_is_finite(candidate: Candidate, case: PaddedAttentionCase) -> Evidence:
    return finite(answer(case.build(candidate), case.sequences(candidate), lengths=case.lengths()))
