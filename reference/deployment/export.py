"""One graph for any batch and any lengths, by `torch.export`."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from reference.masks import padding_mask_from_ids
from reference.transformer import Transformer
from reference.validation import require_at_least


class MemoryFromIds(nn.Module):
    """The encoder's half of a model: source ids to memory."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Encode; the padding mask is made from the ids."""
        return self.model.encode(source, padding_mask_from_ids(source, self.model.padding_id))


class LogitsFromMemory(nn.Module):
    """The decoder's half of a model: target ids and memory to logits."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, target: Int[Tensor, "B T"], memory: Float[Tensor, "B S D"], source: Int[Tensor, "B S"]
    ) -> Float[Tensor, "B T V"]:
        """Decode; the source ids say where the memory is padding."""
        return self.model.decode(target, memory, padding_mask_from_ids(source, self.model.padding_id))


def export_model(model: Transformer, *, max_length: int = 512) -> ExportedProgram:
    """Trace the whole model: `(source ids, target ids)` to logits, what `model` computes in evaluation.

    The graph needs none of the model's Python code; `torch.export.save` and `torch.export.load` keep it. Batch and
    lengths are open, lengths up to `max_length`, since the table of positions is a constant in the graph: longer input
    is refused at run time. The model is left in evaluation. `ValueError` for a `max_length` below 4.
    """
    batch, sources, targets = _axes(max_length)
    source, target = _samples(model, max_length)
    shapes = {"source": {0: batch, 1: sources}, "target": {0: batch, 1: targets}}
    return torch.export.export(model, (source, target), dynamic_shapes=shapes)


def export_encoder(model: Transformer, *, max_length: int = 512) -> ExportedProgram:
    """Trace `source ids` to memory, which a decoding loop needs once; otherwise as `export_model`."""
    batch, sources, _ = _axes(max_length)
    source, _ = _samples(model, max_length)
    return torch.export.export(MemoryFromIds(model), (source,), dynamic_shapes={"source": {0: batch, 1: sources}})


def export_decoder(model: Transformer, *, max_length: int = 512) -> ExportedProgram:
    """Trace `(target ids, memory, source ids)` to logits; otherwise as `export_model`."""
    batch, sources, targets = _axes(max_length)
    source, target = _samples(model, max_length)
    weight = model.source_embedding.weight
    memory = weight.new_zeros(*source.shape, weight.shape[1])
    shapes = {"target": {0: batch, 1: targets}, "memory": {0: batch, 1: sources}, "source": {0: batch, 1: sources}}
    return torch.export.export(LogitsFromMemory(model), (target, memory, source), dynamic_shapes=shapes)


def _axes(max_length: int) -> tuple[Dim, Dim, Dim]:
    return Dim("batch"), Dim("source_length", max=max_length), Dim("target_length", max=max_length)


def _samples(model: Transformer, max_length: int) -> tuple[Tensor, Tensor]:
    """Put the model into the state to be traced, and return ids to trace it with."""
    require_at_least(4, max_length=max_length)
    model.eval()
    device = model.source_embedding.weight.device
    longest = torch.zeros(1, max_length, dtype=torch.long, device=device)
    with torch.no_grad():
        model(longest, longest)  # the table of positions grows to this length
    # Sizes that all differ, and none is 1, which tracing takes for a constant.
    return torch.zeros(2, 3, dtype=torch.long, device=device), torch.zeros(2, 4, dtype=torch.long, device=device)
