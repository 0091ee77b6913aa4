import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.text import Perplexity as TheirPerplexity

from reference.evaluation import Perplexity


def perplexity(logits: torch.Tensor, labels: torch.Tensor, padding_id: int = 0) -> float:
    metric = Perplexity(padding_id)
    metric.update(logits, labels)
    return metric.compute()


def by_hand(logits: torch.Tensor, labels: torch.Tensor, padding_id: int) -> float:
    x = logits.double().numpy()
    log_p = x - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)) - x.max(-1, keepdims=True)
    taken = [log_p[place][label] for place, label in np.ndenumerate(labels.numpy()) if label != padding_id]
    return float(np.exp(-np.mean(taken)))


@given(st.integers(1, 4), st.integers(1, 6), st.integers(2, 9), st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_equals_the_formula_and_torchmetrics(batches: int, length: int, vocabulary: int, seed: int) -> None:
    torch.manual_seed(seed)
    logits = 3 * torch.randn(batches, 2, length, vocabulary, dtype=torch.float64)
    labels = torch.randint(vocabulary, (batches, 2, length))
    labels[0, 0, 0] = vocabulary - 1  # never all padding
    ours, theirs = Perplexity(0), TheirPerplexity(ignore_index=0).double()
    for batch in zip(logits, labels, strict=True):
        ours.update(*batch)
        theirs.update(*batch)
    assert ours.compute() == pytest.approx(by_hand(logits, labels, 0), rel=1e-12)
    assert ours.compute() == pytest.approx(theirs.compute().item(), rel=1e-5)


@pytest.mark.parametrize("vocabulary", [1, 2, 7, 1000])
def test_a_model_that_knows_nothing_hesitates_between_all_tokens(vocabulary: int) -> None:
    assert perplexity(torch.zeros(2, 3, vocabulary), torch.zeros(2, 3).long(), -1) == pytest.approx(
        vocabulary, rel=1e-6
    )


def test_a_model_that_knows_everything_has_perplexity_one() -> None:
    labels = torch.randint(1, 5, (2, 3))
    assert perplexity(1e3 * torch.nn.functional.one_hot(labels, 5).float(), labels) == 1


def test_the_cut_into_batches_does_not_matter() -> None:
    logits, labels = torch.randn(4, 5, 6, dtype=torch.float64), torch.randint(1, 6, (4, 5))
    labels[1, 1:] = 0
    labels[3, 2:] = 0
    whole = perplexity(logits, labels)
    pieces = Perplexity(0)
    for cut in (slice(0, 1), slice(1, 2), slice(2, 4)):
        pieces.update(logits[cut], labels[cut])
    assert pieces.compute() == pytest.approx(whole, rel=1e-12)
    mean = np.mean([perplexity(x[None], y[None]) for x, y in zip(logits, labels, strict=True)])
    assert abs(mean / whole - 1) > 0.01


def test_logits_at_padding_do_not_matter_not_even_nan() -> None:
    logits, labels = torch.randn(1, 4, 5), torch.tensor([[1, 2, 0, 0]])
    expected = perplexity(logits[:, :2], labels[:, :2])
    logits[:, 2:] = math.nan
    assert perplexity(logits, labels) == expected


def test_overflow_gives_infinity() -> None:
    logits = torch.tensor([[0.0, 720.0]], dtype=torch.float64)
    assert perplexity(logits, torch.tensor([0]), -1) == math.inf
    assert perplexity(logits - torch.tensor([0.0, 20.0]), torch.tensor([0]), -1) == pytest.approx(math.exp(700))
    assert perplexity(torch.tensor([[-math.inf, 0.0]]), torch.tensor([0]), -1) == math.inf


def test_half_precision_is_computed_in_float32() -> None:
    logits, labels = torch.randn(1, 200, 50).bfloat16(), torch.randint(50, (1, 200))
    assert perplexity(logits, labels, -1) == pytest.approx(perplexity(logits.float(), labels, -1), rel=1e-12)


def test_a_corpus_of_padding_is_refused_but_a_batch_of_it_is_not() -> None:
    metric = Perplexity(0)
    with pytest.raises(ValueError, match="at least one token that is not padding, got none"):
        metric.compute()
    metric.update(torch.randn(2, 3, 4), torch.zeros(2, 3).long())
    with pytest.raises(ValueError, match="at least one token that is not padding, got none"):
        metric.compute()
    metric.update(torch.zeros(2, 3, 4), torch.ones(2, 3).long())
    assert metric.compute() == pytest.approx(4)
