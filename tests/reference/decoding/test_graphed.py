from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reference import Transformer, padding_mask
from reference.decoding import CachedTransformer, GraphedDecoder, beam_search, greedy_search
from reference.decoding.graphed import StaticLayer

PADDING, END, START = 0, 1, 2
IDS = {"end_id": END, "padding_id": PADDING, "max_length": 15}


@pytest.mark.parametrize("options", [{}, {"pre_norm": True}, {"attention_bias": False, "layers": 1}])
def test_equals_its_readable_twin_at_every_step(
    small: Callable[..., Transformer], source: Tensor, options: dict[str, object]
) -> None:
    model, target = small(**options), torch.randint(1, 13, (3, 20))
    static, readable = GraphedDecoder(model, source, 20), CachedTransformer(model, source)
    for ids in target.unbind(1):
        torch.testing.assert_close(static(ids), readable(ids), rtol=0, atol=1e-12)


def test_a_restart_forgets_everything(small: Callable[..., Transformer], source: Tensor) -> None:
    model, other = small(), source.flip(0, 1)
    static = GraphedDecoder(model, source, 4)
    for ids in torch.randint(1, 13, (4, 3)):
        static(ids)
    mask = padding_mask(torch.tensor([3, 5, 1]), 5)
    for given in (None, mask):
        static.restart(other, given)
        readable = CachedTransformer(model, other, given)
        for ids in torch.randint(1, 13, (4, 3)):
            torch.testing.assert_close(static(ids), readable(ids), rtol=0, atol=1e-12)


def test_searches_find_the_same(small: Callable[..., Transformer], source: Tensor) -> None:
    model, start = small(), torch.full((3,), START)
    scorers = GraphedDecoder(model, source, 15), CachedTransformer(model, source)
    assert torch.equal(*(greedy_search(scorer, start, **IDS) for scorer in scorers))
    scorers = GraphedDecoder(model, source, 15, beams=3), CachedTransformer(model, source, beams=3)
    static, readable = (beam_search(scorer, start, beams=3, best=3, **IDS) for scorer in scorers)
    assert torch.equal(static.ids, readable.ids)
    torch.testing.assert_close(static.scores, readable.scores)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_graph_equals_the_readable_twin(small: Callable[..., Transformer], source: Tensor) -> None:
    model, source = small().cuda(), source.cuda()
    graphed = GraphedDecoder(model, source, 20, beams=2)
    for given in (source, source.flip(0)):
        graphed.restart(given)
        readable = CachedTransformer(model, given, beams=2)
        for ids in torch.randint(1, 13, (20, 6), device="cuda"):
            torch.testing.assert_close(graphed(ids), readable(ids), rtol=0, atol=1e-10)
            rows = torch.tensor([1, 0, 2, 2, 5, 4], device="cuda")
            graphed.select(rows)
            readable.select(rows)


def test_a_graph_is_captured_once_and_replayed_for_every_step(
    small: Callable[..., Transformer], source: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here without a GPU: the graph is one that computes a step anew, into the tensor of the first."""
    model = small()
    static, readable, captured = GraphedDecoder(model, source, 4), CachedTransformer(model, source), []

    class OnAGpu(Tensor):
        is_cuda = True

    class Graph:
        def __init__(self) -> None:
            captured.append(self)
            self.logits = static._step()
            static._rewind()

        def replay(self) -> None:
            self.logits.copy_(static._step())

    def capture() -> tuple[Graph, Tensor]:
        graph = Graph()
        return graph, graph.logits

    monkeypatch.setattr(static, "_captured", capture)
    steps = torch.randint(1, 13, (4, 3))
    answers = [static(ids.as_subclass(OnAGpu)) for ids in steps]
    assert len(captured) == 1
    for ids, answer in zip(steps, answers, strict=True):
        torch.testing.assert_close(answer, readable(ids), rtol=0, atol=1e-12)


def test_the_first_sources_may_have_a_mask_too(small: Callable[..., Transformer], source: Tensor) -> None:
    model, mask = small(), padding_mask(torch.tensor([3, 5, 1]), 5)
    ids = torch.tensor([2, 3, 4])
    static, readable = GraphedDecoder(model, source, 1, source_mask=mask), CachedTransformer(model, source, mask)
    torch.testing.assert_close(static(ids), readable(ids), rtol=0, atol=1e-12)


def test_a_source_of_padding_alone_leaves_a_bias_that_no_kernel_answers_with_nan(
    small: Callable[..., Transformer], source: Tensor
) -> None:
    for layer in GraphedDecoder(small(), source, 1)._layers:
        assert layer._memory_bias.isfinite().any(dim=-1).all()
        assert not layer._memory_values[2].any()


def test_the_sources_are_read_on_their_device(
    small: Callable[..., Transformer], source: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    monkeypatch.setattr(StaticLayer, "read", lambda self, *read: seen.extend(read))
    GraphedDecoder(small().to("meta"), source.to("meta"), 1, beams=2)
    assert {x.device.type for x in seen} == {"meta"}


def test_bad_arguments(small: Callable[..., Transformer], source: Tensor) -> None:
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        GraphedDecoder(small(), source, 0)
    with pytest.raises(ValueError, match="beams must be at least 1, got 0"):
        GraphedDecoder(small(), source, 1, beams=0)
    with pytest.raises(ValueError, match="model is in training"):
        GraphedDecoder(small().train(), source, 1)
    relative = small()
    relative.decoder.layers[1].self_attention.position = lambda queries, keys: (queries, keys, None)
    with pytest.raises(ValueError, match="model has relative positions, which this path leaves out"):
        GraphedDecoder(relative, source, 1)
    static = GraphedDecoder(small(), source, 2)
    with pytest.raises(ValueError, match="first ids hold the padding id 0, which the model masks: start with another"):
        static(torch.tensor([2, 0, 2]))
    static(torch.tensor([2, 2, 2]))
    static(torch.tensor([2, 2, 2]))
    with pytest.raises(ValueError, match="max_length is 2, and so many ids have been given"):
        static(torch.tensor([2, 2, 2]))
    with pytest.raises(ValueError, match=r"source must have the shape \(3, 5\) again, got \(2, 5\)"):
        static.restart(source[:2])
