"""What a search asks of a model, and a `Transformer` that answers from its cache."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reference.masks import Mask
from reference.transformer import Transformer
from reference.validation import require_at_least


@runtime_checkable
class NextIdScorer(Protocol):
    """N hypotheses, each a sequence of ids: a model with its caches, or a table of logits."""

    def __call__(self, ids: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        """Add one id to each hypothesis and score what follows: logits over the vocabulary."""
        ...

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Go on from these hypotheses: row n becomes what row `rows[n]` was, one of the same sequence of the batch."""
        ...


class CachedTransformer:
    """Score with `Transformer.step`: the source is read once, and each step computes one position.

    `FastTransformer` is its fast twin.
    """

    def __init__(
        self, model: Transformer, source: Int[Tensor, "B S"], source_mask: Mask | None = None, *, beams: int = 1
    ) -> None:
        """Encode the source, for `beams` hypotheses of each. `ValueError` for beams below 1 or a model in training."""
        require_at_least(1, beams=beams)
        require_evaluation(model)
        with torch.no_grad():
            self._state = model.start(source, source_mask)
            self._state.select(torch.arange(len(source), device=source.device).repeat_interleave(beams))
        self._model = model

    @torch.no_grad()
    def __call__(self, ids: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        """See `NextIdScorer`."""
        return self._model.step(ids.unsqueeze(1), self._state).squeeze(1)

    @torch.no_grad()
    def select(self, rows: Int[Tensor, " N"]) -> None:
        """See `NextIdScorer`; the rows of a sequence have one source, so its keys and values stay where they are."""
        self._state.reorder(rows)


def require_evaluation(model: Transformer) -> None:
    """Raise `ValueError` if `model` would drop at random."""
    if model.training:
        raise ValueError("model is in training, where it drops at random: call model.eval() first")


def require_next(ids: Int[Tensor, " N"], given: int, max_length: int, padding_id: int) -> None:
    """Raise `ValueError` if there is no room after `given` ids, or if the first are padding, which the model masks."""
    if given == max_length:
        raise ValueError(f"max_length is {max_length}, and so many ids have been given")
    if given == 0 and bool((ids == padding_id).any()):
        raise ValueError(f"the first ids hold the padding id {padding_id}, which the model masks: start with another")
