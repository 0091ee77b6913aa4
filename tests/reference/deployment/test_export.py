from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reference import Transformer
from reference.deployment import export_decoder, export_encoder, export_model

LONGEST = 600
SIZES = [(2, 3, 4), (1, 1, 1), (3, 9, 7), (5, 4, 4), (2, LONGEST, 5), (2, 5, LONGEST)]

Graphs = dict[str, Callable[..., Tensor]]


@pytest.fixture(scope="module")
def graphs(exported: Path) -> Graphs:
    return {file.stem: torch.export.load(file).module() for file in exported.glob("*.pt2")}


def ids(batch: int, length: int, vocabulary: int = 11) -> Tensor:
    """Random ids with padding, 0, among them."""
    return torch.randint(0, vocabulary, (batch, length))


@pytest.mark.parametrize(("batch", "s", "t"), SIZES)
def test_a_loaded_graph_equals_the_model_at_other_sizes(
    graphs: Graphs, model: Transformer, batch: int, s: int, t: int
) -> None:
    source, target = ids(batch, s), ids(batch, t)
    expected = model(source, target)
    torch.testing.assert_close(graphs["export_model"](source, target), expected, rtol=0, atol=1e-6)
    memory = graphs["export_encoder"](source)
    torch.testing.assert_close(graphs["export_decoder"](target, memory, source), expected, rtol=0, atol=1e-6)


def test_a_source_of_padding_alone(graphs: Graphs, model: Transformer) -> None:
    source, target = torch.zeros(2, 5, dtype=torch.long), ids(2, 3)
    source[0, 2] = 4
    actual = graphs["export_model"](source, target)
    assert actual.isfinite().all()
    torch.testing.assert_close(actual, model(source, target), rtol=0, atol=1e-6)


def test_longer_input_is_refused(graphs: Graphs) -> None:
    with pytest.raises(AssertionError, match=rf"source\.size\(\)\[1\] <= {LONGEST}"):
        graphs["export_model"](ids(1, LONGEST + 1), ids(1, 2))


@pytest.mark.parametrize("export", [export_model, export_encoder, export_decoder])
def test_bad_length(export: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="max_length must be at least 4, got 3"):
        export(Transformer(11, 13, width=12, heads=3, inner_width=7, layers=1), max_length=3)
