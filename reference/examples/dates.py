"""Human dates to ISO dates, character by character: "Thursday, 5th of March 1998" to "1998-03-05".

    python -m reference.examples.dates --plot dates.svg

trains a small Transformer in a minute or two on a CPU. The task is small, but it asks for all that the architecture
has: the order of characters, attention across the sequence, and a target whose parts stand elsewhere in the source. No
day of the test set occurs in training, in any spelling.
"""

import argparse
import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.decoding.greedy import greedy_search
from reference.decoding.scorer import CachedTransformer
from reference.evaluation.exact_match import exact_matches
from reference.extras import require
from reference.schedule import cosine_with_restarts
from reference.training.fit import fit
from reference.training.loss import sequence_cross_entropy
from reference.training.optimizers import adam
from reference.training.teacher_forcing import teacher_forcing
from reference.training.training_run import TrainingRun
from reference.transformer import Transformer

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Numbers alone come day first: a reader could not tell them apart otherwise.
SPELLINGS = (
    "{day} {month} {year}",
    "{month} {day}, {year}",
    "{month:.3} {day} {year}",
    "{day}-{month:.3}-{year}",
    "{weekday}, {ordinal} of {month} {year}",
    "{weekday:.3} {month:.3} {ordinal}, {year}",
    "{year} {month} {day}",
    "{day:02}/{number:02}/{year}",
    "{day}.{number}.{year}",
    "{year}年{number}月{day}日",
)
FIRST_DAY, LAST_DAY = date(1950, 1, 1), date(2049, 12, 31)

DATE_PADDING, DATE_START, DATE_END = 0, 1, 2
CHARACTERS = string.ascii_letters + string.digits + " ,.-/年月日"
DATE_VOCABULARY = 3 + len(CHARACTERS)
BATCHES_PER_EPOCH = 100
ISO_LENGTH = len("1998-03-05") + 1  # with the end token

DateBatch: TypeAlias = tuple[Int[Tensor, "B S"], Int[Tensor, "B T"]]


def spelled(day: date, spelling: str) -> str:
    """Write a day in one of the `SPELLINGS`."""
    suffix = "th" if day.day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    return spelling.format(
        day=day.day,
        ordinal=f"{day.day}{suffix}",
        month=MONTHS[day.month - 1],
        number=day.month,
        weekday=WEEKDAYS[day.weekday()],
        year=day.year,
    )


def character_ids(texts: Sequence[str]) -> Int[Tensor, "B S"]:
    """Turn each text into ids with an end token, padded to the longest; `ValueError` for an unknown character."""
    if unknown := sorted(set("".join(texts)) - set(CHARACTERS)):
        raise ValueError(f"texts may hold {CHARACTERS!r}, got {''.join(unknown)!r}")
    rows = [torch.tensor([*(3 + CHARACTERS.index(c) for c in text), DATE_END]) for text in texts]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=DATE_PADDING)


def characters(ids: Int[Tensor, "T"]) -> str:
    """Read ids up to the end token."""
    until_end = ids.tolist()
    until_end = until_end[: until_end.index(DATE_END)] if DATE_END in until_end else until_end
    return "".join(CHARACTERS[id - 3] if id >= 3 else "?" for id in until_end)


@dataclass(frozen=True)
class Dates:
    """Days to train on and days to test on, without an overlap."""

    training: tuple[date, ...]
    test: tuple[date, ...]
    seed: int

    @classmethod
    def split(cls, *, test: int = 1000, seed: int = 0) -> "Dates":
        """Put `test` days aside, chosen by `seed`."""
        days = [FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]
        random.Random(seed).shuffle(days)
        return cls(tuple(days[test:]), tuple(days[:test]), seed)

    def batches(self, epoch: int, *, count: int = BATCHES_PER_EPOCH, size: int = 128) -> list[DateBatch]:
        """Draw the batches of an epoch; the same epoch gives the same ones."""
        draw = random.Random(f"{self.seed}/{epoch}")
        return [self._batch(draw, draw.choices(self.training, k=size)) for _ in range(count)]

    def unseen(self) -> DateBatch:
        """Spell each test day once."""
        return self._batch(random.Random(f"{self.seed}/test"), self.test)

    def _batch(self, draw: random.Random, days: Sequence[date]) -> DateBatch:
        sources = [spelled(day, draw.choice(SPELLINGS)) for day in days]
        return character_ids(sources), character_ids([day.isoformat() for day in days])


@dataclass(frozen=True)
class Curve:
    """What training came to: the share of unseen dates that are right in every character, by number of updates."""

    updates: list[int]
    exact: list[float]


def dates_model() -> Transformer:
    """Build the small model: two layers of each kind, width 64."""
    return Transformer(
        DATE_VOCABULARY,
        DATE_VOCABULARY,
        width=64,
        heads=4,
        inner_width=256,
        layers=2,
        dropout=0.0,  # new spellings are drawn for every epoch: there is nothing to overfit
        pre_norm=True,
        tied=True,
        padding_id=DATE_PADDING,
    )


def iso_date_loss(model: nn.Module, batch: DateBatch) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Sum the cross-entropies of the characters of the ISO dates, and count them."""
    source, target = batch
    inputs, labels = teacher_forcing(target, DATE_START, DATE_PADDING)
    loss = sequence_cross_entropy(model(source, inputs), labels, padding_id=DATE_PADDING, reduction="sum")
    return loss, (labels != DATE_PADDING).sum()


def translated(model: Transformer, source: Int[Tensor, "B S"]) -> Int[Tensor, "B T"]:
    """Write the ISO dates by greedy search."""
    start = torch.full((len(source),), DATE_START)
    scorer = CachedTransformer(model, source)
    return greedy_search(scorer, start, end_id=DATE_END, padding_id=DATE_PADDING, max_length=ISO_LENGTH)


def train_on_dates(
    model: nn.Module, translate: Callable[[Int[Tensor, "B S"]], Int[Tensor, "B T"]], dates: Dates, *, epochs: int = 10
) -> Curve:
    """Train `model(source, target) -> logits` and after each epoch let `translate` write the unseen dates."""
    optimizer = adam(model.parameters(), lr=3e-3)
    # One period, so without a restart: the rate falls to 0 with the last update.
    run = TrainingRun(model, optimizer, cosine_with_restarts(optimizer, epochs * BATCHES_PER_EPOCH))
    source, target = dates.unseen()
    curve = Curve([], [])
    for epoch in range(1, epochs + 1):
        fit(run, iso_date_loss, dates.batches, epochs=epoch, max_norm=1.0)
        model.eval()
        matches = exact_matches(translate(source), target, end_id=DATE_END)
        curve.updates.append(len(run.history))
        curve.exact.append(matches.double().mean().item())
    return curve


def plot_curves(curves: Mapping[str, Curve], path: Path) -> None:
    """Draw exact match by updates, one line a model; the same curves give the same bytes."""
    matplotlib = require("matplotlib", extra="train")
    pyplot = require("matplotlib.pyplot", extra="train")
    with matplotlib.rc_context({"svg.hashsalt": "dates", "svg.fonttype": "none", "figure.figsize": (7, 3.5)}):
        figure, axes = pyplot.subplots(layout="constrained")
        for name, curve in curves.items():
            axes.plot(curve.updates, [100 * share for share in curve.exact], marker="o", label=name)
        axes.set(title="Human dates to ISO dates", xlabel="updates", ylabel="unseen dates right, %", ylim=(-3, 103))
        axes.legend(loc="center right")
        axes.grid(alpha=0.3)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)


def main() -> None:
    """Train, say how many unseen dates are right, and show a few."""
    parser = argparse.ArgumentParser(description="Train a Transformer to write human dates as ISO dates.")
    parser.add_argument("--epochs", type=int, default=10, help="of 100 batches of 128 dates (default %(default)s)")
    parser.add_argument("--plot", type=Path, help="file for the curve, e.g. dates.svg")
    options = parser.parse_args()
    torch.manual_seed(0)
    dates, model = Dates.split(), dates_model()
    curve = train_on_dates(model, partial(translated, model), dates, epochs=options.epochs)
    source, _ = dates.unseen()
    for text, iso in zip(source[:8], translated(model, source[:8]), strict=True):
        print(f"{characters(text):>35}  {characters(iso)}")
    print(f"{curve.exact[-1]:.1%} of {len(source)} unseen dates are right in every character")
    if options.plot:
        plot_curves({"reference": curve}, options.plot)


if __name__ == "__main__":
    main()
