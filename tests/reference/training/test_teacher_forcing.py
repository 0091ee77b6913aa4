import pytest
import torch

from reference import Transformer
from reference.training.teacher_forcing import shift_right, teacher_forcing

PADDING, START, END = 0, 1, 2
TARGET = torch.tensor([[5, 6, 7, END], [8, END, PADDING, PADDING], [END, PADDING, PADDING, PADDING]])


def test_inputs_are_the_labels_one_position_later() -> None:
    inputs, labels = teacher_forcing(TARGET, START, PADDING)
    assert labels.equal(TARGET)
    assert inputs.tolist() == [[START, 5, 6, 7], [START, 8, END, PADDING], [START, END, PADDING, PADDING]]
    assert inputs.dtype == TARGET.dtype


def test_shift_right_leaves_its_argument_alone() -> None:
    before = TARGET.clone()
    shift_right(TARGET, START)
    assert TARGET.equal(before)


def test_a_single_position_leaves_the_start_alone() -> None:
    assert shift_right(torch.tensor([[END], [7]]), START).tolist() == [[START], [START]]


def test_no_position_of_the_decoder_sees_its_own_label() -> None:
    """Change the label of position t: the logits up to t stay as they are, in the model that is trained with it."""
    model = Transformer(10, 10, width=8, heads=2, inner_width=16, layers=1, dropout=0.0).eval()
    source = torch.tensor([[3, 4]])
    before = model(source, shift_right(TARGET[:1], START))
    for position in range(4):
        changed = TARGET[:1].clone()
        changed[0, position] = 9
        after = model(source, shift_right(changed, START))
        assert after[:, : position + 1].equal(before[:, : position + 1])
        assert position == 3 or not after[:, position + 1].equal(before[:, position + 1])


@pytest.mark.parametrize(
    ("target", "start", "message"),
    [
        (torch.empty(2, 0, dtype=torch.long), START, r"target must hold at least one token .* got shape \(2, 0\)"),
        (
            torch.tensor([[5, END], [PADDING, PADDING]]),
            START,
            r"padding on the right, got padding 0 .* sequences \[1\]",
        ),
        (torch.tensor([[PADDING, END], [5, END]]), START, r"padding on the right, got padding 0 .* sequences \[0\]"),
        (TARGET, PADDING, "start_id and padding_id must differ, got 0 for both"),
    ],
    ids=["no positions", "padding alone", "padding on the left", "start is padding"],
)
def test_bad_arguments(target: torch.Tensor, start: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        teacher_forcing(target, start, PADDING)
