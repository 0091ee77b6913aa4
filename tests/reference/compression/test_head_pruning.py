from collections.abc import Callable, Collection

import pytest
import torch
from torch import Tensor, nn

from reference import MultiHeadAttention, Transformer, attention, padding_mask
from reference.compression import gated_heads, head_importance, prune_weights, remove_heads
from reference.positions import AlibiBias, RelativeBias, RelativeKeys, RotaryEmbedding

B, T, S, D, H = 2, 4, 5, 12, 4


def module(bias: bool = True) -> MultiHeadAttention:
    return MultiHeadAttention(D, H, bias=bias).double()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.randn(B, T, D, dtype=torch.float64),
        torch.randn(B, S, D, dtype=torch.float64),
        torch.randn(B, S, D, dtype=torch.float64),
    )


def sum_of_heads(heads: MultiHeadAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """`Att_h` of every head, `(H, B, T, D)`: each attends alone, and is projected by its columns of `W^O`."""
    width = D // H
    contributions = []
    for head in range(H):
        rows = slice(head * width, (head + 1) * width)
        q, k, v = (
            x @ linear.weight[rows].T + (0 if linear.bias is None else linear.bias[rows])
            for linear, x in ((heads.query, query), (heads.key, key), (heads.value, value))
        )
        contributions.append(attention(q, k, v, mask) @ heads.output.weight[:, rows].T)
    return torch.stack(contributions)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("removed", [[], [0], [3], [1, 2], (0, 2, 3), {1}])
def test_what_is_left_is_the_sum_of_the_heads_kept(removed: Collection[int], bias: bool) -> None:
    heads = module(bias)
    arguments, mask = inputs(), padding_mask(torch.tensor([5, 3]), S)
    contributions = sum_of_heads(heads, *arguments, mask[:, 0])
    kept = [head for head in range(H) if head not in removed]
    expected = contributions[kept].sum(0) + (heads.output.bias if bias else 0)
    before = sum(parameter.numel() for parameter in heads.parameters())
    remove_heads(heads, removed)
    torch.testing.assert_close(heads(*arguments, mask), expected, rtol=0, atol=1e-13)
    output, weights = heads.with_weights(*arguments, mask)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)
    assert weights.shape == (B, len(kept), T, S)
    after = sum(parameter.numel() for parameter in heads.parameters())
    assert before - after == len(removed) * (D // H) * (4 * D + 3 * bias)


def test_removed_equals_gated_by_zero() -> None:
    heads = module()
    arguments = inputs()
    whole = heads(*arguments)
    with gated_heads(heads, torch.tensor([1, 0, 1, 0], dtype=torch.float64)):
        gated = heads(*arguments)
    assert torch.equal(heads(*arguments), whole)  # the gates are gone
    assert not torch.allclose(gated, whole)
    remove_heads(heads, {1, 3})
    torch.testing.assert_close(heads(*arguments), gated, rtol=0, atol=1e-14)


def test_removed_in_two_steps_equals_removed_at_once() -> None:
    once, twice = module(), module()
    twice.load_state_dict(once.state_dict())
    remove_heads(once, {0, 2})
    remove_heads(twice, {2})
    remove_heads(twice, {0})
    arguments = inputs()
    assert torch.equal(once(*arguments), twice(*arguments))


def test_masked_weights_stay_masked() -> None:
    heads = module()
    prune_weights(heads, 0.5)
    arguments = inputs()
    with gated_heads(heads, torch.tensor([0, 1, 1, 1], dtype=torch.float64)):
        expected = heads(*arguments)
    remove_heads(heads, [0])
    torch.testing.assert_close(heads(*arguments), expected, rtol=0, atol=1e-14)
    assert not list(heads.buffers())


def test_removal_takes_the_weights_of_the_last_step() -> None:
    """A masked weight is computed in the forward pass, so it is behind after a step."""
    heads = module(bias=False)
    prune_weights(heads, 0.5)
    arguments = inputs()
    with torch.no_grad():
        heads.value.weight_orig.mul_(2)
        doubled = heads(*arguments)
        heads.value.weight_orig.mul_(0.5)
    remove_heads(heads, [])
    torch.testing.assert_close(2 * heads(*arguments), doubled, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "build",
    [
        lambda: AlibiBias(H),
        lambda: RelativeBias(H, buckets=4, max_distance=3),
        lambda: RotaryEmbedding(2),
        lambda: RelativeKeys(2, 2),
    ],
)
def test_positions_stay_with_their_heads(build: Callable[[], nn.Module]) -> None:
    position = build()
    for parameter in position.parameters():
        nn.init.normal_(parameter)
    heads = MultiHeadAttention(2 * H, H, position=position.double()).double()
    before = {name: parameter.clone() for name, parameter in position.named_parameters()}
    x = torch.randn(B, T, 2 * H, dtype=torch.float64)
    with gated_heads(heads, torch.tensor([0, 1, 0, 1], dtype=torch.float64)):
        expected = heads(x, x, x)
    remove_heads(heads, {0, 2})
    torch.testing.assert_close(heads(x, x, x), expected, rtol=0, atol=1e-14)
    for name, parameter in position.named_parameters():  # another layer may share them
        assert torch.equal(parameter, before[name])


def test_a_model_runs_and_trains_without_some_of_its_heads() -> None:
    model = Transformer(11, 13, width=D, heads=H, inner_width=7, layers=2, dropout=0.0)
    remove_heads(model.encoder.layers[0].self_attention, {0})
    remove_heads(model.decoder.layers[1].cross_attention, {1, 2, 3})
    logits = model(torch.randint(1, 11, (B, S)), torch.randint(1, 13, (B, T)))
    assert logits.shape == (B, T, 13)
    logits.pow(3).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_importance_is_the_sensitivity_to_each_gate() -> None:
    """`Att_h^T dL/dAtt_h`, sequence by sequence (section 4.1), from the heads one by one."""
    heads = module()
    arguments, target = inputs(), torch.randn(B, T, D, dtype=torch.float64)

    def losses() -> Tensor:
        return (heads(*arguments) - target).square().sum(dim=(1, 2))

    importance = head_importance(heads, B, losses)
    contributions = sum_of_heads(heads, *arguments, None).detach()
    slope = 2 * (heads(*arguments) - target).detach()
    expected = (contributions * slope).sum(dim=(2, 3)).abs().mean(dim=1)
    torch.testing.assert_close(importance, expected, rtol=1e-10, atol=0)


def test_opposite_sequences_do_not_cancel() -> None:
    heads = module(bias=False)
    query, key, value = inputs()
    both = torch.cat((query[:1], query[:1])), torch.cat((key[:1], key[:1])), torch.cat((value[:1], value[:1]))
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64)
    importance = head_importance(heads, 2, lambda: sign * heads(*both).sum(dim=(1, 2)))
    assert (importance > 1e-3).all()


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ([4], r"heads must lie within 0\.\.3, got \[4\]"),
        ([0, -1], r"heads must lie within 0\.\.3, got \[-1\]"),
        (range(4), "heads must leave one of the 4: leave out the whole sublayer instead"),
    ],
)
def test_bad_heads(removed: Collection[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        remove_heads(module(), removed)


def test_importance_is_that_of_one_sequence_or_more() -> None:
    heads = module()
    query, key, value = (x[:1] for x in inputs())
    assert head_importance(heads, 1, lambda: heads(query, key, value).sum(dim=(1, 2))).shape == (H,)
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        head_importance(heads, 0, lambda: heads(query, key, value).sum(dim=(1, 2)))


def test_importance_is_computed_where_the_heads_are() -> None:
    heads, x = module().to("meta"), torch.empty(B, T, D, dtype=torch.float64, device="meta")
    assert head_importance(heads, B, lambda: heads(x, x, x).sum(dim=(1, 2))).device.type == "meta"
