from datetime import date
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reference.examples.dates import (
    CHARACTERS,
    DATE_END,
    DATE_PADDING,
    FIRST_DAY,
    LAST_DAY,
    SPELLINGS,
    Curve,
    Dates,
    character_ids,
    characters,
    dates_model,
    iso_date_loss,
    plot_curves,
    spelled,
    train_on_dates,
    translated,
)


@pytest.mark.parametrize(
    ("day", "spelling", "text"),
    [
        (date(1998, 3, 5), "{weekday}, {ordinal} of {month} {year}", "Thursday, 5th of March 1998"),
        (date(2001, 11, 1), "{weekday:.3} {month:.3} {ordinal}, {year}", "Thu Nov 1st, 2001"),
        (date(2049, 12, 22), "{month} {ordinal}", "December 22nd"),
        (date(1950, 1, 13), "{month:.3} {ordinal}", "Jan 13th"),
        (date(2000, 2, 3), "{day:02}/{number:02}/{year}", "03/02/2000"),
        (date(2000, 2, 23), "{year}年{number}月{day}日, {ordinal}", "2000年2月23日, 23rd"),
    ],
)
def test_days_are_spelled(day: date, spelling: str, text: str) -> None:
    assert spelled(day, spelling) == text


def test_every_spelling_names_the_whole_day_in_known_characters() -> None:
    for spelling in SPELLINGS:
        texts = {spelled(day, spelling) for day in (FIRST_DAY, LAST_DAY, date(1950, 1, 2), date(1950, 2, 1))}
        assert len(texts) == 4
        assert set("".join(texts)) <= set(CHARACTERS)


def test_ids_come_back_as_characters() -> None:
    texts = ["2000年2月3日", "3.2.2000"]
    ids = character_ids(texts)
    assert ids.shape == (2, 10)
    assert ids[1].tolist().count(DATE_PADDING) == 1
    assert [characters(row) for row in ids] == texts
    with pytest.raises(ValueError, match="got 'é'"):
        character_ids(["é"])


def test_no_day_is_in_training_and_test() -> None:
    dates = Dates.split()
    assert len(dates.test) == 1000
    assert set(dates.test).isdisjoint(dates.training)
    assert len(dates.training) + 1000 == (LAST_DAY - FIRST_DAY).days + 1


def test_batches_follow_from_seed_and_epoch() -> None:
    first, again, later = (Dates.split().batches(epoch, count=2, size=3) for epoch in (0, 0, 1))
    for (source, target), (same_source, same_target) in zip(first, again, strict=True):
        assert torch.equal(source, same_source)
        assert torch.equal(target, same_target)
    assert not torch.equal(first[0][1], later[0][1])
    assert not torch.equal(first[0][1], first[1][1])


class Oracle(nn.Module):
    """Is right, and has a parameter to train."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        labels = torch.nn.functional.pad(target[:, 1:], (0, 1), value=DATE_END)
        return self.weight * 30 * nn.functional.one_hot(labels, 80).float()


def test_the_loss_counts_characters_and_end_tokens_and_is_0_for_who_is_right() -> None:
    loss, tokens = iso_date_loss(Oracle(), Dates.split().batches(0, count=1, size=4)[0])
    assert tokens == 4 * 11
    assert loss < 1e-6


def test_the_curve_is_the_share_of_dates_that_are_right_throughout() -> None:
    dates = Dates(training=(FIRST_DAY,), test=(FIRST_DAY, LAST_DAY), seed=0)
    _, answers = dates.unseen()
    answers[0, 4] += 1
    curve = train_on_dates(Oracle(), lambda source: answers, dates, epochs=2)
    assert curve == Curve(updates=[100, 200], exact=[0.5, 0.5])


def test_a_model_learns_the_days_of_a_week() -> None:
    """A few updates on seven days: enough to see data, loss, training and search fit together."""
    torch.manual_seed(0)
    days = tuple(date(1999, 12, 28 + n) for n in range(4)) + tuple(date(2000, 1, 1 + n) for n in range(3))
    dates, model = Dates(training=days, test=days, seed=0), dates_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for batch in dates.batches(0, count=150, size=16):
        loss, tokens = iso_date_loss(model, batch)
        optimizer.zero_grad()
        (loss / tokens).backward()
        optimizer.step()
    source, target = dates.unseen()
    assert [characters(row) for row in translated(model.eval(), source)] == [characters(row) for row in target]


def test_the_same_curves_give_the_same_picture(tmp_path: Path) -> None:
    curves = {"a": Curve([100, 200], [0.1, 0.9]), "b": Curve([100, 200], [0.0, 0.1])}
    for name in ("one.svg", "two.svg"):
        plot_curves(curves, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    plot_curves(curves, tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"
