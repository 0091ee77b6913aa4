import os
import socket

import pytest
import torch
from torch import distributed as dist

from reference.scaling.process_group import Process, process_group


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that torchrun gives to the only process of a group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in (names | {"TORCHELASTIC_RUN_ID": "test"}).items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.usefixtures("launched")
def test_the_group_is_left_however_the_block_ends() -> None:
    with process_group() as process:
        assert dist.is_initialized()
        assert (process.rank, process.size) == (0, 1)
        given = torch.tensor([1.0, 2.0])
        summed = process.sum_over_processes(given)
        assert summed.tolist() == [1.0, 2.0]
        assert summed.data_ptr() != given.data_ptr()
    assert not dist.is_initialized()
    os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
    with pytest.raises(ArithmeticError), process_group():
        raise ArithmeticError
    assert not dist.is_initialized()


def test_torchrun_is_needed() -> None:
    with pytest.raises(RuntimeError, match="no torchrun started this process: torchrun --standalone"), process_group():
        pass


def test_the_sum_is_taken_on_the_device_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: None)
    assert Process(0, 1, torch.device("meta")).sum_over_processes(torch.ones(2)).device.type == "meta"
