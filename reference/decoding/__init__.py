"""Decoding: from a model that scores the next id to whole sequences (Q6, Q13, Q14).

A search asks a `NextIdScorer`: a `Transformer` through its cache, `CachedTransformer` or its fast twins
`FastTransformer` (CPU) and `GraphedDecoder` (GPU), or anything else that scores ids.
"""

from reference.decoding.beam import Hypotheses, beam_search, length_penalty
from reference.decoding.fast import FastDecoder, FastTransformer
from reference.decoding.graphed import GraphedDecoder
from reference.decoding.greedy import greedy_search
from reference.decoding.scorer import CachedTransformer, NextIdScorer

__all__ = [
    "CachedTransformer",
    "FastDecoder",
    "FastTransformer",
    "GraphedDecoder",
    "Hypotheses",
    "NextIdScorer",
    "beam_search",
    "greedy_search",
    "length_penalty",
]
