import io
import itertools
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from reference import Transformer, exponential
from reference.training.early_stopping import EarlyStopping
from reference.training.fit import evaluate, fit, module_mode
from reference.training.training_run import TrainingRun

Example = tuple[Tensor, Tensor, Tensor]  # inputs (B, n), targets (B), which of them count (B)


def squared_error(model: nn.Module, batch: Example) -> tuple[Tensor, Tensor]:
    x, y, counts = batch
    return ((model(x)[:, 0] - y).square() * counts).sum(), counts.sum()


def examples(size: int, seed: int = 0) -> Example:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(size, 3, generator=generator), torch.randn(size, generator=generator)
    return x.double(), y.double(), torch.arange(size) % 3 != 1  # two of three count


def linear(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(*layers, nn.Linear(3, 1, bias=False)).double()


def descent(model: nn.Module, rate: float = 0.1, decay: float | None = None, **settings: object) -> TrainingRun:
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return TrainingRun(model, optimizer, exponential(optimizer, decay) if decay else None, **settings)


def by_hand(
    weights: np.ndarray, updates: list[list[Example]], rate: float, decay: float, max_norm: float = math.inf
) -> tuple[np.ndarray, list[float]]:
    """Gradient descent on the mean squared error over all examples of an update that count."""
    losses = []
    for step, group in enumerate(updates):
        x, y, counts = (np.concatenate([batch[part].numpy() for batch in group]) for part in range(3))
        x, error = x[counts], x[counts] @ weights - y[counts]
        gradient = 2 * x.T @ error / len(error)
        gradient *= min(1.0, max_norm / np.linalg.norm(gradient))
        weights = weights - rate * decay**step * gradient
        losses.append(float((error**2).mean()))
    return weights, losses


BATCHES = [examples(size, seed=size) for size in (4, 7, 2, 5, 3)]
"""One epoch of batches in which 3, 5, 1, 4 and 2 examples count."""


@pytest.mark.parametrize("accumulation", [1, 2, 5, 9])
@pytest.mark.parametrize("max_norm", [None, 0.3])
def test_the_weights_are_those_of_gradient_descent_by_hand(accumulation: int, max_norm: float | None) -> None:
    model = linear()
    start = model[0].weight.detach().numpy()[0].copy()
    history = fit(
        descent(model, 0.05, 0.9),
        squared_error,
        lambda epoch: BATCHES[epoch:],  # another number of batches each epoch
        epochs=2,
        accumulation=accumulation,
        max_norm=max_norm,
    )
    groups = [
        epoch[first : first + accumulation]
        for epoch in (BATCHES, BATCHES[1:])
        for first in range(0, len(epoch), accumulation)
    ]
    weights, losses = by_hand(start, groups, 0.05, 0.9, max_norm or math.inf)
    tolerance = 1e-5 if max_norm else 1e-12  # torch clips to max_norm * norm / (norm + 1e-6)
    np.testing.assert_allclose(model[0].weight.detach().numpy()[0], weights, rtol=tolerance)
    assert [record["loss"] for record in history] == pytest.approx(losses, rel=tolerance)
    assert [record["learning_rate"] for record in history] == pytest.approx([0.05 * 0.9**n for n in range(len(groups))])
    assert [record["update"] for record in history] == list(range(1, len(groups) + 1))
    assert [record["epoch"] for record in history] == sorted(record["epoch"] for record in history)


def test_gradients_from_before_have_no_part() -> None:
    models = linear(), linear()
    models[1][0].weight.grad = torch.full((1, 3), 1e6, dtype=torch.float64)
    for model in models:
        fit(descent(model), squared_error, lambda epoch: BATCHES, epochs=1)
    assert torch.equal(models[0][0].weight, models[1][0].weight)


class Recorder(nn.Module):
    """Passes its input on, and notes in which mode, and whether gradients are wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((self.training, torch.is_grad_enabled()))
        return x


def test_training_and_evaluation_each_have_their_mode() -> None:
    recorder = Recorder()
    model = linear(recorder).eval()
    fit(descent(model), squared_error, lambda epoch: BATCHES[:3], epochs=2, held_out=BATCHES[3:], every=2)
    training, evaluation = (True, True), (False, False)
    assert recorder.seen == [*[training] * 2, *[evaluation] * 2] * 3
    assert not any(module.training for module in model.modules())


def test_each_module_gets_its_own_mode_back_also_after_an_error() -> None:
    model = linear(nn.Dropout(), nn.ReLU())
    model[0].eval()

    def fails(model: nn.Module, batch: Example) -> tuple[Tensor, int]:
        assert not model[1].training
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        evaluate(model, fails, BATCHES)
    assert [module.training for module in model] == [False, True, True]
    with module_mode(model, training=True):
        assert model[0].training
    assert [module.training for module in model] == [False, True, True]


def test_evaluation_is_the_mean_over_all_tokens_and_leaves_no_trace() -> None:
    model = linear(nn.Dropout(0.5), nn.BatchNorm1d(3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    mean = evaluate(model, squared_error, BATCHES)
    with torch.no_grad():
        x, y, counts = (torch.cat(part) for part in zip(*BATCHES, strict=True))
        expected = (model[2](x / math.sqrt(1 + 1e-5))[:, 0] - y)[counts].square().mean()
    assert mean == pytest.approx(expected.item(), rel=1e-12)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def test_evaluating_changes_nothing_in_the_training() -> None:
    runs = [descent(linear(nn.Dropout(0.5))) for _ in range(2)]
    for run, held_out in zip(runs, (None, BATCHES), strict=True):
        torch.manual_seed(5)
        fit(run, squared_error, lambda epoch: BATCHES, epochs=2, held_out=held_out, every=3)
    assert torch.equal(runs[0].model[1].weight, runs[1].model[1].weight)
    assert [index for index, record in enumerate(runs[1].history, 1) if "held_out_loss" in record] == [3, 6, 9]
    assert not any("held_out_loss" in record for record in runs[0].history)


def test_one_seed_gives_one_training() -> None:
    weights = []
    for seed in (5, 5, 6):
        model = linear(nn.Dropout(0.5))
        torch.manual_seed(seed)
        fit(descent(model), squared_error, lambda epoch: BATCHES, epochs=1)
        weights.append(model[1].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_early_stopping_ends_the_training_and_brings_back_the_best_weights() -> None:
    held_out_losses = [5.0, 4.0, 4.5, 3.0, 3.5, 3.25, 1.0]
    weights: list[Tensor] = []
    scripted = iter(held_out_losses)

    def loss(model: nn.Module, batch: Example) -> tuple[Tensor, Tensor | int]:
        if not model.training:
            weights.append(model[0].weight.detach().clone())
            return torch.tensor(next(scripted)), 1
        return squared_error(model, batch)

    run = descent(linear(), early_stopping=EarlyStopping(patience=2))
    history = fit(run, loss, lambda epoch: BATCHES, epochs=9, held_out=[BATCHES[0]], every=2)
    assert [record["held_out_loss"] for record in history if "held_out_loss" in record] == held_out_losses[:6]
    assert len(history) == 12
    assert (run.epoch, run.batch) == (2, 2)
    assert torch.equal(run.model[0].weight, weights[3])
    assert fit(run, loss, lambda epoch: BATCHES, epochs=9, held_out=[BATCHES[0]], every=2) is history
    assert len(history) == 12  # stopped is stopped


def test_batches_are_asked_for_by_the_number_of_the_epoch_and_those_done_are_passed_over() -> None:
    asked = []
    seen = []

    def batches(epoch: int) -> list[int]:
        asked.append(epoch)
        return list(range(10 * epoch, 10 * epoch + 5))

    def loss(model: nn.Module, batch: int) -> tuple[Tensor, int]:
        seen.append(batch)
        return model(torch.ones(1, 3).double()).sum(), 1

    run = descent(linear(), epoch=1, batch=2)
    fit(run, loss, batches, epochs=3, accumulation=2)
    assert asked == [1, 2]
    assert seen == [12, 13, 14, 20, 21, 22, 23, 24]
    assert (run.epoch, run.batch, len(run.history)) == (3, 0, 5)


def test_processes_that_average_their_gradients_share_one_mean() -> None:
    """The other process has 5 tokens whose losses are 7.0 in sum; its gradient is 0, so the average is half of ours."""
    model = linear()
    start = model[0].weight.detach().numpy()[0].copy()
    others = torch.tensor([7.0, 5.0, 1.0], dtype=torch.float64)
    run = descent(model)

    def averaged(model: nn.Module, batch: Example) -> tuple[Tensor, Tensor]:
        total, tokens = squared_error(model, batch)
        return total.detach() + (total - total.detach()) / 2, tokens

    fit(run, averaged, lambda epoch: BATCHES[:1], epochs=1, sum_over_processes=lambda own: own + others)
    alone, (loss,) = by_hand(start, [BATCHES[:1]], 0.1, 1.0)  # 3 of its examples count
    assert run.history[0]["loss"] == pytest.approx((3 * loss + 7.0) / 8)
    np.testing.assert_allclose(model[0].weight.detach().numpy()[0] - start, 3 / 8 * (alone - start), rtol=1e-12)


def test_processes_that_evaluate_together_share_one_mean() -> None:
    others = torch.tensor([7.0, 5.0, 1.0], dtype=torch.float64)
    run = descent(linear())
    fit(
        run, squared_error, lambda epoch: BATCHES[:1], epochs=1, held_out=BATCHES[:1], every=1,
        sum_over_processes=lambda own: own + others,
    )  # fmt: skip
    alone = evaluate(run.model, squared_error, BATCHES[:1])  # 3 of its examples count
    assert run.history[0]["held_out_loss"] == pytest.approx((3 * alone + 7.0) / 8)


def test_the_history_is_plain_data() -> None:
    history = fit(descent(linear()), squared_error, lambda epoch: BATCHES, epochs=1, held_out=BATCHES, every=2)
    assert json.loads(json.dumps(history)) == history
    assert history[1].keys() == {"update", "epoch", "loss", "learning_rate", "held_out_loss"}


def test_frozen_parameters_and_those_without_influence_stay() -> None:
    model = linear(nn.Linear(3, 3))
    model.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    model[0].requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = TrainingRun(model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1))

    def loss(model: nn.Module, batch: Example) -> tuple[Tensor, Tensor]:
        x, y, counts = batch
        return ((model[1](model[0](x))[:, 0] - y).square() * counts).sum(), counts.sum()

    fit(run, loss, lambda epoch: BATCHES, epochs=1, max_norm=1.0)
    after = model.state_dict()
    assert {name for name, value in before.items() if not torch.equal(value, after[name])} == {"1.weight"}


def test_a_small_transformer_learns_to_copy() -> None:
    torch.manual_seed(0)
    model = Transformer(9, 9, width=16, heads=2, inner_width=32, layers=1, dropout=0.0, tied=True)
    data = torch.randint(1, 9, (64, 5))

    def loss(model: nn.Module, indices: Tensor) -> tuple[Tensor, int]:
        tokens = data[indices]
        logits = model(tokens, F.pad(tokens[:, :-1], (1, 0), value=1))
        return F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="sum"), tokens.numel()

    run = TrainingRun(model, torch.optim.Adam(model.parameters(), lr=0.01))
    history = fit(run, loss, lambda epoch: torch.arange(64).split(16), epochs=20)
    assert history[0]["loss"] > 1.5
    assert history[-1]["loss"] < 0.8


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"), [(Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False)]
)
def test_a_bar_is_shown_on_a_terminal_alone(
    stream: Callable[[], io.StringIO], progress: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    options = {} if progress else {"progress": False}
    fit(descent(linear()), squared_error, lambda epoch: BATCHES, epochs=2, **options)
    text = sys.stderr.getvalue()
    if not shown:
        assert text == ""
        return
    assert ["epoch 1" in text, "epoch 2" in text, "epoch 3" in text] == [True, True, False]
    assert re.search(r" 5/5 .*(batch/s|s/batch), loss=\d+\.\d{4}\b", text)


def test_the_bar_of_a_resumed_epoch_begins_where_the_epoch_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    run = descent(linear())
    run.batch = 3
    fit(run, squared_error, lambda epoch: BATCHES, epochs=1)
    text = sys.stderr.getvalue()
    assert " 3/5 " in text
    assert " 0/5 " not in text


def test_a_missing_tqdm_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"pip install 'transformer-errata\[train\]'"):
        fit(descent(linear()), squared_error, lambda epoch: BATCHES, epochs=1)


def test_checkpoints_are_written_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    positions = []

    def loss(model: nn.Module, batch: Example) -> tuple[Tensor, Tensor]:
        if path.exists():
            saved = descent(linear())
            saved.resume(path)
            positions.append((saved.epoch, saved.batch))
        return squared_error(model, batch)

    run = descent(linear())
    fit(run, loss, lambda epoch: BATCHES, epochs=1, every=2, checkpoint=path)
    assert positions == [(0, 2), (0, 2), (0, 4)]
    run.resume(path)
    assert (run.epoch, run.batch) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"accumulation": 0}, "accumulation must be at least 1, got 0"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"max_norm": -1.0}, r"max_norm must be positive, got -1\.0"),
        ({"held_out": []}, "the loss must count at least 1 token, counted 0"),
        ({"batches": lambda epoch: [examples(0)]}, "the loss must count at least 1 token, counted 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(descent(linear()), squared_error, **{"batches": lambda epoch: BATCHES, "epochs": 1, "every": 1} | arguments)


def test_early_stopping_needs_something_to_watch() -> None:
    run = descent(linear(), early_stopping=EarlyStopping(1))
    with pytest.raises(ValueError, match="held_out must be given for early stopping, got None"):
        fit(run, squared_error, lambda epoch: BATCHES, epochs=1)


def test_an_epoch_without_batches_is_passed_over() -> None:
    counter = itertools.count()
    run = descent(linear())
    fit(run, squared_error, lambda epoch: BATCHES if next(counter) else [], epochs=2)
    assert [record["epoch"] for record in run.history] == [1] * 5


def test_it_evaluates_after_every_hundred_updates_unless_told_otherwise() -> None:
    history = fit(descent(linear()), squared_error, lambda epoch: BATCHES[:1] * 201, epochs=1, held_out=BATCHES[:1])
    assert [record["update"] for record in history if "held_out_loss" in record] == [100, 200]
