"""Teacher forcing: ``call(target, start, padding)`` gives ``output``, the decoder's input, and ``labels``.

``target`` is ``(B, T)``: tokens with their end token, then padding. Where a label is padding, the input is free, and
the label may be padding or a negative id that a loss ignores.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.checks import padded
from errata.checks.evidence import Evidence, equal, holds, printed, refuses, unchanged
from errata.checks.literature import GOODFELLOW, VASWANI
from errata.checks.padded import IGNORED, PaddedCase
from errata.checks.registry import check

PADDING, START, END, FIRST = 0, 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class TeacherForcingCase(PaddedCase):
    """One batch of targets."""

    def target(self) -> Tensor:
        """Drawn tokens, the last of each sequence the end token, then padding."""
        present = self.present()
        tokens = self.integers("tokens", FIRST, 10, self.batch, self.length)
        tokens[torch.arange(self.batch), present.sum(dim=1) - 1] = END
        return torch.where(present, tokens, PADDING)

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call."""
        return {"target": self.target(), "start": START, "padding": PADDING}


DOMAIN = padded.BATCHES | {"padded": (False, True)}
RUNS = "teacher_forcing.accepts-valid-input"

OFFSET = VASWANI.says("3.1", "the output embeddings are offset by one position")
PREVIOUS = GOODFELLOW.says(
    "10.2.1", "during training the model receives the ground truth output y(t) as input at time t + 1"
)


@check(
    RUNS,
    "input and labels are integers of the target's shape (B, T)",
    spec=OFFSET,
    level="paper",
    hint="Put one token in front and drop one at the end, for the input alone.",
    case=TeacherForcingCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: TeacherForcingCase) -> Evidence:
    reply = case.answer(candidate)
    both = [reply.output, reply.outputs.get("labels", torch.empty(0))]
    shape = (case.batch, case.length)
    right = all(part.shape == shape and not part.is_floating_point() for part in both)
    shown = " and ".join(f"{part.dtype} {tuple(part.shape)}" for part in both)
    return holds(right, expected=f"two integer tensors of shape {shape}", actual=shown)


@check(
    "teacher_forcing.starts-with-the-start-token",
    "the first input is the start token: input[:, 0] = start",
    spec=OFFSET,
    level="paper",
    hint="The first token is predicted from the start token alone.",
    case=TeacherForcingCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def starts_with_the_start_token(candidate: Candidate, case: TeacherForcingCase) -> Evidence:
    return equal(case.answer(candidate).output[:, 0], torch.full((case.batch,), START))


@check(
    "teacher_forcing.input-is-the-previous-token",
    "where a token is to be predicted, the input is the target one position before: input[:, t] = target[:, t - 1]",
    spec=PREVIOUS,
    level="paper",
    hint="Shift the input to the right: with the label itself as input the model learns to copy.",
    case=TeacherForcingCase,
    domain=DOMAIN | {"length": (2, 4)},
    builds_on=[RUNS],
)
def input_is_the_previous_token(candidate: Candidate, case: TeacherForcingCase) -> Evidence:
    wanted = case.present()[:, 1:]
    return equal(case.answer(candidate).output[:, 1:][wanted], case.target()[:, :-1][wanted])


@check(
    "teacher_forcing.every-token-is-a-label",
    "each token is the label of its own position, the end token too: labels = target where a token stands",
    spec=PREVIOUS,
    level="paper",
    hint="Do not shift the labels as well, and keep the end token: without it the model never stops.",
    case=TeacherForcingCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def every_token_is_a_label(candidate: Candidate, case: TeacherForcingCase) -> Evidence:
    here = case.present()
    return equal(case.answer(candidate).outputs["labels"][here], case.target()[here])


@check(
    "teacher_forcing.padding-is-no-label",
    "behind the last token the labels are padding, or a negative id",
    spec=IGNORED,
    level="convention",
    hint="Copy the padding of the target into the labels, or -100, which cross_entropy ignores.",
    case=TeacherForcingCase,
    domain=DOMAIN | padded.PADDED,
    builds_on=[RUNS],
)
def padding_is_no_label(candidate: Candidate, case: TeacherForcingCase) -> Evidence:
    labels = case.answer(candidate).outputs["labels"][~case.present()]
    return holds(
        bool(((labels == PADDING) | (labels < 0)).all()),
        expected=f"{PADDING} or negative ids",
        actual=printed(labels),
    )


@check(
    "teacher_forcing.empty-sequence-is-refused",
    "a sequence of padding alone, without even an end token, is an error",
    spec=PREVIOUS,
    level="robustness",
    hint="Raise ValueError: such a sequence teaches nothing, and hides a mistake in the data.",
    case=TeacherForcingCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def empty_sequence_is_refused(candidate: Candidate, case: TeacherForcingCase) -> Evidence:
    target = case.target()
    target[-1] = PADDING
    expected = f"an error for sequence {case.batch - 1}, {printed(target[-1])}"
    return refuses(lambda: case.answer(candidate, {"target": target}), expected=expected)


@check(
    "teacher_forcing.arguments-are-not-changed",
    "the target keeps its values",
    spec=PREVIOUS,
    level="robustness",
    hint="Shift a copy.",
    case=TeacherForcingCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def arguments_are_not_changed(candidate: Candidate, case: TeacherForcingCase) -> Evidence:
    return unchanged(case.inputs(), case.answer(candidate))
