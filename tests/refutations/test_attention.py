"""What the statements about attention are measured with."""

import torch

from errata.refutations import attention
from errata.refutations.measure import normal
from reference import attention_with_weights


def test_the_parallel_recurrence_is_the_serial_one() -> None:
    inputs = normal(5, 1)
    serial, parallel = attention.recurrence_with(0.8)
    torch.testing.assert_close(parallel(inputs), serial(inputs))


def test_the_multipliers_of_the_values_are_the_weights() -> None:
    query, key, value = attention.three_inputs()
    _, weights = attention_with_weights(query, key, value)
    torch.testing.assert_close(attention.multipliers(attention.printed_attention, query, key), weights)
