import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from reference import LayerNorm, Transformer
from reference.compression import MixedPrecision

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
DTYPES = [torch.bfloat16, torch.float16]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


def model(**options: object) -> Transformer:
    return Transformer(11, 13, width=16, heads=2, inner_width=32, layers=2, dropout=0.0, **options)


def loss_of(module: nn.Module, context: Callable[[], object], device: str) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    source, target = (torch.randint(1, 11, (4, 6), generator=generator).to(device) for _ in range(2))
    with context():
        logits = module(source, target[:, :-1])
    return nn.functional.cross_entropy(logits.float().flatten(0, 1), target[:, 1:].flatten())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pre_norm", [False, True])
def test_products_are_in_16_bits_and_what_accumulates_in_32(device: str, dtype: torch.dtype, pre_norm: bool) -> None:
    module = model(pre_norm=pre_norm).to(device)
    precision = MixedPrecision(device, dtype)
    seen: dict[str, set[torch.dtype]] = {"product": set(), "norm": set(), "stream": set()}

    def watch(part: nn.Module, name: str, of_input: bool) -> None:
        part.register_forward_hook(lambda _, inputs, output: seen[name].add((inputs[0] if of_input else output).dtype))

    for part in module.modules():
        if isinstance(part, nn.Linear):
            watch(part, "product", of_input=False)
        if isinstance(part, LayerNorm):
            watch(part, "norm", of_input=True)
    watch(module.encoder, "stream", of_input=False)
    loss = loss_of(module, precision.autocast, device)
    precision.backward(loss)
    assert seen == {"product": {dtype}, "norm": {torch.float32}, "stream": {torch.float32}}
    assert loss.dtype == torch.float32
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in module.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", DTYPES)
def test_loss_and_step_are_near_those_of_full_precision(device: str, dtype: torch.dtype) -> None:
    mixed = model().to(device)
    full = copy.deepcopy(mixed)
    precision = MixedPrecision(device, dtype)
    loss = loss_of(mixed, precision.autocast, device)
    expected = loss_of(full, lambda: torch.autocast(device, enabled=False), device)
    assert 0 < (loss - expected).abs() < 0.02
    precision.backward(loss)
    expected.backward()
    assert precision.step(torch.optim.SGD(mixed.parameters(), lr=0.0))  # also removes the scale
    ours, theirs = (torch.cat([p.grad.flatten() for p in m.parameters()]) for m in (mixed, full))
    assert (ours - theirs).norm() < 0.05 * theirs.norm()


def test_an_update_too_small_for_16_bits_still_counts(device: str) -> None:
    weight = nn.Parameter(torch.ones((), device=device))
    optimizer = torch.optim.SGD([weight], lr=2.0**-12)
    precision = MixedPrecision(device)
    for _ in range(4):
        optimizer.zero_grad()
        precision.backward(weight)
        assert precision.step(optimizer)
    assert weight.item() == 1 - 4 * 2.0**-12
    assert torch.tensor(1 - 2.0**-12).bfloat16() == 1


def test_the_scale_saves_gradients_that_float16_would_lose(device: str) -> None:
    """`dL/dy = 1e-8` is 0 in float16, and so is what goes back through the product."""
    layer = nn.Linear(1, 1, bias=False, device=device)
    precision = MixedPrecision(device, torch.float16)
    with precision.autocast():
        y = layer(torch.ones(1, 1, device=device))
    precision.backward((1e-8 * y.float()).sum())
    precision.step(torch.optim.SGD(layer.parameters(), lr=1.0))
    assert layer.weight.grad.item() == pytest.approx(1e-8, rel=1e-2)
    assert torch.tensor(1e-8).half() == 0


def test_a_step_that_overflows_is_left_out_and_the_scale_halved(device: str) -> None:
    weight = nn.Parameter(torch.ones((), device=device))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision = MixedPrecision(device, torch.float16)
    before = precision.scaler.get_scale()
    precision.backward(weight * float("inf"))
    assert not precision.step(optimizer)
    assert weight.item() == 1
    assert precision.scaler.get_scale() == before / 2
    optimizer.zero_grad()
    precision.backward(weight.square())
    assert precision.step(optimizer)
    assert weight.item() == -1


def test_bfloat16_needs_no_scale(device: str) -> None:
    weight = nn.Parameter(torch.ones((), device=device))
    precision = MixedPrecision(device)
    precision.backward(3 * weight)
    assert weight.grad.item() == 3
    assert not precision.scaler.is_enabled()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_norm_is_clipped_after_the_scale_is_gone(device: str, dtype: torch.dtype) -> None:
    weights = [nn.Parameter(torch.zeros((), device=device)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": weights[:1]}, {"params": weights[1:]}], lr=1.0)
    precision = MixedPrecision(device, dtype)
    precision.backward(3 * weights[0] + 4 * weights[1])
    assert precision.step(optimizer, max_norm=1.0)
    assert [weight.item() for weight in weights] == pytest.approx([-0.6, -0.8], rel=1e-5)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"dtype must be torch\.bfloat16 or torch\.float16, got torch\.float32"):
        MixedPrecision("cpu", torch.float32)
    with pytest.raises(ValueError, match=r"loss must be float32, got torch\.bfloat16: compute it from logits\.float"):
        MixedPrecision("cpu").backward(torch.zeros((), dtype=torch.bfloat16))


def test_the_scaler_is_that_of_the_device_and_at_work_for_float16_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, *, enabled: (device, enabled))
    assert [MixedPrecision("xpu", dtype).scaler for dtype in DTYPES] == [("xpu", False), ("xpu", True)]
