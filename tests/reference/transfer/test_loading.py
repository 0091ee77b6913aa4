from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import nn

import reference
from reference.transfer import LoadReport, SourceEncoder, load_weights, weights_of_part


def model(**widths: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict((name, nn.Linear(2, width)) for name, width in widths.items()))


def test_a_perfect_match_is_loaded_whole() -> None:
    ours, theirs = model(body=3, head=4), model(body=3, head=4)
    report = load_weights(ours, theirs.state_dict(), strict=True)
    assert report == LoadReport(("body.weight", "body.bias", "head.weight", "head.bias"), (), (), ())
    assert all(a.equal(b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_every_name_that_does_not_fit_is_reported_and_the_others_are_loaded() -> None:
    ours, theirs = model(body=3, head=4, adapter=5), model(body=3, head=6, pooler=2)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    assert load_weights(ours, theirs.state_dict(), strict=False) == LoadReport(
        loaded=("body.weight", "body.bias"),
        missing=("adapter.weight", "adapter.bias"),
        unexpected=("pooler.weight", "pooler.bias"),
        mismatched=("head.weight", "head.bias"),
    )
    after = ours.state_dict()
    assert after["body.weight"].equal(theirs.body.weight)
    assert all(after[name].equal(before[name]) for name in before if not name.startswith("body"))


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (model(body=3), r"missing: head\.weight, head\.bias$"),
        (model(body=3, head=4, more=1), r"not those of this model: unexpected: more\.weight, more\.bias$"),
        (model(body=3, head=5), r"of another shape: head\.weight \(5, 2\) for \(4, 2\), head\.bias \(5,\) for \(4,\)$"),
    ],
)
def test_strict_refuses_any_deviation_and_loads_nothing(theirs: nn.Module, message: str) -> None:
    ours = model(body=3, head=4)
    before = ours.body.weight.clone()
    with pytest.raises(ValueError, match=message):
        load_weights(ours, theirs.state_dict(), strict=True)
    assert ours.body.weight.equal(before)


def test_nothing_that_fits_is_refused_even_if_not_strict() -> None:
    with pytest.raises(ValueError, match=r"this model: missing: a\.weight, a\.bias; unexpected: b\.weight, b\.bias$"):
        load_weights(model(a=1), model(b=1).state_dict(), strict=False)


def test_one_name_of_a_tied_weight_is_enough() -> None:
    embedding = reference.TokenEmbedding(5, 4)
    tied = nn.ModuleDict({"embedding": embedding, "output": reference.tied_linear(embedding)})
    weight = torch.randn(5, 4)
    report = load_weights(tied, {"embedding.weight": weight}, strict=True)
    assert report.missing == ()
    assert tied["output"].weight is embedding.weight
    assert embedding.weight.equal(weight)


def test_an_optimizer_made_before_still_holds_the_parameters() -> None:
    ours = model(body=3)
    parameter = ours.body.weight
    load_weights(ours, model(body=3).state_dict(), strict=True)
    assert ours.body.weight is parameter


def test_buffers_are_loaded_and_values_cast() -> None:
    ours, theirs = nn.BatchNorm1d(2), nn.BatchNorm1d(2).double()
    theirs(torch.randn(5, 2, dtype=torch.float64))
    load_weights(ours, theirs.state_dict(), strict=True)
    assert ours.running_mean.equal(theirs.running_mean.float())


def test_a_part_of_a_transformer_is_loaded_by_its_name() -> None:
    source, target = (reference.Transformer(7, 7, width=4, heads=2, inner_width=4, layers=2) for _ in range(2))
    load_weights(target.encoder, weights_of_part(source.state_dict(), "encoder"), strict=True)
    assert all(a.equal(b) for a, b in zip(source.encoder.parameters(), target.encoder.parameters(), strict=True))
    report = load_weights(SourceEncoder(target), source.state_dict(), strict=False)
    assert report.missing == report.mismatched == ()
    assert {name.split(".")[0] for name in report.unexpected} == {"target_embedding", "decoder", "output"}


def test_a_part_is_a_module_and_not_the_beginning_of_a_word() -> None:
    weights = {"encoder.a": torch.zeros(1), "encoder_norm.a": torch.ones(1)}
    assert weights_of_part(weights, "encoder") == {"a": torch.zeros(1)}


@pytest.mark.parametrize("prefix", ["enc", "decoder", "encoder."])
def test_a_part_without_weights_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"there are no weights of .*, only of encoder, head"):
        weights_of_part({"head.a": torch.zeros(1), "encoder.a": torch.zeros(1)}, prefix)


def test_strict_has_no_default() -> None:
    call: Callable = load_weights
    with pytest.raises(TypeError, match="strict"):
        call(model(a=1), model(a=1).state_dict())
