"""Weights in other shapes: watched once, then read and written."""

import pytest
import torch
from torch import nn

from errata.candidates.weights import find
from errata.errors import ErrataError

SHAPES = {"first.weight": (2, 3), "first.bias": (2,), "second.weight": (2, 3)}


class Packed(nn.Module):
    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.both = nn.Parameter(torch.zeros(3, 4))  # transposed, side by side
        self.shift = nn.Parameter(torch.zeros(2)) if bias else None


def pack(module: Packed, weights) -> None:
    module.both.copy_(torch.cat([weights["first.weight"], weights["second.weight"]]).T)
    if module.shift is not None:
        module.shift.copy_(weights["first.bias"])


def own(module: nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.state_dict())


def test_packed_and_transposed_numbers_are_found_read_and_written() -> None:
    module = Packed()
    places = find(module, SHAPES, pack)
    second = torch.arange(6.0).reshape(2, 3)
    with torch.no_grad():
        places.write(own(module), {"second.weight": second})
    assert torch.equal(module.both, torch.cat([torch.zeros(2, 3), second]).T)
    assert torch.equal(places.read(own(module))["second.weight"], second)
    assert set(places.read(own(module))) == set(SHAPES)


def test_the_module_itself_is_left_as_it_was() -> None:
    module = Packed()
    find(module, SHAPES, pack)
    assert not module.both.any()


def test_a_bias_that_is_put_nowhere_is_absent() -> None:
    assert "first.bias" not in find(Packed(bias=False), SHAPES, pack).index


def test_one_matrix_a_head() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleList(nn.Linear(3, 1, bias=False) for _ in range(2))

    def split(module: Heads, weights) -> None:
        for head, row in zip(module.heads, weights["query.weight"], strict=True):
            head.weight.copy_(row[None])

    module = Heads()
    places = find(module, {"query.weight": (2, 3)}, split)
    assert torch.equal(places.read(own(module))["query.weight"], torch.cat([head.weight for head in module.heads]))


def test_numbers_of_one_head_without_a_gradient_are_missing() -> None:
    places = find(Packed(), SHAPES, pack)
    assert places.read({"shift": torch.zeros(2)}) == {}


def test_tied_tensors_are_written_once() -> None:
    module = Packed()
    module.again = module.both
    places = find(module, SHAPES, pack)
    with torch.no_grad():
        places.write(own(module), {"first.weight": torch.ones(2, 3)})
    assert torch.equal(module.both[:, :2], torch.ones(3, 2))


def test_buffers_keep_their_own_names() -> None:
    module = Packed()
    module.register_buffer("table", torch.ones(2))
    places = find(module, SHAPES, pack)
    assert torch.equal(places.read(own(module))["table"], torch.ones(2))
    with torch.no_grad():
        places.write(own(module), {"table": torch.zeros(2)})
    assert not module.table.any()


def test_a_parameter_that_is_left_out_is_an_error() -> None:
    module = Packed()
    module.forgotten = nn.Parameter(torch.zeros(1))
    with pytest.raises(ErrataError, match="left forgotten of the module as it was"):
        find(module, SHAPES, pack)


def test_numbers_that_are_changed_on_the_way_are_an_error() -> None:
    def halved(module: Packed, weights) -> None:
        pack(module, weights | {"second.weight": weights["second.weight"] / 2**10})

    with pytest.raises(ErrataError, match=r"second\.weight of shape \(2, 3\), and 6 of its 6 numbers are nowhere"):
        find(Packed(), SHAPES, halved)


@pytest.mark.parametrize(
    ("state", "error"),
    [({"third": torch.ones(1)}, KeyError), ({"first.bias": torch.ones(3)}, ValueError)],
)
def test_a_state_that_does_not_fit_is_refused(state, error: type[Exception]) -> None:
    module = Packed()
    with pytest.raises(error), torch.no_grad():
        find(module, SHAPES, pack).write(own(module), state)
