import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.evaluation import corpus_bleu

TEXT = "it is a guide to action that ensures that the military will forever heed Party commands"


def by_hand(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU of tokens, unsmoothed, from the definition."""
    hits, total, c, r = [0] * 4, [0] * 4, 0, 0
    for hypothesis, texts in zip(hypotheses, references, strict=True):
        tokens, others = hypothesis.split(), [text.split() for text in texts]
        c += len(tokens)
        r += min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]
        for n in range(4):

            def grams(words: list[str], n: int = n) -> Counter:
                return Counter(tuple(words[i : i + n + 1]) for i in range(len(words) - n))

            most = Counter()
            for other in others:
                most |= grams(other)
            hits[n] += (grams(tokens) & most).total()
            total[n] += grams(tokens).total()
    if not all(hits):
        return 0.0
    penalty = min(1.0, math.exp(1 - r / c))
    return 100 * penalty * math.prod(h / t for h, t in zip(hits, total, strict=True)) ** 0.25


@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 5), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_equals_the_definition(size: int, streams: int, vocabulary: int, rng: random.Random) -> None:
    def sentence() -> str:
        return " ".join(str(rng.randrange(vocabulary)) for _ in range(rng.randint(1, 12)))

    hypotheses = [sentence() for _ in range(size)]
    references = [[sentence() for _ in range(streams)] for _ in range(size)]
    ours = corpus_bleu(hypotheses, references, tokenizer="none", smoothing="none")
    assert ours.score == pytest.approx(by_hand(hypotheses, references), abs=1e-9)


def test_equal_texts_have_100_and_disjoint_ones_0() -> None:
    assert corpus_bleu([TEXT], [[TEXT]]).score == pytest.approx(100)
    assert corpus_bleu(["one two three four five"], [[TEXT]]).score == 0


def test_the_brevity_penalty_is_of_the_corpus() -> None:
    words = TEXT.split()
    short = corpus_bleu([" ".join(words[:8])], [[TEXT]])
    assert short.score == pytest.approx(100 * math.exp(1 - len(words) / 8))
    assert short.brevity_penalty == pytest.approx(math.exp(1 - len(words) / 8))
    balanced = corpus_bleu([" ".join(words[:8]), TEXT + " and so on and on and on and on"], [[TEXT], [TEXT]])
    assert balanced.brevity_penalty == 1


def test_repeated_words_are_clipped() -> None:
    score = corpus_bleu(["the the the the the the the"], [["the cat is on the mat"]])
    assert score.precisions[0] == pytest.approx(100 * 2 / 7)  # the example of the paper, section 2.1


def test_corpus_bleu_is_not_the_mean_of_sentence_bleu() -> None:
    hypotheses = [TEXT, "it is a guide to nothing at all"]
    both = corpus_bleu(hypotheses, [[TEXT], [TEXT]]).score
    alone = [corpus_bleu([hypothesis], [[TEXT]]).score for hypothesis in hypotheses]
    assert abs(both - sum(alone) / 2) > 1


def test_smoothing_replaces_a_precision_of_zero() -> None:
    pair = ["it is a mat"], [["it is a cat"]]
    assert corpus_bleu(*pair, smoothing="none").score == 0
    assert corpus_bleu(*pair, smoothing="exp").score == pytest.approx(100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25)


def test_the_tokenizer_splits_punctuation_unless_told_otherwise() -> None:
    pair = ["It is so, she said."], [["It is so, she says."]]
    assert corpus_bleu(*pair).precisions[0] == pytest.approx(100 * 6 / 7)
    assert corpus_bleu(*pair, tokenizer="none").precisions[0] == pytest.approx(100 * 4 / 5)


def test_the_signature_tells_the_settings() -> None:
    signature = corpus_bleu([TEXT], [[TEXT, TEXT]], tokenizer="char", smoothing="floor").signature
    assert {"nrefs:2", "case:mixed", "eff:no", "tok:char", "smooth:floor[0.10]"} < set(signature.split("|"))


def test_tokens_ending_in_a_period_raise_no_advice(caplog: pytest.LogCaptureFixture) -> None:
    corpus_bleu([f"{TEXT} ."] * 200, [[f"{TEXT} ."]] * 200, tokenizer="none")
    assert not caplog.records


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: corpus_bleu([], []), "at least one hypothesis, got none"),
        (lambda: corpus_bleu(["a"], []), "1 hypotheses need as many lists of references, got 0"),
        (lambda: corpus_bleu(["a"], [[]]), r"a list of texts for each hypothesis, all of one length, got \[\]"),
        (lambda: corpus_bleu(["a"], ["a"]), "a list of texts for each hypothesis, all of one length, got 'a'"),
        (lambda: corpus_bleu(["a", "b"], [["a"], ["b", "c"]]), r"all of one length, got \['b', 'c'\]"),
        (lambda: corpus_bleu(["a"], [["a"]], tokenizer="words"), "tokenizer must be one of .*13a.*, got 'words'"),
        (lambda: corpus_bleu(["a"], [["a"]], smoothing="some"), "smoothing must be one of .*exp.*, got 'some'"),
    ],
)
def test_bad_arguments(call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_missing_sacrebleu_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ImportError, match=r"pip install 'transformer-errata\[evaluate\]'"):
        corpus_bleu(["a"], [["a"]])
