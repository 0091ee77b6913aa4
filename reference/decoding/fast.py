"""The fast twin of `CachedTransformer`: the same logits, with fewer and better laid out operations a step.

A step of decoding multiplies every weight with a handful of rows. What counts then is how fast the weights are read,
and how many operations there are. So each product takes the form that is fastest for its shape; caches have their final
size at the start; masks are made once; and all beams of a sequence attend together, so that a search never moves keys
and values, see `Ancestry`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.decoder import DecoderLayer
from reference.decoding.beams import Ancestry, HeadCache
from reference.decoding.few_rows import FewRowsLinear
from reference.decoding.scorer import require_evaluation, require_next
from reference.masks import Mask, padding_mask_from_ids
from reference.residual import ResidualSublayer
from reference.transformer import Transformer
from reference.validation import require_at_least


class FastTransformer:
    """A model made ready for steps of few rows, once; it gives a scorer for each batch of sources.

    It reads the model's own weights and copies only some narrow ones, see `FewRowsLinear`: if the weights change, make
    another one.
    """

    def __init__(self, model: Transformer) -> None:
        """`ValueError` for a model in training, and for what only `CachedTransformer` serves.

        That is relative positions, and maps that are no plain `nn.Linear`: LoRA, quantised or pruned ones.
        """
        require_evaluation(model)
        require_absolute_positions(model)
        require_plain_linears(model)
        self.model = model
        self.layers = [FastDecoderLayer(layer) for layer in model.decoder.stack]
        self.output = FewRowsLinear(model.output)

    def scorer(
        self, source: Int[Tensor, "B S"], max_length: int, *, source_mask: Mask | None = None, beams: int = 1
    ) -> "FastDecoder":
        """Read the source and score `beams` hypotheses of each; see `FastDecoder`."""
        return FastDecoder(self, source, max_length, source_mask=source_mask, beams=beams)


class FastDecoder:
    """Score the next id of `beams` hypotheses a source; see `NextIdScorer`."""

    def __init__(
        self,
        fast: FastTransformer,
        source: Int[Tensor, "B S"],
        max_length: int,
        *,
        source_mask: Mask | None,
        beams: int,
    ) -> None:
        """Encode the source; `max_length` is the most ids that will be asked for.

        `ValueError` for a model in training, and for a length or beams below 1.
        """
        model = fast.model
        require_at_least(1, max_length=max_length, beams=beams)
        require_evaluation(model)
        with torch.inference_mode():
            mask = padding_mask_from_ids(source, model.padding_id) if source_mask is None else source_mask
            memory = model.encode(source, mask, skip_padding=True)  # the same mask hides what is left out
            self._caches = [layer.start(memory, mask, beams, max_length) for layer in fast.layers]
            heads = self._caches[0].past.heads
            room = memory.new_empty(len(source), beams, max_length, beams)
            self._ancestry = Ancestry(room, heads) if beams > 1 else None
            self._no_bias = memory.new_zeros(1, 1, 1)
            self._positions = model.positional_encoding(memory.new_zeros(1, max_length, memory.shape[-1]))[0].unbind()
        self._fast = fast
        self._length = 0

    @torch.inference_mode()
    def __call__(self, ids: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        """See `NextIdScorer`; what follows the padding of a finished hypothesis means nothing.

        `ValueError` beyond `max_length`, and where the search starts with padding, which the readable twin would mask.
        """
        model, position = self._fast.model, self._length
        require_next(ids, position, len(self._positions), model.padding_id)
        embedding = model.target_embedding
        x = nn.functional.embedding(ids, embedding.weight)
        x = torch.add(self._positions[position], x, alpha=embedding.scale)
        bias = self._no_bias if self._ancestry is None else self._ancestry.grown(position)
        for layer, cache in zip(self._fast.layers, self._caches, strict=True):
            x = layer.step(x, cache, position, bias)
        self._length += 1
        return self._fast.output(model.decoder.norm(x)).contiguous()

    @torch.inference_mode()
    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Go on with these hypotheses, each in a row of its own source: with one beam, that is its own row."""
        if self._ancestry is not None:
            self._ancestry.select(rows, self._length)


@dataclass
class FastLayerCache:
    """What `FastDecoderLayer` keeps between two steps; the bias is 0, or -inf where the source is padding."""

    past: HeadCache
    memory: HeadCache
    memory_bias: Float[Tensor, "..."]


class FastDecoderLayer:
    """One `DecoderLayer`, for one position at a time."""

    def __init__(self, layer: DecoderLayer) -> None:
        """Lay out the weights."""
        own, cross, feed_forward = layer.self_attention, layer.cross_attention, layer.feed_forward
        self._layer = layer
        self._around_own = FastResidual(layer.around_self_attention)
        self._around_memory = FastResidual(layer.around_cross_attention)
        self._around_feed_forward = FastResidual(layer.around_feed_forward)
        self._project_own = FewRowsLinear(own.query, own.key, own.value)
        self._output_own = FewRowsLinear(own.output)
        self._query_memory = FewRowsLinear(cross.query)
        self._output_memory = FewRowsLinear(cross.output)
        self._inner = FewRowsLinear(feed_forward.inner)
        self._outer = FewRowsLinear(feed_forward.outer)
        self._activation = feed_forward.activation

    def start(self, memory: Float[Tensor, "B S D"], mask: Mask, beams: int, max_length: int) -> FastLayerCache:
        """Project the memory and make room for `max_length` positions."""
        batch, heads, width = len(memory), self._layer.self_attention.heads, self._layer.self_attention.width
        room = batch, heads, max_length, beams, width // heads
        past = HeadCache(memory.new_empty(room), memory.new_empty(room))
        keys, values = self._layer.cross_attention.project(memory, memory)
        keyless = ~mask.any(dim=-1, keepdim=True)
        bias = memory.new_zeros(()).masked_fill(~(mask | keyless), -torch.inf).expand(*keys.shape[:2], 1, -1)
        keys = keys.transpose(2, 3).contiguous().transpose(2, 3)  # so a product with a few queries reads them fastest
        values = values.contiguous().masked_fill_(keyless, 0.0)  # whoever may attend nothing gets nothing
        return FastLayerCache(past, HeadCache(keys.unsqueeze(3), values.unsqueeze(3)), bias.flatten(0, 1))

    def step(
        self, x: Float[Tensor, "N D"], cache: FastLayerCache, position: int, bias: Float[Tensor, "..."]
    ) -> Float[Tensor, "N D"]:
        """Do what `DecoderLayer.step` does at this position; `bias` is that of self-attention."""
        around = self._around_own
        x = around.leave(x, self._attend_past(around.enter(x), cache.past, position, bias))
        around = self._around_memory
        x = around.leave(x, self._attend_memory(around.enter(x), cache.memory, cache.memory_bias))
        around = self._around_feed_forward
        return around.leave(x, self._outer(self._activation(self._inner(around.enter(x)))))

    def _attend_past(self, x: Tensor, past: HeadCache, position: int, bias: Tensor) -> Tensor:
        queries, keys, values = self._project_own(x).view(past.batch, -1, 3, past.heads, past.width).unbind(2)
        past.write(keys, values, position)
        return self._output_own(past.attend(queries, bias, position + 1))

    def _attend_memory(self, x: Tensor, memory: HeadCache, bias: Tensor) -> Tensor:
        queries = self._query_memory(x).view(memory.batch, -1, memory.heads, memory.width)
        return self._output_memory(memory.attend(queries, bias, memory.length))


class FastResidual:
    """What `ResidualSublayer` does in evaluation: `leave(x, sublayer(enter(x)))`."""

    def __init__(self, residual: ResidualSublayer) -> None:
        """Keep the norm's parts, which a module looks up at every call."""
        norm = residual.norm
        self._pre_norm = residual.pre_norm
        self._norm = norm.gain.shape, norm.gain, norm.bias, norm.eps

    def enter(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Give what the sublayer reads."""
        return torch.layer_norm(x, *self._norm) if self._pre_norm else x

    def leave(self, x: Float[Tensor, "N D"], y: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Put together x and what the sublayer made of it."""
        return x + y if self._pre_norm else torch.layer_norm(x + y, *self._norm)


def require_absolute_positions(model: Transformer) -> None:
    """Raise `ValueError` for a decoder with relative positions."""
    for layer in model.decoder.stack:
        if layer.self_attention.position is not None or layer.cross_attention.position is not None:
            raise ValueError("model has relative positions, which this path leaves out: use CachedTransformer")


def require_plain_linears(model: Transformer) -> None:
    """Raise `ValueError` for a decoder with maps that do more than to multiply their weight."""
    for name, linear in linears_of_a_step(model):
        if type(linear) is not nn.Linear or linear._forward_pre_hooks or linear._forward_hooks:
            raise ValueError(
                f"{name} of model is no plain nn.Linear, whose weight this path could read: use CachedTransformer"
            )


def linears_of_a_step(model: Transformer) -> Iterator[tuple[str, nn.Module]]:
    """Name the maps that each step applies."""
    yield "output", model.output
    for number, layer in enumerate(model.decoder.stack):
        for part, names in (
            ("self_attention", ("query", "key", "value", "output")),
            ("cross_attention", ("query", "output")),
            ("feed_forward", ("inner", "outer")),
        ):
            for name in names:
                yield f"decoder.layers.{number}.{part}.{name}", getattr(getattr(layer, part), name)
