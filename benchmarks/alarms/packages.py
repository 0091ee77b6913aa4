"""Implementations from smaller packages."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.alarms.implementation import Implementation
from errata import checks
from errata.checks import Adapter


def bert_pytorch_attention() -> Adapter:
    """Multi-head attention of bert-pytorch."""
    module = import_module("bert_pytorch.model.attention")
    return checks.MultiHeadAttention(
        name="bert-pytorch MultiHeadedAttention",
        build=lambda width, heads: module.MultiHeadedAttention(heads, width),
        call=lambda attention, query, key, value, mask: attention(query, key, value, mask),
        weights={
            "query": "linear_layers.0",
            "key": "linear_layers.1",
            "value": "linear_layers.2",
            "output": "output_linear",
        },
    )


def bert_pytorch_scores() -> Adapter:
    """The attention function in it."""
    module = import_module("bert_pytorch.model.attention")
    return checks.Attention(
        name="bert-pytorch Attention",
        call=lambda query, key, value, mask: module.Attention()(query, key, value, mask),
        returns=("output", "weights"),
    )


def bert_pytorch_feed_forward() -> Adapter:
    """The feed-forward network of bert-pytorch, with GELU."""
    module = import_module("bert_pytorch.model.utils")
    return checks.FeedForward(
        name="bert-pytorch PositionwiseFeedForward",
        build=lambda width, hidden: module.PositionwiseFeedForward(width, hidden),
        call=lambda network, x: network(x),
        weights={"inner": "w_1", "outer": "w_2"},
        traits=frozenset({"gelu"}),
    )


def bert_pytorch_block() -> Adapter:
    """An encoder layer of bert-pytorch, pre-norm."""
    module = import_module("bert_pytorch.model.transformer")
    return checks.EncoderLayer(
        name="bert-pytorch TransformerBlock",
        build=lambda width, heads, hidden: module.TransformerBlock(width, heads, hidden, 0.1),
        call=lambda layer, x, mask: layer(x, mask),
    )


def plain_attention() -> Adapter:
    """The attention function of memory-efficient-attention-pytorch that is written out."""
    module = import_module("memory_efficient_attention_pytorch.memory_efficient_attention")
    return checks.Attention(
        name="memory-efficient-attention-pytorch attention",
        call=lambda query, key, value, mask: module.attention(query, key, value, mask=mask),
        heads_axis=True,
    )


def chunked_attention() -> Adapter:
    """The one that works in chunks; its mask knows padding only."""
    module = import_module("memory_efficient_attention_pytorch.memory_efficient_attention")
    return checks.Attention(
        name="memory-efficient-attention-pytorch memory_efficient_attention",
        call=lambda query, key, value: module.memory_efficient_attention(
            query, key, value, q_bucket_size=2, k_bucket_size=2
        ),
        mask="none",
        heads_axis=True,
    )


def memory_efficient_heads() -> Adapter:
    """Multi-head attention of memory-efficient-attention-pytorch."""
    module = import_module("memory_efficient_attention_pytorch")
    return checks.MultiHeadAttention(
        name="memory-efficient-attention-pytorch Attention",
        build=lambda width, heads: module.Attention(dim=width, heads=heads, dim_head=width // heads),
        call=lambda attention, x, bias: attention(x, attn_bias=bias),
        set_weights=set_pair,
        mask="additive",
        self_only=True,
    )


def perceiver_heads() -> Adapter:
    """Multi-head attention of perceiver-pytorch."""
    module = import_module("perceiver_pytorch.perceiver_pytorch")
    return checks.MultiHeadAttention(
        name="perceiver-pytorch Attention",
        build=lambda width, heads: module.Attention(width, heads=heads, dim_head=width // heads),
        call=lambda attention, x: attention(x),
        set_weights=set_pair,
        mask="none",
        self_only=True,
    )


def set_pair(module: Any, weights: Mapping[str, Tensor]) -> None:
    """Copy projections into a module that keeps those of keys and values in one matrix."""
    module.to_q.weight.copy_(weights["query.weight"])
    module.to_kv.weight.copy_(torch.cat([weights["key.weight"], weights["value.weight"]]))
    module.to_out.weight.copy_(weights["output.weight"])
    if module.to_out.bias is not None:
        module.to_out.bias.copy_(weights["output.bias"])


def rotary() -> Adapter:
    """rotary-embedding-torch, which turns features 2i and 2i + 1 together.

    At width 2 it divides by zero: there it gets the one frequency that a vector of two has.
    """
    module = import_module("rotary_embedding_torch")

    def build(width: int) -> nn.Module:
        alone = {"dim": 4, "custom_freqs": torch.ones(1), "cache_if_possible": False}
        embedding: nn.Module = module.RotaryEmbedding(**(alone if width == 2 else {"dim": width}))
        return embedding

    def call(embedding: Any, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        return embedding.rotate_queries_or_keys(query), embedding.rotate_queries_or_keys(key)

    return checks.RotaryEmbedding(
        name="rotary-embedding-torch RotaryEmbedding",
        build=build,
        call=call,
        traits=frozenset({"interleaved"}),
    )


def positional_table() -> Adapter:
    """The table of positional-encodings."""
    module = import_module("positional_encodings.torch_encodings")
    return checks.PositionalEncoding(
        name="positional-encodings PositionalEncoding1D",
        call=lambda length, width: module.PositionalEncoding1D(width)(torch.zeros(1, length, width))[0],
    )


def positional_sum() -> Adapter:
    """The module of positional-encodings that adds it."""
    module = import_module("positional_encodings.torch_encodings")
    return checks.PositionalEncoding(
        name="positional-encodings Summer",
        build=lambda width: module.Summer(module.PositionalEncoding1D(width)),
        call=lambda summer, x: summer(x),
    )


def curated_encoder(kind: str, **fields: Any) -> Adapter:
    """An encoder of curated-transformers."""
    module = import_module("curated_transformers.models")

    def build(vocabulary: int, width: int, heads: int, hidden: int, layers: int) -> nn.Module:
        config = getattr(module, f"{kind}Config")(
            dtype=torch.get_default_dtype(),
            embedding_width=width,
            hidden_width=width,
            intermediate_width=hidden,
            n_attention_heads=heads,
            n_hidden_layers=layers,
            n_pieces=vocabulary,
            **fields,
        )
        encoder: nn.Module = getattr(module, f"{kind}Encoder")(config)
        return encoder

    def call(model: Any, ids: Tensor, mask: Tensor | None) -> Tensor:
        states: Tensor = model(ids, curated_mask(ids, mask)).last_hidden_layer_state
        return states

    return checks.TextEncoder(
        name=f"curated-transformers {kind}Encoder",
        build=build,
        call=call,
        traits=frozenset({"right-padding-only"} | ({"one-layer"} if kind == "ALBERT" else set())),
    )


def curated_decoder(kind: str, sizes: Callable[..., dict[str, Any]]) -> Adapter:
    """A causal language model of curated-transformers."""
    module = import_module("curated_transformers.models")

    def build(vocabulary: int, width: int, heads: int, hidden: int, layers: int) -> nn.Module:
        config = getattr(module, f"{kind}Config")(
            dtype=torch.get_default_dtype(),
            hidden_width=width,
            n_hidden_layers=layers,
            n_pieces=vocabulary,
            **sizes(heads, hidden),
        )
        model: nn.Module = getattr(module, f"{kind}CausalLM")(config)
        return model

    def call(model: Any, ids: Tensor, mask: Tensor | None) -> Tensor:
        logits: Tensor = model(ids, curated_mask(ids, mask)).logits
        return logits

    def cached(model: Any, ids: Tensor, mask: Tensor | None, chunks: list[int]) -> Tensor:
        logits, cache, end = [], None, 0
        for piece in ids.split(chunks, dim=1):
            end += piece.shape[1]
            real = curated_mask(ids[:, :end], None if mask is None else mask[:, :end])
            answer = model(piece, real, cache=cache, store_cache=True)
            logits.append(answer.logits)
            cache = answer.cache
        return torch.cat(logits, dim=1)

    return checks.LanguageModel(
        name=f"curated-transformers {kind}CausalLM",
        build=build,
        call=call,
        cached=cached,
        traits=frozenset({"right-padding-only"}),
    )


def curated_mask(ids: Tensor, mask: Tensor | None) -> Any:
    """The library's own type of a mask, which it always wants."""
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
    return import_module("curated_transformers.layers").AttentionMask(real)


ROTARY = {"rotary_embedding_fraction": 1.0}
"""All features are turned: of as few as the checks ask for, a quarter is too few."""


def query_heads(heads: int, hidden: int) -> dict[str, Any]:
    """What Llama's configuration calls its sizes."""
    return {"n_query_heads": heads, "n_key_value_heads": heads, "intermediate_width": hidden, **ROTARY}


def attention_heads(heads: int, hidden: int) -> dict[str, Any]:
    """What GPT-NeoX's calls them."""
    return {"n_attention_heads": heads, "intermediate_width": hidden, **ROTARY}


def one_key_head(heads: int, hidden: int) -> dict[str, Any]:
    """What Falcon's calls them; its hidden width is fixed."""
    return {"n_query_heads": heads, "n_key_value_heads": 1, **ROTARY}


def alibi_heads(heads: int, hidden: int) -> dict[str, Any]:
    """What MPT's calls them; its hidden width is fixed."""
    return {"n_attention_heads": heads}


def implementations() -> Iterator[Implementation]:
    """All of them."""
    yield Implementation("bert-pytorch", bert_pytorch_attention())
    yield Implementation("bert-pytorch", bert_pytorch_scores())
    yield Implementation("bert-pytorch", bert_pytorch_feed_forward())
    yield Implementation("bert-pytorch", bert_pytorch_block())
    for adapter in (plain_attention(), chunked_attention(), memory_efficient_heads()):
        yield Implementation("memory-efficient-attention-pytorch", adapter)
    yield Implementation("perceiver-pytorch", perceiver_heads())
    yield Implementation("rotary-embedding-torch", rotary())
    yield Implementation("positional-encodings", positional_table())
    yield Implementation("positional-encodings", positional_sum())
    yield Implementation("curated-transformers", curated_encoder("BERT"))
    yield Implementation("curated-transformers", curated_encoder("ALBERT"))
    yield Implementation("curated-transformers", curated_encoder("RoBERTa", padding_id=0))
    yield Implementation("curated-transformers", curated_decoder("Llama", query_heads))
    yield Implementation("curated-transformers", curated_decoder("GPTNeoX", attention_heads))
    yield Implementation("curated-transformers", curated_decoder("Falcon", one_key_head))
    yield Implementation("curated-transformers", curated_decoder("MPT", alibi_heads))
