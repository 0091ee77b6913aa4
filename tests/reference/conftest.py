"""`agree` holds our modules against those of torch."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import reference

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(20170612)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(params=[False, True], ids=["post-norm", "pre-norm"])
def pre_norm(request: pytest.FixtureRequest) -> bool:
    return request.param


def assert_equal(actual: Tensor, expected: Tensor, what: str = "output") -> None:
    """Equal up to the tolerance of the dtype, relative to the largest expected value if that is above 1."""
    assert actual.shape == expected.shape, what
    assert actual.dtype == expected.dtype, what
    error = (actual - expected).abs().max() / expected.abs().max().clamp(min=1)
    assert error <= TOLERANCE[expected.dtype], f"{what}: off by {error:.1e}"


@pytest.fixture
def equal() -> Callable[..., None]:
    return assert_equal


def twins(ours: nn.Module, theirs: nn.Module) -> Iterator[tuple[nn.Parameter, nn.Parameter, slice]]:
    """Yield each of our parameters with theirs, and with the rows of theirs that it corresponds to."""
    whole = slice(None)
    match ours:
        case nn.Linear():
            yield ours.weight, theirs.weight, whole
            if ours.bias is not None:
                yield ours.bias, theirs.bias, whole
        case reference.LayerNorm():
            yield ours.gain, theirs.weight, whole
            yield ours.bias, theirs.bias, whole
        case reference.MultiHeadAttention():
            for part, linear in enumerate((ours.query, ours.key, ours.value)):
                rows = slice(part * ours.width, (part + 1) * ours.width)
                yield linear.weight, theirs.in_proj_weight, rows
                if linear.bias is not None:
                    yield linear.bias, theirs.in_proj_bias, rows
            yield from twins(ours.output, theirs.out_proj)
        case reference.FeedForward():
            yield from twins(ours.inner, theirs.linear1)
            yield from twins(ours.outer, theirs.linear2)
        case reference.EncoderLayer():
            yield from twins(ours.self_attention, theirs.self_attn)
            yield from twins(ours.feed_forward, theirs)
            yield from twins(ours.around_self_attention.norm, theirs.norm1)
            yield from twins(ours.around_feed_forward.norm, theirs.norm2)
        case reference.DecoderLayer():
            yield from twins(ours.self_attention, theirs.self_attn)
            yield from twins(ours.cross_attention, theirs.multihead_attn)
            yield from twins(ours.feed_forward, theirs)
            yield from twins(ours.around_self_attention.norm, theirs.norm1)
            yield from twins(ours.around_cross_attention.norm, theirs.norm2)
            yield from twins(ours.around_feed_forward.norm, theirs.norm3)
        case reference.Encoder() | reference.Decoder():
            for layer, their_layer in zip(ours.layers, theirs.layers, strict=True):
                yield from twins(layer, their_layer)
            if theirs.norm is not None:
                yield from twins(ours.norm, theirs.norm)
        case nn.ModuleDict():
            for name, module in ours.items():
                yield from twins(module, theirs[name])
        case _:
            raise TypeError(f"no twin known for {type(ours).__name__}")


@pytest.fixture
def couple() -> Callable[[nn.Module, nn.Module], list[tuple[nn.Parameter, nn.Parameter, slice]]]:
    """Give `theirs` random weights and `ours` the same; the pairs name every parameter of both."""

    def couple(ours: nn.Module, theirs: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter, slice]]:
        pairs = list(twins(ours, theirs))
        assert {id(our) for our, _, _ in pairs} == {id(p) for p in ours.parameters()}
        assert {id(their) for _, their, _ in pairs} == {id(p) for p in theirs.parameters()}
        with torch.no_grad():
            for parameter in theirs.parameters():
                nn.init.normal_(parameter, std=0.3)
            for our, their, rows in pairs:
                our.copy_(their[rows])
        return pairs

    return couple


@pytest.fixture
def agree(couple: Callable[..., list[tuple[nn.Parameter, nn.Parameter, slice]]]) -> Callable[..., None]:
    """Hold outputs, gradients of the inputs and gradients of every parameter equal, for a random cotangent."""

    def agree(
        ours: nn.Module,
        theirs: nn.Module,
        inputs: list[Tensor],
        call_ours: Callable[..., Tensor],
        call_theirs: Callable[..., Tensor],
    ) -> None:
        pairs = couple(ours, theirs)
        our_inputs = [x.clone().requires_grad_() for x in inputs]
        their_inputs = [x.clone().requires_grad_() for x in inputs]
        actual, expected = call_ours(*our_inputs), call_theirs(*their_inputs)
        cotangent = torch.randn_like(expected) / expected.numel() ** 0.5
        actual.backward(cotangent)
        expected.backward(cotangent)
        assert_equal(actual, expected)
        for number, (our, their) in enumerate(zip(our_inputs, their_inputs, strict=True)):
            assert_equal(our.grad, their.grad, f"gradient of input {number}")
        for number, (our, their, rows) in enumerate(pairs):
            assert_equal(our.grad, their.grad[rows], f"gradient of parameter {number}")

    return agree
