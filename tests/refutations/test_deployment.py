"""Each refutation holds, and would not for a method of which the statement is true."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from errata.refutations import Shown, deployment
from reference import FeedForward

CASES: list[tuple[Callable[..., Shown], Any]] = [
    (deployment.torchscript_is_deprecated, lambda module: module),
    (deployment.zeroed_weights_cost_as_much, lambda network: FeedForward(16, 32)),
    (deployment.sparsity_is_what_weight_pruning_leaves, torch.zeros_like),
    (deployment.keeping_the_numbers_compresses_nothing, deployment.to_int8),
]


@pytest.mark.parametrize(("measure", "as_stated"), CASES, ids=[measure.__name__ for measure, _ in CASES])
def test_refutes_what_is_false_and_not_what_is_true(measure: Callable[..., Shown], as_stated: Any) -> None:
    assert measure().refuted
    assert not measure(as_stated).refuted
