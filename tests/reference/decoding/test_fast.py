from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from reference import Transformer, padding_mask
from reference.decoding import CachedTransformer, FastTransformer, beam_search, greedy_search

PADDING, END, START = 0, 1, 2
OPTIONS = {
    "post-norm": {},
    "pre-norm": {"pre_norm": True},
    "no bias": {"attention_bias": False},
    "one layer": {"layers": 1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_equals_its_readable_twin_at_every_step(
    small: Callable[..., Transformer], source: Tensor, options: dict[str, object]
) -> None:
    model, target = small(**options), torch.randint(1, 13, (3, 70))
    fast, readable = FastTransformer(model).scorer(source, 70), CachedTransformer(model, source)
    for ids in target.unbind(1):
        torch.testing.assert_close(fast(ids), readable(ids), rtol=0, atol=1e-12)


@pytest.mark.parametrize("beams", [2, 4])
@pytest.mark.parametrize("padded", [True, False])
def test_equals_its_readable_twin_with_beams(
    small: Callable[..., Transformer], source: Tensor, padded: bool, beams: int
) -> None:
    model, source = small(), source if padded else source[:1]
    fast = FastTransformer(model).scorer(source, 9, beams=beams)
    readable = CachedTransformer(model, source, beams=beams)
    for _ in range(9):
        ids = torch.randint(1, 13, (beams * len(source),))
        torch.testing.assert_close(fast(ids), readable(ids), rtol=0, atol=1e-12)
        rows = (torch.randint(beams, (len(source), beams)) + beams * torch.arange(len(source))[:, None]).flatten()
        fast.select(rows)
        readable.select(rows)


def test_a_given_mask_and_a_tied_model() -> None:
    model = Transformer(13, 13, width=12, heads=3, inner_width=7, layers=2, tied=True).double().eval()
    source, mask = torch.randint(1, 13, (2, 5)), padding_mask(torch.tensor([5, 2]), 5)
    fast, readable = FastTransformer(model).scorer(source, 2, source_mask=mask), CachedTransformer(model, source, mask)
    for ids in (torch.tensor([3, 4]), torch.tensor([5, 6])):
        torch.testing.assert_close(fast(ids), readable(ids), rtol=0, atol=1e-12)


def test_searches_find_the_same(small: Callable[..., Transformer], source: Tensor) -> None:
    model, start = small(), torch.full((3,), START)
    ids = {"end_id": END, "padding_id": PADDING, "max_length": 15}
    scorers = FastTransformer(model).scorer(source, 15), CachedTransformer(model, source)
    assert torch.equal(*(greedy_search(scorer, start, **ids) for scorer in scorers))
    scorers = FastTransformer(model).scorer(source, 15, beams=3), CachedTransformer(model, source, beams=3)
    fast, readable = (beam_search(scorer, start, beams=3, best=3, **ids) for scorer in scorers)
    assert torch.equal(fast.ids, readable.ids)
    torch.testing.assert_close(fast.scores, readable.scores)


def test_a_model_is_made_ready_once(small: Callable[..., Transformer], source: Tensor) -> None:
    fast = FastTransformer(small())
    first = fast.scorer(source, 1)(torch.tensor([2, 3, 4]))
    fast.scorer(source[:1], 4, beams=2)(torch.tensor([5, 6]))
    assert torch.equal(fast.scorer(source, 1)(torch.tensor([2, 3, 4])), first)


def test_wide_weights_are_not_copied() -> None:
    model = Transformer(11, 13, width=288, heads=3, inner_width=7, layers=1).double().eval()
    fast, source = FastTransformer(model), torch.tensor([[3, 1, 4]])
    before = fast.scorer(source, 1)(torch.tensor([2]))
    with torch.no_grad():
        model.output.weight.mul_(2)
        model.output.bias.mul_(2)
    torch.testing.assert_close(fast.scorer(source, 1)(torch.tensor([2])), 2 * before, rtol=0, atol=1e-12)


def test_bad_arguments(small: Callable[..., Transformer], source: Tensor) -> None:
    fast = FastTransformer(small())
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        fast.scorer(source, 0)
    with pytest.raises(ValueError, match="beams must be at least 1, got 0"):
        fast.scorer(source, 1, beams=0)
    with pytest.raises(ValueError, match="first ids hold the padding id 0, which the model masks: start with another"):
        fast.scorer(source, 1)(torch.tensor([2, 0, 2]))
    scorer = fast.scorer(source, 1)
    scorer(torch.tensor([2, 2, 2]))
    with pytest.raises(ValueError, match="max_length is 1, and so many ids have been given"):
        scorer(torch.tensor([2, 2, 2]))
    fast.model.train()
    with pytest.raises(ValueError, match="model is in training"):
        fast.scorer(source, 1)


class Replaced(nn.Linear):
    """As LoRA and quantised linears are: the weight alone does not say what it does."""


def test_what_it_does_not_serve_is_refused(small: Callable[..., Transformer]) -> None:
    with pytest.raises(ValueError, match="model is in training"):
        FastTransformer(small().train())
    relative = small()
    relative.decoder.layers[1].self_attention.position = lambda queries, keys: (queries, keys, None)
    with pytest.raises(ValueError, match="model has relative positions, which this path leaves out: use CachedTransf"):
        FastTransformer(relative)
    replaced = small()
    replaced.decoder.layers[1].feed_forward.outer = Replaced(7, 12)
    with pytest.raises(
        ValueError, match=r"decoder\.layers\.1\.feed_forward\.outer of model is no plain nn\.Linear.* use Cach"
    ):
        FastTransformer(replaced)
    hooked = small()
    hooked.output.register_forward_pre_hook(lambda module, inputs: None)
    with pytest.raises(ValueError, match="output of model is no plain"):
        FastTransformer(hooked)
