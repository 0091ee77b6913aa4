import math
import re
import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference import attention, attention_with_weights, causal_mask, masked_softmax
from reference.attention import require_fitting

Attention = Callable[..., Tensor]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def eager(*arguments: Tensor, **options: float) -> Tensor:
    return attention_with_weights(*arguments, **options)[0]


both = pytest.mark.parametrize("attend", [attention, eager], ids=["fused", "eager"])


def tensors(
    dtype: torch.dtype = torch.float64, scale: float = 1.0, value_width: int = 7
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value with B, H, T, S, d and v all different."""
    shapes = (2, 3, 4, 6), (2, 3, 5, 6), (2, 3, 5, value_width)
    return tuple((scale * torch.randn(shape, dtype=torch.float64)).to(dtype).requires_grad_() for shape in shapes)


def keyless_mask() -> Tensor:
    """Rows 1 and 3 have no key."""
    mask = torch.rand(4, 5) < 0.6
    mask[[0, 2], 2] = True
    mask[[1, 3]] = False
    return mask


@both
def test_closed_form_of_one_row(attend: Attention) -> None:
    """Scores 0, log 2 and log 4 give weights 1/7, 2/7 and 4/7."""
    query = torch.tensor([[2.0, 0, 0, 0]], dtype=torch.float64)
    key = torch.zeros(3, 4, dtype=torch.float64)
    key[:, 0] = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).log()  # 2 * key / sqrt(4) = key
    output = attend(query, key, torch.tensor([[7.0], [14.0], [28.0]], dtype=torch.float64))
    assert output.item() == pytest.approx(1 + 4 + 16, abs=1e-12)


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(st.data())
def test_fused_equals_eager(data: st.DataObject) -> None:
    size = st.integers(1, 5)
    batch = data.draw(st.lists(size, max_size=2), "batch axes")
    t, s, d, v = (data.draw(size, name) for name in "TSdv")
    scale = data.draw(st.sampled_from([1e-3, 1.0, 30.0]), "scale")
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99), "seed"))
    full = data.draw(st.booleans(), "full rank")
    density = data.draw(st.sampled_from([None, 0.0, 0.3, 0.9]), "density")
    query, key, value = (
        (scale * torch.randn(*batch, *shape, dtype=torch.float64, generator=generator)).requires_grad_()
        for shape in ((t, d), (s, d), (s, v))
    )
    shape = (*batch, t, s) if full else (t, s)
    mask = None if density is None else torch.rand(shape, generator=generator) < density
    results = []
    for attend in (attention, eager):
        output = attend(query, key, value, mask)
        gradients = torch.autograd.grad(
            (output * torch.linspace(-1, 1, v, dtype=torch.float64)).sum(), (query, key, value)
        )
        results.append((output, *gradients))
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-11, atol=1e-11 * scale)


def test_where_every_row_has_a_key_the_shortcut_equals_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = tensors()
    mask = keyless_mask()[[0, 2, 0, 2]]
    results = []
    for may_steer in (True, False):
        monkeypatch.setattr(sys.modules["reference.attention"], "may_steer", lambda _, answer=may_steer: answer)
        output = attention(query, key, value, mask)
        results.append((output, *torch.autograd.grad(output.pow(3).sum(), (query, key, value))))
    for shortcut, rest in zip(*results, strict=True):
        torch.testing.assert_close(shortcut, rest, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fused_equals_eager_in_every_dtype(dtype: torch.dtype) -> None:
    query, key, value = tensors(dtype)
    mask = keyless_mask()
    plain, weights = attention_with_weights(query, key, value, mask)
    fused = attention(query, key, value, mask)
    assert fused.dtype == plain.dtype == weights.dtype == dtype
    torch.testing.assert_close(fused, plain, rtol=0, atol=16 * torch.finfo(dtype).eps)


@both
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [1.0, 100.0, 1e25])
@pytest.mark.parametrize("value_width", [6, 7])
def test_a_row_with_no_key_is_zero_and_has_zero_gradient(
    attend: Attention, dtype: torch.dtype, scale: float, value_width: int
) -> None:
    if scale > torch.finfo(dtype).max:
        scale = 1e3
    query, key, value = tensors(dtype, value_width=value_width)
    with torch.no_grad():
        query[:, :, [1, 3]] *= scale
        key *= min(scale, 1e20)  # the products of the keyless rows overflow: nothing of them may come through
        query[:, :, [0, 2]] /= scale
    output = attend(query, key, value, keyless_mask())
    output.backward(torch.ones_like(output))
    assert (output[:, :, [1, 3]] == 0).all()
    assert (query.grad[:, :, [1, 3]] == 0).all()
    assert output[:, :, [0, 2]].any()
    for tensor in (output, query.grad, key.grad, value.grad):
        assert tensor.isfinite().all()


def naive_kernel(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor, dropout_p: float) -> Tensor:
    """A kernel as some backends have it: NaN in a row with no key."""
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return scores.masked_fill(~attn_mask, -math.inf).softmax(-1) @ value


@pytest.mark.parametrize("kernel", ["eager", "fused", "naive"])
def test_nothing_is_nan_on_the_way_back(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anomaly detection reports a NaN gradient anywhere inside, also one that is zeroed later."""
    if kernel == "naive":
        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", naive_kernel)
    query, key, value = tensors()
    with torch.autograd.set_detect_anomaly(True):
        output = (eager if kernel == "eager" else attention)(query, key, value, keyless_mask())
        output.sum().backward()
    assert (output[:, :, [1, 3]] == 0).all()
    assert (query.grad[:, :, [1, 3]] == 0).all()


@both
def test_no_gradient_reaches_keys_and_values_that_nobody_attends(attend: Attention) -> None:
    query, key, value = tensors()
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[:2, 1] = True  # two rows attend key 1, two rows have no key
    attend(query, key, value, mask).sum().backward()
    others = [0, 2, 3, 4]
    assert (key.grad[:, :, others] == 0).all()
    assert (value.grad[:, :, others] == 0).all()
    assert value.grad[:, :, 1].eq(2).all()


@both
def test_without_any_key_everything_is_zero(attend: Attention) -> None:
    assert torch.equal(attend(torch.randn(2, 3, 4), torch.randn(2, 0, 4), torch.randn(2, 0, 5)), torch.zeros(2, 3, 5))
    mask = torch.ones(3, 0, dtype=torch.bool)
    assert torch.equal(
        attend(torch.randn(2, 3, 4), torch.randn(2, 0, 4), torch.randn(2, 0, 5), mask), torch.zeros(2, 3, 5)
    )


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_extreme_logits_stay_finite_and_pick_the_largest(attend: Attention, dtype: torch.dtype) -> None:
    """In half precision the products, 2e6, are beyond its largest number."""
    query = torch.full((2, 64), 180.0, dtype=dtype)
    key = torch.cat((-query, query, 0 * query))[[0, 2, 4]]
    value = torch.eye(3, dtype=dtype)
    assert attend(query, key, value).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert attend(query, key, value, torch.tensor([[True, False, True]])).tolist() == [[0, 0, 1], [0, 0, 1]]


@both
def test_a_masked_key_has_no_influence_and_an_open_one_has(attend: Attention) -> None:
    query, key, value = (tensor.detach() for tensor in tensors())
    mask = causal_mask(5)[:4]
    before = attend(query, key, value, mask)
    key[..., 2, :] += 3
    value[..., 2, :] += 3
    changed = (attend(query, key, value, mask) != before).any(-1)
    assert changed.all((0, 1)).tolist() == [False, False, True, True]
    assert changed.any((0, 1)).tolist() == [False, False, True, True]


@both
def test_a_mask_of_the_rank_of_the_scores_acts_per_sequence_and_head(attend: Attention) -> None:
    query, key, value = tensors()
    mask = torch.rand(2, 3, 4, 5) < 0.5
    together = attend(query, key, value, mask)
    for b in range(2):
        for h in range(3):
            alone = attend(query[b, h], key[b, h], value[b, h], mask[b, h])
            torch.testing.assert_close(together[b, h], alone, rtol=0, atol=1e-14)


@both
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(4, 5), "a mask must be boolean"),
        (torch.ones(2, 4, 5, dtype=torch.bool), "rank 3 is ambiguous"),
        (torch.ones(5, 4, dtype=torch.bool), "does not broadcast"),
    ],
    ids=["float", "rank", "size"],
)
def test_bad_masks_are_refused(attend: Attention, mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attend(*tensors(), mask)


@pytest.mark.parametrize(
    "shapes",
    [
        ((5,), (5,), (5,)),
        ((2, 4, 6), (5, 6), (5, 7)),
        ((4, 6), (5, 6), (2, 5, 7)),
        ((4, 6), (5, 6), (3, 7)),
        ((4, 6), (5, 3), (5, 7)),
        ((2, 4, 6), (1, 5, 6), (1, 5, 7)),
    ],
    ids=["rank 1", "rank of the query", "rank of the value", "lengths", "widths", "batches"],
)
def test_shapes_that_do_not_fit_are_refused_and_named(shapes: tuple[tuple[int, ...], ...]) -> None:
    named = ", ".join(f"{name} {shape}" for name, shape in zip(("query", "key", "value"), shapes, strict=True))
    with pytest.raises(ValueError, match=re.escape(f"are wanted, got {named}")):
        require_fitting(*(torch.zeros(shape) for shape in shapes))


def test_weights_sum_to_one_or_to_zero_also_under_dropout() -> None:
    mask = keyless_mask()
    output, weights = attention_with_weights(*tensors(), mask, dropout=0.5)
    expected = mask.any(-1).double().expand(2, 3, 4)
    torch.testing.assert_close(weights.sum(-1), expected, rtol=0, atol=1e-14)
    assert (weights[..., ~mask] == 0).all()
    assert (output[:, :, [1, 3]] == 0).all()


@both
def test_a_row_with_no_key_in_one_head_alone_gives_zero(attend: Attention) -> None:
    mask = torch.tensor([False, True, True]).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    output = attend(*tensors(), mask)
    assert (output[:, 0] == 0).all()
    assert (output[:, 1:] != 0).all()


def test_no_kernel_is_asked_for_a_row_with_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, asked = nn.functional.scaled_dot_product_attention, []

    def observed(*arguments: Tensor, attn_mask: Tensor, dropout_p: float) -> Tensor:
        asked.append(attn_mask)
        return kernel(*arguments, attn_mask=attn_mask, dropout_p=dropout_p)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", observed)
    for mask in (keyless_mask(), torch.tensor([False, True, True]).view(1, 3, 1, 1).expand(2, 3, 4, 5)):
        attention(*tensors(), mask)
    assert len(asked) == 2
    assert all(mask.any(dim=-1).all() for mask in asked)


@both
@pytest.mark.parametrize("name", ["unmasked", "masked", "keyless"])
def test_dropout_keeps_the_mean_and_one_drops_everything(attend: Attention, name: str) -> None:
    query, key, value = (tensor.detach() for tensor in tensors())
    mask = {"unmasked": None, "masked": causal_mask(5)[:4], "keyless": keyless_mask()}[name]
    mean = torch.stack([attend(query, key, value, mask, dropout=0.3) for _ in range(1000)]).mean(0)
    torch.testing.assert_close(mean, attend(query, key, value, mask), rtol=0, atol=0.25)
    assert not attend(query, key, value, mask, dropout=0.3).equal(attend(query, key, value, mask))
    assert (attend(query, key, value, mask, dropout=1.0) == 0).all()


@pytest.mark.parametrize("axes", [(), (2,), (2, 3)])
def test_any_number_of_batch_axes(axes: tuple[int, ...]) -> None:
    query, key, value = torch.randn(*axes, 4, 6), torch.randn(*axes, 5, 6), torch.randn(*axes, 5, 7)
    output, weights = attention_with_weights(query, key, value, causal_mask(5)[:4])
    assert output.shape == (*axes, 4, 7)
    assert weights.shape == (*axes, 4, 5)


def test_masked_softmax_equals_the_softmax_over_the_open_keys() -> None:
    scores = torch.randn(3, 4, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, False]])
    weights = masked_softmax(scores, mask)
    torch.testing.assert_close(weights[:, [0, 2]], scores[:, [0, 2]].softmax(-1), rtol=0, atol=1e-15)
    assert (weights[:, [1, 3]] == 0).all()


def test_masked_softmax_passes_zero_gradient_to_a_row_with_no_key() -> None:
    scores = torch.tensor([[math.inf, 1.0], [2.0, 3.0]], requires_grad=True)
    masked_softmax(scores, torch.tensor([[False, False], [True, True]])).square().sum().backward()
    assert (scores.grad[0] == 0).all()
    assert (scores.grad[1] != 0).all()
