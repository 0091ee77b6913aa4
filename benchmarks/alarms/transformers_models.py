"""Whole models of transformers, one for each architecture, with random weights."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from benchmarks.alarms.implementation import Implementation
from errata.checks import Adapter
from errata.checks.ready import huggingface

ENCODERS: Mapping[str, frozenset[str]] = dict.fromkeys(
    (
        "albert", "bert", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert", "electra",
        "ernie", "eurobert", "flaubert", "gte", "ibert", "jina_embeddings_v3", "megatron-bert", "mobilebert",
        "modernbert", "nomic_bert", "rembert", "roberta", "roberta-prelayernorm", "xlm", "xlm-roberta",
        "xlm-roberta-xl",
    ),
    frozenset[str](),
) | {"roformer": frozenset({"relative-positions"})}  # fmt: skip
"""Model types, and what their configurations do not show."""

DECODERS = (
    "apertus", "arcee", "biogpt", "bitnet", "bloom", "cohere", "cohere2", "ctrl", "ernie4_5", "exaone4",
    "falcon", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj",
    "granite", "helium", "hunyuan_v1_dense", "internlm3", "llama", "ministral", "mistral", "mixtral", "mpt", "nanochat",
    "nemotron", "olmo", "olmo2", "olmo3", "openai-gpt", "opt", "persimmon", "phi", "phi3", "qwen2", "qwen3", "seed_oss",
    "smollm3", "stablelm", "starcoder2", "xglm",
)  # fmt: skip

ENCODER_DECODERS = (
    "bart", "blenderbot", "blenderbot-small", "m2m_100", "marian", "mbart", "mt5", "mvp", "pegasus", "plbart", "t5",
    "umt5",
)  # fmt: skip

LEFT_OUT: Mapping[str, str] = {
    "codegen": "takes widths that 4 divides only",
    "diffllama": "takes an even number of heads only",
    "esm": "the bare encoder has a head for contacts, whose parameters its states do not need",
    "layoutlm": "takes the places of words on a page",
    "squeezebert": "takes widths that its groups divide only",
    "xmod": "needs to be told the language of a text",
    "gpt_oss": "a mixture of experts, of which mixtral is judged",
    "fsmt": "its decoder has no causal mask by default, see the mistakes of the libraries",
    "mpnet": "takes id 1 for padding, see the mistakes of the libraries",
    "prophetnet": "predicts several tokens at once, and its configuration names its sizes otherwise",
    "switch_transformers": "every other layer has experts, so that layers differ",
    "t5gemma": "has a configuration for each stack",
    "qwen2_moe": "a mixture of experts, of which mixtral is judged",
}
"""Architectures that the checks' sizes or arguments do not fit."""


def _configured(name: str) -> Any:
    return import_module("transformers").AutoConfig.for_model(name)


def _all() -> Iterator[Adapter]:
    for name, traits in ENCODERS.items():
        yield huggingface.text_encoder(_configured(name), traits=traits)
    for name in DECODERS:
        yield huggingface.language_model(_configured(name))
    for name in ENCODER_DECODERS:
        yield huggingface.sequence_to_sequence(_configured(name))


def implementations() -> Iterator[Implementation]:
    """All of them."""
    for adapter in _all():
        known = huggingface.EXPECTED.get(adapter.name, {})
        yield Implementation("transformers", adapter, shipped=True, known=known)
