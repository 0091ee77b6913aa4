import pytest
import torch

from reference.cache import DecoderLayerCache, DecodingState, GrowingTensor, KeyValueCache


@pytest.mark.parametrize("chunks", [[1] * 9, [9], [2, 5, 2], [4, 1, 4]])
def test_what_was_appended_comes_back_in_order(chunks: list[int]) -> None:
    whole = torch.randn(2, 3, 9, 4)
    cache, end = KeyValueCache(room=2), 0
    for keys in whole.split(chunks, dim=2):
        end += keys.shape[2]
        seen_keys, seen_values = cache.append(keys, -keys)
        assert torch.equal(seen_keys, whole[:, :, :end])
        assert torch.equal(seen_values, -whole[:, :, :end])
        assert cache.length == end


def test_room_doubles_so_that_an_append_copies_its_own_positions_only() -> None:
    growing, places = GrowingTensor(axis=1, room=4), []
    for _ in range(64):
        growing.append(torch.zeros(2, 1))
        places.append(growing.append(torch.zeros(2, 0)).data_ptr())
    moves = [n + 1 for n in range(1, 64) if places[n] != places[n - 1]]
    assert moves == [5, 9, 17, 33]


@pytest.mark.parametrize(("options", "room"), [({}, 64), ({"room": 3}, 3)], ids=["default", "given"])
def test_the_first_room_is_as_asked_for(options: dict[str, int], room: int) -> None:
    one = torch.zeros(1, 1, 1, 1)
    for seen in (GrowingTensor(axis=2, **options).append(one), *KeyValueCache(**options).append(one, one)):
        assert seen.untyped_storage().nbytes() == room * one.element_size()


def test_room_for_a_chunk_that_is_longer_than_twice_the_room() -> None:
    growing = GrowingTensor(axis=0, room=2)
    growing.append(torch.ones(1))
    assert torch.equal(growing.append(torch.arange(9.0)), torch.tensor([1.0, *range(9)]))


def test_selected_rows_go_on_with_their_own_past() -> None:
    cache = KeyValueCache(room=2)
    past, new = torch.randn(3, 1, 3, 2), torch.randn(4, 1, 2, 2)
    cache.append(past, past)
    rows = torch.tensor([2, 0, 0, 1])
    cache.select(rows)
    keys, values = cache.append(new, -new)
    assert torch.equal(keys, torch.cat([past[rows], new], dim=2))
    assert torch.equal(values, torch.cat([past[rows], -new], dim=2))


def test_nothing_can_be_selected_before_the_first_append() -> None:
    cache = KeyValueCache()
    cache.select(torch.tensor([1, 0]))
    assert cache.length == 0


def test_a_state_selects_sources_and_targets_and_reorders_targets_alone() -> None:
    memory, past = torch.arange(2.0).view(2, 1, 1, 1), torch.arange(2.0).view(2, 1, 1, 1)
    state = DecodingState([DecoderLayerCache(memory, memory)], torch.tensor([[[[True]]], [[[False]]]]))
    state.layers[0].past.append(past, past)
    state.target_mask.append(torch.tensor([[[[True]]], [[[False]]]]))
    state.reorder(torch.tensor([1, 0]))
    assert state.layers[0].memory_keys.flatten().tolist() == [0, 1]
    assert state.source_mask.flatten().tolist() == [True, False]
    assert state.layers[0].past.append(past, past)[0].flatten().tolist() == [1, 0, 0, 1]
    state.select(torch.tensor([1, 1, 0]))
    assert state.layers[0].memory_keys.flatten().tolist() == [1, 1, 0]
    assert state.layers[0].memory_values.flatten().tolist() == [1, 1, 0]
    assert state.source_mask.flatten().tolist() == [False, False, True]
    assert state.length == 1


@pytest.mark.parametrize("shape", [(1, 3, 1, 4), (2, 1, 1, 4), (2, 3, 1, 1)])
def test_another_shape_than_before_is_refused_and_never_broadcast(shape: tuple[int, ...]) -> None:
    growing = GrowingTensor(axis=2)
    growing.append(torch.zeros(2, 3, 1, 4))
    with pytest.raises(ValueError, match=r"new must have the shape \(2, 3, 1, 4\) to go on, got"):
        growing.append(torch.zeros(shape))
    assert growing.length == 1


def test_bad_room() -> None:
    with pytest.raises(ValueError, match="room must be at least 1, got 0"):
        KeyValueCache(room=0)
