"""Beam search in a table: ``call(logits, start, end, padding, beams, alpha)``.

``logits``, ``start``, ``end`` and ``padding`` as in greedy_search. Output: int64 ``(B, N, L)``, the N hypotheses kept
of each sequence, with the end id, and padding after it; and ``scores`` ``(B, N)``. N is at most ``beams``. A place that
no hypothesis takes has a score of -inf, or far below those of the others. ``alpha`` is the exponent of the length
penalty, 0 for none. Traits: ``wu-penalty``, scores are divided by ``((5 + length) / 6)^alpha``; ``power-penalty``, by
``length^alpha``; the length counts the end id.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from errata.candidates import Argument, Candidate, Reply
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.greedy_search import DOMAIN as TABLES
from errata.checks.greedy_search import END, FIRST_WORD, PADDING, START, TableCase, after_the_end, greedy
from errata.checks.literature import SUTSKEVER, WU
from errata.checks.registry import check

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BeamCase(TableCase):
    """A table and a beam. In the last step the end id is all but certain, so the best hypothesis is a whole one."""

    beams: int = 1
    alpha: float = 0.0

    def logits(self) -> Tensor:
        """See `TableCase.logits`."""
        logits = super().logits()
        logits[:, -1, :, END] += CERTAIN
        return logits

    def inputs(self) -> dict[str, Argument]:
        """See `TableCase.inputs`."""
        return super().inputs() | {"beams": self.beams, "alpha": self.alpha}

    def reply(self, candidate: Candidate) -> Reply:
        """What is found."""
        return candidate.build({}, dtype=self.dtype).call(self.inputs())

    def wide_enough(self) -> bool:
        """Whether the beam holds every prefix of every sentence, and twice the sentences that end."""
        return bool(self.beams >= 2 * (self.words + 1) ** self.steps)


CERTAIN = 50.0
"""A logit beside which the others are nothing."""

UNREACHED = -1e3
"""A score below those of all sentences, and above those with a word that never comes."""

DOMAIN = TABLES | {"beams": (1, 2, 3, 5)}
SEVERAL = DOMAIN | {"steps": (2, 3, 4), "beams": (2, 3, 5)}
WIDE = {"batch": (1, 4, 8), "steps": (2, 3), "words": (1, 2), "beams": (18, 54)}

RUNS = "beam_search.accepts-valid-input"

ACCORDING_TO_THE_MODEL = SUTSKEVER.says(
    "3.2", "we discard all but the B most likely hypotheses according to the model’s log probability"
)
EVERY_WORD = SUTSKEVER.says(
    "3.2", "we extend each partial hypothesis in the beam with every possible word in the vocabulary"
)
COMPLETE = SUTSKEVER.says("3.2", "it is removed from the beam and is added to the set of complete hypotheses")
SMALL_NUMBER = SUTSKEVER.says("3.2", "maintains a small number B of partial hypotheses")
LENGTHS = WU.says(
    "7", "Without some form of length-normalization regular beam search will favor shorter results over longer ones"
)


@check(
    RUNS,
    "B sequences, a beam and room for L ids give ids (B, N, L) and scores (B, N), where N is 1 to the size of the beam",
    spec=SMALL_NUMBER,
    level="paper",
    hint="Run it once. Try one beam, one step, and a vocabulary that is smaller than the beam.",
    case=BeamCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: BeamCase) -> Evidence:
    reply = case.reply(candidate)
    ids, scores = tuple(reply.output.shape), tuple(reply.outputs["scores"].shape)
    fits = len(ids) == 3 and ids[::2] == (case.batch, case.steps) and ids[:2] == scores and 1 <= ids[1] <= case.beams
    return holds(
        fits,
        expected=f"ids ({case.batch}, 1..{case.beams}, {case.steps}) and as many scores",
        actual=f"ids {ids} and scores {scores}",
    )


@check(
    "beam_search.scores-are-log-probabilities",
    "without a length penalty, a score is the sum of the log-probabilities of the hypothesis' ids, the end id included",
    spec=ACCORDING_TO_THE_MODEL,
    level="paper",
    hint="Add log-softmax, not logits; carry each hypothesis' sum with it; and add nothing once it has ended.",
    case=BeamCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def scores_are_log_probabilities(candidate: Candidate, case: BeamCase) -> Evidence:
    return scores_follow(candidate, case, lambda length: 1.0)


@check(
    "beam_search.full-beam-equals-exhaustive-search",
    "a beam that holds every prefix finds the most probable of all sentences",
    spec=EVERY_WORD,
    level="paper",
    hint="Compare all continuations of all hypotheses at once, follow the parents, and do not stop at the first end.",
    case=BeamCase,
    domain=WIDE,
    where=BeamCase.wide_enough,
    builds_on=[RUNS],
)
def full_beam_equals_exhaustive_search(candidate: Candidate, case: BeamCase) -> Evidence:
    return equal(case.reply(candidate).output[:, 0], most_probable(case.logits()))


@check(
    "beam_search.one-beam-equals-greedy-search",
    "a beam of one, without a length penalty, is greedy search",
    spec=ACCORDING_TO_THE_MODEL,
    level="paper",
    hint="The one place holds the most probable continuation; when that is the end, the search is over.",
    case=BeamCase,
    domain=DOMAIN | {"beams": (1,)},
    builds_on=[RUNS],
)
def one_beam_equals_greedy_search(candidate: Candidate, case: BeamCase) -> Evidence:
    expected = greedy(case.logits())
    return equal(case.reply(candidate).output[:, 0], expected.masked_fill(after_the_end(expected), PADDING))


@check(
    "beam_search.best-comes-first",
    "the scores of a sequence's hypotheses fall",
    spec=ACCORDING_TO_THE_MODEL,
    level="convention",
    hint="Sort what is returned by the scores, and the ids with them.",
    case=BeamCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def best_comes_first(candidate: Candidate, case: BeamCase) -> Evidence:
    scores = case.reply(candidate).outputs["scores"].clamp(min=UNREACHED)
    return holds(bool((scores.diff(dim=1) <= 1e-9).all()), expected="falling scores", actual=printed(scores))


@check(
    "beam_search.hypotheses-differ",
    "no hypothesis of a sequence is found twice",
    spec=EVERY_WORD,
    level="paper",
    hint="All places start equal: let all but one of each sequence begin with a score of -inf.",
    case=BeamCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def hypotheses_differ(candidate: Candidate, case: BeamCase) -> Evidence:
    found = [[tuple(ids) for ids, _ in hypotheses] for hypotheses in reached(case.reply(candidate))]
    twice = [list(ids) for hypotheses in found for ids in set(hypotheses) if hypotheses.count(ids) > 1]
    return holds(not twice, expected="different hypotheses", actual=f"found twice: {twice}")


@check(
    "beam_search.nothing-follows-the-end",
    "after the end id there is padding only",
    spec=COMPLETE,
    level="paper",
    hint="A hypothesis that has ended is complete: do not extend it.",
    case=BeamCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def nothing_follows_the_end(candidate: Candidate, case: BeamCase) -> Evidence:
    reply = case.reply(candidate)
    ids = reply.output[reply.outputs["scores"] > UNREACHED]
    after = ids[after_the_end(ids)]
    return equal(after, torch.full_like(after, PADDING))


@check(
    "beam_search.complete-hypotheses-are-kept",
    "a hypothesis that ends at once, and is more probable than every longer one, comes out first",
    spec=COMPLETE,
    level="paper",
    hint="Keep complete hypotheses with their scores, and compare them with the others at the end.",
    case=BeamCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def complete_hypotheses_are_kept(candidate: Candidate, case: BeamCase) -> Evidence:
    logits = case.logits()
    logits[:, 0, START, END] = logits[:, 0, START, FIRST_WORD:].logsumexp(dim=-1) + 1.0  # 73 of 100
    reply = candidate.build({}, dtype=case.dtype).call(case.inputs() | {"logits": logits})
    expected = torch.full((case.batch, case.steps), PADDING)
    expected[:, 0] = END
    return equal(reply.output[:, 0], expected)


@check(
    "beam_search.sequences-are-independent",
    "a sequence gets the same hypotheses alone as in a batch",
    spec=SMALL_NUMBER,
    level="paper",
    hint="Each sequence has a beam of its own: add its offset to the parents, and wait for the last one to finish.",
    case=BeamCase,
    domain=SEVERAL | {"batch": (2, 3)},
    builds_on=[RUNS],
)
def sequences_are_independent(candidate: Candidate, case: BeamCase) -> Evidence:
    arguments = case.inputs()
    alone = {name: value[-1:] if isinstance(value, Tensor) else value for name, value in arguments.items()}
    instance = candidate.build({}, dtype=case.dtype)
    together, single = instance.call(arguments), instance.call(alone)
    if not torch.equal(single.output[:, 0], together.output[-1:, 0]):
        return equal(single.output[:, 0], together.output[-1:, 0])
    return equal(single.outputs["scores"][:, 0], together.outputs["scores"][-1:, 0])


@check(
    "beam_search.length-penalty-of-wu",
    "a score is log P(Y) / lp(Y) with lp(Y) = ((5 + |Y|) / (5 + 1))^alpha, where |Y| counts the end id",
    spec=LENGTHS,
    level="paper",
    hint="Divide the sum of log-probabilities, each hypothesis by the penalty of its own length when it ended.",
    case=BeamCase,
    domain=SEVERAL | {"alpha": (0.6, 1.0)},
    needs=["wu-penalty"],
    builds_on=[RUNS],
)
def length_penalty_of_wu(candidate: Candidate, case: BeamCase) -> Evidence:
    return scores_follow(candidate, case, lambda length: float(((5 + length) / 6) ** case.alpha))


@check(
    "beam_search.length-penalty-is-a-power",
    "a score is log P(Y) / |Y|^alpha, where |Y| counts the end id",
    spec=LENGTHS,
    level="paper",
    hint="Divide the sum of log-probabilities, each hypothesis by the power of its own length when it ended.",
    case=BeamCase,
    domain=SEVERAL | {"alpha": (0.6, 1.0)},
    needs=["power-penalty"],
    builds_on=[RUNS],
)
def length_penalty_is_a_power(candidate: Candidate, case: BeamCase) -> Evidence:
    return scores_follow(candidate, case, lambda length: float(length**case.alpha))


def scores_follow(candidate: Candidate, case: BeamCase, penalty: Callable[[int], float]) -> Evidence:
    """Every score is the log-probability of its hypothesis, divided by the penalty of its length."""
    log_probabilities = log_softmax(case.logits())
    found, expected = list[float](), list[float]()
    for b, hypotheses in enumerate(reached(case.reply(candidate))):
        for ids, score in hypotheses:
            found.append(score)
            expected.append(log_probability(log_probabilities[b], ids) / penalty(len(ids)))
    # A candidate may add its log-probabilities up in float32.
    close = bool(found) and np.allclose(found, expected, rtol=1e-5, atol=1e-5)
    return holds(close, expected=printed(torch.tensor(expected)), actual=printed(torch.tensor(found)))


def reached(reply: Reply) -> list[list[tuple[list[int], float]]]:
    """The hypotheses of each sequence that exist, up to and including their end ids, with their scores."""
    found = []
    for sequence, scores in zip(reply.output, reply.outputs["scores"].tolist(), strict=True):
        lengths = (~after_the_end(sequence)).sum(dim=-1).tolist()
        several = zip(sequence.tolist(), lengths, scores, strict=True)
        found.append([(ids[:length], score) for ids, length, score in several if score > UNREACHED])
    return found


def log_softmax(logits: Tensor) -> FloatArray:
    """Over the last axis, in float64."""
    table = logits.double().numpy()
    table = table - table.max(axis=-1, keepdims=True)
    normalised: FloatArray = table - np.log(np.exp(table).sum(axis=-1, keepdims=True))
    return normalised


def log_probability(table: FloatArray, ids: Sequence[int]) -> float:
    """The sum over the steps of one sequence, from the start id on."""
    before = [START, *ids[:-1]]
    return math.fsum(table[t, last, id] for t, (last, id) in enumerate(zip(before, ids, strict=True)))


def most_probable(logits: Tensor) -> Tensor:
    """The most probable of all sentences that end within the steps, padded: every one is looked at."""
    table = log_softmax(logits)
    batch, steps, vocabulary = table.shape[:3]
    words = range(FIRST_WORD, vocabulary)
    sentences = [[*ids, END] for n in range(steps) for ids in itertools.product(words, repeat=n)]
    best = [max(sentences, key=lambda ids, b=b: log_probability(table[b], ids)) for b in range(batch)]  # type: ignore[misc]
    return torch.tensor([ids + [PADDING] * (steps - len(ids)) for ids in best])
