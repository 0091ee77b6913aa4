import json
from collections.abc import Callable
from math import cos, pi

import pytest
import torch
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from reference.schedule import cosine_with_restarts, exponential, inverse_time, noam

SCHEDULES = {
    "noam": lambda o: noam(o, 8, 2),
    "exponential": lambda o: exponential(o, 0.9),
    "inverse-time": lambda o: inverse_time(o, 0.9),
    "cosine": lambda o: cosine_with_restarts(o, 3),
    "growing cosine": lambda o: cosine_with_restarts(o, 2, growth=2),
}


def optimizer(lr: float = 1.0) -> Optimizer:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(opt: Optimizer, scheduler: LRScheduler, steps: int) -> list[float]:
    seen = []
    for _ in range(steps):
        seen.append(opt.param_groups[0]["lr"])
        opt.step()
        scheduler.step()
    return seen


def test_noam_is_the_formula_of_the_paper() -> None:
    opt = optimizer()
    expected = [512**-0.5 * min(n**-0.5, n * 4**-1.5) for n in range(1, 13)]
    seen = rates(opt, noam(opt, 512, 4), 12)
    assert seen == pytest.approx(expected, rel=1e-12)
    assert seen.index(max(seen)) == 3  # the peak is at n = warmup


def test_noam_has_the_warmup_of_the_paper_by_default() -> None:
    opt = optimizer()
    noam(opt, 512)
    assert opt.param_groups[0]["lr"] == pytest.approx(512**-0.5 * 4000**-1.5, rel=1e-12)


def test_exponential_has_a_constant_ratio() -> None:
    opt = optimizer(0.001)
    assert rates(opt, exponential(opt, 0.95), 10) == pytest.approx([0.001 * 0.95**n for n in range(10)], rel=1e-12)


def test_exponential_with_rate_one_stays() -> None:
    opt = optimizer(0.001)
    assert rates(opt, exponential(opt, 1.0), 3) == [0.001] * 3


def test_inverse_time_has_a_constant_difference_of_the_inverse() -> None:
    opt = optimizer(0.001)
    expected = [0.001 / (1 + 0.95 * n) for n in range(10)]
    assert rates(opt, inverse_time(opt, 0.95), 10) == pytest.approx(expected, rel=1e-12)


def test_cosine_falls_within_a_period_and_returns_to_the_initial_rate() -> None:
    opt = optimizer(0.5)
    expected = [0.1 + 0.2 * (1 + cos(pi * (n % 4) / 4)) for n in range(10)]
    seen = rates(opt, cosine_with_restarts(opt, 4, lowest=0.1), 10)
    assert seen == pytest.approx(expected, rel=1e-12)
    assert seen[0] == seen[4] == seen[8] == 0.5


def test_periods_grow() -> None:
    opt = optimizer(0.5)
    seen = rates(opt, cosine_with_restarts(opt, 2, growth=3), 27)
    assert [n for n, rate in enumerate(seen) if rate == 0.5] == [0, 2, 8, 26]
    assert seen[2:8] == pytest.approx([0.25 * (1 + cos(pi * k / 6)) for k in range(6)], rel=1e-12)


def test_cosine_may_be_built_in_the_middle_of_a_training() -> None:
    opt = optimizer(0.5)
    rates(opt, cosine_with_restarts(opt, 8, lowest=0.2), 7)
    cosine_with_restarts(opt, 8, lowest=0.4)  # below the initial rate, above the one of now


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("stop", [0, 1, 5, 7])
def test_a_schedule_resumes_from_plain_data_bit_for_bit(schedule: Callable[..., LRScheduler], stop: int) -> None:
    whole = optimizer(0.5)
    expected = rates(whole, schedule(whole), 12)
    first = optimizer(0.5)
    scheduler = schedule(first)
    rates(first, scheduler, stop)
    text = json.dumps(scheduler.state_dict())
    second = optimizer(0.5)
    resumed = schedule(second)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(json.loads(text))
    assert rates(second, resumed, 12 - stop) == expected[stop:]


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_moments_live_on(schedule: Callable[..., LRScheduler]) -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    opt = Adam([weight], lr=0.1)
    scheduler = schedule(opt)
    for _ in range(5):
        weight.grad = torch.ones(1)
        opt.step()
        scheduler.step()
    assert opt.state[weight]["step"] == 5


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_one_optimizer_lives_on_with_all_its_groups(schedule: Callable[..., LRScheduler]) -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.1)]
    opt = SGD(groups)
    scheduler = schedule(opt)
    assert scheduler.optimizer is opt
    opt.step()
    scheduler.step()
    large, small = (group["lr"] for group in opt.param_groups)
    assert small == pytest.approx(large / 10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: noam(o, 0), "width must be at least 1, got 0"),
        (lambda o: noam(o, 8, 0), "warmup must be at least 1, got 0"),
        (lambda o: exponential(o, 0.0), r"decay_rate must be above 0 and at most 1, got 0\.0"),
        (lambda o: exponential(o, 1.1), r"decay_rate must be above 0 and at most 1, got 1\.1"),
        (lambda o: inverse_time(o, -0.5), r"decay_rate must be at least 0, got -0\.5"),
        (lambda o: cosine_with_restarts(o, 0), "period must be at least 1, got 0"),
        (lambda o: cosine_with_restarts(o, 2, growth=0), "growth must be at least 1, got 0"),
        (lambda o: cosine_with_restarts(o, 2, lowest=-0.5), r"lowest must be at least 0, got -0\.5"),
        (lambda o: cosine_with_restarts(o, 2, lowest=1.5), r"lr must be at least 1\.5, got 1\.0"),
    ],
)
def test_bad_arguments(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(optimizer())
