"""ONNX: the encoder and the decoder as two graphs, and greedy decoding of them under onnxruntime (extra `deploy`)."""

from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reference.deployment.export import export_decoder, export_encoder
from reference.extras import require
from reference.transformer import Transformer
from reference.validation import require_at_least


def save_onnx(model: Transformer, directory: Path, *, max_length: int = 512) -> None:
    """Write `encoder.onnx` and `decoder.onnx`, with open batch and lengths; weights lie beside them in `.data` files.

    Two graphs, because decoding needs the encoder once and the decoder at every step. `max_length` and `ValueError` as
    in `export_model`; under onnxruntime, input beyond the table of positions raises its own error.
    """
    require("onnxscript", extra="deploy")
    directory.mkdir(parents=True, exist_ok=True)
    programs = {
        "encoder": (export_encoder(model, max_length=max_length), ["source"], ["memory"]),
        "decoder": (export_decoder(model, max_length=max_length), ["target", "memory", "source"], ["logits"]),
    }
    for name, (program, inputs, outputs) in programs.items():
        torch.onnx.export(
            program, f=directory / f"{name}.onnx", input_names=inputs, output_names=outputs, verbose=False
        )


class OnnxTransformer:
    """What `save_onnx` wrote, run by onnxruntime on the CPU; logits differ from the model's by rounding."""

    def __init__(self, directory: Path) -> None:
        """`ImportError` with the remedy if onnxruntime is not installed."""
        onnxruntime = require("onnxruntime", extra="deploy")
        options = onnxruntime.SessionOptions()
        options.use_deterministic_compute = True  # no sums whose order depends on the threads
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(directory / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
            for name in ("encoder", "decoder")
        )

    def encode(self, source: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Turn source ids into the memory."""
        (memory,) = self._encoder.run(None, {"source": source.numpy()})
        return torch.from_numpy(memory)

    def decode(
        self, target: Int[Tensor, "B T"], memory: Float[Tensor, "B S D"], source: Int[Tensor, "B S"]
    ) -> Float[Tensor, "B T V"]:
        """Turn target ids and the memory into logits."""
        inputs = {"target": target.numpy(), "memory": memory.numpy(), "source": source.numpy()}
        (logits,) = self._decoder.run(None, inputs)
        return torch.from_numpy(logits)

    def greedy(self, source: Int[Tensor, "B S"], *, start: int, end: int, steps: int) -> Int[Tensor, "B T"]:
        """Append the likeliest id to `start`, up to `steps` times; a sequence that has ended goes on with `end`.

        Each step decodes the whole prefix again: the graph has no cache. `ValueError` for `steps` below 1.
        """
        require_at_least(1, steps=steps)
        memory = self.encode(source)
        target = torch.full((source.shape[0], 1), start)
        ended = torch.zeros(source.shape[0], dtype=torch.bool)
        for _ in range(steps):
            best = self.decode(target, memory, source)[:, -1].argmax(dim=-1).masked_fill(ended, end)
            target = torch.cat((target, best[:, None]), dim=1)
            ended = best == end
            if ended.all():
                break
        return target
