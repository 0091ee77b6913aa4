"""Each refutation holds, and would not for tasks of which the statement is true."""

from collections.abc import Callable
from typing import Any

import pytest

from errata.refutations import Shown, transfer

CASES: list[tuple[Callable[..., Shown], Any]] = [
    (transfer.separate_models_learn_nothing_from_each_other, transfer.shared),
    (transfer.fused_answers_serve_neither_task, transfer.FIRST_TASK),
]


@pytest.mark.parametrize(("measure", "as_stated"), CASES, ids=[measure.__name__ for measure, _ in CASES])
def test_refutes_what_is_false_and_not_what_is_true(measure: Callable[..., Shown], as_stated: Any) -> None:
    assert measure().refuted
    assert not measure(as_stated).refuted
