from collections import OrderedDict

import pytest
import torch
from torch import nn

import reference
from reference.transfer import Frozen, freeze, load_weights, trainable_parameters, trainable_weights, unfreeze


def model() -> nn.Sequential:
    parts = {name: nn.Linear(2, 2) for name in ("encoder", "encoder_norm", "head")}
    return nn.Sequential(OrderedDict(parts))


def trained(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def test_a_prefix_names_a_module_or_a_parameter_and_not_the_beginning_of_a_word() -> None:
    module = model()
    freeze(module, "encoder", "head.bias")
    assert trained(module) == {"encoder_norm.weight", "encoder_norm.bias", "head.weight"}
    unfreeze(module, "encoder.weight")
    assert trained(module) == {"encoder_norm.weight", "encoder_norm.bias", "head.weight", "encoder.weight"}


def test_without_a_name_all_is_meant() -> None:
    module = model()
    freeze(module)
    assert trainable_parameters(module) == []
    unfreeze(module)
    assert len(trainable_parameters(module)) == 6


@pytest.mark.parametrize("change", [freeze, unfreeze])
@pytest.mark.parametrize("name", ["enc", "decoder", "encoder.weight.x", ""])
def test_a_name_without_a_parameter_is_refused(change: object, name: str) -> None:
    with pytest.raises(ValueError, match=r"no parameter is called .*; there are: encoder, encoder_norm, head"):
        change(model(), name)


@pytest.mark.parametrize("name", ["embedding", "output"])
def test_a_tied_weight_is_frozen_by_each_of_its_names(name: str) -> None:
    embedding = reference.TokenEmbedding(5, 4)
    tied = nn.ModuleDict({"embedding": embedding, "output": reference.tied_linear(embedding)})
    assert len(trainable_parameters(tied)) == 1
    freeze(tied, name)
    assert trainable_parameters(tied) == []


def test_the_optimizer_gets_what_trains_and_leaves_the_rest_bit_for_bit() -> None:
    module = model()
    freeze(module, "encoder", "encoder_norm")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = torch.optim.AdamW(trainable_parameters(module), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        module(torch.randn(4, 2)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    same = {name for name, value in module.state_dict().items() if value.equal(before[name])}
    assert same == {name for name in before if not name.startswith("head")}


def test_a_gradient_from_before_is_not_applied_after() -> None:
    module = model()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    module(torch.ones(1, 2)).sum().backward()
    freeze(module, "encoder")
    before = module.encoder.weight.clone()
    optimizer.step()
    assert module.encoder.weight.equal(before)


def test_a_frozen_module_drops_nothing_and_its_statistics_stand_still() -> None:
    body = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), reference.Dropout(0.5))
    module = nn.Sequential(Frozen(body), nn.Linear(2, 2), reference.Dropout(0.5))
    x = torch.randn(6, 2)
    statistics, answer = body[1].running_mean.clone(), body(x)
    for _ in range(2):  # every epoch says so again
        module.train()
    assert module.training
    assert module[2].training
    assert module[0](x).equal(answer)
    module(x)
    assert body[1].running_mean.equal(statistics)
    assert trained(module) == {"1.weight", "1.bias"}


def test_gradients_flow_through_a_frozen_module() -> None:
    x = torch.randn(1, 2, requires_grad=True)
    Frozen(nn.Linear(2, 2))(x).sum().backward()
    assert x.grad.any()


def test_what_trains_is_enough_to_save() -> None:
    first, second = model(), model()
    second.load_state_dict(first.state_dict())
    freeze(first, "encoder", "encoder_norm")
    with torch.no_grad():
        first.head.weight.fill_(7)
    saved = trainable_weights(first)
    assert saved.keys() == {"head.weight", "head.bias"}
    assert not any(value.requires_grad for value in saved.values())
    assert load_weights(second, saved, strict=False).unexpected == ()
    x = torch.randn(3, 2)
    assert second(x).equal(first(x))


def test_a_frozen_module_is_called_as_it_would_be() -> None:
    attention, x = reference.MultiHeadAttention(4, 2), torch.randn(1, 3, 4)
    mask = torch.tensor([[True, False, True]])
    assert Frozen(attention)(x, x, x, mask=mask).equal(attention(x, x, x, mask))
