import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import causal_mask, combine_masks, hard_mask, padding_mask, padding_mask_from_ids, soft_mask
from reference.masks import may_steer, require_mask

quick = settings(max_examples=25, deadline=None, database=None, derandomize=True)
SCORES = (2, 3, 4, 5)  # B, H, T, S


@quick
@given(st.integers(0, 9))
def test_causal_mask_lets_attend_the_past_and_oneself(length: int) -> None:
    mask = causal_mask(length)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[s <= t for s in range(length)] for t in range(length)]


def test_causal_mask_refuses_a_negative_length() -> None:
    with pytest.raises(ValueError, match="length must be at least 0, got -1"):
        causal_mask(-1)


@quick
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(6, 8), st.sampled_from([torch.uint8, torch.int64])
)
def test_padding_mask_lets_attend_the_first_positions(lengths: list[int], longest: int, dtype: torch.dtype) -> None:
    mask = padding_mask(torch.tensor(lengths, dtype=dtype), longest)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[[[s < length for s in range(longest)]]] for length in lengths]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_padding_mask_takes_every_integer_type_also_for_long_sequences(dtype: torch.dtype) -> None:
    mask = padding_mask(torch.tensor([0, 100], dtype=dtype), 300)
    assert mask.sum(-1).flatten().tolist() == [0, 100]


def test_padding_mask_lies_where_the_lengths_do() -> None:
    lengths = torch.tensor([1, 2])
    with torch.device("meta"):
        assert padding_mask(lengths, 2).tolist() == [[[[True, False]]], [[[True, True]]]]


def test_padding_mask_of_no_positions() -> None:
    assert padding_mask(torch.tensor([0, 0]), 0).shape == (2, 1, 1, 0)
    with pytest.raises(ValueError, match="max_length must be at least 0, got -1"):
        padding_mask(torch.tensor([0]), -1)


@pytest.mark.parametrize("lengths", [[-1, 2], [0, 5]])
def test_padding_mask_refuses_lengths_outside(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"lengths must lie within 0\.\.4, got \[.*\]"):
        padding_mask(torch.tensor(lengths), 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_padding_mask_refuses_lengths_that_are_no_integers(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=f"lengths must be integers, got {dtype}"):
        padding_mask(torch.tensor([1, 1], dtype=dtype), 4)


def test_padding_mask_from_ids_finds_padding_anywhere() -> None:
    mask = padding_mask_from_ids(torch.tensor([[7, 3, 7], [0, 1, 2]]), 7)
    assert mask.tolist() == [[[[False, True, False]]], [[[True, True, True]]]]


def test_combine_masks_is_a_logical_and() -> None:
    causal, padding = causal_mask(3), padding_mask(torch.tensor([1, 3]), 3)
    combined = combine_masks(causal, padding, torch.ones(1, 4, 1, 1, dtype=torch.bool))
    assert combined.shape == (2, 4, 3, 3)
    assert torch.equal(combined[0, 0], causal & torch.tensor([True, False, False]))
    assert torch.equal(combined[1, 3], causal)


def test_combine_masks_leaves_its_arguments_alone() -> None:
    first, second = causal_mask(2), torch.zeros(2, 2, dtype=torch.bool)
    combine_masks(first, second)
    assert first.any()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 2, 2), (2, 1, 2, 2)], "masks of rank 3 and 4 are ambiguous together"),
        ([(2, 2), (3, 3)], r"masks of shape \(2, 2\) and \(3, 3\) do not broadcast"),
    ],
)
def test_combine_masks_refuses(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        combine_masks(*(torch.ones(shape, dtype=torch.bool) for shape in shapes))


@pytest.mark.parametrize("position", [0, 1])
def test_combine_masks_refuses_a_mask_that_is_not_boolean(position: int) -> None:
    masks = [causal_mask(2), causal_mask(2)]
    masks[position] = masks[position].long()
    with pytest.raises(ValueError, match=r"a mask must be boolean, True = may attend, got torch\.int64"):
        combine_masks(*masks)


@pytest.mark.parametrize("shape", [(4, 5), (1, 5), (2, 1, 1, 5), (2, 3, 4, 5), (1, 1, 4, 5)])
def test_require_mask_accepts_what_broadcasts_in_one_way(shape: tuple[int, ...]) -> None:
    require_mask(torch.ones(shape, dtype=torch.bool), SCORES)


@pytest.mark.parametrize("shape", [(5,), (2, 4, 5), (3, 4, 5), (1, 2, 3, 4, 5)])
def test_require_mask_refuses_an_ambiguous_rank_and_names_the_remedy(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"rank {len(shape)} is ambiguous for scores of rank 4.*unsqueeze\(1\)"):
        require_mask(torch.ones(shape, dtype=torch.bool), SCORES)


@pytest.mark.parametrize("shape", [(5, 4), (2, 5), (2, 1, 1, 4), (4, 3, 4, 5)])
def test_require_mask_refuses_a_size_that_does_not_broadcast(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not broadcast to scores"):
        require_mask(torch.ones(shape, dtype=torch.bool), SCORES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_require_mask_refuses_other_dtypes(dtype: torch.dtype) -> None:
    with pytest.raises(
        ValueError, match=f"must be boolean, True = may attend, got {dtype}: give mask != 0 or mask == 0"
    ):
        require_mask(torch.ones(4, 5, dtype=dtype), SCORES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_hard_mask_forbids_where_false(dtype: torch.dtype) -> None:
    scores = torch.randn(2, 3, dtype=dtype)
    kept = scores.clone()
    masked = hard_mask(scores, torch.tensor([[True, False, True]]))
    assert masked.dtype == dtype
    assert torch.equal(masked[:, [0, 2]], kept[:, [0, 2]])
    assert masked[:, 1].tolist() == [-math.inf, -math.inf]
    assert torch.equal(scores, kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_soft_mask_subtracts_where_false(dtype: torch.dtype) -> None:
    scores = torch.randn(2, 3, dtype=dtype)
    masked = soft_mask(scores, torch.tensor([[True, False, True]]), 2.0)
    assert masked.dtype == dtype
    assert torch.equal(masked[:, [0, 2]], scores[:, [0, 2]])
    assert torch.equal(masked[:, 1], scores[:, 1] - 2.0)


def test_soft_mask_divides_the_odds_by_the_exponential_of_the_penalty() -> None:
    scores = torch.randn(1, 2, dtype=torch.float64)
    masked = soft_mask(scores, torch.tensor([[True, False]]), math.log(5))
    before, after = scores.softmax(-1)[0], masked.softmax(-1)[0]
    assert after[1] / after[0] == pytest.approx(before[1] / before[0] / 5)


def test_soft_mask_refuses_a_reward() -> None:
    with pytest.raises(ValueError, match=r"penalty must be at least 0, got -0\.1"):
        soft_mask(torch.zeros(2, 2), causal_mask(2), -0.1)


def test_soft_and_hard_mask_refuse_a_float_mask() -> None:
    with pytest.raises(ValueError, match="must be boolean"):
        hard_mask(torch.zeros(2, 2), torch.ones(2, 2))
    with pytest.raises(ValueError, match="must be boolean"):
        soft_mask(torch.zeros(2, 2), torch.ones(2, 2), 1.0)


def test_only_values_at_hand_may_steer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert may_steer(causal_mask(2))
    assert not may_steer(causal_mask(2, device=torch.device("meta")))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not may_steer(causal_mask(2))
