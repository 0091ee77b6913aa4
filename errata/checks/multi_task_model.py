"""A model of two tasks with one loss: ``build(width, heads, hidden, layers, classes, numbers)`` and ``call``.

``call(x, lengths, tags, score, tagged, scored, tags_weight, score_weight)``: the first task gives each token one of
``classes`` tags (cross-entropy), the second gives each sequence N ``numbers`` (squared error). Shapes: x
``(B, T, D)``, lengths ``(B,)``, tags ``(B, T)``, score ``(B, N)``; ``tagged (B, T)`` and ``scored (B,)`` are boolean,
True where there is a label, which is never at padding. The answer has ``output``, the total loss, a scalar, and what
the heads say: ``tags``, logits ``(B, T, C)``, and ``score``, ``(B, N)``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Instance, Reply
from errata.candidates.candidate import Scalar
from errata.checks import oracles
from errata.checks.evidence import Evidence, different, equal, finite, holds
from errata.checks.literature import CARUANA, KENDALL, VASWANI
from errata.checks.modules import INFLUENCE, Arguments, ModuleCase, given
from errata.checks.registry import check

TASKS = {"tags": (1.0, 0.0), "score": (0.0, 1.0)}
"""The loss weights with which one task is trained alone."""


@dataclass(frozen=True, kw_only=True)
class MultiTaskCase(ModuleCase):
    """Sizes of one model and one batch, and the weights of its losses."""

    batch: int = 1
    length: int = 1
    heads: int = 1
    head_width: int = 4
    hidden: int = 5
    layers: int = 1
    classes: int = 2
    numbers: int = 1
    tags_weight: float = 1.0
    score_weight: float = 1.0

    @property
    def width(self) -> int:
        """The model width."""
        return self.heads * self.head_width

    def config(self) -> dict[str, Scalar]:
        """See `ModuleCase.config`."""
        return {
            "width": self.width,
            "heads": self.heads,
            "hidden": self.hidden,
            "layers": self.layers,
            "classes": self.classes,
            "numbers": self.numbers,
        }

    def inputs(self) -> dict[str, Argument]:
        """See `ModuleCase.inputs`. The first token and the first sequence of the batch have labels; the rest varies."""
        lengths = self.integers("lengths", 1, self.length + 1, self.batch)
        tagged = self.booleans("tagged", self.batch, self.length)
        scored = self.booleans("scored", self.batch)
        tagged[0, 0] = scored[0] = True
        return {
            "x": self.normal("x", self.batch, self.length, self.width),
            "lengths": lengths,
            "tags": self.integers("tags", 0, self.classes, self.batch, self.length),
            "score": self.normal("score", self.batch, self.numbers),
            "tagged": tagged & self.real(lengths),
            "scored": scored,
            "tags_weight": self.tags_weight,
            "score_weight": self.score_weight,
        }

    def real(self, lengths: Tensor) -> Tensor:
        """Which positions ``(B, T)`` are not padding."""
        return torch.arange(self.length) < lengths[:, None]


DOMAIN = {
    "batch": (1, 2, 3),
    "length": (1, 2, 4),
    "heads": (1, 2),
    "head_width": (4, 5),
    "hidden": (7, 11),
    "layers": (1, 2),
    "classes": (2, 3, 5),
    "numbers": (1, 2),
    "tags_weight": (1.0, 0.25, 3.0),
    "score_weight": (1.0, 0.5, 2.0),
}
SEVERAL = DOMAIN | {"batch": (2, 3), "length": (2, 3, 5), "layers": (1,)}

RUNS = "multi_task_model.accepts-valid-input"
SHARED = "multi_task_model.every-task-trains-the-shared-encoder"
WEIGHTED = "multi_task_model.loss-is-the-weighted-sum"

OUTPUTS = CARUANA.says("1.3", "these four outputs are fully connected to a hidden layer that they share")
SUM = KENDALL.says("3, equation 1", "perform a weighted linear sum of the losses for each individual task")
HEADS = KENDALL.says("4", "We then split the network into separate decoders (with separate weights) for each task")
IGNORED = KENDALL.says("4", "Pixels which do not have an inverse depth label are ignored in the loss")
AVERAGED = KENDALL.says("4", "averaging the loss over the pixels with semantic labels in each mini-batch")
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")


def with_weights(arguments: Arguments, tags: float, score: float) -> dict[str, Argument]:
    """The same batch under other loss weights."""
    return {**arguments, "tags_weight": tags, "score_weight": score}


def trained(instance: Instance, arguments: Arguments) -> Reply:
    """One backward pass from the total loss."""
    return instance.call(arguments, cotangent=torch.ones(()))


def gradient(instance: Instance, arguments: Arguments) -> Tensor:
    """The gradients of all parameters in one row; of one that takes no part, zeros."""
    found, state = trained(instance, arguments).parameter_gradients, instance.state()
    names = sorted(instance.parameters())
    return torch.cat([found.get(name, torch.zeros_like(state[name])).flatten() for name in names])


def moved_by(candidate: Candidate, case: MultiTaskCase) -> dict[str, set[str]]:
    """The parameters that each task moves when it is trained alone."""
    instance, arguments = case.build(candidate), case.inputs()
    return {
        task: {
            name
            for name, value in trained(instance, with_weights(arguments, *weights)).parameter_gradients.items()
            if value.abs().max() > INFLUENCE
        }
        for task, weights in TASKS.items()
    }


@check(
    RUNS,
    "one call answers every task: logits (B, T, C) for the tokens, numbers (B, N) for the sequences, and one loss",
    spec=OUTPUTS,
    level="paper",
    hint="Run it once. Give every task a head, return what each head says, and add the losses up to a scalar.",
    case=MultiTaskCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    found = {name: tuple(value.shape) for name, value in case.build(candidate).call(case.inputs()).outputs.items()}
    expected = {
        "output": (),
        "tags": (case.batch, case.length, case.classes),
        "score": (case.batch, case.numbers),
    }
    return holds(found == expected, expected=f"shapes {expected}", actual=f"shapes {found}")


@check(
    SHARED,
    "there are parameters that the loss of each task moves: the encoder is one, not one per task",
    spec=CARUANA.says("1.3", "it is not possible for what one net learns to help another net"),
    level="paper",
    hint="Encode once and give that encoding to all heads. Several models whose outputs are fused share nothing.",
    case=MultiTaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def every_task_trains_the_shared_encoder(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    moved = moved_by(candidate, case)
    counts = {task: len(names) for task, names in moved.items()}
    return holds(
        bool(moved["tags"] & moved["score"]),
        expected="parameters that both tasks move",
        actual=f"none; parameters that each task moves: {counts}",
    )


@check(
    "multi_task_model.a-head-learns-from-its-task-alone",
    "each task has parameters that no other task moves: its head",
    spec=HEADS,
    level="paper",
    hint="Every head reads the encoding, not the answer of another head, and has a projection of its own.",
    case=MultiTaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def a_head_learns_from_its_task_alone(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    moved = moved_by(candidate, case)
    alone = {"tags": sorted(moved["tags"] - moved["score"]), "score": sorted(moved["score"] - moved["tags"])}
    return holds(all(alone.values()), expected="parameters that one task alone moves", actual=f"{alone}")


@check(
    WEIGHTED,
    "the loss is the weighted sum of the tasks' losses: L(a, b) = a L(1, 0) + b L(0, 1)",
    spec=SUM,
    level="paper",
    hint="Multiply each task's loss by its own weight, and add. Do not normalise, square or drop the weights.",
    case=MultiTaskCase,
    domain=DOMAIN | {"tags_weight": (0.25, 3.0), "score_weight": (0.5, 2.0)},
    builds_on=[RUNS],
)
def loss_is_the_weighted_sum(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    total = instance.call(arguments).output
    tags, score = (instance.call(with_weights(arguments, *weights)).output for weights in TASKS.values())
    return equal(total, case.tags_weight * tags + case.score_weight * score)


@check(
    "multi_task_model.gradient-is-the-weighted-sum",
    "every parameter's gradient is the weighted sum of the tasks' gradients, in the shared encoder too",
    spec=SUM,
    level="paper",
    hint="Do not detach the encoding or a loss, and do not step the optimiser between the tasks.",
    case=MultiTaskCase,
    domain=DOMAIN | {"tags_weight": (0.25, 3.0), "score_weight": (0.5, 2.0)},
    builds_on=[RUNS],
)
def gradient_is_the_weighted_sum(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    tags, score = (gradient(instance, with_weights(arguments, *weights)) for weights in TASKS.values())
    total, expected = gradient(instance, arguments), case.tags_weight * tags + case.score_weight * score
    return equal(total, expected, scale=float(tags.abs().max() + score.abs().max()))


@check(
    "multi_task_model.losses-match-their-formulas",
    "each loss is the mean over what is labelled: -log softmax(logits)[tag] over the tokens, (score - label)^2 over the"
    " numbers",
    spec=AVERAGED,
    level="convention",
    hint="Give the criterion the labelled entries alone: cross_entropy(logits[tagged], tags[tagged]).",
    case=MultiTaskCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def losses_match_their_formulas(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    arguments = case.inputs()
    outputs = case.build(candidate).call(arguments).outputs
    tagged, scored = given(arguments, "tagged"), given(arguments, "scored")
    chances = oracles.softmax(oracles.array(outputs["tags"][tagged]))
    labels = given(arguments, "tags")[tagged].numpy()
    tags_loss = -np.log(chances[np.arange(len(labels)), labels]).mean()
    gap = oracles.array(outputs["score"][scored]) - oracles.array(given(arguments, "score")[scored])
    expected = case.tags_weight * tags_loss + case.score_weight * (gap**2).mean()
    return equal(outputs["output"], torch.tensor(expected))


@check(
    "multi_task_model.missing-labels-have-no-influence",
    "another value where a label is missing changes nothing",
    spec=IGNORED,
    level="paper",
    hint="Select what is labelled before the loss; a 0 or a -1 in place of a missing label is a label to the loss.",
    case=MultiTaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def missing_labels_have_no_influence(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    tags, score = given(arguments, "tags"), given(arguments, "score")
    other = {
        "tags": torch.where(given(arguments, "tagged"), tags, (tags + 1) % case.classes),
        "score": torch.where(given(arguments, "scored")[:, None], score, score + 1),
    }
    return equal(instance.call({**arguments, **other}).output, instance.call(arguments).output)


@check(
    "multi_task_model.missing-labels-are-not-counted",
    "a sequence that has no label at all leaves the loss of the others as it is",
    spec=AVERAGED,
    level="paper",
    hint="Divide by the number of labels, not by that of sequences or tokens.",
    case=MultiTaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def missing_labels_are_not_counted(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    given(arguments, "tagged")[-1] = given(arguments, "scored")[-1] = False
    others = {name: value[:-1] if isinstance(value, Tensor) else value for name, value in arguments.items()}
    return equal(instance.call(arguments).output, instance.call(others).output)


@check(
    "multi_task_model.a-task-without-labels-is-silent",
    "in a batch without a label for one task, loss and gradients are those of the other task alone",
    spec=IGNORED,
    level="paper",
    hint="The mean over no labels is 0 / 0. Leave the task out, or divide by at least 1.",
    case=MultiTaskCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def a_task_without_labels_is_silent(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    unlabelled = {**arguments, "scored": torch.zeros_like(given(arguments, "scored"))}
    alone = with_weights(arguments, case.tags_weight, 0.0)
    silent, expected = (
        torch.cat((instance.call(a).output.view(1), gradient(instance, a))) for a in (unlabelled, alone)
    )
    return equal(silent, expected)


@check(
    "multi_task_model.missing-labels-may-be-nan",
    "where a label is missing there may be NaN: the gradients stay finite",
    spec=IGNORED,
    level="robustness",
    hint="Select before the loss: NaN times a mask of 0 is NaN, and so is its gradient behind torch.where.",
    case=MultiTaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def missing_labels_may_be_nan(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    scored = given(arguments, "scored")
    scored[-1] = False
    score = given(arguments, "score").masked_fill(~scored[:, None], torch.nan)
    return finite(gradient(instance, {**arguments, "score": score}))


@check(
    "multi_task_model.padding-has-no-influence",
    "other vectors at padding change neither the answer to a sequence nor those to its real tokens",
    spec=MASKING,
    level="paper",
    hint="Mask the padding in the encoder, and again where the sequence is pooled.",
    case=MultiTaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def padding_has_no_influence(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    real = case.real(given(arguments, "lengths"))
    x = torch.where(real[..., None], given(arguments, "x"), case.normal("other", case.batch, case.length, case.width))
    before, after = (instance.call(a).outputs for a in (arguments, {**arguments, "x": x}))
    first, second = (torch.cat((o["score"].flatten(), o["tags"][real].flatten())) for o in (before, after))
    return equal(second, first)


@check(
    "multi_task_model.amount-of-padding-does-not-matter",
    "a sequence gets the same answer with more padding behind it",
    spec=MASKING,
    level="convention",
    hint="Divide the sum over the real tokens by their number, not by the length of the batch.",
    case=MultiTaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def amount_of_padding_does_not_matter(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    more = {
        "x": case.normal("more", case.batch, case.length, case.width),
        "tags": torch.zeros_like(given(arguments, "tags")),
        "tagged": torch.zeros_like(given(arguments, "tagged")),
    }
    longer = {name: torch.cat((given(arguments, name), padding), dim=1) for name, padding in more.items()}
    before, after = (instance.call(a).outputs["score"] for a in (arguments, {**arguments, **longer}))
    return equal(after, before)


@check(
    "multi_task_model.tokens-get-answers-of-their-own",
    "different tokens get different logits: the head of a task of tokens is not applied to the pooled sequence",
    spec=OUTPUTS,
    level="convention",
    hint="Pool for tasks of whole sequences alone; apply the head of tokens to each position of the encoding.",
    case=MultiTaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def tokens_get_answers_of_their_own(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    arguments = {**case.inputs(), "lengths": torch.full((case.batch,), case.length)}
    logits = case.build(candidate).call(arguments).outputs["tags"]
    return different(logits[:, 1:], logits[:, :-1], expected="logits that differ from token to token")


@check(
    "multi_task_model.sequences-are-independent",
    "the last sequence of a batch gets the same answers alone",
    spec=OUTPUTS,
    level="convention",
    hint="Pool over the positions, dim=1, not over the batch.",
    case=MultiTaskCase,
    domain=SEVERAL,
    builds_on=[RUNS],
)
def sequences_are_independent(candidate: Candidate, case: MultiTaskCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    given(arguments, "tagged")[-1, 0] = given(arguments, "scored")[-1] = True
    alone = {name: value[-1:] if isinstance(value, Tensor) else value for name, value in arguments.items()}
    together, single = instance.call(arguments).outputs, instance.call(alone).outputs
    first, second = (torch.cat((o["score"][-1], o["tags"][-1].flatten())) for o in (together, single))
    return equal(second, first)
