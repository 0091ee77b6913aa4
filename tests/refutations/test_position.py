import pytest
import torch

from errata.refutations import position as shows
from reference import PositionalEncoding, sinusoids


def whatever_came_before(context):
    return torch.full((10,), 0.1)


def code_of_the_word(length):
    return sinusoids(length, shows.WIDTH).expand(length, -1, -1)


def convolution_with_codes(words):
    return shows.convolutional(PositionalEncoding(shows.WIDTH)(words))


def angle_of_each_position(length, width):
    return torch.arange(length)[:, None] / 10000.0 ** (torch.arange(0, width, 2) / width)


TRUE_OF = {
    shows.order_is_invisible_without_positions: shows.with_positions,
    shows.order_matters_with_positions: shows.without_positions,
    shows.words_are_not_independent: whatever_came_before,
    shows.a_word_has_no_relative_position: code_of_the_word,
    shows.recurrence_and_convolution_carry_no_position_code: {"with codes": convolution_with_codes},
    shows.the_printed_angle_is_the_same_at_every_position: (angle_of_each_position,),
}


@pytest.mark.parametrize(("refute", "subject"), TRUE_OF.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refutes_and_would_not_refute_the_truth(refute, subject):
    assert refute().refuted
    assert not refute(subject).refuted
