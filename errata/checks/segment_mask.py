"""The mask of several sequences in one: ``call(segments)``.

``segments`` is ``(B, T)``, which sequence each token belongs to. The answer is boolean, ``(B, T, T)``, indexed
[sequence, query, key], True = may attend.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import KRELL, VASWANI
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class SegmentCase(Case):
    """One batch of packed sequences: how many tokens, from how many sequences at most."""

    batch: int = 1
    length: int = 1
    segments: int = 1

    def ids(self) -> Tensor:
        """Sequences one after the other, as they are packed."""
        return self.integers("segments", 0, self.segments, self.batch, self.length).sort(dim=1).values

    def answer(self, candidate: Candidate) -> Tensor:
        """The candidate's mask."""
        return candidate.build({}, dtype=self.dtype).call({"segments": self.ids()}).output

    def same(self) -> Tensor:
        """Which pairs of positions belong to one sequence."""
        return torch.tensor([[[a == b for b in row] for a in row] for row in self.ids().tolist()])


DOMAIN = {"batch": (1, 2), "length": (2, 3, 5), "segments": (2, 3)}

RUNS = "segment_mask.accepts-valid-input"
APART = KRELL.says(
    "Adjust attention masking",
    "tokens from different sequences within a pack should not be able to attend to each other",
)


@check(
    RUNS,
    "the mask says for every query and key of every batch entry whether they may meet: boolean, (B, T, T)",
    spec=APART,
    level="paper",
    hint="Compare segments[:, :, None] with segments[:, None, :].",
    case=SegmentCase,
    domain=DOMAIN | {"length": (1, 2, 3, 5), "segments": (1, 2, 3)},
)
def accepts_valid_input(candidate: Candidate, case: SegmentCase) -> Evidence:
    mask, shape = case.answer(candidate), (case.batch, case.length, case.length)
    return holds(
        mask.dtype == torch.bool and mask.shape == shape,
        expected=f"bool {shape}",
        actual=f"{mask.dtype} {tuple(mask.shape)}".removeprefix("torch."),
    )


@check(
    "segment_mask.other-segments-are-hidden",
    "no token may attend a token of another sequence",
    spec=APART,
    level="paper",
    hint="One block for each sequence on the diagonal, and False elsewhere, below the diagonal too.",
    case=SegmentCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def other_segments_are_hidden(candidate: Candidate, case: SegmentCase) -> Evidence:
    across = case.answer(candidate)[~case.same()]
    return equal(across, torch.zeros_like(across))


@check(
    "segment_mask.own-segment-is-attended",
    "every token may attend every token of its own sequence, on both sides",
    spec=VASWANI.says("3.2.3", "Each position in the encoder can attend to all positions in the previous layer"),
    level="paper",
    hint="An encoder looks both ways: combine with a causal mask where a decoder needs one, not here.",
    case=SegmentCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def own_segment_is_attended(candidate: Candidate, case: SegmentCase) -> Evidence:
    within = case.answer(candidate)[case.same()]
    return equal(within, torch.ones_like(within))
