import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from reference.training import checkpoint
from reference.training.checkpoint import load_checkpoint, save_checkpoint

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.safetensors"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_tensor_of_every_type_and_shape_comes_back_bit_for_bit(path: Path, dtype: torch.dtype) -> None:
    drawn = (8 * torch.randn(3, 4)).to(dtype)
    state = {"matrix": drawn, "transposed": drawn.T, "scalar": drawn[1, 2], "row": drawn[1], "empty": drawn[:0]}
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert loaded.keys() == state.keys()
    for name, value in state.items():
        assert (loaded[name].dtype, loaded[name].shape) == (value.dtype, value.shape)
        assert loaded[name].tolist() == value.tolist()


def test_not_a_number_infinity_and_negative_zero_survive(path: Path) -> None:
    special = [float("nan"), float("inf"), -0.0, 1 / 3]
    save_checkpoint(path, {"tensor": torch.tensor(special), "list": special})
    loaded = load_checkpoint(path)
    assert str(loaded["list"]) == str(special)
    assert loaded["tensor"].view(torch.int32).tolist() == torch.tensor(special).view(torch.int32).tolist()


def test_containers_keep_their_kinds_and_keys(path: Path) -> None:
    state = {
        "groups": [{"betas": (0.9, 0.999), "params": [0, 1], "fused": None, "amsgrad": False}],
        0: {"step": 3, -1: "minus one"},
        "random": random.getstate(),
        "mapping like a tensor's": {"tensor": "no", "dict": [1], "tuple": []},
        "nothing": {},
    }
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert loaded == state
    assert repr(loaded) == repr(state)


@pytest.mark.parametrize("state", [{}, None, [1, 2], torch.ones(2)], ids=repr)
def test_any_state_may_be_the_outermost(path: Path, state: object) -> None:
    save_checkpoint(path, state)
    assert str(load_checkpoint(path)) == str(state)


def test_tied_weights_are_stored_once_and_views_of_one_storage_apart(path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3))
    save_checkpoint(path, {"embedding": weight, "output": weight, "half": weight[:2], "turned": weight.T})
    loaded = load_checkpoint(path)
    assert loaded["embedding"] is loaded["output"]
    assert torch.equal(loaded["half"], weight[:2])
    assert torch.equal(loaded["turned"], weight.T)
    assert len(safetensors.torch.load_file(path)) == 3


@pytest.mark.parametrize("kind", ["not all of it", "fsync of the file", "replace"])
def test_an_interrupted_save_leaves_the_previous_checkpoint_whole(
    path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(path, {"weights": torch.ones(1000)})
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    def write_half(tensors: object, target: Path, metadata: object) -> None:
        target.write_bytes(before[: len(before) // 2])
        raise OSError("No space left on device")

    match kind:
        case "not all of it":
            monkeypatch.setattr(safetensors.torch, "save_file", write_half)
        case "fsync of the file":
            monkeypatch.setattr(os, "fsync", fail)
        case "replace":
            monkeypatch.setattr(os, "replace", fail)
    with pytest.raises((OSError, KeyboardInterrupt)):
        save_checkpoint(path, {"weights": torch.zeros(2000)})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_on_the_disk_before_it_takes_the_name_and_the_name_thereafter(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def noted(function: Callable[..., None], name: Callable[..., str]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            events.append(name(*arguments))
            function(*arguments)

        return call

    monkeypatch.setattr(os, "fsync", noted(os.fsync, lambda fd: f"fsync {os.readlink(f'/proc/self/fd/{fd}')}"))
    monkeypatch.setattr(os, "replace", noted(os.replace, lambda old, new: f"replace {old} {new}"))
    save_checkpoint(path, {"weights": torch.ones(2)})
    partial = f"{path}.partial"
    assert events == [f"fsync {partial}", f"replace {partial} {path}", f"fsync {path.parent}"]


def test_what_a_killed_process_left_is_no_obstacle(path: Path) -> None:
    Path(f"{path}.partial").write_bytes(b"half")
    save_checkpoint(path, {"weights": torch.ones(2)})
    assert torch.equal(load_checkpoint(path)["weights"], torch.ones(2))
    assert list(path.parent.iterdir()) == [path]


def test_a_truncated_file_is_refused_wherever_it_ends(path: Path) -> None:
    save_checkpoint(path, {"weights": torch.ones(20), "step": 3})
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"run\.safetensors is no whole safetensors file .*a checkpoint is wanted"):
            load_checkpoint(path)


def test_foreign_files_are_refused(path: Path) -> None:
    torch.save({"weights": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=r"run\.safetensors is no whole safetensors file"):
        load_checkpoint(path)
    safetensors.torch.save_file({"weights": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=r"run\.safetensors has no 'reference\.checkpoint\.v1' in its header"):
        load_checkpoint(path)


def test_a_file_that_is_not_there_is_said_to_be_missing(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"run\.safetensors"):
        load_checkpoint(path)


class Slice(torch.Tensor):
    """Stands for the tensors of which a process holds a part only."""


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({1, 2}, "set"),
        (lambda: None, "function"),
        (torch.device("cpu"), "device"),
        (torch.nn.ReLU(), "ReLU"),
        (torch.ones(2).as_subclass(Slice), "Slice"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(path: Path, value: object, named: str) -> None:
    with pytest.raises(ValueError, match=f"state/optimizer/0/odd is a {named}; a checkpoint holds plain tensors"):
        save_checkpoint(path, {"optimizer": [{"odd": value}]})
    assert not path.exists()


def test_nothing_in_the_file_is_a_pickle(path: Path) -> None:
    save_checkpoint(path, {"step": 3, "weights": torch.ones(2)})
    with safetensors.safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()[checkpoint.CHECKPOINT_HEADER])
    assert described == {"dict": [["step", 3], ["weights", {"tensor": "state/weights"}]]}


def test_a_file_is_opened_for_writing_before_it_is_flushed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows flushes no other; a folder opens for reading alone."""
    flags, real = {}, os.open

    def noted(target: Path, flag: int) -> int:
        flags[target.name] = flag
        return real(target, flag)

    monkeypatch.setattr(os, "open", noted)
    save_checkpoint(path, {})
    assert flags == {"run.safetensors.partial": os.O_RDWR, path.parent.name: os.O_RDONLY}


@pytest.mark.parametrize("package", ["safetensors", "safetensors.torch"])
def test_a_missing_safetensors_is_named_with_its_remedy(
    package: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(path, {})
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'transformer-errata\[train\]'"):
        load_checkpoint(path) if package == "safetensors" else save_checkpoint(path, {})
