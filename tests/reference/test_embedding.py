import copy
import math
import re

import pytest
import torch
from torch import nn

from reference import TokenEmbedding, tied_linear


def test_rows_scaled_by_the_root_of_the_width() -> None:
    module = TokenEmbedding(7, 9)
    ids = torch.tensor([[0, 6, 6], [3, 1, 2]])
    torch.testing.assert_close(module(ids), module.weight[ids] * 3, rtol=0, atol=1e-6)


def test_starts_with_unit_variance_after_the_scale() -> None:
    assert TokenEmbedding(400, 64)(torch.arange(400)).std().item() == pytest.approx(1, abs=0.02)


def test_an_id_outside_the_vocabulary_is_an_error() -> None:
    for ids, given in (([2, 7], "2..7"), ([-1, 3], "-1..3")):
        with pytest.raises(ValueError, match=re.escape(f"ids must lie within 0..6, got {given}")):
            TokenEmbedding(7, 3)(torch.tensor(ids))


def test_tied_linear_is_the_transposed_embedding_and_shares_its_gradient() -> None:
    embedding = TokenEmbedding(7, 3)
    linear = tied_linear(embedding)
    assert isinstance(linear, nn.Linear)
    assert linear.weight is embedding.weight
    assert linear.bias is None
    x = torch.randn(2, 3)
    torch.testing.assert_close(linear(x), x @ embedding.weight.T)
    (linear(x).sum() + embedding(torch.tensor([2])).sum()).backward()
    expected = x.sum(0).repeat(7, 1)
    expected[2] += math.sqrt(3)
    torch.testing.assert_close(embedding.weight.grad, expected)


def test_a_tie_draws_no_random_numbers() -> None:
    embedding, state = TokenEmbedding(7, 3), torch.get_rng_state()
    tied_linear(embedding)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_tie_survives_copy_dtype_and_state() -> None:
    embedding = TokenEmbedding(7, 3)
    pair = copy.deepcopy(nn.ModuleList([embedding, tied_linear(embedding)])).double()
    pair.load_state_dict(pair.state_dict())
    assert pair[0].weight is pair[1].weight
    assert len(list(pair.parameters())) == 1


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="vocabulary must be at least 1, got 0"):
        TokenEmbedding(0, 3)
    with pytest.raises(ValueError, match="width must be at least 1, got -1"):
        TokenEmbedding(3, -1)
