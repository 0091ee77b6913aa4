import pytest
import torch
from torch import nn

from reference import Transformer
from reference.compression import linear_of, untied_linears


def test_finds_every_linear_map_but_a_tied_one() -> None:
    sizes = {"width": 12, "heads": 3, "inner_width": 7, "layers": 2}
    untied, tied = Transformer(11, 13, **sizes), Transformer(11, 11, tied=True, **sizes)
    per_layer = (4 + 2) + (4 + 4 + 2)  # attention and feed-forward network of the encoder, then of the decoder
    assert len(untied_linears(untied)) == 2 * per_layer + 1
    assert untied.output in untied_linears(untied)
    assert len(untied_linears(tied)) == 2 * per_layer
    assert tied.output not in untied_linears(tied)


def test_a_module_without_linear_maps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"LayerNorm has no nn\.Linear with a weight of its own"):
        untied_linears(nn.LayerNorm(3))


@pytest.mark.parametrize("bias", [False, True])
def test_linear_of_copies(bias: bool) -> None:
    model = nn.Linear(3, 5, bias=bias)
    copy = linear_of(model.weight, model.bias)
    x = torch.randn(2, 3)
    expected = model(x).detach()
    torch.testing.assert_close(copy(x), expected, rtol=0, atol=0)
    assert (copy.in_features, copy.out_features) == (3, 5)
    assert all(parameter.requires_grad for parameter in copy.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    torch.testing.assert_close(copy(x), expected, rtol=0, atol=0)


def test_linear_of_draws_nothing() -> None:
    model = nn.Linear(3, 5)
    before = torch.get_rng_state()
    linear_of(model.weight, model.bias)
    assert torch.get_rng_state().equal(before)
