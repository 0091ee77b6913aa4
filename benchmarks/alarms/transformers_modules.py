"""Layers and parts of layers inside transformers, under adapters of their own."""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.alarms.implementation import Implementation
from errata import checks
from errata.checks import Adapter
from errata.checks.adapters.layers import NormPlacement

BERT = {
    "self_attention.query": "attention.self.query",
    "self_attention.key": "attention.self.key",
    "self_attention.value": "attention.self.value",
    "self_attention.output": "attention.output.dense",
    "self_attention_norm.gain": "attention.output.LayerNorm.weight",
    "self_attention_norm.bias": "attention.output.LayerNorm.bias",
    "feed_forward.inner": "intermediate.dense",
    "feed_forward.outer": "output.dense",
    "feed_forward_norm.gain": "output.LayerNorm.weight",
    "feed_forward_norm.bias": "output.LayerNorm.bias",
}
PROJECTIONS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
BART = {
    **{f"self_attention.{ours}": f"self_attn.{theirs}" for ours, theirs in PROJECTIONS.items()},
    **{f"cross_attention.{ours}": f"encoder_attn.{theirs}" for ours, theirs in PROJECTIONS.items()},
    "self_attention_norm.gain": "self_attn_layer_norm.weight",
    "self_attention_norm.bias": "self_attn_layer_norm.bias",
    "cross_attention_norm.gain": "encoder_attn_layer_norm.weight",
    "cross_attention_norm.bias": "encoder_attn_layer_norm.bias",
    "feed_forward.inner": "fc1",
    "feed_forward.outer": "fc2",
    "feed_forward_norm.gain": "final_layer_norm.weight",
    "feed_forward_norm.bias": "final_layer_norm.bias",
}


def part(model: str, name: str) -> Any:
    """A class or function of a model's file."""
    return getattr(import_module(f"transformers.models.{model}.modeling_{model}"), name)


def config(model: str, **fields: Any) -> Any:
    """A configuration with these fields."""
    return import_module("transformers").AutoConfig.for_model(model, **fields)


def first(result: Any) -> Tensor:
    """The states, where something comes with them."""
    states: Tensor = result[0] if isinstance(result, tuple) else result
    return states


def rms_norm(model: str, name: str, *, weights: Mapping[str, str]) -> Adapter:
    """A norm that takes its width and epsilon."""
    return checks.RMSNorm(
        name=name,
        build=lambda width, eps: part(model, name)(width, eps=eps),
        call=lambda norm, x: norm(x),
        weights=weights,
    )


def configured_layer(model: str, name: str) -> Callable[[int, int, int], nn.Module]:
    """What builds a layer that takes its sizes from a configuration."""
    return lambda width, heads, hidden: part(model, name)(config(model, **sizes(model, width, heads, hidden)))


def encoder_layer(model: str, name: str, norm: NormPlacement, names: Mapping[str, str]) -> Adapter:
    """An encoder layer with the activation of the paper."""
    return checks.EncoderLayer(
        name=name,
        build=configured_layer(model, name),
        call=lambda layer, x, mask: first(layer(x, attention_mask=mask)),
        weights=names,
        mask="additive",
        norm=norm,
    )


def decoder_layer(model: str, name: str, norm: NormPlacement) -> Adapter:
    """A decoder layer with the activation of the paper."""

    def call(layer: Any, x: Tensor, memory: Tensor, mask: Tensor | None, memory_mask: Tensor | None) -> Tensor:
        return first(
            layer(
                x,
                attention_mask=mask,
                encoder_hidden_states=memory,
                encoder_attention_mask=memory_mask,
                use_cache=False,
            )
        )

    build = configured_layer(model, name)
    return checks.DecoderLayer(name=name, build=build, call=call, weights=BART, mask="additive", norm=norm)


def sizes(model: str, width: int, heads: int, hidden: int) -> dict[str, Any]:
    """The sizes of a layer, as the configuration of BART's or of BERT's kin calls them."""
    if model in ("bert", "roberta", "electra"):
        own = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": hidden}
        return {**own, "hidden_act": "relu"}
    stacks = {
        f"{stack}_{size}": value
        for stack in ("encoder", "decoder")
        for size, value in (("attention_heads", heads), ("ffn_dim", hidden))
    }
    return {"d_model": width, "activation_function": "relu", **stacks}


def attention(name: str, build: Callable[[int, int], nn.Module], names: Mapping[str, str]) -> Adapter:
    """Attention of one sequence to itself."""
    return checks.MultiHeadAttention(
        name=name,
        build=build,
        call=lambda module, x, mask: first(module(x, attention_mask=mask)),
        weights=names,
        mask="additive",
        self_only=True,
    )


def bart_attention() -> Adapter:
    """BART's attention, which is given its sizes."""
    return attention(
        "BartAttention",
        lambda width, heads: part("bart", "BartAttention")(width, heads, config=config("bart"), layer_idx=0),
        PROJECTIONS,
    )


def configured_attention(model: str, name: str, kind: str, names: Mapping[str, str]) -> Adapter:
    """Attention that takes its sizes from a configuration of this kind."""
    return attention(
        name,
        lambda width, heads: part(model, name)(config(kind, hidden_size=width, num_attention_heads=heads)),
        names,
    )


def t5_feed_forward() -> Adapter:
    """T5's first feed-forward network, without biases."""
    return checks.FeedForward(
        name="T5DenseActDense",
        build=lambda width, hidden: part("t5", "T5DenseActDense")(
            config("t5", d_model=width, d_ff=hidden, feed_forward_proj="relu")
        ),
        call=lambda module, x: module(x),
        weights={"inner": "wi", "outer": "wo"},
        traits=frozenset({"no-biases"}),
    )


def gpt2_feed_forward() -> Adapter:
    """GPT-2's, whose matrices are transposed."""

    def set_weights(module: Any, weights: Mapping[str, Tensor]) -> None:
        for name, layer in (("inner", module.c_fc), ("outer", module.c_proj)):
            layer.weight.copy_(weights[f"{name}.weight"].T)
            layer.bias.copy_(weights[f"{name}.bias"])

    return checks.FeedForward(
        name="GPT2MLP",
        build=lambda width, hidden: part("gpt2", "GPT2MLP")(
            hidden, config("gpt2", n_embd=width, activation_function="relu")
        ),
        call=lambda module, x: module(x),
        set_weights=set_weights,
    )


def clip_feed_forward() -> Adapter:
    """CLIP's, with GELU."""
    return checks.FeedForward(
        name="CLIPMLP",
        build=lambda width, hidden: part("clip", "CLIPMLP")(
            config(
                "clip_text_model", hidden_size=width, num_attention_heads=1, intermediate_size=hidden, hidden_act="gelu"
            )
        ),
        call=lambda module, x: module(x),
        weights={"inner": "fc1", "outer": "fc2"},
        traits=frozenset({"gelu"}),
    )


def llama_rotary() -> Adapter:
    """Llama's rotary embedding, which turns features i and i + d/2 together."""

    def build(width: int) -> nn.Module:
        module: nn.Module = part("llama", "LlamaRotaryEmbedding")(
            config("llama", head_dim=width, hidden_size=width, num_attention_heads=1)
        )
        return module

    def call(module: Any, query: Tensor, key: Tensor) -> Any:
        cos, sin = module(query, torch.arange(query.shape[2])[None])
        return part("llama", "apply_rotary_pos_emb")(query, key, cos, sin)

    return checks.RotaryEmbedding(name="LlamaRotaryEmbedding", build=build, call=call, traits=frozenset({"half-split"}))


PARTS: tuple[Callable[[], Adapter], ...] = (
    lambda: rms_norm("llama", "LlamaRMSNorm", weights={"gain": "weight"}),
    lambda: rms_norm("mistral", "MistralRMSNorm", weights={"gain": "weight"}),
    lambda: rms_norm("qwen2", "Qwen2RMSNorm", weights={"gain": "weight"}),
    lambda: rms_norm("t5", "T5LayerNorm", weights={"gain": "weight"}),
    lambda: rms_norm("gemma", "GemmaRMSNorm", weights={}),  # it learns what is added to a gain of 1
    bart_attention,
    lambda: configured_attention("clip", "CLIPAttention", "clip_text_model", PROJECTIONS),
    lambda: configured_attention("vit", "ViTAttention", "vit", PROJECTIONS | {"output": "o_proj"}),
    t5_feed_forward,
    gpt2_feed_forward,
    clip_feed_forward,
    llama_rotary,
    lambda: encoder_layer("bert", "BertLayer", "post", BERT),
    lambda: encoder_layer("roberta", "RobertaLayer", "post", BERT),
    lambda: encoder_layer("electra", "ElectraLayer", "post", BERT),
    lambda: encoder_layer("bart", "BartEncoderLayer", "post", BART),
    lambda: encoder_layer("marian", "MarianEncoderLayer", "post", BART),
    lambda: encoder_layer("mbart", "MBartEncoderLayer", "pre", BART),
    lambda: encoder_layer("pegasus", "PegasusEncoderLayer", "pre", BART),
    lambda: encoder_layer("m2m_100", "M2M100EncoderLayer", "pre", BART),
    lambda: encoder_layer("whisper", "WhisperEncoderLayer", "pre", BART),
    lambda: decoder_layer("bart", "BartDecoderLayer", "post"),
    lambda: decoder_layer("marian", "MarianDecoderLayer", "post"),
    lambda: decoder_layer("mbart", "MBartDecoderLayer", "pre"),
    lambda: decoder_layer("pegasus", "PegasusDecoderLayer", "pre"),
    lambda: decoder_layer("m2m_100", "M2M100DecoderLayer", "pre"),
    lambda: decoder_layer("whisper", "WhisperDecoderLayer", "pre"),
)


def implementations() -> Iterator[Implementation]:
    """All of them."""
    for part_ in PARTS:
        yield Implementation("transformers", part_())
