import pytest
import torch
from torch import nn

from reference import FeedForward
from reference.compression import prune_neurons, prune_weights, remove_dead_neurons, sparsity

D, INNER = 6, 10


def network() -> FeedForward:
    model = FeedForward(D, INNER, activation=nn.functional.gelu).double()
    with torch.no_grad():
        model.inner.bias.add_(1)  # a neuron without input still speaks
    return model


def test_the_neurons_of_smallest_outgoing_norm_are_silenced() -> None:
    model = network()
    norms = model.outer.weight.square().sum(dim=0).sqrt()
    expected = model.outer.weight.detach().clone()
    expected[:, norms.argsort()[:3]] = 0
    prune_neurons(model, 0.3)
    assert torch.equal(model.outer.weight, expected)


def test_the_norm_is_euclidean() -> None:
    model = network()
    with torch.no_grad():
        model.outer.weight.fill_(10)
        model.outer.weight[:, 3] = 1  # norm 2.4, sum of absolute values 6
        model.outer.weight[:, 5] = torch.eye(D)[0] * 3  # 3 and 3
    prune_neurons(model, 0.1)
    assert (model.outer.weight == 0).all(dim=0).nonzero().tolist() == [[3]]


def test_removal_equals_silence_with_smaller_matrices() -> None:
    model = network()
    x = torch.randn(2, 3, D, dtype=torch.float64)
    prune_neurons(model, 0.4)
    silenced = model(x)
    remove_dead_neurons(model)
    torch.testing.assert_close(model(x), silenced, rtol=0, atol=1e-14)
    assert model.inner.weight.shape == (6, D)
    assert model.outer.weight.shape == (D, 6)
    assert sum(p.numel() for p in model.parameters()) == 6 * D + 6 + D * 6 + D
    assert not list(model.buffers())


def test_removal_takes_the_weights_of_the_last_step() -> None:
    model = network()
    prune_neurons(model, 0.4)
    with torch.no_grad():
        model.outer.weight_orig.mul_(2)
    x = torch.randn(3, D, dtype=torch.float64)
    expected = model(x)
    with torch.no_grad():
        model.outer.weight_orig.mul_(0.5)
    remove_dead_neurons(model)
    bias = model.outer.bias
    torch.testing.assert_close(2 * (model(x) - bias), expected - bias, rtol=0, atol=1e-14)


def test_no_dead_neurons_no_change() -> None:
    model = network()
    x = torch.randn(3, D, dtype=torch.float64)
    expected = model(x)
    remove_dead_neurons(model)
    assert torch.equal(model(x), expected)
    assert sparsity(model) == 0


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"share must be a probability between 0 and 1, got 1\.1"):
        prune_neurons(network(), 1.1)
    silent = network()
    prune_weights(silent, 1.0)
    with pytest.raises(ValueError, match="all 10 neurons are silent: leave out the whole sublayer instead"):
        remove_dead_neurons(silent)
