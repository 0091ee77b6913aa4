"""Each refutation holds, and would not for a model of which the statement is true."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from errata.refutations import Shown, architecture
from errata.refutations.architecture import Readers
from errata.refutations.models import small_transformer, vectors
from errata.refutations.splitting import _attention


def pooled(x):
    return small_transformer().encoder(x).mean(dim=1)


def memory_of_both(source, target):
    return small_transformer().encoder(small_transformer().source_embedding(torch.cat([source, target], dim=-1)))


def attend_both(attention, x, memory):
    both = torch.cat([memory, x], dim=1)
    return attention.with_weights(x, both, both)


def remember_the_embeddings(_encoder, source):
    return source


def causal_only_with_heads(heads):
    attention = _attention(8, heads)
    return lambda x: attention(
        x, x, x, torch.ones(6, 6, dtype=torch.bool).tril()[: x.shape[1], : x.shape[1]] if heads > 1 else None
    )


CASES: list[tuple[Callable[..., Shown], Any]] = [
    (architecture.encoder_gives_one_vector_per_position, pooled),
    (architecture.encoding_already_holds_the_dependencies, torch.eye(5, dtype=torch.bool)),
    (architecture.memory_knows_nothing_of_the_target, memory_of_both),
    (architecture.attention_reads_more_than_the_input, lambda model: Readers(18, 0, 0)),
    (architecture.self_attention_stays_in_its_sequence, "cross_attention"),
    (architecture.only_cross_attention_carries_the_source_across, "self_attention"),
    (architecture.cross_attention_weighs_the_source_alone, attend_both),
    (architecture.decoder_waits_for_the_encoder, remember_the_embeddings),
    (architecture.one_head_is_as_parallel_as_many, causal_only_with_heads),
]


@pytest.mark.parametrize(("measure", "as_stated"), CASES, ids=[measure.__name__ for measure, _ in CASES])
def test_refutes_what_is_false_and_not_what_is_true(measure: Callable[..., Shown], as_stated: Any) -> None:
    assert measure().refuted
    assert not measure(as_stated).refuted


def test_the_readers_are_told_apart_by_gradient() -> None:
    assert architecture._readers(small_transformer(layers=3)) == Readers(3, 3, 3)


def test_vectors_are_the_same_at_every_call() -> None:
    assert torch.equal(vectors(3), vectors(3))
