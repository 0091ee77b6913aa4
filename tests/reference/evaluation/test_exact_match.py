import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.evaluation import exact_matches

END = 3
ROWS = st.lists(st.integers(0, 3), min_size=4, max_size=4)
SHORT_ROWS = st.lists(st.integers(2, 3), min_size=2, max_size=2)


def upto_end(row: list[int]) -> list[int]:
    return row[: row.index(END) + 1] if END in row else row


@given(st.lists(st.tuples(ROWS, SHORT_ROWS), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_equals_a_comparison_of_lists(pairs: list[tuple[list[int], list[int]]]) -> None:
    long, short = ([pair[i] for pair in pairs] for i in (0, 1))
    expected = [upto_end(a) == upto_end(b) for a, b in pairs]
    assert exact_matches(torch.tensor(long), torch.tensor(short), end_id=END).tolist() == expected
    assert exact_matches(torch.tensor(short), torch.tensor(long), end_id=END).tolist() == expected


def test_what_follows_the_end_is_ignored_and_the_end_itself_is_not() -> None:
    label = torch.tensor([[5, 6, END, 0, 0]])
    same, other = [[5, 6, END, 7, 8], [5, 6, END, END, 0]], [[5, 6, 0, 0, 0], [5, END, END, 0, 0], [5, 6, 6, END, 0]]
    assert exact_matches(torch.tensor(same), label.expand(2, -1), end_id=END).all()
    assert not exact_matches(torch.tensor(other), label.expand(3, -1), end_id=END).any()


def test_an_unfinished_prediction_is_no_match_even_if_it_was_cut_right_before_the_end() -> None:
    assert not exact_matches(torch.tensor([[5, 6]]), torch.tensor([[5, 6, END]]), end_id=END).any()
    assert exact_matches(torch.tensor([[5, 6]]), torch.tensor([[5, 6]]), end_id=END).all()


def test_no_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one sequence, got none"):
        exact_matches(torch.zeros(0, 3).long(), torch.zeros(0, 2).long(), end_id=END)
