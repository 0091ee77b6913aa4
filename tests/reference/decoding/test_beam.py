import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reference import Transformer
from reference.decoding import CachedTransformer, beam_search, greedy_search, length_penalty
from reference.decoding.beam import GROUP, Beam, first_best, one_by_one

PADDING, END, START = 0, 1, 2
V, STEPS = 4, 3
IDS = {"end_id": END, "padding_id": PADDING}


def starts(batch: int) -> Tensor:
    return torch.full((batch,), START)


def all_sentences(limit: int) -> list[list[int]]:
    """Everything that ends, or is as long as allowed."""
    words = [id for id in range(V) if id != END]
    ended = [[*w, END] for n in range(limit) for w in itertools.product(words, repeat=n)]
    return ended + [list(w) for w in itertools.product(words, repeat=limit)]


def score(logits: Tensor, ids: list[int], alpha: float) -> float:
    steps = logits.log_softmax(-1)
    total = sum(steps[t, last, id].item() for t, (last, id) in enumerate(zip([START, *ids], ids, strict=False)))
    return total / ((5 + len(ids)) / (5 + 1)) ** alpha


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_full_beam_equals_exhaustive_search(table: type, alpha: float, seed: int) -> None:
    logits = 2 * torch.randn(2, STEPS, V, V, generator=torch.Generator().manual_seed(seed)).double()
    beams, limits = 4**3, torch.tensor([3, 2])
    found = beam_search(table(logits, beams), starts(2), beams=beams, **IDS, max_length=limits, alpha=alpha, best=beams)
    for b in range(2):
        expected = sorted(((score(logits[b], ids, alpha), ids) for ids in all_sentences(int(limits[b]))), reverse=True)
        scores = found.scores[b, : len(expected)]
        torch.testing.assert_close(scores, torch.tensor([s for s, _ in expected]).double(), rtol=0, atol=1e-5)
        for ids, (_, wanted) in zip(found.ids[b].tolist(), expected, strict=False):
            assert ids == wanted + [PADDING] * (found.ids.shape[-1] - len(wanted))
        assert (found.scores[b, len(expected) :] == -torch.inf).all()  # there are no more


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_one_beam_equals_greedy_search(table: type, alpha: float) -> None:
    logits = torch.randn(40, 5, V, V).double()
    found = beam_search(table(logits), starts(40), beams=1, **IDS, max_length=5, alpha=alpha)
    expected = greedy_search(table(logits), starts(40), **IDS, max_length=5)
    assert torch.equal(found.ids[:, 0], expected)


def test_a_beam_finds_what_greedy_search_misses(table: type) -> None:
    """0.4 x 0.9 beats 0.6 x 0.5."""
    logits = torch.full((1, 2, V, V), 1e-9)
    logits[0, 0, START] = torch.tensor([1e-9, 1e-9, 0.6, 0.4])
    logits[0, 1, 2] = torch.tensor([1e-9, 0.5, 0.25, 0.25])
    logits[0, 1, 3] = torch.tensor([1e-9, 0.9, 0.05, 0.05])
    best = [beam_search(table(logits.log(), k), starts(1), beams=k, **IDS, max_length=2, alpha=0) for k in (1, 2)]
    assert [hypotheses.ids[0, 0].tolist() for hypotheses in best] == [[2, END], [3, END]]
    assert best[1].scores.exp().item() == pytest.approx(0.36)


def test_a_frozen_hypothesis_keeps_its_score_and_place(table: type) -> None:
    probabilities = torch.full((1, 4, V, V), 1e-9)
    probabilities[:, 0, START] = torch.tensor([1e-9, 0.7, 0.2, 0.1])
    probabilities[:, 1:, 2:] = torch.tensor([1e-9, 0.1, 0.45, 0.45])
    found = beam_search(table(probabilities.log(), 2), starts(1), beams=2, **IDS, max_length=4, alpha=0, best=2)
    assert found.ids[0, 0].tolist() == [END, 0, 0, 0][: found.ids.shape[-1]]
    assert found.scores[0, 0].exp().item() == pytest.approx(0.7)


def test_the_search_stops_once_no_living_hypothesis_can_win(table: type) -> None:
    probabilities = torch.full((1, 9, V, V), 1e-9)
    probabilities[:, 0, START] = torch.tensor([1e-9, 0.7, 0.2, 0.1])
    probabilities[:, 1:, 2:] = torch.tensor([1e-9, 0.1, 0.45, 0.45])
    model = table(probabilities.log(), 2)
    assert beam_search(model, starts(1), beams=2, **IDS, max_length=9, alpha=0).ids.tolist() == [[[END]]]
    assert len(model.asked) == 1


def test_the_search_goes_on_while_the_penalty_may_still_help_a_longer_one(table: type) -> None:
    """log 0.5 at length 1 is beaten by log 0.45 at length 4, once both are divided by their penalties."""
    probabilities = torch.full((1, 4, V, V), 1e-9)
    probabilities[:, 0, START] = torch.tensor([1e-9, 0.5, 0.5 - 1e-6, 1e-9])
    probabilities[:, 1:3, 2] = torch.tensor([1e-9, 1e-9, 1.0, 1e-9])
    probabilities[:, 3, 2] = torch.tensor([1e-9, 1.0, 1e-9, 1e-9])
    found = [
        beam_search(table(probabilities.log(), 2), starts(1), beams=2, **IDS, max_length=4, alpha=a) for a in (0, 1)
    ]
    assert [f.ids[0, 0].tolist() for f in found] == [[END], [2, 2, 2, END]]


def test_sequences_do_not_mix(table: type) -> None:
    logits = torch.randn(5, 6, V, V).double()
    together = beam_search(table(logits, 3), starts(5), beams=3, **IDS, max_length=6, best=3)
    for b in range(5):
        alone = beam_search(table(logits[b : b + 1], 3), starts(1), beams=3, **IDS, max_length=6, best=3)
        torch.testing.assert_close(alone.scores[0, 0], together.scores[b, 0])
        best = together.ids[b, 0, : alone.ids.shape[-1]]
        assert torch.equal(alone.ids[0, 0], best)


def test_of_equals_the_first_wins(table: type) -> None:
    logits = torch.zeros(1, 2, V, V)
    logits[..., [PADDING, END]] = -torch.inf
    found = beam_search(table(logits, 3), starts(1), beams=3, **IDS, max_length=2, best=3)
    assert found.ids.tolist() == [[[2, 2], [2, 3], [3, 2]]]


def test_first_best_is_topk_with_the_first_of_equals() -> None:
    values, places = first_best(torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]]), 3)
    assert values.tolist() == [[3, 3, 2], [0, 0, 0]]
    assert places.tolist() == [[1, 2, 3], [0, 1, 2]]


@pytest.mark.parametrize("levels", [1, 2, 3, 300, 10**6])
@pytest.mark.parametrize("width", [GROUP, 4 * GROUP, 4 * GROUP + 1, 9 * GROUP - 1, 30 * GROUP])
def test_first_best_of_groups_equals_one_by_one(width: int, levels: int) -> None:
    """Few levels make many equals; the lowest is -inf, and rows 0 and 1 have little or nothing else."""
    candidates = torch.randint(levels, (20, width)).float()
    candidates[candidates == 0] = -torch.inf
    candidates[:2] = -torch.inf
    candidates[1, -1] = 1.0
    for count in (1, 4, 5):
        for found, expected in zip(first_best(candidates, count), one_by_one(candidates, count), strict=True):
            assert torch.equal(found, expected)


def test_half_precision_logits_are_added_up_in_float32(table: type) -> None:
    logits = torch.randn(1, 4, V, V)
    found = beam_search(table(logits.bfloat16(), 2), starts(1), beams=2, **IDS, max_length=4)
    assert found.scores.dtype == torch.float32


def test_equals_a_search_without_a_cache(small: Callable[..., Transformer], source: Tensor) -> None:
    class Uncached:
        """The whole forward pass at every step."""

        def __init__(self) -> None:
            self.source, self.ids = source.repeat_interleave(3, dim=0), torch.empty(9, 0, dtype=torch.int64)

        def __call__(self, ids: Tensor) -> Tensor:
            self.ids = torch.cat([self.ids, ids[:, None]], dim=1)
            return model(self.source, self.ids)[:, -1]

        def select(self, rows: Tensor) -> None:
            self.ids = self.ids[rows]

    model = small()
    cached, uncached = (
        beam_search(scorer, starts(3), beams=3, **IDS, max_length=10, best=3)
        for scorer in (CachedTransformer(model, source, beams=3), Uncached())
    )
    assert torch.equal(cached.ids, uncached.ids)
    torch.testing.assert_close(cached.scores, uncached.scores)


def test_length_penalty_is_equation_14_of_wu() -> None:
    assert length_penalty(1.0, 0.6) == 1
    assert length_penalty(7.0, 0.6) == pytest.approx(12**0.6 / 6**0.6)
    assert length_penalty(7.0, 0.0) == 1
    assert length_penalty(torch.tensor([1.0, 7.0]), 1.0).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beams": 0}, "beams must be at least 1, got 0"),
        ({"best": 0}, "best must be at least 1, got 0"),
        ({"best": 3}, "best must be at most beams, which is 2, got 3"),
        ({"alpha": -0.1}, r"alpha must be at least 0, got -0\.1"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"end_id": 4}, r"end_id must lie within 0\.\.3"),
        ({"padding_id": 4}, r"padding_id must lie within 0\.\.3"),
    ],
)
def test_bad_arguments(table: type, change: dict[str, float], message: str) -> None:
    arguments = {"beams": 2, "max_length": 2} | IDS | change
    with pytest.raises(ValueError, match=message):
        beam_search(table(torch.zeros(1, 2, V, V), 2), starts(1), **arguments)


def test_half_precision_logits_are_made_precise_before_the_softmax(table: type) -> None:
    logits = torch.randn(3, 4, V, V).bfloat16()
    found, expected = (
        beam_search(table(rounded, 2), starts(3), beams=2, **IDS, max_length=4, best=2)
        for rounded in (logits, logits.float())
    )
    assert torch.equal(found.scores, expected.scores)


def test_alpha_is_that_of_vaswani_unless_given(table: type) -> None:
    """Section 6.1: 0.6. Where nothing ends, the penalty of length 4 counts."""
    logits = torch.randn(3, 4, V, V)
    logits[..., END] = -torch.inf
    found, expected = (
        beam_search(table(logits, 2), starts(3), beams=2, **IDS, max_length=4, **options)
        for options in ({}, {"alpha": 0.6})
    )
    assert torch.equal(found.scores, expected.scores)


def beam_of(scores: list[list[float]], hopes: list[list[float]], limit: int = 9, alpha: float = 0.6) -> Beam:
    """The first place of each sequence is frozen; the others live, and come to these hopes at the longest."""
    frozen = torch.zeros(len(scores), len(scores[0]), dtype=torch.bool)
    frozen[:, 0] = True
    log_probabilities = torch.tensor(hopes, dtype=torch.float64) * ((5 + limit) / 6) ** alpha
    ids, limits = torch.full((*frozen.shape, 1), START), torch.full((len(scores),), limit)
    return Beam(ids, log_probabilities, torch.tensor(scores).double(), frozen, limits, alpha)


def test_each_sequence_is_decided_by_its_own_hopes_and_its_best_score() -> None:
    decided = beam_of(scores=[[-5.0, -8.0], [-1.0, -4.0]], hopes=[[0.0, -6.0], [0.0, -2.0]])
    assert decided.is_decided(1)
    assert not decided.is_decided(2)
    assert not beam_of(scores=[[-5.0, -8.0], [-1.0, -4.0]], hopes=[[0.0, -4.0], [0.0, -2.0]]).is_decided(1)


@pytest.mark.parametrize("limit", range(2, 12))
@pytest.mark.parametrize("ahead", [1e-12, -1e-12])
def test_the_least_hope_counts(limit: int, ahead: float) -> None:
    assert beam_of(scores=[[-1.0, -9.0]], hopes=[[0.0, -1.0 + ahead]], limit=limit).is_decided(1) == (ahead < 0)


def test_a_step_is_done_on_the_device_of_the_ids() -> None:
    beam = Beam.begin(starts(2).to("meta"), 3, torch.tensor([4, 4], device="meta"), 0.6)
    rows, grown = beam.grown(torch.empty(6, V, device="meta"), END, PADDING)
    assert {x.device.type for x in (beam.scores, rows, grown.ids, grown.scores)} == {"meta"}
