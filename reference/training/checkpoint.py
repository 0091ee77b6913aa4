"""Checkpoints: nested dictionaries, lists and tuples of tensors and plain values in one file, without pickle.

The file is in the safetensors format. The tensors are its tensors; everything else is JSON in its header, in the shape
of the original, with the names of the tensors in their places. One file, because one file can be replaced atomically:
two could be of two ages after a crash. It runs no code when it is loaded.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reference.extras import require

CHECKPOINT_HEADER = "reference.checkpoint.v1"


def save_checkpoint(path: str | Path, state: Any) -> None:
    """Write `state`; whatever happens on the way, `path` holds all of the old checkpoint or all of the new one.

    The new file is complete on the disk before one system call renames it over the old. `ValueError` for values that
    JSON cannot hold, with their place in `state`.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    header = {CHECKPOINT_HEADER: json.dumps(_encoded(state, "state", tensors, {}))}
    partial = path.with_name(path.name + ".partial")
    try:
        require("safetensors.torch", extra="train").save_file(tensors, partial, metadata=header)
        _flush(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":
        _flush(path.parent)  # the new name itself


def load_checkpoint(path: str | Path) -> Any:
    """Read what `save_checkpoint` wrote, all tensors on the CPU.

    `ValueError` for a file that is truncated or that something else wrote.
    """
    safetensors = require("safetensors", extra="train")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(CHECKPOINT_HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file ({error}); a checkpoint is wanted") from error
    if header is None:
        raise ValueError(f"{path} has no {CHECKPOINT_HEADER!r} in its header; a checkpoint is wanted")
    return _decoded(json.loads(header), tensors)


def _encoded(value: Any, place: str, tensors: dict[str, Tensor], names: dict[Any, str]) -> Any:
    """`value` as JSON. Its tensors go to `tensors`; `names` finds those that were met before, such as tied weights."""
    match value:
        case Tensor() if type(value) in (Tensor, torch.nn.Parameter):
            same = (value.data_ptr(), value.dtype, value.shape, value.stride())
            if same not in names:
                names[same] = place
                tensors[place] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": names[same]}
        case dict():
            keys = _encoded(list(value), f"{place}/key", tensors, names)
            entries = [_encoded(entry, f"{place}/{key}", tensors, names) for key, entry in value.items()]
            return {"dict": list(zip(keys, entries, strict=True))}
        case tuple():
            return {"tuple": _encoded(list(value), place, tensors, names)}
        case list():
            return [_encoded(entry, f"{place}/{number}", tensors, names) for number, entry in enumerate(value)]
        case None | bool() | int() | float() | str():
            return value
    raise ValueError(f"{place} is a {type(value).__name__}; a checkpoint holds plain tensors and JSON's values")


def _decoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    match value:
        case {"tensor": name}:
            return tensors[name]
        case {"dict": entries}:
            return {_decoded(key, tensors): _decoded(entry, tensors) for key, entry in entries}
        case {"tuple": entries}:
            return tuple(_decoded(entry, tensors) for entry in entries)
        case list():
            return [_decoded(entry, tensors) for entry in value]
    return value


def _flush(path: Path) -> None:
    """Wait until the disk has it."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
