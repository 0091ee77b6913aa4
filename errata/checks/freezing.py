"""Fine-tuning with a frozen part: ``build(width, classes)``, ``call(x, targets, steps)`` in training mode.

The candidate has a body with batch normalisation and dropout, and a head on it. It freezes the body, trains on
``x (N, D)`` and class ids ``targets (N,)`` for some steps, and answers ``output``, the head's weights afterwards;
``head_before``; the body's weights ``body_before`` and ``body_after``; its running statistics ``statistics_before`` and
``statistics_after``; and ``features`` and ``features_again``, the body's answers to ``x`` twice, while it trains.
With the trait ``by-name`` it has a third part whose name begins with the body's, and answers ``other_before`` and
``other_after``.
"""

from dataclasses import dataclass

import torch

from errata.candidates import Candidate, Reply
from errata.checks.case import Case
from errata.checks.evidence import Evidence, different, equal, holds
from errata.checks.literature import DEVLIN, IOFFE, SRIVASTAVA
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class FreezingCase(Case):
    """One fine-tuning."""

    size: int = 4
    width: int = 2
    classes: int = 2
    steps: int = 1

    def train(self, candidate: Candidate) -> Reply:
        """What one fine-tuning answers."""
        instance = candidate.build({"width": self.width, "classes": self.classes}, dtype=self.dtype, seed=self.seed)
        targets = torch.arange(self.size) % self.classes
        x = self.normal("x", self.size, self.width)
        return instance.call({"x": x, "targets": targets, "steps": self.steps}, training=True, seed=self.seed)


DOMAIN = {"size": (4, 6), "width": (2, 3, 5), "classes": (2, 3), "steps": (1, 2, 3), "scale": (1.0, 3.0)}

RUNS = "freezing.accepts-valid-input"
FIXED = DEVLIN.says("5.3", "fixed features are extracted from the pre-trained model")
NEW_HEAD = DEVLIN.says("5.3", "a simple classification layer is added to the pre-trained model")

PAIRS = (("head_before", "output"), ("body_before", "body_after"), ("statistics_before", "statistics_after"))


@check(
    RUNS,
    "a fine-tuning ends with as many weights as it began with",
    spec=NEW_HEAD,
    level="paper",
    hint="Run it once.",
    case=FreezingCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: FreezingCase) -> Evidence:
    outputs = case.train(candidate).outputs
    sizes = {after: (outputs[before].numel(), outputs[after].numel()) for before, after in PAIRS}
    same = all(0 < before == after for before, after in sizes.values())
    return holds(same, expected="as many numbers before as after, more than 0", actual=str(sizes))


@check(
    "freezing.frozen-weights-stay",
    "the body's weights are after the training what they were before, bit for bit",
    spec=FIXED,
    level="paper",
    hint="requires_grad_(False), and no gradient left from before: optimizers apply those, and decay weights with one.",
    case=FreezingCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def frozen_weights_stay(candidate: Candidate, case: FreezingCase) -> Evidence:
    outputs = case.train(candidate).outputs
    same = torch.equal(outputs["body_before"], outputs["body_after"])
    return holds(same, expected="the same bits", actual="other weights")


@check(
    "freezing.the-head-learns",
    "the head's weights change",
    spec=NEW_HEAD,
    level="paper",
    hint="Freeze the body alone, and give the optimizer what is not frozen.",
    case=FreezingCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def the_head_learns(candidate: Candidate, case: FreezingCase) -> Evidence:
    outputs = case.train(candidate).outputs
    return different(outputs["output"], outputs["head_before"], expected="other weights of the head")


@check(
    "freezing.only-the-named-part-is-frozen",
    "a part whose name merely begins with that of the frozen one is trained",
    spec=FIXED,
    level="convention",
    hint="Compare whole names up to a dot: encoder_norm does not lie under encoder.",
    case=FreezingCase,
    domain=DOMAIN,
    needs=["by-name"],
    builds_on=[RUNS],
)
def only_the_named_part_is_frozen(candidate: Candidate, case: FreezingCase) -> Evidence:
    outputs = case.train(candidate).outputs
    return different(outputs["other_after"], outputs["other_before"], expected="other weights of the other part")


@check(
    "freezing.statistics-stand-still",
    "the body's running statistics are after the training what they were before",
    spec=IOFFE.says("3.1", "the means and variances are fixed during inference"),
    level="convention",
    hint="Keep the body in evaluation mode: model.train() reaches it, and statistics move without any gradient.",
    case=FreezingCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def statistics_stand_still(candidate: Candidate, case: FreezingCase) -> Evidence:
    outputs = case.train(candidate).outputs
    return equal(outputs["statistics_after"], outputs["statistics_before"])


@check(
    "freezing.features-are-fixed",
    "the frozen body answers the same input twice the same, also while the head trains: nothing is dropped in it",
    spec=SRIVASTAVA.says("1", "use a single neural net at test time without dropout"),
    level="convention",
    hint="Keep the body in evaluation mode: requires_grad_(False) does not stop dropout.",
    case=FreezingCase,
    domain=DOMAIN | {"width": (5, 8)},
    builds_on=[RUNS],
)
def features_are_fixed(candidate: Candidate, case: FreezingCase) -> Evidence:
    outputs = case.train(candidate).outputs
    return equal(outputs["features_again"], outputs["features"])
