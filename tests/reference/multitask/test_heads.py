import numpy as np
import pytest
import torch

from reference import padding_mask
from reference.multitask import SequenceHead, TokenHead, mean_pool

LENGTHS = torch.tensor([3, 5, 1])
MASK = padding_mask(LENGTHS, 5)


def test_pool_is_the_mean_of_the_real_tokens() -> None:
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    expected = np.stack([x[b, :length].numpy().mean(axis=0) for b, length in enumerate(LENGTHS)])
    np.testing.assert_allclose(mean_pool(x, MASK).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(mean_pool(x).numpy(), x.numpy().mean(axis=1), rtol=1e-12)


def test_real_tokens_may_stand_anywhere() -> None:
    x = torch.randn(1, 4, 2)
    mask = torch.tensor([False, True, False, True])[None, None, None]
    torch.testing.assert_close(mean_pool(x, mask), x[:, 1::2].mean(dim=1))


@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, 1e30])
def test_padding_takes_no_part_whatever_stands_there(garbage: float) -> None:
    x = torch.randn(3, 5, 4)
    before = mean_pool(x, MASK)
    x[0, 3:], x[2, 1:] = garbage, garbage
    assert torch.equal(mean_pool(x, MASK), before)


def test_a_sequence_of_padding_alone_pools_to_zero_with_zero_gradient() -> None:
    x = torch.randn(2, 3, 4, requires_grad=True)
    pooled = mean_pool(x, padding_mask(torch.tensor([0, 2]), 3))
    assert torch.equal(pooled[0], torch.zeros(4))
    pooled.sum().backward()
    assert torch.equal(x.grad[0], torch.zeros(3, 4))
    torch.testing.assert_close(x.grad[1], torch.tensor([0.5, 0.5, 0.0])[:, None].expand(3, 4))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(3, 1, 1, 5), "a mask must be boolean"),
        (torch.ones(3, 1, 5, 5) > 0, r"mask must be a padding mask of shape \(3, 1, 1, 5\), got \(3, 1, 5, 5\)"),
        (torch.ones(3, 5) > 0, r"mask must be a padding mask of shape \(3, 1, 1, 5\), got \(3, 5\)"),
    ],
)
def test_a_mask_that_does_not_say_which_tokens_are_real_is_refused(mask: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_pool(torch.randn(3, 5, 4), mask)


def test_token_head_answers_each_token_by_the_same_map() -> None:
    head = TokenHead(4, 2)
    x = torch.randn(3, 5, 4)
    expected = x.detach().numpy() @ head.projection.weight.detach().numpy().T + head.projection.bias.detach().numpy()
    np.testing.assert_allclose(head(x, MASK).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_sequence_head_maps_the_pooled_vector() -> None:
    head = SequenceHead(4, 2)
    x = torch.randn(3, 5, 4)
    torch.testing.assert_close(head(x, MASK), head.projection(mean_pool(x, MASK)))


@pytest.mark.parametrize("head", [TokenHead, SequenceHead])
def test_bad_sizes(head: type[TokenHead] | type[SequenceHead]) -> None:
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        head(0, 2)
    with pytest.raises(ValueError, match="outputs must be at least 1, got 0"):
        head(4, 0)
