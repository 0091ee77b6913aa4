"""Small models and sequences to measure on."""

import torch
from torch import Tensor, nn

from errata.refutations.measure import normal, seeded
from reference import Transformer

WIDTH = 8
VOCABULARY = 11

SOURCE = torch.tensor([[3, 7, 1, 9, 4]])
TARGET = torch.tensor([[2, 8, 5, 6]])
"""One sentence pair; the id 0 is padding and does not occur."""


def small_transformer(*, layers: int = 2) -> Transformer:
    """A float64 Transformer of width 8 in evaluation mode, the same one at every call."""
    model: Transformer = seeded(
        lambda: Transformer(VOCABULARY, VOCABULARY, width=WIDTH, heads=2, inner_width=16, layers=layers)
    )
    return model.double().eval()


def vectors(positions: int, seed: int = 0) -> Tensor:
    """A sequence of vectors of the model's width, whose influence can be measured."""
    return normal(1, positions, WIDTH, seed=seed).requires_grad_()


def torch_transformer(*, layers: int = 2, dropout: float = 0.0) -> nn.Transformer:
    """PyTorch's own encoder and decoder of width 8 in float64, the same ones at every call.

    They stay in training mode: in evaluation PyTorch may run fused code, which shows nothing of its parts.
    """
    return seeded(
        lambda: nn.Transformer(
            WIDTH, 2, layers, layers, dim_feedforward=16, dropout=dropout, batch_first=True, dtype=torch.float64
        )
    )


def causal_torch_mask(positions: int) -> Tensor:
    """The causal mask as PyTorch's modules want it: True = blocked."""
    return torch.ones(positions, positions, dtype=torch.bool).triu(1)


class Translator(nn.Module):
    """PyTorch's Transformer between learned embeddings and the layer that scores the words."""

    def __init__(self, vocabulary: int = VOCABULARY) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(vocabulary, WIDTH, dtype=torch.float64)
        self.target_embedding = nn.Embedding(vocabulary, WIDTH, dtype=torch.float64)
        self.transformer = torch_transformer()
        self.output = nn.Linear(WIDTH, vocabulary, dtype=torch.float64)

    def encode(self, source: Tensor) -> Tensor:
        """The encoder's vectors of a source of ids `(B, S)`."""
        memory: Tensor = self.transformer.encoder(self.source_embedding(source))
        return memory

    def decode(self, target: Tensor, memory: Tensor) -> Tensor:
        """The decoder's vectors of a target of ids `(B, T)`, under the causal mask."""
        x = self.target_embedding(target)
        decoded: Tensor = self.transformer.decoder(x, memory, tgt_mask=causal_torch_mask(target.shape[1]))
        return decoded

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """The logits `(B, T, V)` of the words that follow each position of the target."""
        logits: Tensor = self.output(self.decode(target, self.encode(source)))
        return logits


def translator() -> Translator:
    """The same small translator at every call."""
    return seeded(Translator)
