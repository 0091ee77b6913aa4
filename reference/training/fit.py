"""The training loop."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from reference.extras import require
from reference.training.clipping import clip_gradients
from reference.training.training_run import TrainingRun, UpdateRecord
from reference.validation import require_at_least

Batch = TypeVar("Batch")
SummedLoss: TypeAlias = Callable[[nn.Module, Batch], tuple[Tensor, Tensor | int]]
"""From a model and a batch the **sum** of its tokens' losses, and how many tokens that is; padding is in neither."""

SumOverProcesses: TypeAlias = Callable[[Tensor], Tensor]


def fit(
    run: TrainingRun,
    loss: SummedLoss[Batch],
    batches: Callable[[int], Iterable[Batch]],
    *,
    epochs: int,
    accumulation: int = 1,
    max_norm: float | None = None,
    held_out: Iterable[Batch] | None = None,
    every: int = 100,
    checkpoint: str | Path | None = None,
    sum_over_processes: SumOverProcesses = torch.clone,
    progress: bool = True,
) -> list[UpdateRecord]:
    """Train from where `run` stands to the end of `epochs`, or until its early stopping has seen enough.

    One update follows the gradient of the mean loss over all tokens of `accumulation` batches. Sums and counts are
    added up before they are divided, so it does not matter how the tokens are spread over batches and processes: a
    mean of the batches' means would count a token of a short batch for more.

    Args:
        run: model, optimizer, schedule and early stopping, with the position at which to go on.
        loss: sum of the losses and number of tokens of a batch.
        batches: the batches of an epoch, by its number; see `batch_order`. They must depend on that number alone and
            draw nothing from torch's global generator, or a resumed run would see others.
        epochs: number of passes over the data, those before a resumption included.
        accumulation: batches per update; the last update of an epoch takes what is left.
        max_norm: largest norm of the gradient; a longer one is scaled down.
        held_out: batches to evaluate on.
        every: number of updates between two evaluations, and between two checkpoints.
        checkpoint: file to save the run to; also written at the end.
        sum_over_processes: adds a tensor up over all processes that train together; see `reference.scaling`.
        progress: show a bar for each epoch, if standard error is a terminal.

    Returns:
        The run's history: for each update `update`, `epoch`, `loss`, `learning_rate`, and where it was evaluated
        `held_out_loss`. With early stopping the model has the weights of the best evaluation.

    Raises:
        ValueError: for counts below 1, early stopping without held-out data, and updates without any token.
    """
    require_at_least(1, epochs=epochs, accumulation=accumulation, every=every)
    if run.early_stopping and held_out is None:
        raise ValueError("held_out must be given for early stopping, got None")
    with module_mode(run.model, training=True):
        for group in _groups_ahead(run, batches, epochs, accumulation, progress):
            run.history.append(_update(run, loss, group, max_norm, sum_over_processes))
            if len(run.history) % every == 0:
                _take_stock(run, loss, held_out, checkpoint, sum_over_processes)
    if checkpoint:
        run.save(checkpoint)
    if run.early_stopping:
        run.early_stopping.restore(run.model)
    return run.history


def evaluate(
    model: nn.Module,
    loss: SummedLoss[Batch],
    batches: Iterable[Batch],
    sum_over_processes: SumOverProcesses = torch.clone,
) -> float:
    """Average the loss over all tokens of `batches`: in evaluation mode, and without a trace in the model.

    `ValueError` if there is no token.
    """
    with torch.no_grad(), module_mode(model, training=False):
        losses = [loss(model, batch) for batch in batches]
    mean, _ = _mean_loss(losses, sum_over_processes)
    return mean


@contextmanager
def module_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put the model into training or evaluation mode, and afterwards each of its modules back into its own."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def _update(
    run: TrainingRun,
    loss: SummedLoss[Batch],
    group: list[Batch],
    max_norm: float | None,
    sum_over_processes: SumOverProcesses,
) -> UpdateRecord:
    """One step of the optimizer along the gradient of the mean loss, then one of the schedule."""
    run.optimizer.zero_grad()
    losses = []
    for batch in group:
        total, tokens = loss(run.model, batch)
        total.backward()
        losses.append((total.detach(), tokens))
    mean, scale = _mean_loss(losses, sum_over_processes)
    parameters = [parameter for settings in run.optimizer.param_groups for parameter in settings["params"]]
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(scale)
    if max_norm is not None:
        clip_gradients(parameters, max_norm)
    learning_rate = run.optimizer.param_groups[0]["lr"]
    run.optimizer.step()
    if run.scheduler:
        run.scheduler.step()
    return {"update": len(run.history) + 1, "epoch": run.epoch, "loss": mean, "learning_rate": learning_rate}


def _mean_loss(losses: list[tuple[Tensor, Tensor | int]], sum_over_processes: SumOverProcesses) -> tuple[float, float]:
    """The mean over all tokens of all processes, and the factor that turns the gradient into that of this mean.

    Processes that train together average their gradients (`DistributedDataParallel`, `fully_shard`): times their
    number it is the sum.
    """
    own = [sum(float(total) for total, _ in losses), sum(int(tokens) for _, tokens in losses), 1]
    total, tokens, processes = sum_over_processes(torch.tensor(own, dtype=torch.float64)).tolist()
    if not tokens:
        raise ValueError("the loss must count at least 1 token, counted 0")
    return total / tokens, processes / tokens


def _groups_ahead(
    run: TrainingRun, batches: Callable[[int], Iterable[Batch]], epochs: int, size: int, progress: bool
) -> Iterator[list[Batch]]:
    """What is still to be trained on; the run's position moves past each group as it is handed out."""
    while run.epoch < epochs:
        of_epoch = batches(run.epoch)
        with _progress_bar(run, length_hint(of_epoch) or None, progress) as bar:
            ahead = islice(of_epoch, run.batch, None)
            while group := list(islice(ahead, size)):
                if run.early_stopping and run.early_stopping.stopped:
                    return
                run.batch += len(group)
                yield group
                bar.update(len(group))
                bar.set_postfix(loss=f"{run.history[-1]['loss']:.4f}")
        run.epoch, run.batch = run.epoch + 1, 0


def _progress_bar(run: TrainingRun, batches: int | None, progress: bool) -> Any:
    tqdm = require("tqdm", extra="train").tqdm
    disable = None if progress else True  # None: shown on a terminal only
    return tqdm(desc=f"epoch {run.epoch + 1}", total=batches, initial=run.batch, unit="batch", disable=disable)


def _take_stock(
    run: TrainingRun,
    loss: SummedLoss[Batch],
    held_out: Iterable[Batch] | None,
    checkpoint: str | Path | None,
    sum_over_processes: SumOverProcesses,
) -> None:
    """Evaluate, then save."""
    if held_out is not None:
        held_out_loss = evaluate(run.model, loss, held_out, sum_over_processes)
        run.history[-1]["held_out_loss"] = held_out_loss
        if run.early_stopping:
            run.early_stopping.observe(held_out_loss, run.model)
    if checkpoint:
        run.save(checkpoint)
