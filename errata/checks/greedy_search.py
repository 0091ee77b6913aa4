"""Greedy search in a table: ``call(logits, start, end, padding)``.

``logits`` is ``(B, L, V, V)``: ``logits[b, t, i]`` scores step t of sequence b, whose id before is i. ``start`` int64
``(B,)`` is the id before step 0; ``end`` and ``padding`` are ids. Output: int64 ``(B, L)``, the ids found, with the end
id, and padding after it. ``padding`` and ``start`` are never the most probable.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import HUGGING_FACE, SUTSKEVER
from errata.checks.registry import check

PADDING, END, START, FIRST_WORD = 0, 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class TableCase(Case):
    """A table of logits; ``ends`` says whether the end id may be the most probable."""

    batch: int = 1
    steps: int = 1
    words: int = 1
    ends: bool = True

    @property
    def vocabulary(self) -> int:
        """V: padding, end, start, and the words."""
        return FIRST_WORD + self.words

    def logits(self) -> Tensor:
        """What the model says: no padding and no start ever, and no end unless ``ends``."""
        logits = self.normal("logits", self.batch, self.steps, self.vocabulary, self.vocabulary)
        impossible = [PADDING, START] if self.ends else [PADDING, START, END]
        logits[..., impossible] = NEVER
        return logits

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call."""
        start = torch.full((self.batch,), START)
        return {"logits": self.logits(), "start": start, "end": END, "padding": PADDING}

    def search(self, candidate: Candidate) -> Tensor:
        """What is found."""
        return candidate.build({}, dtype=self.dtype).call(self.inputs()).output


NEVER = -1e4
"""A logit that no search chooses, and that is finite."""

DOMAIN = {"batch": (1, 2, 3), "steps": (1, 2, 3, 5), "words": (1, 2, 4)}
ENDLESS = DOMAIN | {"words": (2, 3, 4), "ends": (False,)}
ENDING = DOMAIN | {"steps": (2, 3, 5)}

RUNS = "greedy_search.accepts-valid-input"
MOST_PROBABLE = HUGGING_FACE.says("Generation strategies", "It selects the next most likely token at each step")
ENDS = SUTSKEVER.says("2", "we require that each sentence ends with a special end-of-sentence symbol")


@check(
    RUNS,
    "B sequences and room for L ids give whole numbers (B, L)",
    spec=MOST_PROBABLE,
    level="paper",
    hint="Run it once. Try one step, and sequences that end at once.",
    case=TableCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: TableCase) -> Evidence:
    ids, wanted = case.search(candidate), (case.batch, case.steps)
    whole = not ids.is_floating_point() and tuple(ids.shape) == wanted
    return holds(whole, expected=f"whole numbers {wanted}", actual=f"{ids.dtype} {tuple(ids.shape)}")


@check(
    "greedy_search.chooses-the-most-probable",
    "y_t = argmax p(y | y_<t) at every step, where nothing ends",
    spec=MOST_PROBABLE,
    level="paper",
    hint="Feed the id that was just chosen, of each sequence its own, and take the argmax over the vocabulary.",
    case=TableCase,
    domain=ENDLESS,
    builds_on=[RUNS],
)
def chooses_the_most_probable(candidate: Candidate, case: TableCase) -> Evidence:
    return equal(case.search(candidate), greedy(case.logits()))


@check(
    "greedy_search.nothing-follows-the-end",
    "after the end id there is padding only",
    spec=ENDS,
    level="paper",
    hint="Remember which sequences have ended, and write padding for them from the next step on.",
    case=TableCase,
    domain=ENDING,
    builds_on=[RUNS],
)
def nothing_follows_the_end(candidate: Candidate, case: TableCase) -> Evidence:
    ids = case.search(candidate)
    after = ids[after_the_end(ids)]
    return equal(after, torch.full_like(after, PADDING))


@check(
    "greedy_search.ends-where-the-end-is-most-probable",
    "each sequence is the greedy one up to and including its first end id, whenever the others end",
    spec=ENDS,
    level="paper",
    hint="Stop when all sequences have ended, not when one has, and keep the end id.",
    case=TableCase,
    domain=ENDING | {"batch": (2, 3)},
    builds_on=[RUNS],
)
def ends_where_the_end_is_most_probable(candidate: Candidate, case: TableCase) -> Evidence:
    expected = greedy(case.logits())
    counts = ~after_the_end(expected)
    return equal(case.search(candidate)[counts], expected[counts])


def greedy(logits: Tensor) -> Tensor:
    """The most probable id at each step, on and on."""
    table = logits.double().numpy()
    batch, steps = table.shape[:2]
    found = np.zeros((batch, steps), dtype=np.int64)
    for b in range(batch):
        last = START
        for t in range(steps):
            last = found[b, t] = table[b, t, last].argmax()
    return torch.from_numpy(found)


def after_the_end(ids: Tensor) -> Tensor:
    """Which places of ``(..., L)`` come after an end id."""
    ended = (ids == END).cumsum(dim=-1) - (ids == END).long()
    return ended > 0
