import pytest
import torch

from errata.refutations import attention as shows
from reference import MultiHeadAttention, attention_with_weights


def one_matrix():
    module = MultiHeadAttention(8, 1, bias=False).double()
    module.key = module.value = module.query
    return module


def without_itself(query, key, value):
    others = ~torch.eye(len(query), dtype=torch.bool)
    return attention_with_weights(query, key, value, others)


def by_similarity(query, key, value):
    scores = query @ key.T / query.shape[-1] ** 0.5
    return scores @ value, scores


def one_importance_per_word(query, key, value):
    _, weights = attention_with_weights(query[:1], key, value)
    return (weights @ value).expand_as(value), (weights / len(query)).expand(len(query), -1)


TRUE_OF = {
    shows.queries_keys_and_values_differ: one_matrix(),
    shows.a_word_attends_to_itself: without_itself,
    shows.values_are_multiplied_by_weights: by_similarity,
    shows.weights_belong_to_pairs: one_importance_per_word,
    shows.parallel_is_not_far_sighted: shows.self_attention,
    shows.parallelism_does_not_save_the_gradient: shows.uniform_attention,
}


@pytest.mark.parametrize(("refute", "subject"), TRUE_OF.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refutes_and_would_not_refute_the_truth(refute, subject):
    assert refute().refuted
    assert not refute(subject).refuted


def test_the_parallel_recurrence_is_the_serial_one():
    inputs = torch.randn(5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shows.in_parallel(inputs), shows.in_series(inputs))
