"""The same model by others: embeddings times sqrt(D), sinusoids, N + N post-LN layers, ReLU, an output projection.

Every builder gives a module `(source ids, target ids) -> logits` whose padding id is 0. Weights are random, and untied.

What "dropout 0.1" means differs, so each row of a result says which it is:

| row | drops |
|---|---|
| reference | what the paper says: outputs of sublayers, sums of embeddings and positions |
| HF Marian | the same |
| nn.Transformer | the same, attention weights, and inside the feed-forward network |
| nn.Transformer, our dropouts | as the paper: the other two are set to 0 |
| x-transformers | attention weights, inside the feed-forward network, sums of embeddings and positions |
| x-transformers, our dropouts | as the paper |

What has no switch stays: `nn.Transformer` has one more norm at the end of each stack; x-transformers has no biases in
its attention and does not multiply its embeddings.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from reference import Transformer, sinusoids

PACKAGES = ("torch", "transformers", "x-transformers")
OURS = "reference"
TORCH = "nn.Transformer"
TORCH_LIKE_OURS = "nn.Transformer, our dropouts"
MARIAN = "HF Marian"
X_TRANSFORMERS = "x-transformers"
X_TRANSFORMERS_LIKE_OURS = "x-transformers, our dropouts"


@dataclass(frozen=True)
class Size:
    """Of a model and of what it reads."""

    name: str
    width: int
    heads: int
    layers: int
    inner: int
    vocabulary: int = 8000
    batch: int = 8
    length: int = 128
    dropout: float = 0.1


BASE = Size("base", 512, 8, 6, 2048)
SMALL = Size("small", 128, 4, 2, 512)
TINY = Size("tiny", 16, 2, 1, 32, vocabulary=50, batch=2, length=8)


def ids(size: Size) -> tuple[Tensor, Tensor]:
    """Source and target ids like those of a batch of sentences: a quarter of the source is padding, at their ends."""
    generator = torch.Generator().manual_seed(0)
    shape = size.batch, size.length
    source, target = (torch.randint(1, size.vocabulary, shape, generator=generator) for _ in range(2))
    lengths = torch.linspace(size.length / 2, size.length, size.batch).round()
    return source.masked_fill(torch.arange(size.length) >= lengths[:, None], 0), target


class TorchTransformer(nn.Module):
    """`nn.Transformer` with what it leaves to its user."""

    def __init__(self, size: Size, *, inner_dropouts: bool = True) -> None:
        super().__init__()
        self.scale = math.sqrt(size.width)
        self.source = nn.Embedding(size.vocabulary, size.width)
        self.target = nn.Embedding(size.vocabulary, size.width)
        self.dropout = nn.Dropout(size.dropout)
        self.body = nn.Transformer(
            size.width, size.heads, size.layers, size.layers, size.inner, size.dropout, batch_first=True
        )
        self.output = nn.Linear(size.width, size.vocabulary)
        self.register_buffer("positions", sinusoids(size.length, size.width), persistent=False)
        self.register_buffer("causal", nn.Transformer.generate_square_subsequent_mask(size.length), persistent=False)
        if not inner_dropouts:
            for layer in (*self.body.encoder.layers, *self.body.decoder.layers):
                layer.dropout.p = 0.0
            for module in self.modules():
                if isinstance(module, nn.MultiheadAttention):
                    module.dropout = 0.0

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits; the causal mask is announced as such, which is the fastest way to call it."""
        states = self.body(
            self._embedded(self.source, source),
            self._embedded(self.target, target),
            tgt_mask=self.causal,
            tgt_is_causal=True,
            src_key_padding_mask=source == 0,
            memory_key_padding_mask=source == 0,
        )
        logits: Tensor = self.output(states)
        return logits

    def _embedded(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(self.scale * embedding(ids) + self.positions)
        return embedded


class Marian(nn.Module):
    """`MarianMTModel` with fused attention."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        from transformers import MarianConfig, MarianMTModel

        side = {"layers": size.layers, "ffn_dim": size.inner, "attention_heads": size.heads}
        sides: dict[str, Any] = {
            f"{name}_{key}": value for name in ("encoder", "decoder") for key, value in side.items()
        }
        sides["attn_implementation"] = "sdpa"
        config = MarianConfig(
            vocab_size=size.vocabulary,
            decoder_vocab_size=size.vocabulary,
            share_encoder_decoder_embeddings=False,
            tie_word_embeddings=False,
            d_model=size.width,
            dropout=size.dropout,
            activation_function="relu",
            scale_embedding=True,
            max_position_embeddings=size.length,
            pad_token_id=0,
            eos_token_id=1,
            forced_eos_token_id=None,
            decoder_start_token_id=1,
            **sides,
        )
        self.model = MarianMTModel(config)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits."""
        out = self.model(source, attention_mask=source != 0, decoder_input_ids=target, use_cache=False)
        logits: Tensor = out.logits
        return logits


class XTransformers(nn.Module):
    """`XTransformer` with fused attention and post-LN."""

    def __init__(self, size: Size, *, inner_dropouts: bool = True) -> None:
        super().__init__()
        from x_transformers import XTransformer  # type: ignore[import-untyped]

        inside, outside = (size.dropout, 0.0) if inner_dropouts else (0.0, size.dropout)
        side = {
            "num_tokens": size.vocabulary,
            "max_seq_len": size.length,
            "depth": size.layers,
            "heads": size.heads,
            "attn_dim_head": size.width // size.heads,
            "attn_flash": True,
            "pre_norm": False,
            "scaled_sinu_pos_emb": True,
            "ff_mult": size.inner / size.width,
            "ff_custom_activation": nn.ReLU(),
            "emb_dropout": size.dropout,
            "attn_dropout": inside,
            "ff_dropout": inside,
            "attn_sublayer_dropout": outside,
            "ff_sublayer_dropout": outside,
        }
        sides = {f"{name}_{key}": value for name in ("enc", "dec") for key, value in side.items()}
        self.model = XTransformer(dim=size.width, **sides)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits."""
        mask = source != 0
        memory = self.model.encoder(source, mask=mask, return_embeddings=True)
        logits: Tensor = self.model.decoder.net(target, context=memory, context_mask=mask)
        return logits


def reference(size: Size) -> nn.Module:
    """Ours."""
    return Transformer(
        size.vocabulary,
        size.vocabulary,
        width=size.width,
        heads=size.heads,
        inner_width=size.inner,
        layers=size.layers,
        dropout=size.dropout,
    )


BUILDERS: dict[str, Callable[[Size], nn.Module]] = {
    OURS: reference,
    TORCH: TorchTransformer,
    TORCH_LIKE_OURS: lambda size: TorchTransformer(size, inner_dropouts=False),
    MARIAN: Marian,
    X_TRANSFORMERS: XTransformers,
    X_TRANSFORMERS_LIKE_OURS: lambda size: XTransformers(size, inner_dropouts=False),
}
NEEDS = {MARIAN: "transformers", X_TRANSFORMERS: "x_transformers", X_TRANSFORMERS_LIKE_OURS: "x_transformers"}


def build(name: str, size: Size) -> nn.Module:
    """The model of that name, from the same seed."""
    torch.manual_seed(0)
    return BUILDERS[name](size)


def present(names: tuple[str, ...] = tuple(BUILDERS)) -> list[str]:
    """Those of `names` whose library is installed; a line is printed for each other one."""
    found = []
    for name in names:
        if name in NEEDS and find_spec(NEEDS[name]) is None:
            print(f"left out: {name}, since {NEEDS[name]} is not installed")
        else:
            found.append(name)
    return found
