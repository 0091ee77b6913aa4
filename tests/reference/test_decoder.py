from collections.abc import Callable

import pytest
import torch
from torch import nn

from reference import (
    Decoder,
    DecoderLayer,
    Dropout,
    FeedForward,
    LayerNorm,
    MultiHeadAttention,
    causal_mask,
    combine_masks,
    padding_mask,
)

B, T, S, D, H, INNER = 2, 4, 5, 12, 3, 7
CAUSAL = causal_mask(T)
TARGET = padding_mask(torch.tensor([4, 3]), T)
SOURCE = padding_mask(torch.tensor([2, 5]), S)
MASKS = {
    "none": ((None, None), {}),
    "causal": ((CAUSAL, None), {"tgt_mask": ~CAUSAL}),
    "padding": (
        (TARGET, SOURCE),
        {"tgt_key_padding_mask": ~TARGET[:, 0, 0], "memory_key_padding_mask": ~SOURCE[:, 0, 0]},
    ),
    "all": (
        (combine_masks(CAUSAL, TARGET), SOURCE),
        {
            "tgt_mask": ~CAUSAL,
            "tgt_key_padding_mask": ~TARGET[:, 0, 0],
            "memory_key_padding_mask": ~SOURCE[:, 0, 0],
        },
    ),
}


def layer(pre_norm: bool = False, dropout: float = 0.0) -> DecoderLayer:
    attentions = MultiHeadAttention(D, H), MultiHeadAttention(D, H)
    return DecoderLayer(*attentions, FeedForward(D, INNER), dropout=dropout, pre_norm=pre_norm)


def their_layer(pre_norm: bool, dtype: torch.dtype) -> nn.TransformerDecoderLayer:
    return nn.TransformerDecoderLayer(D, H, INNER, 0.0, batch_first=True, norm_first=pre_norm, dtype=dtype)


def inputs(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [torch.randn(B, T, D, dtype=dtype), torch.randn(B, S, D, dtype=dtype)]


@pytest.mark.parametrize("name", MASKS)
def test_layer_equals_torch(agree: Callable[..., None], dtype: torch.dtype, pre_norm: bool, name: str) -> None:
    ours, theirs = layer(pre_norm).to(dtype), their_layer(pre_norm, dtype)
    masks, their_masks = MASKS[name]
    agree(ours, theirs, inputs(dtype), lambda x, m: ours(x, m, *masks), lambda x, m: theirs(x, m, **their_masks))


@pytest.mark.parametrize("name", MASKS)
def test_stack_equals_torch(agree: Callable[..., None], dtype: torch.dtype, pre_norm: bool, name: str) -> None:
    ours = Decoder(layer(pre_norm) for _ in range(2)).to(dtype)
    theirs = nn.TransformerDecoder(their_layer(pre_norm, dtype), 2, nn.LayerNorm(D, dtype=dtype) if pre_norm else None)
    masks, their_masks = MASKS[name]
    agree(ours, theirs, inputs(dtype), lambda x, m: ours(x, m, *masks), lambda x, m: theirs(x, m, **their_masks))


def test_final_norm_exactly_after_pre_norm_layers(pre_norm: bool) -> None:
    assert isinstance(Decoder([layer(pre_norm)]).norm, LayerNorm if pre_norm else nn.Identity)


def test_the_future_has_no_influence_at_all(pre_norm: bool) -> None:
    decoder = Decoder(layer(pre_norm) for _ in range(2))
    x, memory = inputs()
    before = decoder(x, memory, CAUSAL)
    x[:, 2] += 5
    after = decoder(x, memory, CAUSAL)
    assert torch.equal(after[:, :2], before[:, :2])
    assert (after[:, 2:] != before[:, 2:]).any(-1).all()


def test_every_memory_position_that_is_open_has_influence_and_no_other() -> None:
    decoder = Decoder(layer() for _ in range(2))
    x, memory = inputs()
    memory.requires_grad_()
    decoder(x, memory, CAUSAL, SOURCE).pow(3).sum().backward()
    assert torch.equal((memory.grad != 0).any(-1), SOURCE[:, 0, 0])


def test_a_target_without_any_source_stays_finite() -> None:
    x, memory = inputs()
    nothing = padding_mask(torch.tensor([0, 5]), S)
    assert Decoder([layer()])(x, memory, CAUSAL, nothing).isfinite().all()


def test_every_parameter_gets_a_gradient(pre_norm: bool) -> None:
    decoder = Decoder(layer(pre_norm, 0.1) for _ in range(2))
    decoder(*inputs()).pow(3).sum().backward()
    # The bias of a key adds the same to every score of a row, so the softmax ignores it.
    without = [name for name, p in decoder.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9]
    assert [name for name in without if not name.endswith("key.bias")] == []


@pytest.mark.parametrize("chunks", [[4], [1, 1, 1, 1], [2, 2], [1, 3]])
def test_steps_equal_the_whole(pre_norm: bool, chunks: list[int]) -> None:
    decoder = Decoder(layer(pre_norm) for _ in range(2)).double()
    x, memory = inputs(torch.float64)
    caches, end, steps = decoder.start(memory), 0, []
    for part in x.split(chunks, dim=1):
        begin, end = end, end + part.shape[1]
        steps.append(decoder.step(part, caches, CAUSAL[begin:end, :end], SOURCE))
    torch.testing.assert_close(torch.cat(steps, dim=1), decoder(x, memory, CAUSAL, SOURCE), rtol=0, atol=1e-12)


def test_the_memory_is_projected_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder([layer()])
    x, memory = inputs()
    caches = decoder.start(memory)
    with monkeypatch.context() as patched:
        patched.setattr(decoder.layers[0].cross_attention, "key", None)
        patched.setattr(decoder.layers[0].cross_attention, "value", None)
        decoder.step(x, caches)


def test_a_step_needs_a_cache_for_each_layer() -> None:
    decoder = Decoder(layer() for _ in range(2))
    x, memory = inputs()
    with pytest.raises(ValueError, match="zip"):
        decoder.step(x, decoder.start(memory)[:1])


def test_a_layer_is_that_of_the_paper_by_default() -> None:
    module = DecoderLayer(MultiHeadAttention(D, H), MultiHeadAttention(D, H), FeedForward(D, INNER))
    assert {part.probability for part in module.modules() if isinstance(part, Dropout)} == {0.1}
    assert not module.pre_norm


def test_no_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="a decoder needs at least one layer, got none"):
        Decoder([])
