"""Corpus BLEU: ``call(hypotheses, hypothesis_lengths, references, reference_lengths)`` gives one number ``()`` in 0..1.

Hypotheses ``(N, L)`` and references ``(N, R)`` are token ids, one reference each, of which the first ``lengths[n]``
count; the rest is padding. An adapter turns them into what its candidate takes, and a score in 0..100 into one in 0..1.
Smoothing is a choice for orders without any match, so the checks that compare numbers look where all four have some.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, equal_or_refused, holds, printed
from errata.checks.literature import PAPINENI, POST
from errata.checks.registry import check

Sentences = Sequence[Sequence[int]]

ORDERS = range(1, 5)


@dataclass(frozen=True, kw_only=True)
class BleuCase(Case):
    """A corpus of sentences of 5 tokens and more; each hypothesis is its reference with some tokens exchanged."""

    sentences: int = 1
    longest: int = 5
    vocabulary: int = 3

    def references(self) -> list[list[int]]:
        """Drawn sentences; the first has the full length."""
        tokens = self.integers("tokens", 0, self.vocabulary, self.sentences, self.longest).tolist()
        lengths = self.integers("lengths", 5, self.longest + 1, self.sentences).tolist()
        return [row[:length] for row, length in zip(tokens, [self.longest, *lengths[1:]], strict=True)]

    def hypotheses(self) -> list[list[int]]:
        """The references with every token exchanged at a chance of 1 in 6, and up to 2 tokens more or fewer."""
        draws = self.integers("exchanges", 0, 6, self.sentences, self.longest).tolist()
        more = self.integers("more", -2, 3, self.sentences).tolist()
        made = []
        for reference, row, extra in zip(self.references(), draws, more, strict=True):
            tokens = [(t + 1) % self.vocabulary if d == 0 else t for t, d in zip(reference, row, strict=False)]
            made.append((tokens + reference)[: max(4, len(tokens) + extra)])
        return made

    def distinct(self) -> list[int]:
        """A sentence in which no token comes twice."""
        return self.permutation("distinct", self.longest).tolist()


DOMAIN = {"sentences": (1, 2, 3), "longest": (5, 6, 9, 12), "vocabulary": (3, 4, 9)}
ONE = {"longest": (5, 6, 9)}

RUNS = "bleu.accepts-valid-input"
FORMULA = "bleu.is-the-geometric-mean-of-four-precisions"

RANGE = PAPINENI.says("2.3", "The BLEU metric ranges from 0 to 1.")
CLIPS = PAPINENI.says("2.1", "one clips the total count of each candidate word by its maximum reference count")
POOLS = PAPINENI.says(
    "2.1.1",
    "we add the clipped n-gram counts for all the candidate sentences and divide by the number of candidate n-grams",
)
CORPUS_PENALTY = PAPINENI.says("2.2.2", "we compute the brevity penalty over the entire corpus")
GEOMETRIC = PAPINENI.says("2.3", "We take the geometric mean of the test corpus’ modified precision scores")


def ask(candidate: Candidate, case: BleuCase, hypotheses: Sentences, references: Sentences, padding: int = 0) -> Tensor:
    """BLEU of a corpus whose sentences are padded with ``padding``."""
    arguments = {
        "hypotheses": _padded(hypotheses, padding),
        "hypothesis_lengths": torch.tensor([len(sentence) for sentence in hypotheses]),
        "references": _padded(references, padding),
        "reference_lengths": torch.tensor([len(sentence) for sentence in references]),
    }
    return candidate.build({}, dtype=case.dtype).call(arguments).output.double()


def bleu(hypotheses: Sentences, references: Sentences) -> Tensor:
    """``min(1, exp(1 - r/c)) (p_1 p_2 p_3 p_4)^(1/4)``, counts and lengths pooled over the corpus, unsmoothed."""
    c, r = sum(map(len, hypotheses)), sum(map(len, references))
    hits, totals = _counts(hypotheses, references)
    product = math.prod(hit / total for hit, total in zip(hits, totals, strict=True))
    return torch.tensor(min(1.0, math.exp(1 - r / c)) * product**0.25, dtype=torch.float64)


def all_orders_match(case: BleuCase) -> bool:
    """Whether every order of n-grams has a match in the drawn corpus, so that smoothing has nothing to do."""
    return all(_counts(case.hypotheses(), case.references())[0])


def _counts(hypotheses: Sentences, references: Sentences) -> tuple[list[int], list[int]]:
    """Clipped matches and n-grams of the hypotheses for n = 1..4."""
    pairs = list(zip(hypotheses, references, strict=True))
    hits = [sum((_grams(h, n) & _grams(r, n)).total() for h, r in pairs) for n in ORDERS]
    return hits, [sum(_grams(h, n).total() for h in hypotheses) for n in ORDERS]


def _grams(sentence: Sequence[int], n: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(sentence[i : i + n]) for i in range(len(sentence) - n + 1))


def _padded(sentences: Sentences, padding: int) -> Tensor:
    longest = max(map(len, sentences), default=0) + 1
    return torch.tensor([[*s, *[padding] * (longest - len(s))] for s in sentences]).reshape(len(sentences), longest)


@check(
    RUNS,
    "a corpus has one score in 0..1",
    spec=RANGE,
    level="paper",
    hint="Run it once on a corpus of one sentence.",
    case=BleuCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: BleuCase) -> Evidence:
    actual = ask(candidate, case, case.hypotheses(), case.references())
    fits = actual.shape == () and bool((actual >= 0) & (actual <= 1 + 1e-9))
    return holds(fits, expected="one number in 0..1", actual=printed(actual))


@check(
    "bleu.equal-texts-have-one",
    "hypotheses equal to their references have BLEU 1",
    spec=PAPINENI.says("2.3", "Few translations will attain a score of 1 unless they are identical to a reference"),
    level="paper",
    hint="Smooth only counts of 0, and count the n-grams of all four orders.",
    case=BleuCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def equal_texts_have_one(candidate: Candidate, case: BleuCase) -> Evidence:
    references = case.references()
    return equal(ask(candidate, case, references, references), torch.tensor(1.0, dtype=torch.float64))


@check(
    "bleu.repeated-tokens-are-clipped",
    "an n-gram counts at most as often as its reference holds it: a text said twice matches once",
    spec=CLIPS,
    level="paper",
    hint="Intersect the two multisets of n-grams: min(count in hypothesis, count in reference).",
    case=BleuCase,
    domain=ONE,
    builds_on=[RUNS],
)
def repeated_tokens_are_clipped(candidate: Candidate, case: BleuCase) -> Evidence:
    once = case.distinct()
    twice = [once + once], [once]
    return equal(ask(candidate, case, *twice), bleu(*twice))


@check(
    "bleu.short-hypotheses-are-penalised",
    "a hypothesis that is the beginning of its reference, c of r tokens, has BLEU exp(1 - r/c)",
    spec=PAPINENI.says("2.2.2", "decaying exponential in r/c"),
    level="paper",
    hint="All n-grams match, so the length alone costs: multiply by min(1, exp(1 - r/c)), r of the reference.",
    case=BleuCase,
    domain={"longest": (6, 9, 12)},
    builds_on=[RUNS],
)
def short_hypotheses_are_penalised(candidate: Candidate, case: BleuCase) -> Evidence:
    whole = case.distinct()
    short = whole[: case.longest - 2]
    expected = torch.tensor(math.exp(1 - len(whole) / len(short)), dtype=torch.float64)
    return equal(ask(candidate, case, [short], [whole]), expected)


@check(
    "bleu.long-hypotheses-are-not-penalised-twice",
    "where c > r the brevity penalty is 1: the tokens too many cost precision alone",
    spec=PAPINENI.says(
        "2.2.2",
        "Candidate translations longer than their references are already penalized by the modified n-gram precision "
        "measure",
    ),
    level="paper",
    hint="Take the minimum of 1 and exp(1 - r/c).",
    case=BleuCase,
    domain=ONE,
    builds_on=[RUNS],
)
def long_hypotheses_are_not_penalised_twice(candidate: Candidate, case: BleuCase) -> Evidence:
    whole = case.distinct()
    longer = [[*whole, case.longest, case.longest + 1]], [whole]
    return equal(ask(candidate, case, *longer), bleu(*longer))


@check(
    FORMULA,
    "BLEU of one sentence = BP (p_1 p_2 p_3 p_4)^(1/4) with clipped precisions p_n",
    spec=GEOMETRIC,
    level="paper",
    hint="Four orders of equal weight, the geometric mean, hypothesis and reference not exchanged.",
    case=BleuCase,
    domain=DOMAIN | {"sentences": (1,)},
    where=all_orders_match,
    builds_on=[RUNS],
)
def is_the_geometric_mean_of_four_precisions(candidate: Candidate, case: BleuCase) -> Evidence:
    corpus = case.hypotheses(), case.references()
    return equal(ask(candidate, case, *corpus), bleu(*corpus))


@check(
    "bleu.counts-are-pooled-over-the-corpus",
    "p_n is of the corpus: matches and n-grams of all sentences are added, then divided; no mean of sentence scores",
    spec=POOLS,
    level="paper",
    hint="Add up the counts of all sentences before dividing: a mean weighs a short sentence as a long one.",
    case=BleuCase,
    domain=DOMAIN | {"sentences": (2, 3)},
    where=all_orders_match,
    builds_on=[FORMULA],
)
def counts_are_pooled_over_the_corpus(candidate: Candidate, case: BleuCase) -> Evidence:
    corpus = case.hypotheses(), case.references()
    return equal(ask(candidate, case, *corpus), bleu(*corpus))


@check(
    "bleu.brevity-penalty-is-of-the-corpus",
    "a sentence too short and one too long by as much, together, are not penalised for their length",
    spec=CORPUS_PENALTY,
    level="paper",
    hint="Compare the total lengths once, not the lengths of each sentence.",
    case=BleuCase,
    domain={"longest": (6, 9, 12)},
    builds_on=[RUNS],
)
def brevity_penalty_is_of_the_corpus(candidate: Candidate, case: BleuCase) -> Evidence:
    whole = case.distinct()
    balanced = [whole[:-2], [*whole, case.longest, case.longest + 1]], [whole, whole]
    return equal(ask(candidate, case, *balanced), bleu(*balanced))


@check(
    "bleu.padding-takes-no-part",
    "tokens beyond the length change nothing, whatever they are",
    spec=RANGE,
    level="convention",
    hint="Cut each sentence at its length, or at its end token, before counting.",
    case=BleuCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def padding_takes_no_part(candidate: Candidate, case: BleuCase) -> Evidence:
    corpus = case.hypotheses(), case.references()
    return equal(ask(candidate, case, *corpus, padding=99), ask(candidate, case, *corpus, padding=0))


@check(
    "bleu.empty-corpus-has-no-score",
    "a corpus without sentences is refused or NaN, not a number",
    spec=POST.says("abstract", "BLEU is in fact a parameterized metric whose values can vary wildly"),
    level="robustness",
    hint="Raise, and say that there was nothing to compare: 0 looks like a result.",
    case=BleuCase,
    domain={"longest": (5,)},
    builds_on=[RUNS],
)
def empty_corpus_has_no_score(candidate: Candidate, case: BleuCase) -> Evidence:
    arguments = {name: torch.zeros(0, 4).long() for name in ("hypotheses", "references")}
    arguments |= {name: torch.zeros(0).long() for name in ("hypothesis_lengths", "reference_lengths")}
    return equal_or_refused(
        lambda: candidate.build({}, dtype=case.dtype).call(arguments), torch.tensor(torch.nan, dtype=torch.float64)
    )
