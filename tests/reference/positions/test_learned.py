import pytest
import torch
from torch import nn

from reference.positions import LearnedPositionalEncoding


def test_row_t_is_added_at_position_t_of_every_sequence() -> None:
    module = LearnedPositionalEncoding(5, length=7)
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(module(x) - x, module.table[:4].expand(3, 4, 5))


def test_equals_the_embedding_of_the_positions_also_in_its_gradient() -> None:
    module, theirs = LearnedPositionalEncoding(5, length=7), nn.Embedding(7, 5)
    with torch.no_grad():
        theirs.weight.copy_(module.table)
    x, cotangent = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    expected = x + theirs(torch.arange(2, 6))
    output = module(x, start=2)
    assert torch.equal(output, expected)
    for answer in (output, expected):
        answer.backward(cotangent)
    torch.testing.assert_close(module.table.grad, theirs.weight.grad)
    assert (module.table.grad[[0, 1, 6]] == 0).all()


@pytest.mark.parametrize("split", range(5))
def test_start_continues_a_sequence(split: int) -> None:
    module = LearnedPositionalEncoding(5, length=4)
    x = torch.randn(2, 4, 5)
    parts = module(x[:, :split]), module(x[:, split:], start=split)
    assert torch.equal(torch.cat(parts, dim=1), module(x))


def test_the_whole_table_may_be_used_and_no_more() -> None:
    module = LearnedPositionalEncoding(5, length=4)
    assert module(torch.zeros(1, 4, 5)).shape == (1, 4, 5)
    for length, start in ((5, 0), (1, 4), (4, 1)):
        with pytest.raises(ValueError, match=r"length 5 goes beyond the learned table, which has length 4"):
            module(torch.zeros(1, length, 5), start=start)
    with pytest.raises(ValueError, match="start must be at least 0, got -1"):
        module(torch.zeros(1, 1, 5), start=-1)


def test_it_starts_small_and_different_everywhere() -> None:
    table = LearnedPositionalEncoding(64, length=64).table
    assert 0.018 < table.std() < 0.022
    assert len(set(table.flatten().tolist())) > 4000


def test_dropout_acts_on_the_sum_in_training_only() -> None:
    module = LearnedPositionalEncoding(40, 0.5, length=20)
    x = torch.full((1, 20, 40), 9.0)
    assert 0.3 < (module(x) == 0).double().mean() < 0.7
    assert torch.equal(module.eval()(x), x + module.table)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"width": 4, "length": 0}, "length must be at least 1, got 0"),
        ({"width": 4, "dropout": 2.0}, "dropout must be a probability"),
    ],
)
def test_bad_arguments(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearnedPositionalEncoding(**arguments)


def test_without_a_length_it_is_that_of_bert() -> None:
    """Devlin et al. 2019, appendix A.2: sequences of up to 512 tokens."""
    assert LearnedPositionalEncoding(4).table.shape == (512, 4)
