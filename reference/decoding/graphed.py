"""The twin of `CachedTransformer` for a GPU: a step is one CUDA graph.

A step of decoding is many small operations, and launching them takes longer than they do. A graph launches them all at
once, but then always with the same tensors: so the caches have their final size, a mask hides what is not written yet,
and the position is a tensor.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.decoder import DecoderLayer
from reference.decoding.fast import require_absolute_positions
from reference.decoding.scorer import require_evaluation, require_next
from reference.masks import Mask, padding_mask_from_ids
from reference.multi_head_attention import MultiHeadAttention
from reference.transformer import Transformer
from reference.validation import require_at_least


class GraphedDecoder:
    """Score the next id of `beams` hypotheses a source; see `NextIdScorer`. On a CPU there is no graph, all else is so.

    Capturing takes as long as some dozen steps: keep the decoder, and `restart` it for other sources of this shape.
    """

    def __init__(
        self,
        model: Transformer,
        source: Int[Tensor, "B S"],
        max_length: int,
        *,
        source_mask: Mask | None = None,
        beams: int = 1,
    ) -> None:
        """Read the source; `max_length` is the most ids that will be asked for.

        `ValueError` for a length or beams below 1, a model in training, and relative positions.
        """
        require_at_least(1, max_length=max_length, beams=beams)
        require_evaluation(model)
        require_absolute_positions(model)
        self._model, self._beams, self._shape = model, beams, source.shape
        with torch.inference_mode():
            self._ids = source.new_zeros(beams * len(source))
            self._position = source.new_zeros(1)
            like = model.target_embedding.weight
            self._positions = model.positional_encoding(like.new_zeros(1, max_length, like.shape[1]))[0]
            self._bias = like.new_zeros(1, 1, 1, max_length)
            self._layers = [
                StaticLayer(layer, len(self._ids), max_length, source.shape[1]) for layer in model.decoder.stack
            ]
        self._graph: torch.cuda.CUDAGraph | None = None
        self.restart(source, source_mask)

    @torch.inference_mode()
    def restart(self, source: Int[Tensor, "B S"], source_mask: Mask | None = None) -> None:
        """Begin anew with other sources. `ValueError` for another shape."""
        model = self._model
        if source.shape != self._shape:
            raise ValueError(f"source must have the shape {tuple(self._shape)} again, got {tuple(source.shape)}")
        mask = padding_mask_from_ids(source, model.padding_id) if source_mask is None else source_mask
        memory = model.encode(source, mask)
        rows = torch.arange(len(source), device=source.device).repeat_interleave(self._beams)
        for layer in self._layers:
            layer.read(memory, mask.expand(len(source), -1, -1, -1), rows)
        self._rewind()

    @torch.inference_mode()
    def __call__(self, ids: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        """See `NextIdScorer`; what follows the padding of a finished hypothesis means nothing.

        `ValueError` beyond `max_length`, and where the search starts with padding, which the readable twin would mask.
        """
        require_next(ids, self._length, len(self._positions), self._model.padding_id)
        if self._graph is None and ids.is_cuda:
            self._graph, self._logits = self._captured()
        self._ids.copy_(ids)
        self._length += 1
        if self._graph is None:
            return self._step()
        self._graph.replay()
        return self._logits.clone()  # the next step writes there again

    @torch.inference_mode()
    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Go on with these hypotheses, each in a row of its own source."""
        for layer in self._layers:
            layer.select(rows)

    def _step(self) -> Tensor:
        """Score what follows `_ids`, with tensors alone: a graph repeats nothing else."""
        model = self._model
        self._bias.index_fill_(3, self._position, 0.0)
        x = model.target_embedding(self._ids.unsqueeze(1)) + self._positions.index_select(0, self._position)
        for layer in self._layers:
            x = layer(x, self._position, self._bias)
        self._position.add_(1)
        logits: Tensor = model.output(model.decoder.norm(x)).squeeze(1)
        return logits

    def _rewind(self) -> None:
        self._length = 0
        self._position.zero_()
        self._bias.fill_(-torch.inf)

    def _captured(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Record a step, after some on a side stream, which make the libraries ready as capturing demands."""
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._rewind()
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            logits = self._step()
        self._rewind()
        return graph, logits


class StaticLayer:
    """One `DecoderLayer`, with keys and values in tensors that stay where they are."""

    def __init__(self, layer: DecoderLayer, rows: int, max_length: int, source_length: int) -> None:
        """Make room for `max_length` positions of the target and `source_length` of the source."""
        own, cross = layer.self_attention, layer.cross_attention
        like = layer.around_self_attention.norm.gain
        self._layer = layer
        self._keys, self._values = like.new_zeros(2, rows, own.heads, max_length, own.width // own.heads)
        self._memory_keys, self._memory_values = like.new_zeros(
            2, rows, cross.heads, source_length, cross.width // cross.heads
        )
        self._memory_bias = like.new_zeros(rows, 1, 1, source_length)

    def read(self, memory: Float[Tensor, "B S D"], mask: Mask, rows: Int[Tensor, " N"]) -> None:
        """Keep what the memory gives; row n is of the source `rows[n]`."""
        keys, values = self._layer.cross_attention.project(memory, memory)
        keyless = ~mask.any(dim=-1, keepdim=True)
        self._memory_keys.copy_(keys.index_select(0, rows))
        self._memory_values.copy_(values.masked_fill(keyless, 0.0).index_select(0, rows))  # nothing to attend: 0
        bias = torch.zeros_like(mask, dtype=memory.dtype).masked_fill(~(mask | keyless), -torch.inf)
        self._memory_bias.copy_(bias.index_select(0, rows))

    def __call__(
        self, x: Float[Tensor, "N 1 D"], position: Int[Tensor, "1"], bias: Float[Tensor, "1 1 1 L"]
    ) -> Float[Tensor, "N 1 D"]:
        """Do what `DecoderLayer.step` does at this position."""
        layer = self._layer

        def attend_past(y: Tensor) -> Tensor:
            own = layer.self_attention
            keys, values = own.project(y, y)
            self._keys.index_copy_(2, position, keys)
            self._values.index_copy_(2, position, values)
            return attend_one(own, y, self._keys, self._values, bias)

        def attend_memory(y: Tensor) -> Tensor:
            return attend_one(layer.cross_attention, y, self._memory_keys, self._memory_values, self._memory_bias)

        x = layer.around_self_attention(x, attend_past)
        x = layer.around_cross_attention(x, attend_memory)
        output: Tensor = layer.around_feed_forward(x, layer.feed_forward)
        return output

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Go on with these rows."""
        self._keys.copy_(self._keys.index_select(0, rows))
        self._values.copy_(self._values.index_select(0, rows))


def attend_one(
    part: MultiHeadAttention,
    y: Float[Tensor, "N 1 D"],
    keys: Float[Tensor, "N H S d"],
    values: Float[Tensor, "N H S d"],
    bias: Float[Tensor, "..."],
) -> Float[Tensor, "N 1 D"]:
    """Let one position of each row attend, as `MultiHeadAttention.attend` does."""
    queries = part.query(y).unflatten(-1, (part.heads, -1)).transpose(1, 2)
    mixed = nn.functional.scaled_dot_product_attention(queries, keys, values, bias)
    output: Tensor = part.output(mixed.transpose(1, 2).flatten(2))
    return output
