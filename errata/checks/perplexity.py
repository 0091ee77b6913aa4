"""Perplexity of a corpus: ``call(logits, labels, ignored)``, logits ``(K, B, T, V)`` and labels ``(K, B, T)``.

The first axis counts the batches, which the candidate gets one after the other. The logits at position t score the
label at position t. It answers ``output``, one number ``()`` for the whole corpus. Labels equal to ``ignored`` are
padding.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Reply
from errata.checks import oracles
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, equal_or_refused, holds, printed
from errata.checks.literature import HUGGING_FACE, PYTORCH
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class PerplexityCase(Case):
    """One corpus: the number of its batches, and their sizes."""

    batches: int = 1
    rows: int = 1
    length: int = 2
    vocabulary: int = 2
    ignored: int = -100

    def logits(self) -> Tensor:
        """Drawn logits of all batches."""
        return self.normal("logits", self.batches, self.rows, self.length, self.vocabulary)

    def labels(self) -> Tensor:
        """Drawn labels without padding."""
        return self.integers("labels", 1, self.vocabulary, self.batches, self.rows, self.length)

    def padded(self) -> Tensor:
        """The labels, ignored at random places: none in the first row, the last one, never a whole batch."""
        ignored = self.booleans("ignored places", self.batches, self.rows, self.length)
        ignored[0, 0] = False
        ignored[-1, -1, -1] = True
        ignored[:, 0, 0] = False
        return self.labels().masked_fill(ignored, self.ignored)

    def reply(self, candidate: Candidate, logits: Tensor, labels: Tensor) -> Reply:
        """What is answered to one corpus."""
        arguments: dict[str, Argument] = {"logits": logits, "labels": labels, "ignored": self.ignored}
        return candidate.build({}, dtype=self.dtype).call(arguments)

    def ask(self, candidate: Candidate, logits: Tensor, labels: Tensor) -> Tensor:
        """The perplexity of one corpus."""
        return self.reply(candidate, logits, labels).output


DOMAIN = {"rows": (1, 2), "length": (2, 3, 5), "vocabulary": (2, 3, 7), "scale": (1.0, 0.1, 5.0)}
PADDED = DOMAIN | {"ignored": (-100, 0)}
BATCHES = PADDED | {"batches": (2, 3)}

RUNS = "perplexity.accepts-valid-input"
FORMULA = "perplexity.is-the-exponential-of-the-mean-loss"
PADDING = "perplexity.padding-takes-no-part"

DEFINITION = HUGGING_FACE.says(
    "Perplexity of fixed-length models",
    "Perplexity is defined as the exponentiated average negative log-likelihood of a sequence.",
)
UNIFORM = HUGGING_FACE.says(
    "Perplexity of fixed-length models",
    "the model’s ability to predict uniformly among the set of specified tokens in a corpus",
)


def perplexity(logits: Tensor, labels: Tensor, ignored: int) -> Tensor:
    """``exp(-1/N sum log softmax(logits)[label])`` over the N labels that are not ignored, in float64."""
    real = labels != ignored
    probabilities = oracles.softmax(oracles.array(logits[real]))
    taken = probabilities[np.arange(len(probabilities)), labels[real].numpy()]
    return torch.tensor(np.exp(-np.log(taken).mean()), dtype=torch.float64)


@check(
    RUNS,
    "a corpus has one perplexity: a positive number",
    spec=DEFINITION,
    level="paper",
    hint="Run it once on logits (B, T, V) and labels (B, T).",
    case=PerplexityCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: PerplexityCase) -> Evidence:
    actual = case.ask(candidate, case.logits(), case.labels())
    fits = actual.shape == () and bool(actual > 0)
    return holds(fits, expected="one positive number", actual=printed(actual))


@check(
    "perplexity.of-a-uniform-model-is-the-vocabulary",
    "a model that gives each of V tokens the same probability has perplexity V",
    spec=UNIFORM,
    level="paper",
    hint="Logarithm and exponential need one base: 2 ** loss is wrong for a loss in nats, as torch's is.",
    case=PerplexityCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def of_a_uniform_model_is_the_vocabulary(candidate: Candidate, case: PerplexityCase) -> Evidence:
    expected = torch.tensor(float(case.vocabulary), dtype=torch.float64)
    return equal(case.ask(candidate, torch.zeros_like(case.logits()), case.labels()).double(), expected)


@check(
    FORMULA,
    "PPL = exp(-1/N sum_n log p(token_n))",
    spec=DEFINITION,
    level="paper",
    hint="Average the loss of all tokens, then exponentiate once; smoothing and weights belong to training.",
    case=PerplexityCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def is_the_exponential_of_the_mean_loss(candidate: Candidate, case: PerplexityCase) -> Evidence:
    logits, labels = case.logits(), case.labels()
    return equal(case.ask(candidate, logits, labels).double(), perplexity(logits, labels, case.ignored))


@check(
    "perplexity.common-shift-of-logits-changes-nothing",
    "logits + c have the perplexity of the logits: the softmax normalises them",
    spec=DEFINITION,
    level="paper",
    hint="Take log_softmax of the logits first: they are no log-probabilities.",
    case=PerplexityCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def common_shift_of_logits_changes_nothing(candidate: Candidate, case: PerplexityCase) -> Evidence:
    logits, labels = case.logits(), case.labels()
    return equal(case.ask(candidate, logits + 1, labels), case.ask(candidate, logits, labels))


@check(
    PADDING,
    "PPL is over the real tokens alone: padding is neither in the sum nor in N",
    spec=PYTORCH.says("torch.nn.CrossEntropyLoss", "Specifies a target value that is ignored"),
    level="convention",
    hint="Select the real tokens first, or give ignore_index and divide by their number, not by B * T.",
    case=PerplexityCase,
    domain=PADDED,
    builds_on=[FORMULA],
)
def padding_takes_no_part(candidate: Candidate, case: PerplexityCase) -> Evidence:
    logits, labels = case.logits(), case.padded()
    return equal(case.ask(candidate, logits, labels).double(), perplexity(logits, labels, case.ignored))


@check(
    "perplexity.batches-weigh-by-their-tokens",
    "however the corpus is cut into batches, PPL is that of all its real tokens, not a mean over batches",
    spec=DEFINITION,
    level="paper",
    hint="Add up the losses and the tokens of all batches, divide once and exponentiate once, at the end.",
    case=PerplexityCase,
    domain=BATCHES,
    builds_on=[FORMULA, PADDING],
)
def batches_weigh_by_their_tokens(candidate: Candidate, case: PerplexityCase) -> Evidence:
    logits, labels = case.logits(), case.padded()
    return equal(case.ask(candidate, logits, labels).double(), perplexity(logits, labels, case.ignored))


@check(
    "perplexity.beyond-the-largest-number-is-infinite",
    "a mean loss of 800 gives infinity, not an exception and not NaN",
    spec=DEFINITION,
    level="robustness",
    hint="math.exp raises OverflowError above 709: catch it. The first batches of a training are that bad.",
    case=PerplexityCase,
    domain={"rows": (1, 2), "length": (2, 3), "vocabulary": (2, 3)},
    builds_on=[RUNS],
)
def beyond_the_largest_number_is_infinite(candidate: Candidate, case: PerplexityCase) -> Evidence:
    labels = case.labels()
    logits = torch.zeros_like(case.logits()).scatter(-1, labels[..., None], -800.0)
    return equal(case.ask(candidate, logits, labels).double(), torch.tensor(torch.inf, dtype=torch.float64))


@check(
    "perplexity.no-tokens-have-no-score",
    "a corpus of padding alone is refused or NaN, not a number",
    spec=DEFINITION,
    level="robustness",
    hint="Raise, and say that nothing was left to score: 1 would look perfect.",
    case=PerplexityCase,
    domain={"rows": (1, 2), "length": (2, 3), "ignored": (-100, 0), "batches": (1, 2)},
    builds_on=[RUNS],
)
def no_tokens_have_no_score(candidate: Candidate, case: PerplexityCase) -> Evidence:
    labels = torch.full_like(case.labels(), case.ignored)
    return equal_or_refused(lambda: case.reply(candidate, case.logits(), labels), torch.tensor(torch.nan))
