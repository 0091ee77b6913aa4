"""Caches of a beam search that nobody has to move: a table says who descends from whom."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Ancestry:
    """Whose keys a hypothesis may attend at each position, its ancestors' alone: a bias of the scores, 0 or -inf.

    Keys and values stay in the row that wrote them, and a selection moves only this table. The K beams of a sequence
    attend the keys of all K together: no more keys to read than if each read its own.
    """

    def __init__(self, room: Float[Tensor, "B K L K"], heads: int) -> None:
        """Begin with no position. `room` is where to write, for L of them."""
        self._bias = room
        self._heads = heads
        self._own = room.new_full((room.shape[1], room.shape[1]), -torch.inf).fill_diagonal_(0.0)

    def grown(self, position: int) -> Float[Tensor, "N K S"]:
        """Let everybody attend their own key at this position, and return the bias up to it, for all heads."""
        self._bias[:, :, position] = self._own
        return self._bias[:, :, : position + 1].flatten(2).repeat_interleave(self._heads, dim=0)

    def select(self, rows: Int[Tensor, " N"], length: int) -> None:
        """Let everybody descend from these rows at the `length` positions so far."""
        past = self._bias.flatten(0, 1)[:, :length]
        past.copy_(past.index_select(0, rows))


class HeadCache:
    """Keys and values of S positions, with K beams at each."""

    def __init__(self, keys: Float[Tensor, "B H S K d"], values: Float[Tensor, "B H S K d"]) -> None:
        """Hold what is there already, or room."""
        self.batch, self.heads, self.length, self._beams, self.width = keys.shape
        self._scale = 1 / math.sqrt(self.width)
        self._keys_at, self._values_at = keys.unbind(2), values.unbind(2)
        self._key_matrices = keys.flatten(2, 3).flatten(0, 1).transpose(1, 2)
        self._value_matrices = values.flatten(2, 3).flatten(0, 1)

    def write(self, keys: Float[Tensor, "B K H d"], values: Float[Tensor, "B K H d"], position: int) -> None:
        """Keep what each beam has at this position."""
        self._keys_at[position].copy_(keys.transpose(1, 2))
        self._values_at[position].copy_(values.transpose(1, 2))

    def attend(
        self, queries: Float[Tensor, "B Q H d"], bias: Float[Tensor, "..."], length: int
    ) -> Float[Tensor, "N D"]:
        """Do what `attention` does, over the first `length` positions; the bias broadcasts to `(B H, Q, S K)`.

        The scores are rounded to the dtype of the queries.
        """
        batch, count, heads, width = queries.shape
        keys = length * self._beams
        rows = queries.transpose(1, 2).reshape(batch * heads, count, width)
        scores = torch.baddbmm(bias, rows, self._key_matrices.narrow(2, 0, keys), alpha=self._scale)
        mixed = torch.bmm(scores.softmax(-1), self._value_matrices.narrow(1, 0, keys))
        if count == 1:
            return mixed.view(batch, heads * width)
        return mixed.view(batch, heads, count, width).transpose(1, 2).reshape(batch * count, heads * width)
