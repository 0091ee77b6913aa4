"""Each refutation holds, and would not for a wiring of which the statement is true."""

from collections.abc import Callable
from typing import Any

import pytest

from errata.refutations import Shown, wiring

CASES: list[tuple[Callable[..., Shown], Any]] = [
    (wiring.shortcuts_do_not_tame_growing_gradients, lambda x, branch: (x + branch) / 2),
    (wiring.each_sublayer_has_its_own_shortcut, wiring.one_shortcut),
    (wiring.a_residual_branch_learns_the_difference, wiring.plain),
    (wiring.layer_norm_does_not_strengthen_gradients, lambda normed, depth: 1.0 if normed else 0.5**depth),
    (wiring.norming_the_shortcut_is_neither_order, wiring.post_norm),
    (wiring.norming_the_shortcut_is_neither_order, wiring.pre_norm),
    (wiring.layer_norm_forgets_mean_and_scale, lambda x: x),
    (wiring.the_printed_formula_has_no_sublayer, lambda x, branch: branch(x)),
]


@pytest.mark.parametrize(("measure", "as_stated"), CASES, ids=[measure.__name__ for measure, _ in CASES])
def test_refutes_what_is_false_and_not_what_is_true(measure: Callable[..., Shown], as_stated: Any) -> None:
    assert measure().refuted
    assert not measure(as_stated).refuted
