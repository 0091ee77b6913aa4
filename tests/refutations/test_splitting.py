"""Each refutation holds, and would not for an attention or a code of which the statement is true."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from errata.refutations import Shown, splitting
from errata.refutations.models import WIDTH


def cheaper_with_more_heads(x, heads):
    return torch.zeros(x.shape[1] ** 2 // heads)


def each_half_by_itself(module, x):
    return torch.cat([module(part, part, part) for part in x.chunk(2, dim=1)], dim=1)


class Decomposed(nn.Module):
    """Projections that are products of thinner matrices when there are several heads."""

    def __init__(self, width, heads):
        super().__init__()
        for name in ("query", "key", "value", "output"):
            self.add_module(
                name, nn.Sequential(nn.Linear(width, width // heads), nn.Linear(width // heads, width)).double()
            )


def one_head_everywhere():
    return nn.ModuleList([splitting._attention(WIDTH, 1)])


def only_the_distance(length):
    positions = torch.arange(length)
    return (positions - positions[:, None]).double()


CASES: list[tuple[Callable[..., Shown], Any]] = [
    (splitting.more_heads_make_long_sequences_dearer, cheaper_with_more_heads),
    (splitting.heads_are_joined_along_the_features, each_half_by_itself),
    (splitting.splitting_into_heads_decomposes_no_matrix, Decomposed),
    (splitting.no_attention_of_the_model_has_a_single_head, one_head_everywhere),
    (splitting.the_weighted_sum_comes_after_the_weights, lambda module, x: module.with_weights(x, x, x)[1]),
    (splitting.added_codes_tell_the_absolute_place, only_the_distance),
    (splitting.codes_of_places_bring_no_length_with_them, splitting._without_codes),
]


@pytest.mark.parametrize(("measure", "as_stated"), CASES, ids=[measure.__name__ for measure, _ in CASES])
def test_refutes_what_is_false_and_not_what_is_true(measure: Callable[..., Shown], as_stated: Any) -> None:
    assert measure().refuted
    assert not measure(as_stated).refuted
