"""x-transformers with its options, each a choice that some paper recommends."""

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.alarms.implementation import Implementation
from errata.checks import Adapter
from errata.checks.ready import x_transformers

Options = dict[str, Any]

ROTARY: Options = {"rotary_pos_emb": True, "rotary_emb_dim": 4}
DECODERS: tuple[Options, ...] = (
    ROTARY,
    {"alibi_pos_bias": True},
    {"rel_pos_bias": True},
    {"use_rmsnorm": True},
    {"pre_norm": False},
    {"ff_glu": True},
    {"attn_one_kv_head": True},
    {"attn_flash": True},
)
ENCODERS: tuple[Options, ...] = (
    {"rel_pos_bias": True},
    {"use_rmsnorm": True, "ff_glu": True},
    {"pre_norm": False},
    {"sandwich_norm": True},
    {"attn_flash": True},
)
ENCODER_DECODERS: tuple[Options, ...] = ({"ff_dropout": 0.1, "attn_dropout": 0.1}, ROTARY | {"ff_dropout": 0.1})
ATTENTIONS: tuple[Options, ...] = ({"flash": True},)
RELATIVE = frozenset({"relative-positions"})


def _all() -> Iterator[Implementation]:
    for options in DECODERS:
        yield _implementation(x_transformers.language_model, **options)
    for options in ENCODERS:
        relative = RELATIVE if "rel_pos_bias" in options else frozenset[str]()
        yield _implementation(x_transformers.text_encoder, traits=relative, **options)
    for options in ENCODER_DECODERS:
        yield _implementation(x_transformers.sequence_to_sequence, **options)
    for options in ATTENTIONS:
        yield _implementation(x_transformers.multi_head_attention, **options)


def _implementation(make: Callable[..., Adapter], **fields: Any) -> Implementation:
    adapter = make(**fields)
    return Implementation("x-transformers", adapter, shipped=True)


IMPLEMENTATIONS = list(_all())
