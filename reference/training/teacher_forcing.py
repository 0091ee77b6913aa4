"""Teacher forcing: in training the decoder reads the true previous token, whatever it would have said itself."""

from typing import TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

Ids: TypeAlias = Int[Tensor, "B T"]


def shift_right(target: Ids, start_id: int) -> Ids:
    """Begin each sequence with `start_id` and drop its last position: "offset by one position", section 3.1.

    `input[b, 0] = start_id` and `input[b, t] = target[b, t - 1]`, so that position t sees only what comes before it.
    """
    start = torch.full_like(target[:, :1], start_id)
    return torch.cat([start, target[:, :-1]], dim=1)


def teacher_forcing(target: Ids, start_id: int, padding_id: int) -> tuple[Ids, Ids]:
    """Split `target`, tokens with their end token and then padding, into the decoder's input and its labels.

    The labels are the target itself: the end token is a label like any other, for the model must learn to stop. In a
    padded sequence it is an input too, whose label is padding and takes no part in the loss.

    `ValueError` for a sequence without a token, for padding on the left, whose first token would have padding for its
    predecessor, and for a `start_id` that a padding mask would hide. The check reads the values: keep it outside a
    compiled graph.
    """
    if start_id == padding_id:
        raise ValueError(f"start_id and padding_id must differ, got {start_id} for both: a mask of padding hides it")
    if target.shape[1] == 0:
        raise ValueError(f"target must hold at least one token for each sequence, got shape {tuple(target.shape)}")
    if (bad := (target[:, 0] == padding_id).nonzero().flatten()).numel():
        raise ValueError(
            f"target must begin with a token and have its padding on the right, got padding {padding_id} at the "
            f"beginning of sequences {bad.tolist()}"
        )
    return shift_right(target, start_id), target
