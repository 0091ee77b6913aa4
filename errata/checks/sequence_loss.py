"""The loss of a batch of padded sequences: ``build(smoothing, padding)``, ``call(logits, target)``.

``logits`` is ``(B, T, V)`` and ``target`` ``(B, T)``, with the id ``padding`` behind the last token of a sequence. The
answer is one number, averaged over the tokens. Traits say what the candidate claims to do with the mass ``smoothing``:
``spread-over-all`` V entries (Szegedy et al., torch), ``spread-over-others`` than the target (fairseq, tensor2tensor),
``spread-over-tokens``, all but padding, or ``spread-over-other-tokens``, neither target nor padding (The Annotated
Transformer); without one, each is accepted. So is the divergence from the smoothed labels, which differs from the
cross-entropy by a constant.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.candidates.candidate import Scalar
from errata.checks import padded
from errata.checks.evidence import Evidence, equal, refuses, unchanged
from errata.checks.literature import SUTSKEVER, SZEGEDY, VASWANI
from errata.checks.oracles import Array, array, softmax
from errata.checks.padded import AVERAGED, IGNORED, PaddedCase
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class SequenceLossCase(PaddedCase):
    """One batch of logits over ``vocabulary`` entries, of which the id ``padding`` stands for no token."""

    vocabulary: int = 3
    padding: int = 0
    smoothing: float = 0.0

    def target(self) -> Tensor:
        """Tokens, then padding."""
        tokens = self.integers("tokens", 0, self.vocabulary - 1, self.batch, self.length)
        return torch.where(self.present(), tokens + (tokens >= self.padding), self.padding)

    def logits(self, name: str = "logits") -> Tensor:
        """Drawn scores."""
        return self.normal(name, self.batch, self.length, self.vocabulary)

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {"smoothing": self.smoothing, "padding": self.padding}

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call."""
        return {"logits": self.logits(), "target": self.target()}


SPREADS = {
    "spread-over-all": (True, True),
    "spread-over-others": (False, True),
    "spread-over-tokens": (True, False),
    "spread-over-other-tokens": (False, False),
}
"""Whether the target, and whether padding, gets a share of the smoothed mass."""


def accepted_labels(candidate: Candidate, case: SequenceLossCase) -> Iterator[Array]:
    """The smoothed labels ``(B, T, V)`` that the candidate claims, or all that are right."""
    target = case.target().numpy()
    one_hot = np.eye(case.vocabulary)[target]
    claimed = [spread for name, spread in SPREADS.items() if name in candidate.traits] or list(SPREADS.values())
    for with_target, with_padding in claimed:
        shared = np.ones_like(one_hot) if with_target else 1 - one_hot
        if not with_padding:
            shared[..., case.padding] = 0
        yield (1 - case.smoothing) * one_hot + case.smoothing * shared / shared.sum(axis=-1, keepdims=True)


def cross_entropy(logits: Tensor, labels: Array, present: Tensor) -> float:
    """``-sum_k q_k log softmax(logits)_k``, averaged over the tokens."""
    scores = array(logits) - array(logits).max(axis=-1, keepdims=True)
    log_probabilities = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return float(-(labels * log_probabilities).sum(axis=-1)[present.numpy()].mean())


def entropy(labels: Array, present: Tensor) -> float:
    """``-sum_k q_k log q_k``, averaged over the tokens."""
    logarithms = np.log(labels, out=np.zeros_like(labels), where=labels > 0)
    return float(-(labels * logarithms).sum(axis=-1)[present.numpy()].mean())


def nearest_value(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    """Compare with the nearest of the values that are right."""
    value, present = case.answer(candidate).output, case.present()
    pairs = [(cross_entropy(case.logits(), q, present), entropy(q, present)) for q in accepted_labels(candidate, case)]
    right = [torch.tensor(form, dtype=torch.float64) for loss, constant in pairs for form in (loss, loss - constant)]
    scale = max(1.0, case.logits().abs().max().item())
    return min((equal(value, form, scale=scale) for form in right), key=lambda evidence: evidence.deviation)


DOMAIN = padded.BATCHES | {"vocabulary": (3, 5, 7), "padding": (0, 2), "scale": (1.0, 0.1, 10.0)}
PADDED = DOMAIN | padded.PADDED
SMOOTHED: dict[str, Sequence[Any]] = {"smoothing": (0.1, 0.3)}

RUNS = "sequence_loss.accepts-valid-input"
SHIFT = "sequence_loss.common-shift-of-logits-changes-nothing"
PLAIN = "sequence_loss.is-the-negative-log-probability"
ABSENT = "sequence_loss.padding-takes-no-part"

OBJECTIVE = SUTSKEVER.says("3.2", "maximizing the log probability of a correct translation T given the source")
PROBABILITIES = VASWANI.says(
    "3.4", "softmax function to convert the decoder output to predicted next-token probabilities"
)
MIXTURE = SZEGEDY.says(
    "7", "a mixture of the original ground-truth distribution q(k|x) and the fixed distribution u(k)"
)


@check(
    RUNS,
    "a batch has one loss, a finite number",
    spec=OBJECTIVE,
    level="paper",
    hint="Run it once: flatten batch and positions together, and reduce to one number.",
    case=SequenceLossCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    return padded.is_one_number(candidate, case)


@check(
    SHIFT,
    "logits count up to a constant: loss(logits + c) = loss(logits)",
    spec=PROBABILITIES,
    level="paper",
    hint="Apply log_softmax: nll_loss alone takes its argument for log-probabilities.",
    case=SequenceLossCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def common_shift_of_logits_changes_nothing(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    shifted = case.answer(candidate, {"logits": case.logits() + 3}).output
    return equal(shifted, case.answer(candidate).output, scale=3 + case.logits().abs().max().item())


@check(
    PLAIN,
    "without smoothing and padding, the loss is the mean of -log softmax(logits) at the target",
    spec=OBJECTIVE,
    level="paper",
    hint="Give cross_entropy the logits themselves, with the vocabulary as the axis of classes; mind transposes.",
    case=SequenceLossCase,
    domain=DOMAIN,
    builds_on=[SHIFT],
)
def is_the_negative_log_probability(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    return nearest_value(candidate, case)


@check(
    ABSENT,
    "the logits at padded positions do not change the loss, with smoothing or without",
    spec=IGNORED,
    level="convention",
    hint="Give ignore_index, and leave padded positions out of the smoothing's own term too.",
    case=SequenceLossCase,
    domain=PADDED | {"smoothing": (0.0, 0.1)},
    builds_on=[RUNS],
)
def padding_takes_no_part(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    others = torch.where(case.present()[..., None], case.logits(), case.logits("others"))
    return equal(case.answer(candidate, {"logits": others}).output, case.answer(candidate).output)


@check(
    "sequence_loss.padding-has-no-gradient",
    "the gradient at the logits of padded positions is 0",
    spec=IGNORED,
    level="convention",
    hint="A backward written by hand must know the mask of the forward.",
    case=SequenceLossCase,
    domain=PADDED | {"smoothing": (0.0, 0.1)},
    builds_on=[RUNS],
)
def padding_has_no_gradient(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    gradient = case.gradient(candidate, "logits")[~case.present()]
    return equal(gradient, torch.zeros_like(gradient))


@check(
    "sequence_loss.every-token-counts-the-same",
    "sequences of unequal lengths: the sum over all tokens divided by their number",
    spec=AVERAGED,
    level="convention",
    hint="Divide once, by the number of tokens of the batch: not by positions, sequences, or each sequence's length.",
    case=SequenceLossCase,
    domain=PADDED,
    builds_on=[PLAIN, ABSENT],
)
def every_token_counts_the_same(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    return nearest_value(candidate, case)


@check(
    "sequence_loss.gradient-is-that-of-smoothed-labels",
    "the gradient is (softmax(logits) - q) / tokens with q = (1 - e) * one_hot(target) + e * u and u uniform",
    spec=MIXTURE,
    level="paper",
    hint="The target keeps 1 - e, the rest share e; u is uniform over the vocabulary, or over it without the target.",
    case=SequenceLossCase,
    domain=DOMAIN | SMOOTHED,
    builds_on=[PLAIN],
)
def gradient_is_that_of_smoothed_labels(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    gradient = case.gradient(candidate, "logits")
    probabilities, tokens = softmax(array(case.logits())), case.batch * case.length
    right = [(probabilities - labels) / tokens for labels in accepted_labels(candidate, case)]
    return min((equal(gradient, torch.from_numpy(form)) for form in right), key=lambda evidence: evidence.deviation)


@check(
    "sequence_loss.smoothed-loss-has-its-closed-form",
    "with smoothing, the loss is the tokens' mean of -sum_k q_k log softmax(logits)_k, perhaps less q's entropy",
    spec=MIXTURE,
    level="convention",
    hint="Weight both terms over the same tokens: (1 - e) * nll + e * mean of -log softmax(logits).",
    case=SequenceLossCase,
    domain=PADDED | SMOOTHED,
    builds_on=[ABSENT, PLAIN],
)
def smoothed_loss_has_its_closed_form(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    return nearest_value(candidate, case)


@check(
    "sequence_loss.large-logits-stay-exact",
    "logits of size 10000 have a finite loss, and the right one",
    spec=PROBABILITIES,
    level="robustness",
    hint="Use log_softmax: log(softmax(x)) is minus infinity as soon as a probability rounds to 0.",
    case=SequenceLossCase,
    domain=DOMAIN | {"scale": (1e4,)},
    builds_on=[PLAIN],
)
def large_logits_stay_exact(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    return nearest_value(candidate, case)


@check(
    "sequence_loss.padding-alone-gives-zero",
    "a batch of padding alone has loss 0 and gradient 0, not 0/0",
    spec=AVERAGED,
    level="robustness",
    hint="Divide the sum by max(tokens, 1).",
    case=SequenceLossCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def padding_alone_gives_zero(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    empty = {"target": torch.full((case.batch, case.length), case.padding)}
    gradient = case.gradient(candidate, "logits", empty)
    both = torch.cat([case.answer(candidate, empty).output.reshape(1), gradient.flatten()])
    return equal(both, torch.zeros_like(both))


@check(
    "sequence_loss.foreign-id-is-refused",
    "a target outside the vocabulary is an error",
    spec=OBJECTIVE,
    level="robustness",
    hint="Leave ids as they are; a clamp hides a wrong vocabulary.",
    case=SequenceLossCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def foreign_id_is_refused(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    target = case.target()
    target[0, 0] = case.vocabulary
    return refuses(
        lambda: case.answer(candidate, {"target": target}), expected=f"an error for the id {case.vocabulary}"
    )


@check(
    "sequence_loss.arguments-are-not-changed",
    "logits and target keep their values",
    spec=OBJECTIVE,
    level="robustness",
    hint="Work on copies: no in-place operation on what was passed in.",
    case=SequenceLossCase,
    domain=PADDED | {"smoothing": (0.0, 0.1)},
    builds_on=[RUNS],
)
def arguments_are_not_changed(candidate: Candidate, case: SequenceLossCase) -> Evidence:
    return unchanged(case.inputs(), case.answer(candidate))
