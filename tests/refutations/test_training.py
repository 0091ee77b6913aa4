"""Each refutation holds, and would not for a training of which the statement is true."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from errata.refutations import Shown, training
from errata.refutations.models import SOURCE, small_transformer


def two_losses(model, memory):
    own = model.encode(SOURCE, SOURCE[:, None, None] != 0)
    return training._one_loss(model, memory) + own.square().mean()


def frozen_embeddings():
    model = small_transformer()
    model.source_embedding.weight.requires_grad_(False)
    return model


def fed_with_the_source(model):
    return model.source_embedding(SOURCE)


def backward_that_updates(model, loss):
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad


def compares_encoder_and_decoder(_logits, memory, decoded):
    return (memory.mean(dim=1) - decoded.mean(dim=1)).square().mean()


CASES: list[tuple[Callable[..., Shown], Any]] = [
    (training.encoder_learns_only_through_the_decoder, two_losses),
    (training.embeddings_are_learned_with_the_model, frozen_embeddings()),
    (training.decoder_reads_the_shifted_target, fed_with_the_source),
    (training.backward_computes_gradients_only, backward_that_updates),
    (training.cross_entropy_reads_logits_and_labels, compares_encoder_and_decoder),
]


@pytest.mark.parametrize(("measure", "as_stated"), CASES, ids=[measure.__name__ for measure, _ in CASES])
def test_refutes_what_is_false_and_not_what_is_true(measure: Callable[..., Shown], as_stated: Any) -> None:
    assert measure().refuted
    assert not measure(as_stated).refuted
