"""Taking a trained model elsewhere (Q20): `torch.export`, ONNX, and what replaced the other formats.

The document names three formats. ONNX is alive: `save_onnx`. The other two have successors, which both begin with
`torch.export`, as `export_model` does it:

- TorchScript is deprecated (torch says so when it is called). `torch.export` captures the graph, for a server without
  Python `torch._inductor.aoti_compile_and_package` compiles it ahead of time, and ExecuTorch takes it to phones and
  microcontrollers.
- TensorFlow Lite has been called LiteRT since 2024, with the same `.tflite` files; `litert-torch`, formerly
  `ai-edge-torch`, converts an exported model.

Within Python, `torch.compile(model, fullgraph=True)` needs nothing from here: the reference has no graph breaks. The
form to evaluate is the one that is deployed: `OnnxTransformer.greedy` decodes what was written.
"""

from reference.deployment.export import export_decoder, export_encoder, export_model
from reference.deployment.onnx import OnnxTransformer, save_onnx

__all__ = ["OnnxTransformer", "export_decoder", "export_encoder", "export_model", "save_onnx"]
