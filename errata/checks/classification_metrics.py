"""Metrics of classification: ``call(predictions, labels, classes, ignored)``, ids of one shape ``(N,)`` or ``(B, T)``.

The candidate answers ``output``, the accuracy; ``precision``, ``recall`` and ``f1`` of each class, ``(C,)``; ``micro``
and ``macro``, both the averages of these three, ``(3,)``. Where the label is ``ignored`` the position is padding; with
None there is none. Trait ``macro-f1-of-averages``: macro F1 is the harmonic mean of macro precision and macro recall.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from errata.candidates import Argument, Candidate, Reply
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, equal_or_refused, holds
from errata.checks.literature import MANNING, OPITZ, PYTORCH, SCIKIT_LEARN
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class MetricsCase(Case):
    """Predictions and labels in which every class is labelled and predicted, and more of each."""

    classes: int = 2
    more: int = 3
    rows: int = 1
    ignored: int = 0

    def predictions(self) -> Tensor:
        """Each class once, in some order, and others."""
        others = self.integers("predictions", 0, self.classes, self.more)
        return torch.cat([self.permutation("predicted classes", self.classes), others])

    def labels(self) -> Tensor:
        """Each class once, and others."""
        return torch.cat([torch.arange(self.classes), self.integers("labels", 0, self.classes, self.more)])

    def padded(self) -> tuple[Tensor, Tensor]:
        """Predictions and labels ``(B, T)``: row b begins with real tokens and ends with b + 1 ignored ones."""
        length = self.rows + self.more
        predictions = self.integers("padded predictions", 0, self.classes, self.rows, length)
        labels = self.integers("padded labels", 1, self.classes, self.rows, length)  # 0 may be the ignored one
        ends = torch.arange(length) >= length - 1 - torch.arange(self.rows)[:, None]
        return predictions, labels.masked_fill(ends, self.ignored)

    def ask(self, candidate: Candidate, predictions: Tensor, labels: Tensor, ignored: int | None = None) -> Reply:
        """All metrics of one corpus."""
        arguments: dict[str, Argument] = {"predictions": predictions, "labels": labels}
        arguments |= {"classes": self.classes, "ignored": ignored}
        return candidate.build({}, dtype=self.dtype).call(arguments)

    def answer(self, candidate: Candidate) -> Reply:
        """All metrics of the drawn corpus without padding."""
        return self.ask(candidate, self.predictions(), self.labels())


DOMAIN = {"classes": (2, 3, 4), "more": (1, 2, 3, 6, 9)}
PADDED = {"classes": (2, 3, 5), "more": (1, 2, 4), "rows": (1, 2, 3), "ignored": (0, -100)}

RUNS = "classification_metrics.accepts-valid-input"
PRECISION = "classification_metrics.precision-divides-by-the-predicted"
RECALL = "classification_metrics.recall-divides-by-the-labelled"
F1 = "classification_metrics.f1-is-the-harmonic-mean-of-precision-and-recall"
MACRO = "classification_metrics.macro-average-weighs-classes-equally"

ACCURACY = MANNING.says("8.3", "the fraction of its classifications that are correct")
HARMONIC = MANNING.says("8.3", "weighted harmonic mean of precision and recall")
IGNORED = PYTORCH.says("torch.nn.CrossEntropyLoss", "Specifies a target value that is ignored")

PARTS = ("precision", "recall", "f1")

Counts = NDArray[np.float64]


def outcomes(case: MetricsCase) -> tuple[Counts, Counts, Counts]:
    """True positives, predictions and labels of each class of the drawn corpus."""
    predicted, labelled = (
        ids.numpy()[:, None] == np.arange(case.classes) for ids in (case.predictions(), case.labels())
    )
    hits, predictions, labels = (
        flags.sum(axis=0).astype(np.float64) for flags in (predicted & labelled, predicted, labelled)
    )
    return hits, predictions, labels


def oracle(case: MetricsCase) -> dict[str, Counts]:
    """Precision, recall and F1 of each class of the drawn corpus."""
    hits, predictions, labels = outcomes(case)
    return {"precision": hits / predictions, "recall": hits / labels, "f1": 2 * hits / (predictions + labels)}


def accuracy(case: MetricsCase) -> Tensor:
    """The share of right predictions in the drawn corpus."""
    return (case.predictions() == case.labels()).double().mean()


def everything(reply: Reply) -> Tensor:
    """All metrics side by side."""
    return torch.cat([reply.outputs[name].double().flatten() for name in ("output", *PARTS, "micro", "macro")])


@check(
    RUNS,
    "C classes give one accuracy, C values of precision, recall and F1 each, and two averages of the three",
    spec=ACCURACY,
    level="paper",
    hint="Run it once on class ids: not on logits, not on one-hot vectors.",
    case=MetricsCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: MetricsCase) -> Evidence:
    reply = case.answer(candidate)
    shapes = {name: list(value.shape) for name, value in reply.outputs.items()}
    expected = {name: [case.classes] for name in PARTS} | {"output": [], "micro": [3], "macro": [3]}
    return holds(shapes == expected, expected=expected, actual=shapes)


@check(
    "classification_metrics.accuracy-is-the-share-of-right-ones",
    "accuracy = right predictions / all predictions",
    spec=ACCURACY,
    level="paper",
    hint="Sum the diagonal of the confusion matrix and divide by the sum of the matrix.",
    case=MetricsCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def accuracy_is_the_share_of_right_ones(candidate: Candidate, case: MetricsCase) -> Evidence:
    return equal(case.answer(candidate).output.double(), accuracy(case))


@check(
    PRECISION,
    "precision of class c = what is rightly predicted as c / what is predicted as c: TP / (TP + FP)",
    spec=MANNING.says("8.3", "fraction of retrieved documents that are relevant"),
    level="paper",
    hint="Divide by the predictions of the class, a column sum if rows are labels. True negatives take no part.",
    case=MetricsCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def precision_divides_by_the_predicted(candidate: Candidate, case: MetricsCase) -> Evidence:
    return _equal_per_class(candidate, case, "precision")


@check(
    RECALL,
    "recall of class c = what is rightly predicted as c / what is labelled c: TP / (TP + FN)",
    spec=MANNING.says("8.3", "fraction of relevant documents that are retrieved"),
    level="paper",
    hint="Divide by the labels of the class, a row sum if rows are labels. True negatives take no part.",
    case=MetricsCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def recall_divides_by_the_labelled(candidate: Candidate, case: MetricsCase) -> Evidence:
    return _equal_per_class(candidate, case, "recall")


@check(
    F1,
    "F1 of a class = 2 P R / (P + R) = 2 TP / (2 TP + FP + FN)",
    spec=HARMONIC,
    level="paper",
    hint="Combine precision and recall, not accuracy and recall, and by the harmonic mean.",
    case=MetricsCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def f1_is_the_harmonic_mean_of_precision_and_recall(candidate: Candidate, case: MetricsCase) -> Evidence:
    return _equal_per_class(candidate, case, "f1")


def _equal_per_class(candidate: Candidate, case: MetricsCase, name: str) -> Evidence:
    """Equal for the classes that are hit: for the others a quotient may be 0 / 0."""
    hit = torch.from_numpy(outcomes(case)[0] > 0)
    actual = case.answer(candidate).outputs[name].double()
    return equal(actual[hit], torch.from_numpy(oracle(case)[name])[hit])


@check(
    "classification_metrics.micro-average-pools-the-counts",
    "micro precision = sum TP / sum (TP + FP), micro recall = sum TP / sum (TP + FN): both, and F1, are the accuracy",
    spec=MANNING.says("13.6", "computes an effectiveness measure on the pooled contingency table"),
    level="paper",
    hint="Add the counts of all classes first, then divide once. With one label each, FP and FN have the same sum.",
    case=MetricsCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def micro_average_pools_the_counts(candidate: Candidate, case: MetricsCase) -> Evidence:
    return equal(case.answer(candidate).outputs["micro"].double(), accuracy(case).expand(3))


@check(
    MACRO,
    "macro precision and macro recall are the means over the classes",
    spec=MANNING.says("13.6", "Macroaveraging computes a simple average over classes"),
    level="paper",
    hint="Compute the metric of each class, then average without weights: no pooling, no support.",
    case=MetricsCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def macro_average_weighs_classes_equally(candidate: Candidate, case: MetricsCase) -> Evidence:
    per_class = oracle(case)
    means = torch.tensor([per_class["precision"].mean(), per_class["recall"].mean()], dtype=torch.float64)
    return equal(case.answer(candidate).outputs["macro"].double()[:2], means)


@check(
    "classification_metrics.macro-f1-is-the-mean-of-f1",
    "macro F1 is the mean of the classes' F1, not the harmonic mean of macro precision and macro recall",
    spec=OPITZ.says("abstract", "there exist two different formulas to calculate this quantity"),
    level="convention",
    hint="Average the classes' F1, as scikit-learn and torchmetrics do, or say that you mean the other one.",
    case=MetricsCase,
    domain=DOMAIN,
    unless=["macro-f1-of-averages"],
    builds_on=[F1, MACRO],
)
def macro_f1_is_the_mean_of_f1(candidate: Candidate, case: MetricsCase) -> Evidence:
    expected = torch.tensor(oracle(case)["f1"].mean(), dtype=torch.float64)
    return equal(case.answer(candidate).outputs["macro"].double()[2], expected)


@check(
    "classification_metrics.padding-takes-no-part",
    "positions whose label is ignored change no metric: it is that of the real positions alone",
    spec=IGNORED,
    level="convention",
    hint="Select where label != ignored before counting, in predictions and labels alike.",
    case=MetricsCase,
    domain=PADDED,
    builds_on=[RUNS],
)
def padding_takes_no_part(candidate: Candidate, case: MetricsCase) -> Evidence:
    predictions, labels = case.padded()
    real = labels != case.ignored
    alone = case.ask(candidate, predictions[real], labels[real])
    return equal(everything(case.ask(candidate, predictions, labels, case.ignored)), everything(alone))


@check(
    "classification_metrics.tokens-weigh-equally",
    "the metrics of a batch are those of all its tokens in one row, not the mean over its sequences",
    spec=ACCURACY,
    level="convention",
    hint="Count over the whole corpus: sequences, and batches, of different lengths have no equal say.",
    case=MetricsCase,
    domain=PADDED | {"rows": (2, 3)},
    builds_on=[RUNS],
)
def tokens_weigh_equally(candidate: Candidate, case: MetricsCase) -> Evidence:
    predictions, labels = case.padded()
    in_one_row = case.ask(candidate, predictions.flatten(), labels.flatten(), case.ignored)
    return equal(everything(case.ask(candidate, predictions, labels, case.ignored)), everything(in_one_row))


@check(
    "classification_metrics.undefined-quotients-are-zero",
    "a class that is labelled and never predicted has precision and F1 0, one that is only predicted recall and F1 0",
    spec=SCIKIT_LEARN.says("precision_recall_fscore_support", "In such cases, by default the metric will be set to 0"),
    level="convention",
    hint="Guard 0 / 0: a NaN of one class swallows the macro average.",
    case=MetricsCase,
    domain={"classes": (2,), "more": (1, 2, 5)},
    builds_on=[RUNS],
)
def undefined_quotients_are_zero(candidate: Candidate, case: MetricsCase) -> Evidence:
    labelled_only = case.ask(candidate, torch.zeros(case.more).long(), torch.ones(case.more).long())
    actual = torch.stack([labelled_only.outputs[name].double() for name in PARTS])
    return equal(actual, torch.zeros(3, 2, dtype=torch.float64))


@check(
    "classification_metrics.absent-classes-leave-the-macro-average-alone",
    "a class that is neither labelled nor predicted takes no part in the macro average",
    spec=SCIKIT_LEARN.says(
        "precision_recall_fscore_support", "By default, all labels in `y_true` and `y_pred` are used"
    ),
    level="convention",
    hint="Average over the classes that occur: else the score depends on how many do not.",
    case=MetricsCase,
    domain=DOMAIN,
    builds_on=[MACRO],
)
def absent_classes_leave_the_macro_average_alone(candidate: Candidate, case: MetricsCase) -> Evidence:
    arguments = {"predictions": case.predictions(), "labels": case.labels(), "ignored": None}
    instance = candidate.build({}, dtype=case.dtype)
    all_occur, one_is_absent = (
        instance.call(arguments | {"classes": case.classes + more}).outputs["macro"] for more in (0, 1)
    )
    return equal(one_is_absent, all_occur)


@check(
    "classification_metrics.no-labels-have-no-score",
    "where every label is ignored, the accuracy is refused or NaN, not a number",
    spec=ACCURACY,
    level="robustness",
    hint="Raise, and say that nothing was left to count: 0 and 1 look like results.",
    case=MetricsCase,
    domain={"classes": (2, 3), "more": (1, 3), "ignored": (0, -100)},
    builds_on=[RUNS],
)
def no_labels_have_no_score(candidate: Candidate, case: MetricsCase) -> Evidence:
    labels = torch.full_like(case.predictions(), case.ignored)
    return equal_or_refused(
        lambda: case.ask(candidate, case.predictions(), labels, case.ignored), torch.tensor(torch.nan)
    )
