"""Adapters of what decodes and measures."""

from dataclasses import dataclass
from typing import ClassVar

from errata.checks.adapters.adapter import Adapter


@dataclass(frozen=True, kw_only=True)
class GreedySearch(Adapter):
    """Greedy search in a table: ``call(logits, start, end, padding)``, see `errata.checks.greedy_search`."""

    component: ClassVar[str] = "greedy_search"
    inputs: ClassVar[tuple[str, ...]] = ("logits", "start", "end", "padding")


@dataclass(frozen=True, kw_only=True)
class BeamSearch(Adapter):
    """Beam search in a table: ``call(logits, start, end, padding, beams, alpha)``, see `errata.checks.beam_search`."""

    component: ClassVar[str] = "beam_search"
    inputs: ClassVar[tuple[str, ...]] = ("logits", "start", "end", "padding", "beams", "alpha")
    known_traits: ClassVar[frozenset[str]] = frozenset({"power-penalty", "wu-penalty"})

    returns: tuple[str, ...] = ("output", "scores")


@dataclass(frozen=True, kw_only=True)
class Bleu(Adapter):
    """Corpus BLEU: ``call(hypotheses, hypothesis_lengths, references, reference_lengths)``.

    See `errata.checks.bleu`.
    """

    component: ClassVar[str] = "bleu"
    inputs: ClassVar[tuple[str, ...]] = ("hypotheses", "hypothesis_lengths", "references", "reference_lengths")


@dataclass(frozen=True, kw_only=True)
class Perplexity(Adapter):
    """Perplexity of a corpus: ``call(logits, labels, ignored)``, see `errata.checks.perplexity`."""

    component: ClassVar[str] = "perplexity"
    inputs: ClassVar[tuple[str, ...]] = ("logits", "labels", "ignored")


@dataclass(frozen=True, kw_only=True)
class ClassificationMetrics(Adapter):
    """Accuracy, precision, recall and F1: ``call(predictions, labels, classes, ignored)``.

    See `errata.checks.classification_metrics`.
    """

    component: ClassVar[str] = "classification_metrics"
    inputs: ClassVar[tuple[str, ...]] = ("predictions", "labels", "classes", "ignored")
    known_traits: ClassVar[frozenset[str]] = frozenset({"macro-f1-of-averages"})

    returns: tuple[str, ...] = ("output", "precision", "recall", "f1", "micro", "macro")
