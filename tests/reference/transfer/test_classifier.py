from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import reference
from reference.pooling import first_real, mean_of_real
from reference.transfer import Frozen, PooledClassifier, SourceEncoder, trainable_parameters

POOLS = pytest.mark.parametrize("pool", [mean_of_real, first_real])
REAL = torch.tensor([[True, True, False, False], [True, True, True, True], [False, False, True, False]])


class States(nn.Module):
    """An encoder of what is encoded already."""

    def forward(self, source: Tensor, mask: Tensor) -> Tensor:
        return source


def transformer() -> reference.Transformer:
    return reference.Transformer(9, 9, width=8, heads=2, inner_width=16, layers=2, dropout=0.0).double()


@POOLS
def test_the_head_is_affine_in_the_pooled_state(pool: Callable) -> None:
    model = PooledClassifier(States(), 5, 3, pool=pool)
    states = torch.randn(3, 4, 5)
    assert model(states, REAL).equal(model.head(pool(states, REAL)))


@POOLS
def test_longer_padding_changes_nothing_through_a_whole_encoder(pool: Callable) -> None:
    model = PooledClassifier(SourceEncoder(transformer()), 8, 3, pool=pool).double()
    ids = torch.tensor([[3, 4, 5], [6, 7, 0]])
    longer = torch.nn.functional.pad(ids, (0, 4))
    short, long = model(ids, ids != 0), model(longer, longer != 0)
    assert torch.allclose(long, short, rtol=1e-12)
    garbage = torch.where(longer == 0, 8, longer)
    assert torch.allclose(model(garbage, longer != 0), short, rtol=1e-12)


def test_the_source_encoder_is_that_of_the_transformer_and_shares_its_weights() -> None:
    whole = transformer()
    encoder = SourceEncoder(whole)
    ids = torch.tensor([[3, 4, 0]])
    mask = reference.padding_mask_from_ids(ids, 0)
    assert encoder(ids, mask).equal(whole.encode(ids, mask))
    assert {id(p) for p in encoder.parameters()} < {id(p) for p in whole.parameters()}


def test_dropout_acts_in_training_alone() -> None:
    model = PooledClassifier(States(), 50, 3, dropout=0.5)
    states, real = torch.randn(1, 2, 50), torch.ones(1, 2, dtype=torch.bool)
    assert not model(states, real).equal(model(states, real))
    model.eval()
    assert model(states, real).equal(model(states, real))


def test_a_head_on_a_frozen_encoder_learns_a_task() -> None:
    torch.manual_seed(0)
    model = PooledClassifier(Frozen(SourceEncoder(transformer())), 8, 2).double()
    ids = torch.randint(1, 9, (64, 5))
    classes = (ids == 3).any(dim=1).long()
    assert sum(p.numel() for p in trainable_parameters(model)) == 8 * 2 + 2
    optimizer = torch.optim.Adam(trainable_parameters(model), lr=0.1)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(ids, ids != 0), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"dropout": 1.5}, r"dropout must be a probability between 0 and 1, got 1\.5"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PooledClassifier(States(), **({"width": 5, "classes": 3} | arguments))
