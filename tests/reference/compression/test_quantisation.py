import copy
import io
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from reference import Transformer
from reference.compression import (
    AffineQuantiser,
    quantise_dynamically,
    quantise_statically,
    stored_bytes,
    untied_linears,
)

WORDS = 3


def problems(count: int) -> tuple[Tensor, Tensor]:
    """Random words, to be reversed; 1 starts the answer."""
    source = torch.randint(2, 12, (count, WORDS))
    return source, nn.functional.pad(source.flip(1), (1, 0), value=1)


@pytest.fixture(scope="module")
def trained() -> Transformer:
    """A model that reverses three words."""
    torch.manual_seed(1)
    model = Transformer(12, 12, width=32, heads=2, inner_width=64, layers=1, dropout=0.0, pre_norm=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(200):
        source, target = problems(32)
        loss = nn.functional.cross_entropy(model(source, target[:, :-1]).flatten(0, 1), target[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def dynamically(model: nn.Module) -> None:
    quantise_dynamically(model)


def statically(model: Transformer) -> None:
    source, target = problems(64)
    quantise_statically(model, lambda: model(source, target[:, :-1]))


@pytest.fixture(params=[dynamically, statically])
def quantised(request: pytest.FixtureRequest, trained: Transformer) -> Transformer:
    model = copy.deepcopy(trained)
    request.param(model)
    return model


def greedy(model: Transformer, source: Tensor) -> Tensor:
    target = torch.ones(source.shape[0], 1, dtype=torch.long)
    for _ in range(WORDS):
        target = torch.cat((target, model(source, target)[:, -1:].argmax(-1)), dim=1)
    return target


def test_a_quantised_model_decodes_as_before(trained: Transformer, quantised: Transformer) -> None:
    source, target = problems(200)
    logits, expected = quantised(source, target[:, :-1]), trained(source, target[:, :-1])
    error = (logits - expected).abs().max() / expected.abs().max()
    assert 0 < error < 0.05
    assert (greedy(trained, source) == target).all(-1).double().mean() > 0.97
    assert (greedy(quantised, source) == greedy(trained, source)).all(-1).double().mean() > 0.99


def test_it_is_four_times_smaller_in_its_linear_maps(trained: Transformer, quantised: Transformer) -> None:
    linears = untied_linears(trained)
    weights = sum(linear.weight.nbytes for linear in linears)
    others = stored_bytes(trained) - weights
    for linear in untied_linears(quantised):
        assert linear.weight.qdata.dtype == torch.int8
        assert linear.weight.qdata.shape == linear.weight.shape
    scales = sum(linear.out_features * (4 + 1) for linear in linears)  # of each channel: float32, and an unused zero
    assert stored_bytes(quantised) - others <= weights / 4 + scales + 8 * len(linears)
    assert stored_bytes(trained) == 4 * sum(p.numel() for p in trained.parameters())


def test_weights_are_quantised_by_output_channel(trained: Transformer, quantised: Transformer) -> None:
    for before, after in zip(untied_linears(trained), untied_linears(quantised), strict=True):
        ours = AffineQuantiser.covering(before.weight.detach(), symmetric=True, axis=0)
        error = (after.weight.dequantize() - before.weight).abs()
        assert (error <= ours.scale * 0.501).all()


def test_everything_else_stays_in_float(trained: Transformer, quantised: Transformer) -> None:
    kept = dict(trained.named_parameters())
    for name, parameter in quantised.named_parameters():
        if not hasattr(parameter, "qdata"):
            assert torch.equal(parameter, kept[name]), name
    assert type(quantised.source_embedding.weight) is nn.Parameter


def test_a_state_dict_brings_it_back(trained: Transformer, quantised: Transformer) -> None:
    source, target = problems(5)
    expected = quantised(source, target)
    buffer = io.BytesIO()
    torch.save(quantised.state_dict(), buffer)
    buffer.seek(0)
    twin = copy.deepcopy(trained)
    twin.load_state_dict(torch.load(buffer, weights_only=True), assign=True)
    assert torch.equal(twin(source, target), expected)


@pytest.mark.parametrize("quantise", [dynamically, statically])
def test_a_tied_matrix_stays_one_matrix(quantise: Callable[[nn.Module], None]) -> None:
    model = Transformer(12, 12, width=32, heads=2, inner_width=64, layers=1, tied=True)
    quantise(model)
    assert model.output.weight is model.source_embedding.weight
    assert type(model.output.weight) is nn.Parameter


@pytest.mark.parametrize(
    "quantise",
    [lambda model, x: quantise_dynamically(model), lambda model, x: quantise_statically(model, lambda: model(x))],
    ids=["dynamic", "static"],
)
def test_inputs_are_quantised_too(quantise: Callable[[nn.Module, Tensor], None]) -> None:
    """Beside an input of 100, one of 0.3 is less than half a step, and vanishes."""
    layer = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        layer[0].weight.copy_(torch.eye(2))
    x = torch.tensor([[100.0, 0.3]])
    quantise(layer, x)
    torch.testing.assert_close(layer(x), torch.tensor([[100.0, 0.0]]), rtol=0, atol=1.0)
    assert layer(x)[0, 1] == 0


def test_tokens_have_scales_of_their_own_only_dynamically() -> None:
    """One token a thousand times as large drowns the others if all share its scale."""
    small = torch.randn(1, 3, 16)
    together = torch.cat((small, 1000 * torch.randn(1, 1, 16)), dim=1)
    layer = nn.Sequential(nn.Linear(16, 16))
    dynamic, static = copy.deepcopy(layer), copy.deepcopy(layer)
    quantise_dynamically(dynamic)
    quantise_statically(static, lambda: static(together))
    expected = layer(small)
    assert (dynamic(together)[:, :3] - expected).abs().max() < 0.1
    assert (static(together)[:, :3] - expected).abs().max() > 0.3


def test_inputs_beyond_the_calibrated_saturate() -> None:
    layer = nn.Sequential(nn.Linear(4, 4, bias=False))
    seen = torch.tensor([[1.0, -1.0, 0.5, 0.25]])
    unseen = torch.tensor([[3.0, -9.0, 0.5, 0.25]])
    quantise_statically(layer, lambda: layer(seen))
    torch.testing.assert_close(layer(unseen), layer(seen), rtol=0, atol=0.02)


def test_the_largest_input_of_all_batches_counts() -> None:
    layer = nn.Sequential(nn.Linear(4, 4, bias=False))
    twin = copy.deepcopy(layer)
    large = torch.tensor([[8.0, -1.0, 0.5, 0.25]])
    quantise_statically(layer, lambda: [layer(large), layer(large / 100)])
    torch.testing.assert_close(layer(large), twin(large), rtol=0, atol=0.1)


def test_calibration_leaves_no_hooks_and_must_reach_every_map() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    x = torch.randn(2, 4)
    with pytest.raises(ValueError, match="calibrate must run the whole model, but 1 of 2 linear maps had no input"):
        quantise_statically(model, lambda: model[0](x))
    assert not any(linear._forward_pre_hooks for linear in model)
    assert type(model[0].weight) is nn.Parameter
    quantise_statically(model, lambda: model(x))
    assert not any(linear._forward_pre_hooks for linear in model)


def test_buffers_are_stored_too() -> None:
    norm = nn.BatchNorm1d(3)
    assert stored_bytes(norm) == 4 * 4 * 3 + 8  # gain, bias, mean and variance; and the count of batches, int64


@pytest.mark.parametrize("quantise", [quantise_dynamically, lambda model: quantise_statically(model, list)])
def test_a_missing_torchao_is_named_with_its_remedy(
    quantise: Callable[[nn.Module], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(ImportError, match=r"pip install 'transformer-errata\[deploy\]'"):
        quantise(nn.Linear(2, 2))


@pytest.mark.parametrize("size", [0.0, 1e-6])
def test_small_inputs_are_not_rounded_away_and_none_at_all_are_no_division_by_zero(size: float) -> None:
    layer, x = nn.Sequential(nn.Linear(4, 4, bias=False)), size * torch.tensor([[1.0, -2.0, 3.0, 4.0]])
    expected = layer(x)
    quantise_statically(layer, lambda: layer(x))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=0.05 * size)


@pytest.mark.parametrize("quantise", [dynamically, statically])
def test_the_compiler_keeps_its_settings(quantise: Callable[[nn.Module], None], trained: Transformer) -> None:
    with torch._inductor.config.patch(coordinate_descent_tuning=False):
        quantise(copy.deepcopy(trained))
        assert not torch._inductor.config.coordinate_descent_tuning
