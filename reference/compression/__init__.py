"""Smaller and faster models: pruning (Q21), quantisation and mixed precision (Q22).

The document lists three kinds of quantisation. Its "low-precision" one is `quantise_dynamically` and
`quantise_statically`. Its "hybrid" one, another precision for each part, is what these do too, since they leave norms,
softmax and embeddings in floating point; in training it is `MixedPrecision`. Its "full precision" one is none.
"""

from reference.compression.affine_quantiser import AffineQuantiser
from reference.compression.head_pruning import gated_heads, head_importance, remove_heads
from reference.compression.linears import linear_of, untied_linears
from reference.compression.magnitude_pruning import make_permanent, prune_weights, sparsity
from reference.compression.mixed_precision import MixedPrecision
from reference.compression.neuron_pruning import prune_neurons, remove_dead_neurons
from reference.compression.quantisation import quantise_dynamically, quantise_statically, stored_bytes

__all__ = [
    "AffineQuantiser",
    "MixedPrecision",
    "gated_heads",
    "head_importance",
    "linear_of",
    "make_permanent",
    "prune_neurons",
    "prune_weights",
    "quantise_dynamically",
    "quantise_statically",
    "remove_dead_neurons",
    "remove_heads",
    "sparsity",
    "stored_bytes",
    "untied_linears",
]
