from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor

from reference import Transformer
from reference.deployment import OnnxTransformer

END = 2


@pytest.fixture(scope="module")
def onnx_model(exported: Path) -> OnnxTransformer:
    return OnnxTransformer(exported / "onnx" / "new")


def ids(batch: int, length: int, vocabulary: int = 11) -> Tensor:
    """Random ids with padding, 0, among them."""
    return torch.randint(0, vocabulary, (batch, length))


def logits(onnx_model: OnnxTransformer, source: Tensor, target: Tensor) -> Tensor:
    return onnx_model.decode(target, onnx_model.encode(source), source)


@pytest.mark.parametrize(("batch", "s", "t"), [(2, 3, 4), (1, 1, 1), (3, 9, 7), (5, 4, 4), (2, 600, 5), (1, 6, 600)])
def test_equals_the_model_at_other_sizes(
    onnx_model: OnnxTransformer, model: Transformer, batch: int, s: int, t: int
) -> None:
    source, target = ids(batch, s), ids(batch, t, 13)
    actual, expected = logits(onnx_model, source, target), model(source, target)
    assert (actual - expected).abs().max() < 1e-5


def test_a_source_of_padding_alone(onnx_model: OnnxTransformer, model: Transformer) -> None:
    source, target = torch.zeros(2, 5, dtype=torch.long), ids(2, 3)
    source[0, 2] = 4
    assert (logits(onnx_model, source, target) - model(source, target)).abs().max() < 1e-5


def test_two_runs_are_equal_to_the_last_bit(onnx_model: OnnxTransformer) -> None:
    source, target = ids(4, 20), ids(4, 20)
    assert torch.equal(logits(onnx_model, source, target), logits(onnx_model, source, target))


def test_the_files_are_valid_and_name_what_goes_in_and_out(exported: Path) -> None:
    names = {}
    for part in ("encoder", "decoder"):
        file = exported / "onnx" / "new" / f"{part}.onnx"
        onnx.checker.check_model(file)
        graph = onnx.load(file).graph
        names[part] = [value.name for value in graph.input], [value.name for value in graph.output]
    assert names == {"encoder": (["source"], ["memory"]), "decoder": (["target", "memory", "source"], ["logits"])}


def test_greedy_decoding_equals_that_of_the_model(onnx_model: OnnxTransformer, model: Transformer) -> None:
    source = ids(8, 6)
    target = torch.ones(8, 1, dtype=torch.long)
    for _ in range(8):
        target = torch.cat((target, model(source, target)[:, -1:].argmax(-1)), dim=1)
    actual = onnx_model.greedy(source, start=1, end=END, steps=8)
    assert actual.shape == target.shape
    ended = (target == END).cumsum(dim=1) > 0
    assert ended[:, -1].any()
    assert not ended[:, -1].all()
    assert torch.equal(actual, target.masked_fill(ended, END))


def test_greedy_decoding_stops_when_all_have_ended(onnx_model: OnnxTransformer) -> None:
    source = ids(1, 6)
    first = int(onnx_model.greedy(source, start=1, end=-1, steps=1)[0, 1])
    assert onnx_model.greedy(source, start=1, end=first, steps=10).tolist() == [[1, first]]
    assert onnx_model.greedy(source, start=1, end=-1, steps=10).shape == (1, 11)


def test_bad_steps(onnx_model: OnnxTransformer) -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        onnx_model.greedy(ids(1, 2), start=1, end=2, steps=0)
