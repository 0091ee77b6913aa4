import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reference import MultiHeadAttention, causal_mask
from reference.positions import (
    RelativeKeys,
    RelativeMultiHeadAttention,
    clipped_rows,
    fast_relative_key_term,
    fast_relative_value_term,
    relative_key_term,
    relative_value_term,
)

B, T, H, D = 2, 6, 3, 12
quick = settings(max_examples=20, deadline=None, database=None, derandomize=True)


def by_the_paper(module: RelativeMultiHeadAttention, x: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """Equations 3 and 4, one pair at a time, in NumPy; the mask is `(T, T)`."""
    state = {name: value.double().numpy() for name, value in module.state_dict().items()}
    q, k, v = (x.numpy() @ state[f"{n}.weight"].T + state[f"{n}.bias"] for n in ("query", "key", "value"))
    width, reach, output = D // H, module.distance, np.zeros_like(q)
    for b in range(len(x)):
        for head in range(H):
            mine = slice(head * width, (head + 1) * width)
            for i in range(T):
                offsets = [max(-reach, min(reach, j - i)) + reach for j in range(T)]
                keys = np.array([k[b, j, mine] + state["position.table"][offsets[j]] for j in range(T)])
                values = np.array([v[b, j, mine] + state["relative_values"][offsets[j]] for j in range(T)])
                e = np.exp(keys @ q[b, i, mine] / np.sqrt(width)) * mask[i].numpy()
                output[b, i, mine] = e / e.sum() @ values
    return output @ state["output.weight"].T + state["output.bias"]


@pytest.mark.parametrize("distance", [0, 1, 2, 9])
@pytest.mark.parametrize("causal", [False, True])
def test_equals_the_paper_pair_by_pair(distance: int, causal: bool) -> None:
    module = RelativeMultiHeadAttention(D, H, distance).double()
    x = torch.randn(B, T, D, dtype=torch.float64)
    mask = causal_mask(T) if causal else torch.ones(T, T, dtype=torch.bool)
    expected = torch.from_numpy(by_the_paper(module, x, mask))
    torch.testing.assert_close(module(x, x, x, mask), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(module.with_weights(x, x, x, mask)[0], expected, rtol=0, atol=1e-12)


@quick
@given(sources=st.integers(1, 7), fewer=st.integers(0, 6), distance=st.integers(0, 4))
def test_the_fast_terms_equal_the_readable_ones_with_their_gradients(sources: int, fewer: int, distance: int) -> None:
    targets = max(sources - fewer, 1)
    rows = clipped_rows(targets, sources, distance)
    for fast, readable, size in (
        (fast_relative_key_term, relative_key_term, 4),
        (fast_relative_value_term, relative_value_term, sources),
    ):
        x = torch.randn(2, 3, targets, size, dtype=torch.float64, requires_grad=True)
        table = torch.randn(2 * distance + 1, 4, dtype=torch.float64, requires_grad=True)
        actual, expected = fast(x, table, rows), readable(x, table, rows)
        cotangent = torch.randn_like(expected)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
        gradients = [torch.autograd.grad(answer, (x, table), cotangent) for answer in (actual, expected)]
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_rows_are_clipped_and_keep_the_direction() -> None:
    assert clipped_rows(4, 4, 2).tolist() == [[2, 3, 4, 4], [1, 2, 3, 4], [0, 1, 2, 3], [0, 0, 1, 2]]


def test_keys_alone_equal_both_terms_with_values_at_zero() -> None:
    both, keys = RelativeMultiHeadAttention(D, H, 2), MultiHeadAttention(D, H, position=RelativeKeys(D // H, 2))
    nn.init.zeros_(both.relative_values)
    keys.load_state_dict({name: value for name, value in both.state_dict().items() if name != "relative_values"})
    x = torch.randn(B, T, D)
    torch.testing.assert_close(keys(x, x, x), both(x, x, x))


def test_both_terms_at_zero_are_plain_attention() -> None:
    module, plain = RelativeMultiHeadAttention(D, H, 2), MultiHeadAttention(D, H)
    nn.init.zeros_(module.relative_values)
    nn.init.zeros_(module.position.table)
    plain.load_state_dict(module.state_dict(), strict=False)
    x = torch.randn(B, T, D)
    torch.testing.assert_close(module(x, x, x), plain(x, x, x))


def test_dropout_drops_a_pair_from_both_terms_of_the_values() -> None:
    """Where no weight is left, neither the values nor their relative vectors are."""
    module = RelativeMultiHeadAttention(D, H, 2, dropout=1.0)
    x = torch.randn(B, T, D)
    torch.testing.assert_close(module(x, x, x), module.output.bias.expand(B, T, D))
    assert not torch.allclose(module.eval()(x, x, x), module.output.bias.expand(B, T, D))
    assert torch.equal(module(x, x, x), module(x, x, x))


def test_half_precision_scores_may_exceed_its_range() -> None:
    """`q . k` is 90,000 here before the scale, and float16 ends at 65,504."""
    module = RelativeMultiHeadAttention(4, 1, 1, bias=False).half()
    with torch.no_grad():
        for linear in (module.query, module.key):
            linear.weight.copy_(150 * torch.eye(4))
    x = torch.ones(1, 2, 4, dtype=torch.float16)
    assert module(x, x, x).isfinite().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RelativeKeys(0, 2), "width must be at least 1, got 0"),
        (lambda: RelativeKeys(4, -1), "distance must be at least 0, got -1"),
        (lambda: RelativeMultiHeadAttention(10, 3, 2), "width 10 cannot be split into 3 heads"),
        (lambda: RelativeMultiHeadAttention(12, 3, -2), "distance must be at least 0, got -2"),
    ],
)
def test_bad_arguments(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_there_is_a_row_for_each_clipped_offset_and_no_more() -> None:
    module = RelativeMultiHeadAttention(D, H, 2)
    assert module.relative_values.shape == module.position.table.shape == (5, D // H)


def test_the_projections_may_go_without_biases() -> None:
    module = RelativeMultiHeadAttention(D, H, 2, bias=False)
    assert not [name for name in module.state_dict() if name.endswith("bias")]
