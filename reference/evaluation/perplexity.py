"""Perplexity of a corpus: how many equally likely tokens the model hesitates between."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy


class Perplexity:
    """`exp(-1/N sum_n log p(token_n))` over all N real tokens of all batches (Vaswani et al. 2017, table 3).

    Batches add up token by token: a mean of the batches' perplexities would depend on how the corpus is cut. Logarithm
    and exponential have the same base, e. A mean beyond 709.78, the logarithm of the largest float64, gives infinity,
    and so does a token of probability 0. Perplexities compare only between models with the same tokens.
    """

    def __init__(self, padding_id: int) -> None:
        """Labels equal to `padding_id` take no part."""
        self.padding_id = padding_id
        self.loss = 0.0
        self.tokens = 0

    def update(self, logits: Float[Tensor, "*B V"], labels: Int[Tensor, "*B"]) -> None:
        """Add a batch: position t of the logits scores the token at position t of the labels.

        Half precision is computed in float32.
        """
        real = labels != self.padding_id
        precise = logits[real].to(torch.promote_types(logits.dtype, torch.float32))
        losses = cross_entropy(precise, labels[real].long(), reduction="none")
        self.loss += losses.double().sum().item()
        self.tokens += losses.numel()

    def compute(self) -> float:
        """Perplexity of everything added so far. `ValueError` if that is no real token."""
        if not self.tokens:
            raise ValueError("perplexity needs at least one token that is not padding, got none")
        try:
            return math.exp(self.loss / self.tokens)
        except OverflowError:
            return math.inf
