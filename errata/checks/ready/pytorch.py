"""PyTorch's own modules and functions.

    from errata import checks
    from errata.checks.ready import pytorch

    adapter = pytorch.MULTI_HEAD_ATTENTION
    checks.run(adapter, expected_failures=pytorch.EXPECTED.get(adapter.name)).raise_if_failed()

or from the shell, ``errata check --adapter errata.checks.ready.pytorch:LAYER_NORM``. Torch's stacks
of layers take vectors: here they stand on a `TokenEmbedding`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from errata.candidates.weights import Tensors
from errata.checks.adapters import (
    Attention,
    BatchNorm,
    CausalMask,
    DecoderLayer,
    Dropout,
    EncoderLayer,
    LayerNorm,
    MultiHeadAttention,
    RMSNorm,
    TextEncoder,
    Transformer,
)
from errata.checks.adapters.layers import NormPlacement

LONGEST = 64
"""Positions that the embeddings of the models below know."""


def _attend(module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Any:
    return module(query, key, value, attn_mask=mask)


def _attend_fused(
    module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> Tensor:
    output: Tensor = module(query, key, value, attn_mask=mask, need_weights=False)[0]
    return output


def set_attention(module: nn.MultiheadAttention, weights: Tensors, prefix: str = "") -> None:
    """Copy four projections into one module, which keeps three of them in one matrix."""
    for kind, packed in (("weight", module.in_proj_weight), ("bias", module.in_proj_bias)):
        packed.copy_(torch.cat([weights[f"{prefix}{name}.{kind}"] for name in ("query", "key", "value")]))
    module.out_proj.weight.copy_(weights[f"{prefix}output.weight"])
    module.out_proj.bias.copy_(weights[f"{prefix}output.bias"])


def _multi_head_attention(name: str, **fields: Any) -> MultiHeadAttention:
    return MultiHeadAttention(
        name=name,
        build=lambda width, heads: nn.MultiheadAttention(
            width, heads, batch_first=fields.get("layout") != "sequence-first"
        ),
        set_weights=set_attention,
        mask="true-is-masked",
        mask_shape="(B*H, T, S)",
        **fields,
    )


MULTI_HEAD_ATTENTION = _multi_head_attention("torch.nn.MultiheadAttention", call=_attend, returns=("output", "weights"))
MULTI_HEAD_ATTENTION_SEQUENCE_FIRST = _multi_head_attention(
    "torch.nn.MultiheadAttention, sequence first",
    call=_attend,
    returns=("output", "weights"),
    layout="sequence-first",
)
MULTI_HEAD_ATTENTION_FUSED = _multi_head_attention("torch.nn.MultiheadAttention, without weights", call=_attend_fused)

SCALED_DOT_PRODUCT_ATTENTION = Attention(
    name="torch.nn.functional.scaled_dot_product_attention", call=functional.scaled_dot_product_attention
)
SCALED_DOT_PRODUCT_ATTENTION_OF_HEADS = Attention(
    name="torch.nn.functional.scaled_dot_product_attention, (B, H, T, d)",
    call=functional.scaled_dot_product_attention,
    heads_axis=True,
)


def set_encoder_layer(layer: nn.TransformerEncoderLayer, weights: Tensors) -> None:
    """Copy the weights of an encoder layer."""
    set_attention(layer.self_attn, weights, "self_attention.")
    _set_feed_forward(layer, weights)
    _set_norms({"self_attention_norm": layer.norm1, "feed_forward_norm": layer.norm2}, weights)


def set_decoder_layer(layer: nn.TransformerDecoderLayer, weights: Tensors) -> None:
    """Copy the weights of a decoder layer."""
    set_attention(layer.self_attn, weights, "self_attention.")
    set_attention(layer.multihead_attn, weights, "cross_attention.")
    _set_feed_forward(layer, weights)
    norms = {
        "self_attention_norm": layer.norm1,
        "cross_attention_norm": layer.norm2,
        "feed_forward_norm": layer.norm3,
    }
    _set_norms(norms, weights)


def _set_feed_forward(layer: Any, weights: Tensors) -> None:
    for name, linear in (("inner", layer.linear1), ("outer", layer.linear2)):
        linear.weight.copy_(weights[f"feed_forward.{name}.weight"])
        linear.bias.copy_(weights[f"feed_forward.{name}.bias"])


def _set_norms(norms: Mapping[str, nn.LayerNorm], weights: Tensors) -> None:
    for name, norm in norms.items():
        norm.weight.copy_(weights[f"{name}.gain"])
        norm.bias.copy_(weights[f"{name}.bias"])


def _encoder_layer(norm: NormPlacement) -> EncoderLayer:
    return EncoderLayer(
        name=f"torch.nn.TransformerEncoderLayer, {norm}-norm",
        build=lambda width, heads, hidden: nn.TransformerEncoderLayer(
            width, heads, hidden, batch_first=True, norm_first=norm == "pre"
        ),
        call=lambda layer, x, mask: layer(x, src_mask=mask),
        set_weights=set_encoder_layer,
        mask="true-is-masked",
        mask_shape="(B*H, T, S)",
        norm=norm,
    )


def _decoder_layer(norm: NormPlacement) -> DecoderLayer:
    return DecoderLayer(
        name=f"torch.nn.TransformerDecoderLayer, {norm}-norm",
        build=lambda width, heads, hidden: nn.TransformerDecoderLayer(
            width, heads, hidden, batch_first=True, norm_first=norm == "pre"
        ),
        call=lambda layer, x, memory, mask, memory_mask: layer(x, memory, tgt_mask=mask, memory_mask=memory_mask),
        set_weights=set_decoder_layer,
        mask="true-is-masked",
        mask_shape="(B*H, T, S)",
        norm=norm,
    )


ENCODER_LAYER = _encoder_layer("post")
ENCODER_LAYER_PRE_NORM = _encoder_layer("pre")
DECODER_LAYER = _decoder_layer("post")
DECODER_LAYER_PRE_NORM = _decoder_layer("pre")


class TokenEmbedding(nn.Module):
    """Token ids as vectors, each with the vector of its position; torch has no such module."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(LONGEST, width)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids ``(B, T)`` to vectors ``(B, T, D)``."""
        vectors: Tensor = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        return vectors


class EmbeddedEncoder(nn.Module):
    """`torch.nn.TransformerEncoder` on token ids."""

    def __init__(self, vocabulary: int, width: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(vocabulary, width)
        layer = nn.TransformerEncoderLayer(width, heads, hidden, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)

    def forward(self, ids: Tensor, padding: Tensor | None) -> Tensor:
        """States ``(B, T, D)``; padding is True where no token is."""
        states: Tensor = self.encoder(self.embedding(ids), src_key_padding_mask=padding)
        return states


class EmbeddedTransformer(nn.Module):
    """`torch.nn.Transformer` on token ids, with a projection to logits."""

    def __init__(self, vocabulary: int, width: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.source = TokenEmbedding(vocabulary, width)
        self.target = TokenEmbedding(vocabulary, width)
        self.stacks = nn.Transformer(width, heads, layers, layers, hidden, batch_first=True)
        self.output = nn.Linear(width, vocabulary)

    def forward(self, source: Tensor, target: Tensor, padding: Tensor | None) -> Tensor:
        """Logits ``(B, T, V)``; padding is True where no source token is."""
        future = nn.Transformer.generate_square_subsequent_mask(target.shape[1]).isinf()
        states = self.stacks(
            self.source(source),
            self.target(target),
            tgt_mask=future,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        logits: Tensor = self.output(states)
        return logits


TEXT_ENCODER = TextEncoder(
    name="torch.nn.TransformerEncoder",
    build=EmbeddedEncoder,
    call=lambda model, ids, padding: model(ids, padding),
    mask="true-is-masked",
    traits=frozenset({"right-padding-only"}),
)
TRANSFORMER = Transformer(
    name="torch.nn.Transformer",
    build=EmbeddedTransformer,
    call=lambda model, source, target, padding: model(source, target, padding),
    weights={"encoder": "stacks.encoder.layers"},
    mask="true-is-masked",
)

LAYER_NORM = LayerNorm(
    name="torch.nn.LayerNorm",
    build=lambda width, eps: nn.LayerNorm(width, eps=eps),
    call=lambda norm, x: norm(x),
    weights={"gain": "weight"},
)
RMS_NORM = RMSNorm(
    name="torch.nn.RMSNorm",
    build=lambda width, eps: nn.RMSNorm(width, eps=eps),
    call=lambda norm, x: norm(x),
    weights={"gain": "weight"},
)
BATCH_NORM = BatchNorm(
    name="torch.nn.BatchNorm1d",
    build=nn.BatchNorm1d,
    call=lambda norm, x: norm(x.transpose(1, 2)).transpose(1, 2),  # it takes (B, D, T)
    weights={"gain": "weight", "mean": "running_mean", "variance": "running_var"},
)
DROPOUT = Dropout(name="torch.nn.Dropout", build=nn.Dropout, call=lambda dropout, x: dropout(x))
CAUSAL_MASK = CausalMask(
    name="torch.nn.Transformer.generate_square_subsequent_mask",
    call=nn.Transformer.generate_square_subsequent_mask,
    mask="additive",
)

KEYLESS = "a query whose keys are all masked gets NaN wherever weights are asked for: softmax of -inf alone"
EXPECTED: Mapping[str, Mapping[str, str]] = {
    MULTI_HEAD_ATTENTION.name: {"multi_head_attention.keyless-row-is-finite": KEYLESS},
    MULTI_HEAD_ATTENTION_SEQUENCE_FIRST.name: {"multi_head_attention.keyless-row-is-finite": KEYLESS},
    SCALED_DOT_PRODUCT_ATTENTION.name: {"attention.number-mask-keeps-its-meaning": "a mask of numbers is added"},
    SCALED_DOT_PRODUCT_ATTENTION_OF_HEADS.name: {
        "attention.number-mask-keeps-its-meaning": "a mask of numbers is added"
    },
    TEXT_ENCODER.name: {"text_encoder.layers-start-different": "its layers are deep copies of the one it is given"},
    BATCH_NORM.name: {"batch_norm.accepts-a-matrix": "positions without a batch would be (D, T), and it takes (N, D)"},
}
"""By the name of an adapter: checks that fail, and why."""
