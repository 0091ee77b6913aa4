"""The encoder, decoder, encoder-decoder and attention of x-transformers, with its options.

    from errata import checks
    from errata.checks.ready import x_transformers

    checks.run(x_transformers.language_model(rotary_pos_emb=True)).raise_if_failed()

The options are those of its `AttentionLayers`, or of its `Attention`. The constants are made without any, so that
``errata check --adapter errata.checks.ready.x_transformers:LANGUAGE_MODEL`` works.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from errata.checks.adapters import LanguageModel, MultiHeadAttention, TextEncoder, Transformer
from errata.checks.ready.libraries import imported

LONGEST = 64
"""Positions that the models know."""


def text_encoder(*, traits: Iterable[str] = (), **options: Any) -> TextEncoder:
    """Its `Encoder` in a `TransformerWrapper`.

    Args:
        traits: see `errata.checks.TextEncoder`.
        options: of the layers.
    """

    def build(vocabulary: int, width: int, heads: int, hidden: int, layers: int) -> nn.Module:
        return _wrapped("Encoder", vocabulary, _sizes(width, heads, hidden, layers) | options, return_only_embed=True)

    return TextEncoder(
        name=_named("Encoder", options),
        build=build,
        call=lambda model, ids, mask: model(ids, mask=mask),
        traits=frozenset(traits) | {"right-padding-only"},
    )


def language_model(*, traits: Iterable[str] = (), **options: Any) -> LanguageModel:
    """Its `Decoder` in a `TransformerWrapper`.

    Args:
        traits: see `errata.checks.LanguageModel`.
        options: of the layers.
    """

    def build(vocabulary: int, width: int, heads: int, hidden: int, layers: int) -> nn.Module:
        return _wrapped("Decoder", vocabulary, _sizes(width, heads, hidden, layers) | options)

    def cached(model: Any, ids: Tensor, mask: Tensor | None, chunks: list[int]) -> Tensor:
        logits, cache, end = [], None, 0
        for chunk in chunks:
            end += chunk
            # It is given the whole prefix each time, and answers the last position once it has a cache.
            seen = None if mask is None else mask[:, :end]
            last, cache = model(ids[:, :end], mask=seen, cache=cache, return_intermediates=True)
            logits.append(last[:, -chunk:])
        return torch.cat(logits, dim=1)

    return LanguageModel(
        name=_named("Decoder", options),
        build=build,
        call=lambda model, ids, mask: model(ids, mask=mask),
        cached=cached,
        traits=frozenset(traits) | {"right-padding-only", "single-steps"},
    )


def sequence_to_sequence(*, traits: Iterable[str] = (), **options: Any) -> Transformer:
    """Its `XTransformer`.

    Args:
        traits: see `errata.checks.Transformer`.
        options: of the layers of both stacks.
    """

    def build(vocabulary: int, width: int, heads: int, hidden: int, layers: int) -> nn.Module:
        stack = {"num_tokens": vocabulary, "max_seq_len": LONGEST} | _sizes(width, heads, hidden, layers) | options
        del stack["dim"]
        both = {f"{side}_{name}": value for side in ("enc", "dec") for name, value in stack.items()}
        model: nn.Module = _library().XTransformer(dim=width, **both)
        return model

    def call(model: Any, source: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        # Its own forward goes on to the loss.
        memory = model.encoder(source, mask=mask, return_embeddings=True)
        logits: Tensor = model.decoder.net(target, context=memory, context_mask=mask)
        return logits

    return Transformer(name=_named("XTransformer", options), build=build, call=call, traits=frozenset(traits))


def multi_head_attention(**options: Any) -> MultiHeadAttention:
    """Its `Attention`, of one sequence to itself.

    Args:
        options: of the module.
    """

    def build(width: int, heads: int) -> nn.Module:
        layers = _library().x_transformers
        # It leaves out the last projection of a single head, unless told otherwise.
        module: nn.Module = layers.Attention(width, heads=heads, dim_head=width // heads, project_out=True, **options)
        return module

    return MultiHeadAttention(
        name=_named("Attention", options),
        build=build,
        call=lambda module, x, mask: module(x, attn_mask=mask),
        weights={"query": "to_q", "key": "to_k", "value": "to_v", "output": "to_out"},
        mask_shape="(B, H, T, S)",
        self_only=True,
    )


def _library() -> Any:
    return imported("x_transformers", "x-transformers")


def _sizes(width: int, heads: int, hidden: int, layers: int) -> dict[str, Any]:
    head_width, factor = width // heads, hidden / width
    return {"dim": width, "heads": heads, "depth": layers, "attn_dim_head": head_width, "ff_mult": factor}


def _wrapped(stack: str, vocabulary: int, options: dict[str, Any], **fields: Any) -> nn.Module:
    library = _library()
    layers = getattr(library, stack)(**options)
    model: nn.Module = library.TransformerWrapper(
        num_tokens=vocabulary, max_seq_len=LONGEST, attn_layers=layers, **fields
    )
    return model


def _named(part: str, options: Mapping[str, Any]) -> str:
    chosen = [name if value is True else f"{name}={value}" for name, value in options.items()]
    return ", ".join([f"x-transformers {part}", *chosen])


TEXT_ENCODER = text_encoder()
LANGUAGE_MODEL = language_model()
SEQUENCE_TO_SEQUENCE = sequence_to_sequence()
MULTI_HEAD_ATTENTION = multi_head_attention()

EXPECTED: Mapping[str, Mapping[str, str]] = {
    MULTI_HEAD_ATTENTION.name: {
        "multi_head_attention.keeps-double-precision": "its softmax is in float32",
        "multi_head_attention.indivisible-width-is-refused": "heads may be of any width, whatever their number",
        "multi_head_attention.half-precision-scores-do-not-overflow": "products are scaled after they are formed",
    },
    SEQUENCE_TO_SEQUENCE.name: {"transformer.drops-in-training": "all its rates of dropout are 0 unless one asks"},
}
"""By the name of an adapter: checks that fail, and why."""
