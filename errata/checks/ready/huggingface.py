"""Hugging Face's models, by configuration.

    from transformers import LlamaConfig
    from errata import checks
    from errata.checks.ready import huggingface

    checks.run(huggingface.language_model(LlamaConfig())).raise_if_failed()

The checks choose the sizes, so those of the configuration do not matter; all its other choices do. Models start with
random weights: nothing is downloaded. In training the library's models take labels that it shifts itself, which
``loss`` accounts for. Where a model takes positions, they are counted over the real tokens, as its `generate` does.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn

from errata.checks.adapters import LanguageModel, TextEncoder, Transformer
from errata.checks.ready.libraries import imported

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "vocabulary": ("vocab_size", "decoder_vocab_size"),
    "width": ("hidden_size", "embedding_size", "word_embed_proj_dim", "intra_bottleneck_size", "true_hidden_size"),
    "heads": ("num_attention_heads", "encoder_attention_heads", "decoder_attention_heads"),
    "hidden": (
        "intermediate_size", "n_inner", "hidden_dim", "ffn_hidden_size", "ffn_dim", "encoder_ffn_dim",
        "decoder_ffn_dim", "d_ff",
    ),
    "layers": ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_decoder_layers", "num_encoder_layers"),
    "key_value_heads": ("num_key_value_heads", "num_kv_heads"),
    "head_width": ("head_dim", "d_kv", "rotary_dim"),
}  # fmt: skip
"""What configurations call the sizes of a model; one that has several names for a size gets it under all of them."""

SPECIAL_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
"""Ids in the smallest vocabulary; the first is the one that the checks never draw."""

PER_LAYER = ("layer_types", "attention_layers", "mlp_layer_types")
"""Lists with one entry for each layer."""

SMALLEST = (6, 8, 2, 7, 1)
"""Sizes of the model that is looked at to find out what the library can do with this configuration."""

NAN_IN_FLOAT64 = "in float64, its mask of the least float64 is -inf in the softmax's float32"

EXPECTED: Mapping[str, Mapping[str, str]] = {
    "Hugging Face gemma2": {"language_model.left-padding-is-finite": NAN_IN_FLOAT64},
    "Hugging Face convbert": {
        "text_encoder.right-padding-has-no-influence": "its convolution sees the padding beside a token",
        "text_encoder.left-padding-has-no-influence": "its convolution sees the padding beside a token",
        "text_encoder.layers-start-different": "a bias of its convolution is a matrix, and starts at 0",
    },
    "Hugging Face flaubert": {"text_encoder.only-padding-is-finite": NAN_IN_FLOAT64},
    "Hugging Face xlm": {"text_encoder.only-padding-is-finite": NAN_IN_FLOAT64},
    "Hugging Face mobilebert": {
        "text_encoder.right-padding-has-no-influence": "a token's embedding is made of its neighbours' too",
        "text_encoder.left-padding-has-no-influence": "a token's embedding is made of its neighbours' too",
    },
}
"""By the name of an adapter: checks that fail, and why."""


def text_encoder(config: Any, *, traits: Iterable[str] = ()) -> TextEncoder:
    """The bare encoder of a configuration.

    Args:
        config: of an encoder.
        traits: see `errata.checks.TextEncoder`; those that the configuration shows are found.
    """
    library = imported("transformers", "transformers")

    def build(*sizes: int) -> Any:
        model = _built(library.AutoModel, config, sizes)
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # a head for whole texts, of which the states know nothing
        return model

    def call(model: Any, ids: Tensor, mask: Tensor | None) -> Tensor:
        states: Tensor = model(**_text(model, ids, mask)).last_hidden_state
        return states

    example = build(*SMALLEST)
    return TextEncoder(
        name=f"Hugging Face {config.model_type}",
        build=build,
        call=call,
        eager=_eager(example, call),
        traits=frozenset(traits) | _side_of_padding(example) | _positions(config) | _sharing(config),
    )


def language_model(config: Any, *, traits: Iterable[str] = ()) -> LanguageModel:
    """The decoder-only model of a configuration, with its head.

    Args:
        config: of a decoder-only model.
        traits: see `errata.checks.LanguageModel`; those that the configuration shows are found.
    """
    library = imported("transformers", "transformers")

    def build(*sizes: int) -> Any:
        return _built(library.AutoModelForCausalLM, config, sizes)

    def call(model: Any, ids: Tensor, mask: Tensor | None) -> Tensor:
        logits: Tensor = model(**_text(model, ids, mask)).logits
        return logits

    def cached(model: Any, ids: Tensor, mask: Tensor | None, chunks: list[int]) -> Tensor:
        given = _text(model, ids, mask)
        cache = {_cache_name(model): library.DynamicCache(config=model.config), "use_cache": True}
        logits, start = [], 0
        for chunk in chunks:
            end = start + chunk
            # The mask covers what is in the cache too; ids and positions are those of the chunk alone.
            piece = {name: value[:, 0 if name == "attention_mask" else start : end] for name, value in given.items()}
            logits.append(model(**piece, **cache).logits)
            start = end
        return torch.cat(logits, dim=1)

    def loss(model: Any, ids: Tensor, mask: Tensor | None, labels: Tensor) -> Tensor:
        # The library scores label t + 1 by the logits at t. One more token at the end, which nothing scores, and one
        # more label at the start let label t be scored by the logits at t.
        longer = torch.cat([ids, ids[:, -1:]], dim=1)
        real = None if mask is None else torch.cat([mask, mask[:, -1:]], dim=1)
        shifted = torch.cat([labels[:, :1], labels], dim=1)
        mean: Tensor = model(**_text(model, longer, real), labels=shifted).loss
        return mean

    example = build(*SMALLEST)
    return LanguageModel(
        name=f"Hugging Face {config.model_type}",
        build=build,
        call=call,
        cached=cached if _cache_name(example) else None,
        loss=loss,
        eager=_eager(example, call),
        traits=frozenset(traits) | _side_of_padding(example) | _tying(example),
    )


def sequence_to_sequence(config: Any, *, traits: Iterable[str] = ()) -> Transformer:
    """The encoder-decoder of a configuration, with its head.

    Args:
        config: of an encoder-decoder.
        traits: see `errata.checks.Transformer`; those that the configuration shows are found.
    """
    library = imported("transformers", "transformers")

    def build(*sizes: int) -> Any:
        return _built(library.AutoModelForSeq2SeqLM, config, sizes)

    def call(model: Any, source: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        logits: Tensor = model(**_masked(source, mask), decoder_input_ids=target).logits
        return logits

    def cached(model: Any, source: Tensor, target: Tensor, mask: Tensor | None, chunks: list[int]) -> Tensor:
        given = _masked(source, mask)
        given["encoder_outputs"] = model.get_encoder()(**given)
        del given["input_ids"]
        own, crossed = (library.DynamicCache(config=model.config) for _ in range(2))
        cache = {_cache_name(model): library.EncoderDecoderCache(own, crossed), "use_cache": True}
        pieces = target.split(chunks, dim=1)
        return torch.cat([model(**given, decoder_input_ids=piece, **cache).logits for piece in pieces], dim=1)

    def loss(model: Any, source: Tensor, target: Tensor, mask: Tensor | None, labels: Tensor) -> Tensor:
        mean: Tensor = model(**_masked(source, mask), decoder_input_ids=target, labels=labels).loss
        return mean

    example = build(*SMALLEST)
    return Transformer(
        name=f"Hugging Face {config.model_type}",
        build=build,
        call=call,
        cached=cached if _cache_name(example) else None,
        loss=loss,
        eager=_eager(example, call),
        traits=frozenset(traits) | _tying(example),
    )


def resized(config: Any, vocabulary: int, width: int, heads: int, hidden: int, layers: int) -> Any:
    """A copy of a configuration with the sizes of a check, and with ids of special tokens in its vocabulary.

    Heads that share keys and values still do: all of them, since there may be as few as two.
    """
    small = deepcopy(config)
    known = {*small.to_dict(), *small.attribute_map}
    sizes = {
        "vocabulary": vocabulary,
        "width": width,
        "heads": heads,
        "hidden": hidden,
        "layers": layers,
        "key_value_heads": 1 if _shares_keys(config) else heads,
        "head_width": width // heads,
    }
    named = {name: sizes[size] for size, names in SYNONYMS.items() for name in names}
    for name, value in (named | SPECIAL_TOKENS).items():
        if name in known:
            setattr(small, name, value)
    for name in PER_LAYER:
        if getattr(small, name, None):
            setattr(small, name, list(islice(cycle(getattr(config, name)), layers)))
    _turn_pairs(small, width // heads)
    small._experts_implementation = "eager"  # torch's grouped product takes no float64
    return small


def _shares_keys(config: Any) -> bool:
    heads = getattr(config, "num_attention_heads", None)
    return any(getattr(config, name, None) not in (None, heads) for name in SYNONYMS["key_value_heads"])


def _turn_pairs(config: Any, head_width: int) -> None:
    """Where a part of the features is rotated, let it be a whole number of pairs."""
    rotary = getattr(config, "rope_parameters", None) or {}
    if "partial_rotary_factor" in rotary:
        pairs = max(1, round(head_width * rotary["partial_rotary_factor"] / 2))
        rotary["partial_rotary_factor"] = 2 * pairs / head_width


def _built(auto: Any, config: Any, sizes: tuple[int, ...]) -> Any:
    return auto.from_config(resized(config, *sizes)).to(torch.get_default_dtype())


def _text(model: Any, ids: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """The arguments of a call; positions count the real tokens only, where the model lets us say so."""
    given = _masked(ids, mask)
    if mask is not None and _takes(model, "position_ids"):
        given["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0) + _first_position(model)
    return given


def _masked(ids: Tensor, mask: Tensor | None) -> dict[str, Any]:
    return {"input_ids": ids} if mask is None else {"input_ids": ids, "attention_mask": mask.long()}


def _first_position(model: nn.Module) -> int:
    """RoBERTa and its kin keep the rows of their table up to that of the padding id free."""
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and isinstance(padding, int):
            return padding + 1
    return 0


def _takes(model: Any, name: str) -> bool:
    return name in inspect.signature(model.forward).parameters


def _cache_name(model: Any) -> str:
    """What the model calls the argument for its cache; empty where it has none."""
    return next((name for name in ("cache", "past_key_values") if _takes(model, name)), "")


def _eager(example: Any, call: Callable[..., Tensor]) -> Callable[..., Tensor] | None:
    """The same call by the attention that is written out, if the model knows another."""
    if example.config._attn_implementation != "sdpa":
        return None

    def eager(model: Any, *inputs: Any) -> Tensor:
        model.set_attn_implementation("eager")
        try:
            return call(model, *inputs)
        finally:
            model.set_attn_implementation("sdpa")

    return eager


def _side_of_padding(example: Any) -> frozenset[str]:
    """A model whose positions nobody can tell counts them over the padding too."""
    return frozenset() if _takes(example, "position_ids") else frozenset({"right-padding-only"})


def _positions(config: Any) -> frozenset[str]:
    """Rotary positions are relative."""
    return frozenset({"relative-positions"} if getattr(config, "rope_parameters", None) else ())


def _sharing(config: Any) -> frozenset[str]:
    """ALBERT's layers are one, applied again and again."""
    return frozenset({"one-layer"} if getattr(config, "num_hidden_groups", None) == 1 else ())


def _tying(example: Any) -> frozenset[str]:
    head, embedding = example.get_output_embeddings(), example.get_input_embeddings()
    return frozenset({"tied"} if head is not None and head.weight is embedding.weight else ())
