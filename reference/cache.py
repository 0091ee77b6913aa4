"""What a decoder keeps between two steps, so that a step computes its own positions only.

It is written in place, and no gradient passes: caches are for inference.
"""

from dataclasses import dataclass, field

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from reference.masks import Mask
from reference.validation import require_at_least


class GrowingTensor:
    """A tensor that grows along one axis, in room that doubles when it is full.

    So an append copies what it appends, and only log2(length) of them copy what was there before.
    """

    def __init__(self, axis: int, *, room: int = 64) -> None:
        """`room` is the first length to make room for. `ValueError` for a room below 1."""
        require_at_least(1, room=room)
        self.axis = axis
        self.length = 0
        self._room = room
        self._storage: Tensor | None = None

    def append(self, new: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Add `new` at the end of the axis; return everything so far, as a view.

        `ValueError` if another axis has another size than before.
        """
        start, end = self.length, self.length + new.shape[self.axis]
        if self._storage is None or end > self._room:
            self._storage = self._moved(new, max(end, 2 * start, self._room))
        part = self._storage.narrow(self.axis, start, end - start)
        if part.shape != new.shape:
            raise ValueError(f"new must have the shape {tuple(part.shape)} to go on, got {tuple(new.shape)}")
        part.copy_(new)
        self.length = end
        return self._storage.narrow(self.axis, 0, end)

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Go on with these rows of the first axis: reordered, repeated or left out."""
        if self._storage is not None:
            self._storage = self._storage.index_select(0, rows)

    def _moved(self, like: Tensor, room: int) -> Tensor:
        """Everything so far, in a new place of this length."""
        old = like if self._storage is None else self._storage
        shape = list(old.shape)
        shape[self.axis] = self._room = room
        storage = old.new_empty(shape)
        storage.narrow(self.axis, 0, self.length).copy_(old.narrow(self.axis, 0, self.length))
        return storage


class KeyValueCache:
    """The keys and values of all positions so far, as `MultiHeadAttention.project` makes them."""

    def __init__(self, *, room: int = 64) -> None:
        """`room` as in `GrowingTensor`."""
        self.keys = GrowingTensor(axis=2, room=room)
        self.values = GrowingTensor(axis=2, room=room)

    @property
    def length(self) -> int:
        """S, the number of positions so far."""
        return self.keys.length

    def append(
        self, keys: Float[Tensor, "B H T d"], values: Float[Tensor, "B H T d"]
    ) -> tuple[Float[Tensor, "B H S d"], Float[Tensor, "B H S d"]]:
        """Add T positions; return all S so far. `ValueError` for another batch, head count or width than before."""
        return self.keys.append(keys), self.values.append(values)

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Go on with these sequences of the batch: what a beam search does to its hypotheses."""
        self.keys.select(rows)
        self.values.select(rows)


@dataclass
class DecoderLayerCache:
    """What one decoder layer keeps: keys and values of the memory, which stay, and of the target, which grow."""

    memory_keys: Float[Tensor, "B H S d"]
    memory_values: Float[Tensor, "B H S d"]
    past: KeyValueCache = field(default_factory=KeyValueCache)


@dataclass
class DecodingState:
    """What a whole decoder keeps from step to step: the caches of its layers, and which positions are padding."""

    layers: list[DecoderLayerCache]
    source_mask: Mask
    target_mask: GrowingTensor = field(default_factory=lambda: GrowingTensor(axis=3))

    @property
    def length(self) -> int:
        """T, the number of target positions so far."""
        return self.target_mask.length

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Go on with these sequences of the batch."""
        self.source_mask = self.source_mask.index_select(0, rows)
        for layer in self.layers:
            layer.memory_keys = layer.memory_keys.index_select(0, rows)
            layer.memory_values = layer.memory_values.index_select(0, rows)
        self.reorder(rows)

    def reorder(self, rows: Int[Tensor, " B"]) -> None:
        """Go on with these targets, each in a row of its own source: what concerns the sources stays as it is."""
        self.target_mask.select(rows)
        for layer in self.layers:
            layer.past.select(rows)
