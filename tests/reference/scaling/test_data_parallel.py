"""Two processes train what one trains; one start of both serves every comparison."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from reference.training.checkpoint import load_checkpoint

WAYS = ["replicated", "sharded"]
SCRIPT = Path(__file__).with_name("two_processes.py")


def start(*program: str) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *program]
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[3]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def alone() -> ModuleType:
    spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    done = start(str(SCRIPT), str(folder))
    # The failure of one process ends both, after the trainings, and its reason is told.
    assert done.returncode != 0
    assert "ArithmeticError: one process fails" in done.stderr
    return folder


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rank", [0, 1])
def test_the_loss_curve_is_that_of_one_process(folder: Path, alone: ModuleType, way: str, rank: int) -> None:
    expected = alone.train(alone.model(), None)
    history = json.loads((folder / f"{way}-{rank}.json").read_text())["history"]
    assert len(history) == len(expected) == 6
    for record, wanted in zip(history, expected, strict=True):
        assert record.keys() == wanted.keys()
        assert list(record.values()) == pytest.approx(list(wanted.values()), rel=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_one_process_can_load_the_gathered_weights(folder: Path, alone: ModuleType, way: str) -> None:
    model, loaded = alone.model(), alone.model()
    alone.train(model, None)
    loaded.load_state_dict(load_checkpoint(folder / f"{way}.safetensors"))
    for (name, weight), (_, expected) in zip(loaded.named_parameters(), model.named_parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-7, atol=1e-9, msg=name)


def test_sharded_weights_are_held_once_and_replicated_ones_in_each_process(folder: Path, alone: ModuleType) -> None:
    whole = sum(weight.numel() for weight in alone.model().parameters())
    held = {way: [json.loads((folder / f"{way}-{r}.json").read_text())["held"] for r in (0, 1)] for way in WAYS}
    assert held["replicated"] == [whole, whole]
    assert sum(held["sharded"]) >= whole
    assert max(held["sharded"]) < 0.6 * whole
