"""Beam search with a length penalty (Wu et al. 2016, section 7; Vaswani et al. 2017, section 6.1)."""

from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reference.decoding.bounds import length_limits, require_in_vocabulary
from reference.decoding.scorer import NextIdScorer
from reference.validation import Number, require_at_least

Length = TypeVar("Length", float, Tensor)
GROUP = 128


def length_penalty(length: Length, alpha: Number) -> Length:
    """Grow with the length as `lp(Y) = (5 + |Y|)^alpha / (5 + 1)^alpha` (Wu et al. 2016, equation 14)."""
    penalty: Length = ((5 + length) / 6) ** alpha
    return penalty


@dataclass(frozen=True)
class Hypotheses:
    """The best hypotheses of each sequence, the best first.

    `ids` follow the start id and end with the end id, then padding. The score of one that does not exist, where the
    vocabulary allows fewer, is -inf.
    """

    ids: Int[Tensor, "B N T"]
    scores: Float[Tensor, "B N"]


@torch.no_grad()
def beam_search(
    scorer: NextIdScorer,
    start: Int[Tensor, " B"],
    *,
    beams: int,
    end_id: int,
    padding_id: int,
    max_length: int | Int[Tensor, " B"],
    alpha: Number = 0.6,
    best: int = 1,
) -> Hypotheses:
    """Keep the `beams` hypotheses of the greatest score `log P(Y) / lp(Y)`, and return the `best` of them.

    `|Y|` counts the end id, not the start id. A hypothesis that ends, or reaches its `max_length`, is frozen: it keeps
    its score and its place until as many better ones as there are places. The search stops when no living hypothesis
    can come among the `best` any more. Of equal scores a frozen hypothesis wins, then the one that was better a step
    ago, then the lower id. The scorer has a row for each place: `beams` for each sequence, side by side.

    `ValueError` for ids outside the vocabulary, sizes below 1, more `best` than `beams`, and a negative `alpha`, with
    which longer would be worse twice over.
    """
    require_at_least(1, beams=beams, best=best)
    require_at_least(0, alpha=alpha)
    if best > beams:
        raise ValueError(f"best must be at most beams, which is {beams}, got {best}")
    beam = Beam.begin(start, beams, length_limits(max_length, start), alpha)
    while not beam.is_decided(best):
        logits = scorer(beam.last.flatten())
        require_in_vocabulary(logits.shape[-1], end_id=end_id, padding_id=padding_id)
        parents, beam = beam.grown(logits, end_id, padding_id)
        scorer.select(parents.flatten())
    return Hypotheses(beam.ids[:, :best, 1:], beam.scores[:, :best])


@dataclass(frozen=True)
class Beam:
    """The hypotheses of one step: K for each of B sequences, the best first, with the start id."""

    ids: Int[Tensor, "B K T"]
    log_probabilities: Float[Tensor, "B K"]
    scores: Float[Tensor, "B K"]
    frozen: Bool[Tensor, "B K"]
    limits: Int[Tensor, " B"]
    alpha: Number

    @classmethod
    def begin(cls, start: Int[Tensor, " B"], beams: int, limits: Int[Tensor, " B"], alpha: Number) -> "Beam":
        """One hypothesis a sequence; the other places hold what can never win."""
        nothing = torch.full((len(start), beams), -torch.inf, device=start.device)
        nothing[:, 0] = 0.0
        ids = start[:, None, None].expand(-1, beams, 1)
        return cls(ids, nothing, nothing, torch.zeros_like(nothing, dtype=torch.bool), limits, alpha)

    @property
    def last(self) -> Int[Tensor, "B K"]:
        """The newest ids."""
        return self.ids[:, :, -1]

    def grown(self, logits: Float[Tensor, "N V"], end_id: int, padding_id: int) -> tuple[Int[Tensor, "B K"], "Beam"]:
        """Add an id to each living hypothesis; also return the row of the scorer that each new one comes from."""
        batch, beams, length = self.ids.shape
        vocabulary = logits.shape[-1]
        precise = torch.promote_types(logits.dtype, torch.float32)
        steps = logits.to(precise).log_softmax(dim=-1).view(batch, beams, vocabulary)
        living = (self.log_probabilities.unsqueeze(-1) + steps).masked_fill(self.frozen.unsqueeze(-1), -torch.inf)
        kept = self.scores.masked_fill(~self.frozen, -torch.inf)
        penalty = length_penalty(float(length), self.alpha)  # length counts the start id, which stands for the new one
        scores, chosen = first_best(torch.cat([kept, living.flatten(1) / penalty], dim=1), beams)
        stays = chosen < beams
        parents = torch.where(stays, chosen, (chosen - beams) // vocabulary)
        ids = torch.where(stays, padding_id, (chosen - beams) % vocabulary)
        log_probabilities = torch.cat([self.log_probabilities, living.flatten(1)], dim=1).gather(1, chosen)
        history = self.ids.gather(1, parents.unsqueeze(-1).expand(-1, -1, length))
        frozen = stays | (ids == end_id) | (self.limits <= length).unsqueeze(1)
        rows = parents + beams * torch.arange(batch, device=ids.device).unsqueeze(1)
        whole = torch.cat([history, ids.unsqueeze(-1)], dim=-1)
        return rows, Beam(whole, log_probabilities, scores, frozen, self.limits, self.alpha)

    def is_decided(self, best: int) -> bool:
        """Whether the `best` hypotheses of every sequence are frozen, and beat whatever the living ones may become.

        A log-probability only falls, and the penalty is greatest at the greatest length.
        """
        longest = length_penalty(self.limits.to(self.scores.dtype), self.alpha).unsqueeze(1)
        hopes = (self.log_probabilities / longest).masked_fill(self.frozen, -torch.inf).amax(dim=1)
        frozen = self.frozen[:, :best].all(dim=1)
        return bool((frozen & (hopes <= self.scores[:, best - 1])).all())


def first_best(candidates: Float[Tensor, "B C"], count: int) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
    """Find the `count` greatest of each row and their places; of equals the first, which `topk` does not promise.

    They lie within the `count` groups of neighbours whose greatest are the greatest, so only these are searched.
    """
    width = candidates.shape[1]
    if width <= GROUP * count:
        return one_by_one(candidates, count)
    groups = nn.functional.pad(candidates, (0, -width % GROUP), value=-torch.inf).unflatten(1, (-1, GROUP))
    order = groups.amax(dim=2).sort(dim=1, descending=True, stable=True).indices
    chosen = order[:, :count].sort(dim=1).values
    values, places = one_by_one(groups.gather(1, chosen.unsqueeze(2).expand(-1, -1, GROUP)).flatten(1), count)
    return values, GROUP * chosen.gather(1, places // GROUP) + places % GROUP


def one_by_one(candidates: Float[Tensor, "B C"], count: int) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
    """Do so by searching all of them `count` times; where only -inf is left, the place is 0."""
    left, found = candidates.clone(), list[tuple[Tensor, Tensor]]()
    for _ in range(count):
        value, place = left.max(dim=1)
        found.append((value, place))
        left.scatter_(1, place.unsqueeze(1), -torch.inf)
    values, places = zip(*found, strict=True)
    return torch.stack(values, dim=1), torch.stack(places, dim=1)
