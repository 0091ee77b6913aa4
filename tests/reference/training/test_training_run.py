import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from reference import noam
from reference.training.batch_order import batch_order
from reference.training.checkpoint import save_checkpoint
from reference.training.early_stopping import EarlyStopping
from reference.training.fit import fit
from reference.training.training_run import TrainingRun, random_state, set_random_state

DATA = torch.randint(9, (22, 4), generator=torch.Generator().manual_seed(0))


class NextToken(nn.Module):
    """A small language model with dropout and tied weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, width)
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(width, 9)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.dropout(self.embedding(tokens)))


def new_run(
    seed: int = 0, *, scheduled: bool = True, width: int = 8, dtype: torch.dtype = torch.float32
) -> TrainingRun:
    torch.manual_seed(seed)
    model = NextToken(width).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.01)
    scheduler = noam(optimizer, width, warmup=4) if scheduled else None
    return TrainingRun(model, optimizer, scheduler, EarlyStopping(patience=4))


def next_token_loss(model: nn.Module, indices: list[int]) -> tuple[Tensor, int]:
    tokens = DATA[indices]
    logits, target = model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
    return F.cross_entropy(logits, target, reduction="sum"), target.numel()


class Killed(BaseException):
    """The process is gone."""


def train(run: TrainingRun, path: Path, *, killed_after: int | None = None) -> None:
    calls = iter(range(killed_after)) if killed_after else None

    def loss(model: nn.Module, indices: list[int]) -> tuple[Tensor, int]:
        if model.training and calls and next(calls, None) is None:
            raise Killed
        return next_token_loss(model, indices)

    def batches(epoch: int) -> Iterator[list[int]]:
        return iter(batch_order(18, 3, seed=4, epoch=epoch))

    held_out = [[18, 19, 20, 21]]
    fit(run, loss, batches, epochs=3, accumulation=2, max_norm=1.0, held_out=held_out, every=2, checkpoint=path)


def leaves(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Every tensor and plain value in nested containers, with its place.

    Python's generator is left out: the type checker of the tests draws from it.
    """
    if place == "/random/python":
        return
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from leaves(entry, f"{place}/{key}")
    elif isinstance(value, (list, tuple)):
        for number, entry in enumerate(value):
            yield from leaves(entry, f"{place}/{number}")
    else:
        yield place, value


def assert_same(run: TrainingRun, other: TrainingRun) -> None:
    mine, theirs = dict(leaves(run.state_dict())), dict(leaves(other.state_dict()))
    assert mine.keys() == theirs.keys()
    for place, value in mine.items():
        same = torch.equal(value, theirs[place]) if isinstance(value, Tensor) else value == theirs[place]
        assert same, place


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    run = new_run()
    train(run, tmp_path_factory.mktemp("whole") / "run.safetensors")
    return run


# 18 batches, 9 updates, 4 checkpoints: killed right after the first, within an update, in the next epoch, in the last.
@pytest.mark.parametrize("killed_after", [4, 5, 8, 12, 17])
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    killed_after: int, whole: TrainingRun, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        train(new_run(), path, killed_after=killed_after)
    resumed = new_run(seed=99)
    resumed.resume(path)
    assert 0 < len(resumed.history) < 9
    train(resumed, path)
    assert len(resumed.history) == 9
    assert_same(resumed, whole)


def test_dropout_and_moments_play_a_part_in_that(tmp_path: Path) -> None:
    """Otherwise the test above would not see them missing."""
    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        train(new_run(), path, killed_after=8)
    ends = []
    for forget in ("nothing", "generators", "moments"):
        run = new_run()
        run.resume(path)
        if forget == "generators":
            torch.manual_seed(99)
        if forget == "moments":
            run.optimizer.state.clear()
        train(run, tmp_path / "other.safetensors")
        ends.append(run.history[-1]["loss"])
    assert len(set(ends)) == 3


def test_a_finished_run_is_resumed_as_finished(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    whole, again = new_run(), new_run(seed=1)
    train(whole, path)
    again.resume(path)
    train(again, path)
    assert len(again.history) == 9
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], weight), name


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    new_run().save(path)
    run = new_run(seed=1)
    run.resume(path)
    assert run.model.output.weight is run.model.embedding.weight


def test_the_generators_go_on_where_they_were(tmp_path: Path) -> None:
    run = new_run()
    run.save(tmp_path / "run.safetensors")
    drawn = []
    for _ in range(2):
        run.resume(tmp_path / "run.safetensors")
        drawn.append((random.random(), torch.rand(3).tolist()))
    assert drawn[0] == drawn[1]


def other_optimizer() -> TrainingRun:
    run = new_run()
    return TrainingRun(run.model, torch.optim.SGD(run.model.parameters(), lr=1.0), run.scheduler, run.early_stopping)


def two_groups() -> TrainingRun:
    run = new_run(scheduled=False)
    first, *others = run.model.parameters()
    optimizer = torch.optim.AdamW([{"params": [first]}, {"params": others}])
    return TrainingRun(run.model, optimizer, noam(optimizer, 8), run.early_stopping)


def other_names() -> TrainingRun:
    run = new_run()
    run.model.further = nn.Parameter(torch.zeros(2))
    return run


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: new_run(scheduled=False), r"its parts are \{'scheduler': 'LambdaLR'\}, wanted \{'scheduler': None\}"),
        (other_optimizer, r"its parts are \{'optimizer': 'AdamW'\}, wanted \{'optimizer': 'SGD'\}"),
        (two_groups, r"the sizes of the optimizer's parameter groups are \[\d+\], wanted \[1, \d+\]"),
        (other_names, r"model's tensors are \{'further': None\}, wanted \{'further': 'torch\.float32 \(2,\)'\}"),
        (lambda: new_run(width=4), r"'embedding\.weight': 'torch\.float32 \(9, 8\)'.*wanted.*\(9, 4\)"),
        (lambda: new_run(dtype=torch.float64), r"'torch\.float32 \(9, 8\)'.* wanted .*'torch\.float64 \(9, 8\)'"),
    ],
)
def test_a_checkpoint_of_another_kind_of_run_is_refused_and_nothing_of_it_loaded(
    build: object, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    new_run(seed=5).save(path)
    run = build()
    before = {place: str(value) for place, value in leaves(run.state_dict())}
    with pytest.raises(ValueError, match=r"run\.safetensors does not fit this run: .*" + message):
        run.resume(path)
    assert {place: str(value) for place, value in leaves(run.state_dict())} == before


@pytest.mark.parametrize("state", [{"weights": torch.ones(2)}, [1], None])
def test_a_checkpoint_of_something_else_is_refused(state: object, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, state)
    with pytest.raises(ValueError, match=r"weights\.safetensors does not fit this run: it holds no training run"):
        new_run().resume(path)


class WithSettings(NextToken):
    """Its state holds something that is no tensor."""

    def __init__(self, settings: object) -> None:
        super().__init__(8)
        self.settings = settings

    def get_extra_state(self) -> object:
        return self.settings

    def set_extra_state(self, state: object) -> None:
        self.settings = state


def test_what_is_no_tensor_is_told_by_its_type(tmp_path: Path) -> None:
    runs = []
    for settings in ({"words": 9}, {"words": 7}, [9]):
        model = WithSettings(settings)
        runs.append(TrainingRun(model, torch.optim.AdamW(model.parameters())))
    first, second, other = runs
    first.save(tmp_path / "run.safetensors")
    second.resume(tmp_path / "run.safetensors")
    assert second.model.settings == {"words": 9}
    with pytest.raises(ValueError, match=r"tensors are \{'_extra_state': 'dict'\}, wanted \{'_extra_state': 'list'\}"):
        other.resume(tmp_path / "run.safetensors")


@pytest.mark.parametrize("devices", [1, 3])
def test_each_gpu_gets_its_own_state_as_far_as_there_are_both(devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved on a machine with two GPUs, resumed on one with fewer, or more."""
    given: dict[int, Tensor] = {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: given.update({device: state}))
    states = [torch.tensor([0]), torch.tensor([1])]
    set_random_state(random_state() | {"gpus": states})
    assert given == dict(enumerate(states[:devices]))


@pytest.mark.parametrize("available", [False, True])
def test_the_states_of_the_gpus_are_kept_where_there_are_any(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [torch.tensor([7])])
    assert random_state()["gpus"] == ([torch.tensor([7])] if available else [])


def test_the_parts_keep_their_names_from_release_to_release() -> None:
    """Checkpoints hold them."""
    assert list(new_run().state_dict()["parts"]) == ["model", "optimizer", "scheduler", "early_stopping"]
