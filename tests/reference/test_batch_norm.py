import pytest
import torch
from torch import Tensor, nn

from reference import BatchNorm, padding_mask

D = 5


def module_with_state(dtype: torch.dtype = torch.float64, momentum: float = 0.3) -> BatchNorm:
    module = BatchNorm(D, 1e-4, momentum).to(dtype)
    for tensor in (module.gain, module.bias, module.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(module.running_variance, 0.5, 2.0)
    return module


@pytest.mark.parametrize("shape", [(2, D), (7, D), (2, 3, D)], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
def test_equals_torch_forward_gradients_and_running_statistics(
    equal: object, dtype: torch.dtype, shape: tuple[int, ...], training: bool, scale: float
) -> None:
    module = module_with_state(dtype).train(training)
    mean, variance = module.running_mean.clone(), module.running_variance.clone()
    x = (scale * (torch.randn(shape, dtype=dtype) + 1)).requires_grad_()
    leaves = (x, module.gain, module.bias)
    ours = module(x)
    theirs = nn.functional.batch_norm(
        x.flatten(0, -2), mean, variance, module.gain, module.bias, training, module.momentum, module.eps
    ).reshape(shape)
    cotangent = torch.linspace(-1, 1, x.numel(), dtype=dtype).reshape(shape)
    equal(ours, theirs)
    for our, their in zip(
        torch.autograd.grad(ours, leaves, cotangent), torch.autograd.grad(theirs, leaves, cotangent), strict=True
    ):
        equal(our, their)
    equal(module.running_mean, mean, "running mean")
    equal(module.running_variance, variance, "running variance")


def test_evaluation_after_training_uses_what_was_seen() -> None:
    module = BatchNorm(D, momentum=1.0)
    x = 3 * torch.randn(4, 6, D) + 2
    module(x)
    output = module.eval()(x)
    torch.testing.assert_close(output.mean((0, 1)), torch.zeros(D), rtol=0, atol=1e-5)
    torch.testing.assert_close(output.flatten(0, 1).var(0), torch.ones(D), rtol=0, atol=1e-5)
    assert torch.equal(module(x[:1, :1]), output[:1, :1])


def garbage_at_padding(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.unsqueeze(-1), x, 1e3 * torch.randn_like(x))


def test_padding_takes_no_part() -> None:
    """A padded batch equals the unpadded positions alone, whatever stands at the padding."""
    mask = padding_mask(torch.tensor([4, 1, 2]), 4)[:, 0, 0]
    x = torch.randn(3, 4, D, dtype=torch.float64)
    alone, padded = module_with_state(), BatchNorm(D, 1e-4, 0.3).double()
    padded.load_state_dict(alone.state_dict())
    expected = alone(x[mask])
    output = padded(garbage_at_padding(x, mask), mask)
    torch.testing.assert_close(output[mask], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(padded.running_mean, alone.running_mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(padded.running_variance, alone.running_variance, rtol=0, atol=1e-12)


def test_no_gradient_reaches_padding() -> None:
    mask = torch.tensor([[True, True, False]])
    x = torch.randn(1, 3, D, requires_grad=True)
    BatchNorm(D)(x, mask)[mask].pow(3).sum().backward()
    assert (x.grad[0, 2] == 0).all()
    assert (x.grad[0, :2] != 0).any()


@pytest.mark.parametrize("counting", [0, 1])
def test_too_few_positions_that_count_leave_the_running_statistics(counting: int) -> None:
    module = module_with_state()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    output = module(torch.randn(2, 2, D, dtype=torch.float64), torch.arange(4).reshape(2, 2) < counting)
    assert output.isfinite().all()
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_position_that_counts_alone_is_its_own_mean() -> None:
    module = module_with_state()
    output = module(torch.randn(1, 3, D, dtype=torch.float64), torch.tensor([[False, True, False]]))
    torch.testing.assert_close(output[0, 1], module.bias)


def test_all_is_done_on_the_device_of_the_input() -> None:
    assert BatchNorm(D).to("meta")(torch.empty(2, 3, D, device="meta")).device.type == "meta"


def test_the_mask_is_of_no_effect_in_evaluation() -> None:
    module = module_with_state().eval()
    x = torch.randn(2, 3, D, dtype=torch.float64)
    assert torch.equal(module(x, torch.tensor([[True, False, False]] * 2)), module(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_does_not_overflow(dtype: torch.dtype) -> None:
    module = BatchNorm(1).to(dtype)
    output = module(torch.tensor([[-3e4], [3e4]], dtype=dtype))
    assert output.dtype == module.running_mean.dtype == dtype
    assert output.flatten().tolist() == [-1, 1]


@pytest.mark.parametrize("shape", [(1, D), (1, 1, D), (0, 3, D)], ids=str)
def test_training_needs_two_positions(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="training needs two positions or more for a variance, got x of shape"):
        BatchNorm(D)(torch.zeros(shape))
    BatchNorm(D).eval()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(2, 3), "a mask must be boolean"),
        (torch.ones(3, 2, dtype=torch.bool), r"a mask of shape \(3, 2\) does not name the positions of x \(2, 3, 5\)"),
    ],
)
def test_bad_masks(mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchNorm(D)(torch.zeros(2, 3, D), mask)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "width must be at least 1, got 0"),
        ((3, -1.0), r"eps must be at least 0, got -1\.0"),
        ((3, 1e-5, 1.5), r"momentum must be a probability between 0 and 1, got 1\.5"),
    ],
)
def test_bad_arguments(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchNorm(*arguments)


def test_statistics_are_buffers_and_travel_with_the_state() -> None:
    assert set(BatchNorm(D).state_dict()) == {"gain", "bias", "running_mean", "running_variance"}


def test_running_statistics_carry_no_graph() -> None:
    module = BatchNorm(D)
    for _ in range(2):
        module(torch.randn(4, D, requires_grad=True)).sum().backward()
    assert not module.running_mean.requires_grad
    assert not module.running_variance.requires_grad
