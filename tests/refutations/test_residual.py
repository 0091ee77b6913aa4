import operator

import pytest

from errata.refutations import residual as shows
from reference import ResidualSublayer


def last_layer_first(layers, x):
    return shows.in_order(layers[::-1], x)


def with_residual_connections(x, attend, transform):
    first, second = (ResidualSublayer(shows.WIDTH).double() for _ in range(2))
    return second(first(x, attend), transform)


TRUE_OF = {
    shows.gradients_flow_to_earlier_layers: last_layer_first,
    shows.post_norm_transforms_what_is_passed_on: True,
    shows.the_printed_sum_forgets_its_input: operator.add,
    shows.the_printed_model_has_no_residual_path: with_residual_connections,
}


@pytest.mark.parametrize(("refute", "subject"), TRUE_OF.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refutes_and_would_not_refute_the_truth(refute, subject):
    assert refute().refuted
    assert not refute(subject).refuted
