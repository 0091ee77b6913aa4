import torch

from errata.checks.models import TextCase, every_split, labels


def test_every_split_is_there_once() -> None:
    splits = [tuple(split.tolist()) for split in every_split(4)]
    assert sorted(splits) == [
        (1, 1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 3), (2, 1, 1), (2, 2), (3, 1), (4,),
    ]  # fmt: skip


def test_variations_change_one_token_each() -> None:
    text, *others = TextCase(length=4, vocabulary=7).variations()
    assert torch.equal(torch.stack(others) != text, torch.eye(4, dtype=torch.bool))
    assert min(token.min() for token in others) > 0


def test_padding_stands_on_its_side_and_leaves_a_token() -> None:
    for seed in range(20):
        case = TextCase(seed=seed, batch=3, length=4)
        right, left = case.real("right"), case.real("left")
        assert torch.equal(left.flip(1), right)
        assert right[:, 0].all()
        assert not right[:, -1].any()
        assert (right.int().diff(dim=1) <= 0).all()


def test_the_first_label_of_each_text_counts() -> None:
    for seed in range(20):
        drawn = labels(TextCase(seed=seed), 3, 4, some_ignored=True)
        assert (drawn[:, 0] > 0).all()
        assert ((drawn == -100) | (drawn > 0)).all()
