import pytest
import torch
from torch.optim import SGD, Optimizer

from reference import exponential, inverse_time, noam


def optimizer(lr: float = 1.0) -> Optimizer:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(opt: Optimizer, scheduler: torch.optim.lr_scheduler.LambdaLR, steps: int) -> list[float]:
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


def test_inverse_time_has_a_constant_difference_of_the_inverse() -> None:
    opt = optimizer(0.001)
    expected = [0.001 / (1 + 0.95 * n) for n in range(10)]
    assert rates(opt, inverse_time(opt, 0.95), 10) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "schedule", [lambda o: noam(o, 8, 2), lambda o: exponential(o, 0.9), lambda o: inverse_time(o, 0.9)]
)
def test_one_optimizer_lives_on_with_all_its_groups(schedule: object) -> None:
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
    ],
)
def test_bad_arguments(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(optimizer())
