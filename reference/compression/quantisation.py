"""int8 quantisation of a model's linear maps, through torchao (extra `deploy`).

Weights get one scale per output channel. The inputs of a map are quantised as well, so that the product is one of
integers, accumulated in int32. Everything else, norms, softmax and embeddings, stays in floating point. What this saves
for certain is memory; time depends on the kernels of the device. torch's own `torch.ao.quantization` is deprecated in
favour of torchao.
"""

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from reference.compression.linears import untied_linears
from reference.extras import require


def quantise_dynamically(model: nn.Module) -> None:
    """Quantise the weights now and the inputs at every call, each token by a scale of its own. No data is needed.

    Changes `model`, which is for inference from here on.
    """
    torchao = require("torchao.quantization", extra="deploy")
    config = torchao.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
    for linear in untied_linears(model):
        torchao.quantize_(linear, config)


def quantise_statically(model: nn.Module, calibrate: Callable[[], object]) -> None:
    """Quantise the weights, and the inputs by a fixed scale: that of the largest input seen during `calibrate()`.

    `calibrate` runs the model on typical data. Inputs beyond what was seen saturate; there is no scale to compute at
    run time. Changes `model`, which is for inference from here on. `ValueError` if `calibrate` leaves out a map.
    """
    torchao = require("torchao.quantization", extra="deploy")
    linears = untied_linears(model)
    observers = {linear: _min_max_observer(torchao) for linear in linears}
    hooks = [linear.register_forward_pre_hook(partial(_observe, observer)) for linear, observer in observers.items()]
    try:
        with torch.no_grad():
            calibrate()
    finally:
        for hook in hooks:
            hook.remove()
    unseen = sum(not hasattr(observer, "max_val") for observer in observers.values())
    if unseen:
        raise ValueError(f"calibrate must run the whole model, but {unseen} of {len(linears)} linear maps had no input")
    for linear, observer in observers.items():
        scale, _ = observer.calculate_qparams()
        per_tensor_and_channel = [torchao.PerTensor(), torchao.PerRow()]
        config = torchao.Int8StaticActivationInt8WeightConfig(
            act_quant_scale=scale, granularity=per_tensor_and_channel, set_inductor_config=False
        )
        torchao.quantize_(linear, config)


def stored_bytes(model: nn.Module) -> int:
    """Add up the bytes of all parameters and buffers; of a quantised one, those of its integers and scales."""
    return sum(_bytes(tensor) for tensor in chain(model.parameters(), model.buffers()))


def _min_max_observer(torchao: Any) -> Any:
    symmetric, whole = torchao.MappingType.SYMMETRIC, torchao.PerTensor()
    return torchao.observer.AffineQuantizedMinMaxObserver(symmetric, torch.int8, whole, keepdim=True)


def _observe(observer: nn.Module, linear: nn.Module, inputs: tuple[Tensor]) -> None:
    observer(inputs[0])


def _bytes(tensor: Tensor) -> int:
    if not hasattr(tensor, "__tensor_flatten__"):
        return tensor.nbytes
    names, _ = tensor.__tensor_flatten__()
    return sum(_bytes(getattr(tensor, name)) for name in names)
