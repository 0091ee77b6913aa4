"""BLEU through sacrebleu, which fixes what published scores leave open (Papineni et al. 2002; Post 2018)."""

from collections.abc import Sequence
from typing import NamedTuple

from reference.extras import require


class BleuScore(NamedTuple):
    """A score and what it is made of.

    Attributes:
        score: `100 BP exp(1/4 sum_n log p_n)`, from 0 to 100.
        precisions: `100 p_n` for n = 1..4.
        brevity_penalty: BP.
        signature: the settings and the version of sacrebleu; report it with the score.
    """

    score: float
    precisions: tuple[float, ...]
    brevity_penalty: float
    signature: str


def corpus_bleu(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenizer: str = "13a", smoothing: str = "exp"
) -> BleuScore:
    """Compare each hypothesis with its references, pooling the counts over the corpus (Papineni et al. 2002, 2.3).

    `p_n` is the share of the hypotheses' n-grams that their references hold, each n-gram counted at most as often as
    in one reference; `BP = min(1, exp(1 - r/c))` for c tokens of hypotheses and r of the closest references. Both are
    of the corpus: a mean of sentence scores is another number.

    Args:
        hypotheses: what the model wrote. Detokenised text for the tokenizer "13a", the default of WMT; tokens joined
            by spaces for "none", e.g. ids of a vocabulary without text. Without padding and end token.
        references: the right texts of each hypothesis, one or more, as many for each.
        tokenizer: one of sacrebleu's: "13a", "intl", "zh", "char", "none", ...
        smoothing: what stands for a `p_n` of 0, which would make the score 0: "exp" halves from order to order,
            "floor" and "add-k" add a constant, "none" leaves it.

    Raises:
        ValueError: for no hypotheses, for another number of references, and for unknown settings.
        ImportError: without sacrebleu.
    """
    _require_pairs(hypotheses, references)
    bleu = require("sacrebleu", extra="evaluate").BLEU
    if tokenizer not in bleu.TOKENIZERS:
        raise ValueError(f"tokenizer must be one of {', '.join(bleu.TOKENIZERS)}, got {tokenizer!r}")
    if smoothing not in bleu.SMOOTH_DEFAULTS:
        raise ValueError(f"smoothing must be one of {', '.join(bleu.SMOOTH_DEFAULTS)}, got {smoothing!r}")
    # `force` silences the advice to detokenise, which joined tokens and texts ending in " ." would call forth.
    metric = bleu(tokenize=tokenizer, smooth_method=smoothing, force=True)
    result = metric.corpus_score(list(hypotheses), [list(stream) for stream in zip(*references, strict=True)])
    return BleuScore(result.score, tuple(result.precisions), result.bp, str(metric.get_signature()))


def _require_pairs(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if not hypotheses:
        raise ValueError("BLEU needs at least one hypothesis, got none")
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(hypotheses)} hypotheses need as many lists of references, got {len(references)}")
    for texts in references:
        if isinstance(texts, str) or not texts or len(texts) != len(references[0]):
            raise ValueError(
                f"references must be a list of texts for each hypothesis, all of one length, got {texts!r}"
            )
