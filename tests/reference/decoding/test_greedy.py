from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reference import Transformer
from reference.decoding import CachedTransformer, greedy_search

PADDING, END, START = 0, 1, 2
IDS = {"end_id": END, "padding_id": PADDING}


def chain(*ids: int, vocabulary: int = 6) -> Tensor:
    """Logits under which each step prefers one id, whatever came before."""
    return torch.nn.functional.one_hot(torch.tensor(ids), vocabulary).double()[:, None].expand(-1, vocabulary, -1)


def test_follows_the_most_probable_ids_to_the_end_and_then_pads(table: type) -> None:
    logits = torch.stack([chain(3, 4, END, 5, 5), chain(END, 4, 4, 5, 5), chain(5, 5, 3, END, 5)])
    found = greedy_search(table(logits), torch.full((3,), START), **IDS, max_length=5)
    assert found.tolist() == [[3, 4, END, 0], [END, 0, 0, 0], [5, 5, 3, END]]


def test_each_step_sees_the_ids_just_chosen(table: type) -> None:
    model = table(torch.stack([chain(3, 4, 5), chain(END, 5, 5)]))
    greedy_search(model, torch.tensor([START, 4]), **IDS, max_length=3)
    assert [ids.tolist() for ids in model.asked] == [[START, 4], [3, END], [4, PADDING]]


def test_stops_when_all_have_ended(table: type) -> None:
    model = table(chain(3, END, 5, 5)[None])
    greedy_search(model, torch.tensor([START]), **IDS, max_length=4)
    assert len(model.asked) == 2


def test_every_sequence_has_its_own_greatest_length(table: type) -> None:
    logits = torch.stack([chain(3, 3, 3, 3), chain(4, 4, 4, 4), chain(5, END, 5, 5)])
    limits = torch.tensor([1, 3, 4])
    found = greedy_search(table(logits), torch.full((3,), START), **IDS, max_length=limits)
    assert found.tolist() == [[3, 0, 0], [4, 4, 4], [5, END, 0]]


def test_of_equals_the_lowest_id_wins(table: type) -> None:
    logits = torch.zeros(1, 2, 6, 6)
    logits[..., :3] = -1
    assert greedy_search(table(logits), torch.tensor([START]), **IDS, max_length=2).tolist() == [[3, 3]]


def test_equals_greedy_search_without_a_cache(small: Callable[..., Transformer], source: Tensor) -> None:
    model = small()
    found = greedy_search(CachedTransformer(model, source), torch.full((3,), START), **IDS, max_length=12)
    for n in range(3):
        ids = [START]
        while len(ids) < 13 and ids[-1] != END:
            ids.append(int(model(source[n : n + 1], torch.tensor([ids]))[0, -1].argmax()))
        assert found[n].tolist() == ids[1:] + [PADDING] * (found.shape[1] - len(ids) + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end_id": 6}, r"end_id must lie within 0\.\.5"),
        ({"padding_id": -1}, r"padding_id must lie within 0\.\.5"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
    ],
)
def test_bad_arguments(table: type, change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        greedy_search(table(chain(3, 3)[None]), torch.tensor([START]), **({"max_length": 2} | IDS | change))


def test_a_start_outside_the_vocabulary_is_refused(small: Callable[..., Transformer], source: Tensor) -> None:
    with pytest.raises(ValueError, match=r"ids must lie within 0\.\.12, got 13\.\.13"):
        greedy_search(CachedTransformer(small(), source), torch.full((3,), 13), **IDS, max_length=2)


def test_nothing_to_follow_gives_nothing(table: type) -> None:
    found = greedy_search(table(torch.zeros(0, 2, 6, 6)), torch.zeros(0, dtype=torch.long), **IDS, max_length=2)
    assert found.shape == (0, 0)
