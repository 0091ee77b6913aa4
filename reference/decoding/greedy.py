"""Greedy search: at each step the most probable next id, as a beam search with one beam."""

import torch
from jaxtyping import Int
from torch import Tensor

from reference.decoding.bounds import length_limits, require_in_vocabulary
from reference.decoding.scorer import NextIdScorer


@torch.no_grad()
def greedy_search(
    scorer: NextIdScorer,
    start: Int[Tensor, " B"],
    *,
    end_id: int,
    padding_id: int,
    max_length: int | Int[Tensor, " B"],
) -> Int[Tensor, "B T"]:
    """Choose `y_t = argmax p(y | y_<t)` until `end_id` or `max_length`; the lowest id wins a tie.

    `start` is the first id of each sequence, and `max_length` the most ids that may follow it, for all or for each
    sequence. Returned are these ids with the `end_id`, then `padding_id`; T is the longest length that occurs.
    `ValueError` for ids outside the vocabulary or a length below 1.
    """
    limits = length_limits(max_length, start)
    last, finished, found = start, torch.zeros_like(start, dtype=torch.bool), list[Tensor]()
    while not finished.all():
        logits = scorer(last)
        require_in_vocabulary(logits.shape[-1], end_id=end_id, padding_id=padding_id)
        likeliest = logits.max(dim=-1).indices  # of equals the first, as argmax has it, in half the time
        last = likeliest.masked_fill(finished, padding_id)
        found.append(last)
        finished = finished | (last == end_id) | (limits <= len(found))
    return torch.stack(found, dim=1) if found else start.new_empty(0, 0)
