"""How good a model is: classification metrics, perplexity, BLEU, exact match (Q19 of the second document).

Padding takes no part in any of them. Each is computed over the whole corpus: counts add up over batches, scores do not.
"""

from reference.evaluation.bleu import BleuScore, corpus_bleu
from reference.evaluation.classification import (
    PrecisionRecallF1,
    accuracy,
    confusion_matrix,
    macro_average,
    micro_average,
    per_class,
)
from reference.evaluation.exact_match import exact_matches
from reference.evaluation.perplexity import Perplexity

__all__ = [
    "BleuScore",
    "Perplexity",
    "PrecisionRecallF1",
    "accuracy",
    "confusion_matrix",
    "corpus_bleu",
    "exact_matches",
    "macro_average",
    "micro_average",
    "per_class",
]
