import numpy as np
import pytest
import torch
from torch import nn

from reference import Transformer
from reference.compression import make_permanent, prune_weights, sparsity, untied_linears


def network() -> nn.Sequential:
    """Two maps, the second with weights ten times as large."""
    model = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3))
    with torch.no_grad():
        model[1].weight.mul_(10)
    return model


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [linear.weight.detach().clone() for linear in untied_linears(model)]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0, 1])
def test_each_map_loses_its_smallest_weights(share: float) -> None:
    model = network()
    before = weights(model)
    prune_weights(model, share, globally=False)
    for old, new in zip(before, weights(model), strict=True):
        gone = np.argsort(np.abs(old.numpy().ravel()))[: round(share * old.numel())]
        expected = old.numpy().ravel().copy()
        expected[gone] = 0
        assert np.array_equal(new.numpy().ravel(), expected)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_globally_one_threshold_holds_in_all_maps(share: float) -> None:
    model = network()
    before = torch.cat([weight.flatten() for weight in weights(model)])
    prune_weights(model, share)
    after = torch.cat([weight.flatten() for weight in weights(model)])
    gone = np.argsort(np.abs(before.numpy()))[: round(share * len(before))]
    assert set(gone.tolist()) == set((after == 0).nonzero().flatten().tolist())
    first, second = ((weight == 0).double().mean() for weight in weights(model))
    assert first > 2 * second


def test_sparsity_is_the_share_of_zeros() -> None:
    model = network()
    assert sparsity(model) == 0
    prune_weights(model, 0.25)
    assert sparsity(model) == 16 / 64
    prune_weights(model, 0.5)  # of the 48 that are left
    assert sparsity(model) == 40 / 64


def test_a_whole_model_keeps_its_tied_embedding() -> None:
    model = Transformer(11, 11, width=12, heads=3, inner_width=7, layers=1, tied=True)
    before = model.source_embedding.weight.clone()
    prune_weights(model, 0.5)
    assert sparsity(model) == pytest.approx(0.5, abs=1e-3)
    make_permanent(model)
    assert torch.equal(model.source_embedding.weight, before)
    assert model.output.weight is model.source_embedding.weight


@pytest.mark.parametrize("globally", [False, True])
def test_training_on_moves_the_survivors_and_leaves_the_zeros(globally: bool) -> None:
    model = network()
    prune_weights(model, 0.5, globally=globally)
    zeros = [weight == 0 for weight in weights(model)]
    before = weights(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(16, 5)).square().sum().backward()
        optimizer.step()
    model(torch.zeros(1, 5))  # a mask acts at the next call
    for old, new, zero in zip(before, weights(model), zeros, strict=True):
        assert torch.equal(new == 0, zero)
        assert (new != old)[~zero].all()


def test_permanent_zeros_are_plain_parameters() -> None:
    model = network()
    x = torch.randn(4, 5)
    names = {name for name, _ in model.named_parameters()}
    prune_weights(model, 0.5)
    expected = model(x)
    make_permanent(model)
    assert {name for name, _ in model.named_parameters()} == names
    assert list(model.buffers()) == []
    assert torch.equal(model(x), expected)
    assert sparsity(model) == 0.5
    make_permanent(model)  # nothing is left to do


def test_permanence_takes_the_weights_of_the_last_step() -> None:
    model = network()
    prune_weights(model, 0.5)
    with torch.no_grad():
        model[0].weight_orig.add_(1)
    make_permanent(model)
    assert sparsity(model) == 0.5
    assert (model[0].weight[model[0].weight != 0] > 0.5).all()


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_bad_share(share: float) -> None:
    with pytest.raises(ValueError, match=f"share must be a probability between 0 and 1, got {share}"):
        prune_weights(network(), share)
