from collections.abc import Callable

import pytest
import torch
from torch import nn

import reference
from reference.transfer import (
    LoRALinear,
    add_lora,
    load_weights,
    merge_lora,
    remove_lora,
    trainable_parameters,
    trainable_weights,
    unfreeze,
)


def adapter(width: int = 5, outer: int = 4, rank: int = 2, alpha: float = 6.0, **options: float) -> LoRALinear:
    return LoRALinear(nn.Linear(width, outer), rank, alpha, **options).double()


def stir(module: nn.Module) -> None:
    """Give the adapters values, so that they do something."""
    for part in module.modules():
        if isinstance(part, LoRALinear):
            nn.init.normal_(part.down)
            nn.init.normal_(part.up)


def model(layers: int = 2) -> reference.Transformer:
    torch.manual_seed(1)
    return reference.Transformer(9, 9, width=8, heads=2, inner_width=16, layers=layers, dropout=0.0, tied=True).double()


IDS = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]])


def test_the_closed_form() -> None:
    module, x = adapter(), torch.randn(2, 3, 5, dtype=torch.float64)
    stir(module)
    w, b, down, up = (p.detach().numpy() for p in (module.base.weight, module.base.bias, module.down, module.up))
    expected = x.numpy() @ (w + 6.0 / 2 * up @ down).T + b
    assert torch.allclose(module(x), torch.from_numpy(expected), rtol=1e-12)


def test_it_starts_as_the_base_and_learns_from_the_first_step() -> None:
    module, x = adapter(), torch.randn(3, 5, dtype=torch.float64)
    assert module(x).equal(module.base(x))
    module(x).sum().backward()
    assert module.up.grad.any()
    assert module.base.weight.grad is None


def test_the_first_factor_keeps_the_size_of_its_input() -> None:
    torch.manual_seed(0)
    module = adapter(width=400, outer=300, rank=200)
    assert (torch.randn(500, 400, dtype=torch.float64) @ module.down.T).std().item() == pytest.approx(1, abs=0.02)


def test_alpha_over_rank_is_the_scale() -> None:
    assert adapter(rank=2, alpha=6.0).scale == 3
    assert adapter(rank=4, alpha=6).scale == 1.5


def test_dropout_acts_on_the_update_alone_and_in_training_alone() -> None:
    module, x = adapter(dropout=0.5), torch.randn(3, 5, dtype=torch.float64)
    assert module(x).equal(module.base(x))
    stir(module)
    assert not module(x).equal(module(x))
    module.eval()
    assert module(x).equal(module(x))


def test_the_merged_layer_is_plain_and_equal_and_leaves_the_adapter_as_it_was() -> None:
    module, x = adapter(), torch.randn(3, 5, dtype=torch.float64)
    stir(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    merged = module.merged()
    assert type(merged) is nn.Linear
    assert torch.allclose(merged(x), module(x), rtol=1e-12)
    assert all(value.equal(before[name]) for name, value in module.state_dict().items())
    assert (merged.weight - module.base.weight).any()


def test_layers_without_bias_and_of_other_dtypes_are_wrapped_too() -> None:
    module = LoRALinear(nn.Linear(5, 4, bias=False, dtype=torch.bfloat16), 2, 4)
    assert module.down.dtype == module.up.dtype == torch.bfloat16
    assert module.merged().bias is None


def test_queries_and_values_of_every_attention_are_wrapped_by_default() -> None:
    whole = model()
    wrapped = add_lora(whole, rank=2, alpha=4)
    assert len(wrapped) == 2 * (2 + 2 * 2)
    assert {name.split(".")[-1] for name in wrapped} == {"query", "value"}
    assert all(isinstance(whole.get_submodule(name), LoRALinear) for name in wrapped)
    assert sum(p.numel() for p in trainable_parameters(whole)) == len(wrapped) * 2 * (8 + 8)


def test_every_adapter_gets_the_dropout() -> None:
    whole = model()
    wrapped = add_lora(whole, rank=1, alpha=1, dropout=0.25)
    assert {whole.get_submodule(name).dropout.probability for name in wrapped} == {0.25}


def test_names_may_be_longer_or_other_ones() -> None:
    whole = model(layers=1)
    assert add_lora(whole, ["encoder.layers.0.self_attention.query"], rank=1, alpha=1) == [
        "encoder.layers.0.self_attention.query"
    ]
    assert add_lora(model(layers=1), ["feed_forward.inner"], rank=1, alpha=1) == [
        "encoder.layers.0.feed_forward.inner",
        "decoder.layers.0.feed_forward.inner",
    ]


def test_a_whole_model_starts_as_it_was_and_merges_to_rounding() -> None:
    whole = model().eval()
    before = whole(IDS, IDS)
    names = list(whole.state_dict())
    add_lora(whole, rank=2, alpha=4)
    assert whole(IDS, IDS).equal(before)
    stir(whole)
    adapted = whole(IDS, IDS)
    assert not torch.allclose(adapted, before)
    merge_lora(whole)
    assert list(whole.state_dict()) == names
    assert torch.allclose(whole(IDS, IDS), adapted, rtol=1e-10)


def test_removing_restores_every_bit() -> None:
    whole = model().eval()
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    add_lora(whole, ["query", "key", "value", "output", "inner", "outer"], rank=2, alpha=4)
    stir(whole)
    remove_lora(whole)
    after = whole.state_dict()
    assert list(after) == list(before)
    assert all(value.equal(before[name]) for name, value in after.items())


def fine_tune(whole: reference.Transformer, parameters: list[nn.Parameter], steps: int = 40) -> list[float]:
    source = torch.randint(1, 9, (16, 4))
    target = torch.cat([torch.ones(16, 1).long(), source.flip(1)], dim=1)
    optimizer = torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.1)
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(whole(source, target[:, :-1]).transpose(1, 2), target[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_fine_tuning_learns_and_leaves_the_base_bit_for_bit_and_only_the_adapters_are_saved() -> None:
    whole, fresh = model(), model()
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    for either in (whole, fresh):
        add_lora(either, ["query", "key", "value", "output", "inner", "outer"], rank=4, alpha=8)
    losses = fine_tune(whole, trainable_parameters(whole))
    assert losses[-1] < 0.7 * losses[0]

    saved = trainable_weights(whole)
    assert {name.split(".")[-1] for name in saved} == {"down", "up"}
    report = load_weights(fresh, saved, strict=False)
    assert not report.unexpected
    assert not report.mismatched
    assert fresh.eval()(IDS, IDS).equal(whole.eval()(IDS, IDS))

    remove_lora(whole)
    assert all(value.equal(before[name]) for name, value in whole.state_dict().items())


def test_a_new_head_trains_beside_the_adapters() -> None:
    whole = model()
    add_lora(whole, rank=1, alpha=1)
    unfreeze(whole, "output")
    assert "source_embedding.weight" in trainable_weights(whole)  # tied with the output


def test_merging_a_tied_layer_leaves_the_embedding_as_it_is() -> None:
    whole = model().eval()
    embedding = whole.target_embedding.weight.clone()
    add_lora(whole, ["output"], rank=2, alpha=4)
    stir(whole)
    adapted = whole(IDS, IDS)
    merge_lora(whole)
    assert whole.target_embedding.weight.equal(embedding)
    assert torch.allclose(whole(IDS, IDS), adapted, rtol=1e-10)


def test_a_layer_that_stands_at_two_places_gets_one_adapter() -> None:
    shared = nn.Linear(3, 3)
    pair = nn.ModuleDict({"a": nn.ModuleDict({"query": shared}), "b": nn.ModuleDict({"query": shared})})
    assert add_lora(pair, ["query"], rank=1, alpha=1) == ["a.query", "b.query"]
    assert pair["a"]["query"] is pair["b"]["query"]
    merge_lora(pair)
    assert pair["a"]["query"] is pair["b"]["query"]
    assert type(pair["a"]["query"]) is nn.Linear


def test_layers_that_others_read_instead_of_calling_are_left_alone() -> None:
    with pytest.raises(ValueError, match=r"no nn\.Linear of the model is called 'out_proj'"):
        add_lora(nn.MultiheadAttention(4, 2), ["out_proj"], rank=1, alpha=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: adapter(rank=0), "rank must be at least 1, got 0"),
        (lambda: adapter(rank=5), "rank must be at most 4, the smaller width, got 5"),
        (lambda: adapter(dropout=2.0), r"dropout must be a probability between 0 and 1, got 2\.0"),
        (lambda: add_lora(model(), ["queries"], rank=1, alpha=1), "is called 'queries'; there are: encoder"),
        (lambda: add_lora(model(), ["uery"], rank=1, alpha=1), "is called 'uery'"),
        (lambda: merge_lora(model()), "the model has no LoRA adapters"),
        (lambda: remove_lora(model()), "the model has no LoRA adapters"),
    ],
)
def test_bad_arguments(call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_adapting_or_merging_twice_is_refused() -> None:
    whole = model()
    add_lora(whole, rank=1, alpha=1)
    with pytest.raises(ValueError, match="the model has LoRA adapters: merge or remove them"):
        add_lora(whole, ["key"], rank=1, alpha=1)
    assert trainable_parameters(whole)
    merge_lora(whole)
    with pytest.raises(ValueError, match="the model has no LoRA adapters"):
        merge_lora(whole)


def test_a_refused_call_leaves_the_model_as_it_was() -> None:
    whole = model()
    with pytest.raises(ValueError, match="is called 'nothing'"):
        add_lora(whole, ["query", "nothing"], rank=1, alpha=1)
    assert all(parameter.requires_grad for parameter in whole.parameters())
    assert not any(isinstance(module, LoRALinear) for module in whole.modules())
