"""Exact match: which predicted sequences are right from the first token to the end token."""

from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.functional import pad

BEYOND_THE_END = -1
"""Stands after the end token; no token of a vocabulary has this id."""


def exact_matches(predictions: Int[Tensor, "B T"], labels: Int[Tensor, "B S"], *, end_id: int) -> Bool[Tensor, " B"]:
    """Say for each sequence whether it equals its label up to and including the first `end_id`.

    What follows the end token is padding and ignored; T and S may differ. A sequence without an end token counts as a
    whole, so it never equals one that ends. The share of matches is `exact_matches(...).double().mean()`.
    `ValueError` for no sequences.
    """
    if not len(labels):
        raise ValueError("exact match needs at least one sequence, got none")
    length = max(predictions.shape[1], labels.shape[1])
    return (_until_the_end(predictions, end_id, length) == _until_the_end(labels, end_id, length)).all(dim=1)


def _until_the_end(ids: Int[Tensor, "B T"], end_id: int, length: int) -> Int[Tensor, "B S"]:
    ends = (ids == end_id).long()
    ended_before = ends.cumsum(dim=1) > ends
    return pad(ids.masked_fill(ended_before, BEYOND_THE_END), (0, length - ids.shape[1]), value=BEYOND_THE_END)
