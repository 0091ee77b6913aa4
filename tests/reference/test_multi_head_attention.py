from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from reference import MultiHeadAttention, causal_mask, combine_masks, padding_mask

B, T, S, H, D = 2, 4, 5, 3, 12
LENGTHS = torch.tensor([5, 2])


def masks(name: str) -> tuple[Tensor | None, dict[str, Tensor]]:
    """The mask as we take it, and as torch does (True = blocked)."""
    padding, causal = padding_mask(LENGTHS, S), causal_mask(S)[:T]
    return {
        "none": (None, {}),
        "causal": (causal, {"attn_mask": ~causal}),
        "padding": (padding, {"key_padding_mask": ~padding[:, 0, 0]}),
        "both": (combine_masks(causal, padding), {"attn_mask": ~causal, "key_padding_mask": ~padding[:, 0, 0]}),
    }[name]


@pytest.mark.parametrize("name", ["none", "causal", "padding", "both"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("weights", [False, True], ids=["fused", "weights"])
def test_equals_torch(agree: Callable[..., None], dtype: torch.dtype, name: str, bias: bool, weights: bool) -> None:
    ours = MultiHeadAttention(D, H, bias=bias).to(dtype)
    theirs = nn.MultiheadAttention(D, H, bias=bias, batch_first=True, dtype=dtype)
    mask, their_masks = masks(name)
    inputs = [torch.randn(B, length, D, dtype=dtype) for length in (T, S, S)]
    agree(
        ours,
        theirs,
        inputs,
        lambda q, k, v: ours.with_weights(q, k, v, mask)[0] if weights else ours(q, k, v, mask),
        lambda q, k, v: theirs(q, k, v, **their_masks)[0],
    )


def test_weights_equal_those_of_torch(
    couple: Callable[..., object], equal: Callable[..., None], dtype: torch.dtype
) -> None:
    ours = MultiHeadAttention(D, H).to(dtype)
    theirs = nn.MultiheadAttention(D, H, batch_first=True, dtype=dtype)
    couple(ours, theirs)
    mask, their_masks = masks("both")
    query, memory = torch.randn(B, T, D, dtype=dtype), torch.randn(B, S, D, dtype=dtype)
    actual = ours.with_weights(query, memory, memory, mask)[1]
    equal(actual, theirs(query, memory, memory, **their_masks, average_attn_weights=False)[1])


@pytest.mark.parametrize("shape", [(T, S), (B, 1, 1, S), (B, H, T, S)])
def test_masks_of_rank_2_and_4(shape: tuple[int, ...]) -> None:
    module = MultiHeadAttention(D, H)
    x, memory = torch.randn(B, T, D), torch.randn(B, S, D)
    mask = torch.rand(shape) < 0.7
    weights = module.with_weights(x, memory, memory, mask)[1]
    assert (weights[~mask.expand(B, H, T, S)] == 0).all()
    torch.testing.assert_close(module(x, memory, memory, mask), module.with_weights(x, memory, memory, mask)[0])


def test_a_mask_of_rank_3_is_refused_with_the_remedy() -> None:
    module = MultiHeadAttention(D, H)
    x = torch.randn(B, T, D)
    mask = torch.ones(B, T, T, dtype=torch.bool)
    for call in (module, module.with_weights):
        with pytest.raises(ValueError, match=r"rank 3 is ambiguous for scores of rank 4: .*mask\.unsqueeze\(1\)"):
            call(x, x, x, mask)


@pytest.mark.parametrize("training", [True, False])
def test_a_row_with_no_key_is_the_bias_of_the_output(training: bool) -> None:
    module = MultiHeadAttention(D, H).train(training)
    x = torch.randn(B, T, D, requires_grad=True)
    mask = padding_mask(torch.tensor([T, 0]), T)
    output = module(x, x, x, mask)
    torch.testing.assert_close(output[1], module.output.bias.expand(T, D), rtol=0, atol=0)
    output[1].sum().backward()
    assert (x.grad[1] == 0).all()
    for linear in (module.query, module.key, module.value):
        assert (linear.weight.grad == 0).all()


def test_heads_are_independent() -> None:
    """With the output projection taken away, a change of head 1's projections reaches head 1's features alone."""
    module = MultiHeadAttention(D, H, bias=False)
    nn.init.eye_(module.output.weight)
    x = torch.randn(B, T, D)
    before = module(x, x, x)
    with torch.no_grad():
        for linear in (module.query, module.key, module.value):
            linear.weight[4:8] += 1
    changed = (module(x, x, x) - before).abs().amax((0, 1)) > 1e-5
    assert changed.tolist() == [4 <= feature < 8 for feature in range(D)]


@pytest.mark.parametrize(("width", "heads"), [(1, 1), (6, 6), (6, 1)])
def test_extreme_head_counts(width: int, heads: int) -> None:
    x = torch.randn(B, 1, width)
    assert MultiHeadAttention(width, heads)(x, x, x).shape == x.shape


def test_dropout_acts_in_training_only() -> None:
    module = MultiHeadAttention(D, H, dropout=0.5)
    x = torch.randn(B, T, D)
    for call in (module, lambda *qkv: module.with_weights(*qkv)[0]):
        module.train()
        assert not torch.equal(call(x, x, x), call(x, x, x))
        module.eval()
        assert torch.equal(call(x, x, x), call(x, x, x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 10, "heads": 3}, "width 10 cannot be split into 3 heads: heads must divide width"),
        ({"width": 10, "heads": 0}, "heads must be at least 1, got 0"),
        ({"width": -4, "heads": 2}, "width must be at least 1, got -4"),
        ({"width": 4, "heads": 2, "dropout": 1.2}, r"dropout must be a probability between 0 and 1, got 1\.2"),
    ],
)
def test_bad_arguments(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**arguments)


def test_every_projection_is_a_plain_linear() -> None:
    kinds = {name: type(child) for name, child in MultiHeadAttention(D, H).named_children()}
    assert kinds == dict.fromkeys(("query", "key", "value", "output"), nn.Linear)


class Shift(nn.Module):
    """A `position` that doubles the queries and prefers each head's last key by a learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.preference = nn.Parameter(torch.randn(H, 1, 1))

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        assert queries.shape == (B, H, T, D // H)
        assert keys.shape == (B, H, S, D // H)
        last = torch.arange(S) == S - 1
        return 2 * queries, keys, (self.preference * last)[None]


@pytest.mark.parametrize("weights", [False, True], ids=["fused", "weights"])
@pytest.mark.parametrize("name", ["none", "both"])
def test_a_position_may_change_queries_and_scores(name: str, weights: bool) -> None:
    module = MultiHeadAttention(D, H, position=Shift())
    query, memory, (mask, _) = torch.randn(B, T, D), torch.randn(B, S, D), masks(name)
    if weights:
        actual, alphas = module.with_weights(query, memory, memory, mask)
    else:
        actual = module(query, memory, memory, mask)
    keys, values = module.project(memory, memory)
    queries = module.query(query).unflatten(-1, (H, -1)).transpose(1, 2)
    scores = 2 * queries @ keys.mT / (D // H) ** 0.5
    scores[..., -1] += module.position.preference[..., 0]
    expected = (scores if mask is None else scores.masked_fill(~mask, float("-inf"))).softmax(-1)
    torch.testing.assert_close(actual, module.output((expected @ values).transpose(1, 2).flatten(-2)))
    if weights:
        torch.testing.assert_close(alphas, expected)


def test_a_position_that_is_a_module_is_trained_and_saved() -> None:
    module = MultiHeadAttention(D, H, position=Shift())
    assert "position.preference" in module.state_dict()
    module(torch.randn(B, T, D), *2 * [torch.randn(B, S, D)]).sum().backward()
    assert module.position.preference.grad.abs().sum() > 0


def test_a_position_may_be_a_function_and_leave_out_the_bias() -> None:
    plain = MultiHeadAttention(D, H)
    module = MultiHeadAttention(D, H, position=lambda queries, keys: (queries, keys, None))
    module.load_state_dict(plain.state_dict())
    x = torch.randn(B, T, D)
    assert torch.equal(module(x, x, x), plain(x, x, x))
