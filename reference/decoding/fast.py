"""The fast twin of `CachedTransformer`: the same logits, with fewer and better laid out operations a step.

A step of decoding multiplies every weight with a handful of rows. What counts then is how fast the weights are read,
and how many operations there are. So queries, keys and values of self-attention are one product; matrices lie in the
order in which such thin products read them fastest; caches have their final size at the start; masks are made once,
and not at all without padding; and the memory is kept once for all beams of a sequence, whose queries attend it
together, since attention asks no query for its row.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.decoder import DecoderLayer
from reference.decoding.scorer import require_evaluation
from reference.masks import Mask, padding_mask_from_ids
from reference.residual import ResidualSublayer
from reference.transformer import Transformer
from reference.validation import require_at_least


class FastDecoder:
    """Scores the next id of `beams` hypotheses a source; see `NextIdScorer`. It holds copies of some of the weights."""

    def __init__(
        self,
        model: Transformer,
        source: Int[Tensor, "B S"],
        max_length: int,
        *,
        source_mask: Mask | None = None,
        beams: int = 1,
    ) -> None:
        """Encode the source; `max_length` is the most ids that will be asked for.

        `ValueError` for a model in training, for relative positions, and for a length or beams below 1.
        """
        require_at_least(1, max_length=max_length, beams=beams)
        require_evaluation(model)
        with torch.inference_mode():
            mask = padding_mask_from_ids(source, model.padding_id) if source_mask is None else source_mask
            memory = model.encode(source, mask)
            rows = beams * len(source)
            self._layers = [FastDecoderLayer(layer, memory, mask, rows, max_length) for layer in model.decoder.stack]
            zeros = memory.new_zeros(1, max_length, memory.shape[-1])
            self._positions = model.positional_encoding(zeros)[0]
            self._output = InputMajorLinear(model.output)
        self._model = model
        self._length = 0

    @torch.inference_mode()
    def __call__(self, ids: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        """See `NextIdScorer`; what follows the padding of a finished hypothesis means nothing.

        `ValueError` beyond `max_length`, and where the search starts with padding, which the readable twin would mask.
        """
        model, position = self._model, self._length
        if position == len(self._positions):
            raise ValueError(f"max_length is {position}, and so many ids have been given")
        if position == 0 and bool((ids == model.padding_id).any()):
            raise ValueError(
                f"the first ids hold the padding id {model.padding_id}, which the model masks: start with another"
            )
        embedding = model.target_embedding
        x = nn.functional.embedding(ids, embedding.weight)
        x = torch.add(self._positions[position], x, alpha=embedding.scale)
        for layer in self._layers:
            x = layer(x, position)
        self._length += 1
        return self._output(model.decoder.norm(x))

    @torch.inference_mode()
    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Go on with these hypotheses, each in a row of its own source."""
        for layer in self._layers:
            layer.select(rows, self._length)


class FastDecoderLayer:
    """One `DecoderLayer` and its caches, for one position at a time."""

    def __init__(
        self, layer: DecoderLayer, memory: Float[Tensor, "B S D"], mask: Mask, rows: int, max_length: int
    ) -> None:
        """Project the memory and make room for `max_length` positions of `rows` hypotheses."""
        own, cross = layer.self_attention, layer.cross_attention
        if own.position is not None or cross.position is not None:
            raise ValueError("model has relative positions, which this path leaves out: use CachedTransformer")
        self._layer = layer
        self._project_own = InputMajorLinear(own.query, own.key, own.value)
        self._output_own = InputMajorLinear(own.output)
        self._query_memory = InputMajorLinear(cross.query)
        self._output_memory = InputMajorLinear(cross.output)
        self._past = memory.new_empty(rows, 2, own.heads, max_length, own.width // own.heads)
        keys, values = cross.project(memory, memory)
        keyless = ~mask.any(dim=-1, keepdim=True)
        self._memory_keys = keys.contiguous()
        self._memory_values = values.masked_fill(keyless, 0.0).contiguous()  # whoever may attend nothing gets nothing
        padded = not bool(mask.all())
        self._memory_bias = keys.new_zeros(()).masked_fill(~(mask | keyless), float("-inf")) if padded else None

    def __call__(self, x: Float[Tensor, "N D"], position: int) -> Float[Tensor, "N D"]:
        """Do what `DecoderLayer.step` does at this position."""
        layer = self._layer
        x = without_dropout(layer.around_self_attention, x, lambda y: self._attend_past(y, position))
        x = without_dropout(layer.around_cross_attention, x, self._attend_memory)
        return without_dropout(layer.around_feed_forward, x, self._feed_forward)

    def select(self, rows: Int[Tensor, " N"], length: int) -> None:
        """Go on with these rows of the `length` positions so far."""
        past = self._past[:, :, :, :length]
        past.copy_(past.index_select(0, rows))

    def _attend_past(self, x: Tensor, position: int) -> Tensor:
        past = self._past
        heads = self._project_own(x).view(len(x), 3, past.shape[2], past.shape[4])
        past[:, :, :, position] = heads[:, 1:]
        keys, values = past[:, :, :, : position + 1].unbind(1)
        mixed = nn.functional.scaled_dot_product_attention(heads[:, 0].unsqueeze(2), keys, values)
        return self._output_own(mixed.view(x.shape))

    def _attend_memory(self, x: Tensor) -> Tensor:
        keys = self._memory_keys
        batch, heads, _, head_width = keys.shape
        queries = self._query_memory(x).view(batch, -1, heads, head_width).transpose(1, 2)  # the beams are T
        mixed = nn.functional.scaled_dot_product_attention(queries, keys, self._memory_values, self._memory_bias)
        return self._output_memory(mixed.transpose(1, 2).reshape(x.shape))

    def _feed_forward(self, x: Tensor) -> Tensor:
        part = self._layer.feed_forward
        inner = part.activation(thin_linear(x, part.inner.weight, part.inner.bias))
        return thin_linear(inner, part.outer.weight, part.outer.bias)


class InputMajorLinear:
    """Several linear maps of one input side by side, the matrix `(in, out)` contiguous, as few rows want it."""

    def __init__(self, *linears: nn.Linear) -> None:
        """Copy the weights."""
        self._weight = torch.cat([linear.weight for linear in linears]).t().contiguous()
        self._bias = None if linears[0].bias is None else torch.cat([linear.bias for linear in linears])

    def __call__(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N E"]:
        """Map the rows."""
        return x @ self._weight if self._bias is None else torch.addmm(self._bias, x, self._weight)


def thin_linear(x: Float[Tensor, "N D"], weight: Float[Tensor, "E D"], bias: Tensor | None) -> Float[Tensor, "N E"]:
    """Compute `nn.functional.linear(x, weight, bias)` as `(weight x^T)^T`: faster where x has few rows."""
    columns = weight @ x.t() if bias is None else torch.addmm(bias.unsqueeze(1), weight, x.t())
    return columns.t()


def without_dropout(
    residual: ResidualSublayer, x: Float[Tensor, "N D"], sublayer: Callable[[Tensor], Tensor]
) -> Float[Tensor, "N D"]:
    """Do what `ResidualSublayer` does in evaluation."""
    norm = residual.norm
    output: Tensor = x + sublayer(norm(x)) if residual.pre_norm else norm(x + sublayer(x))
    return output
