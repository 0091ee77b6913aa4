"""A classifier on an encoder's states: ``build(width, classes)``, ``call(states, real)`` gives logits ``(B, C)``.

``states`` is ``(B, T, D)``, what a pretrained encoder answers; ``real`` is a boolean ``(B, T)``, False at padding.
Traits: ``mean`` or ``first``, the position that is pooled, if the candidate pools one of these ways.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.candidates.candidate import Scalar
from errata.checks import modules
from errata.checks.evidence import Evidence, equal, finite, holds
from errata.checks.literature import DEVLIN, REIMERS
from errata.checks.modules import ModuleCase, answers
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class PooledCase(ModuleCase):
    """One call; sequence b of B has ``tokens + b`` real positions and the longest has ``padding`` more."""

    batch: int = 1
    tokens: int = 1
    padding: int = 1
    width: int = 1
    classes: int = 2

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"width": self.width, "classes": self.classes}

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call."""
        return {"states": self.states(), "real": self.real()}

    def states(self) -> Tensor:
        """Drawn states."""
        return self.normal("states", self.batch, self.length, self.width)

    def real(self) -> Tensor:
        """True at the real positions, the first of each row."""
        return torch.arange(self.length) < self.tokens + torch.arange(self.batch)[:, None]

    @property
    def length(self) -> int:
        """Positions of a row."""
        return self.tokens + self.batch - 1 + self.padding


DOMAIN = {
    "batch": (1, 2, 3),
    "tokens": (1, 2, 4),
    "padding": (1, 2, 0),
    "width": (1, 2, 5),
    "classes": (2, 3),
    "scale": (1.0, 0.1),
}
SEVERAL = DOMAIN | {"tokens": (2, 4)}
PADDED = DOMAIN | {"padding": (1, 2)}

RUNS = "pooled_classifier.accepts-valid-input"

MEAN = REIMERS.says("3", "computing the mean of all output vectors")
FIRST = DEVLIN.says(
    "3",
    "The final hidden state corresponding to this token is used as the aggregate sequence representation",
)
FIXED = REIMERS.says("3", "adds a pooling operation to the output of BERT / RoBERTa to derive a fixed sized sentence")


@check(
    RUNS,
    "B sequences and C classes give logits (B, C), whatever the length",
    spec=FIXED,
    level="paper",
    hint="Pool over the positions before the head.",
    case=PooledCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: PooledCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.classes)


@check(
    "pooled_classifier.padding-takes-no-part",
    "other states at padding give the same logits",
    spec=MEAN,
    level="convention",
    hint="Sum the real positions alone: multiply by the mask, or fill padding with 0, before the sum.",
    case=PooledCase,
    domain=PADDED,
    builds_on=[RUNS],
)
def padding_takes_no_part(candidate: Candidate, case: PooledCase) -> Evidence:
    real = case.real()
    changed = torch.where(real[..., None], case.states(), case.states() + 5)
    before, after = answers(candidate, case, case.inputs(), {"states": changed, "real": real})
    return equal(after, before)


@check(
    "pooled_classifier.longer-padding-changes-nothing",
    "more padded positions, of zeros, give the same logits: the mean divides by the real tokens, not by T",
    spec=MEAN,
    level="convention",
    hint="Divide by real.sum(dim=1), not by the length of the batch's longest sequence.",
    case=PooledCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def longer_padding_changes_nothing(candidate: Candidate, case: PooledCase) -> Evidence:
    longer: dict[str, Argument] = {
        "states": torch.nn.functional.pad(case.states(), (0, 0, 0, 3)),
        "real": torch.nn.functional.pad(case.real(), (0, 3)),
    }
    before, after = answers(candidate, case, case.inputs(), longer)
    return equal(after, before)


@check(
    "pooled_classifier.sequences-are-independent",
    "each sequence gets the logits alone that it gets in a batch",
    spec=FIXED,
    level="paper",
    hint="Pool over axis 1, the positions, not over axis 0.",
    case=PooledCase,
    domain=DOMAIN | {"batch": (2, 3)},
    builds_on=[RUNS],
)
def sequences_are_independent(candidate: Candidate, case: PooledCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "pooled_classifier.every-real-token-has-influence",
    "with mean pooling, changing any one real token changes the logits",
    spec=MEAN,
    level="paper",
    hint="Average all real positions: the first, the last or the largest alone is not the mean.",
    case=PooledCase,
    domain=SEVERAL | {"batch": (1,)},
    needs=["mean"],
    builds_on=[RUNS],
)
def every_real_token_has_influence(candidate: Candidate, case: PooledCase) -> Evidence:
    changed = []
    for position in range(case.tokens):
        states = case.states()
        states[:, position] -= 1  # downwards: a maximum over positions does not see it everywhere
        changed.append({"states": states, "real": case.real()})
    before, *after = answers(candidate, case, case.inputs(), *changed)
    moved = torch.stack(after)
    return modules.all_move(before.expand_as(moved), moved, expected="other logits for each changed position")


@check(
    "pooled_classifier.repetition-changes-nothing",
    "with mean pooling, a sequence said twice has the logits of the sequence: a mean is no sum",
    spec=MEAN,
    level="paper",
    hint="Divide the sum by the number of tokens.",
    case=PooledCase,
    domain=DOMAIN | {"padding": (0,), "batch": (1,)},
    needs=["mean"],
    builds_on=[RUNS],
)
def repetition_changes_nothing(candidate: Candidate, case: PooledCase) -> Evidence:
    twice: dict[str, Argument] = {"states": case.states().repeat(1, 2, 1), "real": case.real().repeat(1, 2)}
    before, after = answers(candidate, case, case.inputs(), twice)
    return equal(after, before)


@check(
    "pooled_classifier.order-does-not-matter",
    "with mean pooling, the real states in another order have the same logits",
    spec=MEAN,
    level="paper",
    hint="Give every real position the same weight.",
    case=PooledCase,
    domain=SEVERAL | {"batch": (1,)},
    needs=["mean"],
    builds_on=[RUNS],
)
def order_does_not_matter(candidate: Candidate, case: PooledCase) -> Evidence:
    states = case.states()
    states[:, : case.tokens] = states[:, : case.tokens].flip(1)
    before, after = answers(candidate, case, case.inputs(), {"states": states, "real": case.real()})
    return equal(after, before)


@check(
    "pooled_classifier.first-token-decides",
    "with first-token pooling, other states behind the first position give the same logits, another first one others",
    spec=FIRST,
    level="paper",
    hint="Take states[:, 0]: not the last position, and no mean.",
    case=PooledCase,
    domain=SEVERAL,
    needs=["first"],
    builds_on=[RUNS],
)
def first_token_decides(candidate: Candidate, case: PooledCase) -> Evidence:
    states = case.states()
    behind, first = states + 1, states + 1
    behind[:, 0] = states[:, 0]
    first[:, 1:] = states[:, 1:]
    changed = ({"states": other, "real": case.real()} for other in (behind, first))
    before, unmoved, moved = answers(candidate, case, case.inputs(), *changed)
    kept = equal(unmoved, before)
    return kept if kept.deviation > 0 else modules.all_move(before, moved, expected="other logits for another token")


@check(
    "pooled_classifier.padding-alone-stays-finite",
    "a sequence without a real token has finite logits",
    spec=FIXED,
    level="robustness",
    hint="Clamp the number of real tokens to 1 before dividing: 0 / 0 spoils the loss of the whole batch.",
    case=PooledCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def padding_alone_stays_finite(candidate: Candidate, case: PooledCase) -> Evidence:
    (output,) = answers(candidate, case, {"states": case.states(), "real": torch.zeros_like(case.real())})
    return finite(output)


@check(
    "pooled_classifier.gradients-reach-parameters",
    "the new head trains: every parameter has a gradient",
    spec=DEVLIN.says("4.1", "only new parameters introduced during fine-tuning are classification layer weights"),
    level="paper",
    hint="Register the head as a submodule, and do not freeze it with the encoder.",
    case=PooledCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def gradients_reach_parameters(candidate: Candidate, case: PooledCase) -> Evidence:
    if not case.build(candidate).parameters():
        return holds(False, expected="parameters that train", actual="none")
    return modules.gradients_reach_parameters(candidate, case)
