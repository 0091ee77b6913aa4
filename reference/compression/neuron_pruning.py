"""Structured pruning of the feed-forward network: whole inner neurons go."""

from torch.nn.utils import prune

from reference.compression.linears import linear_of
from reference.compression.magnitude_pruning import make_permanent
from reference.feed_forward import FeedForward
from reference.validation import Number, require_probability


def prune_neurons(network: FeedForward, share: Number) -> None:
    """Mask the `share` of the inner neurons whose outgoing weights have the smallest Euclidean norm.

    Neuron j speaks through column j of `W_2` alone, so without the column it is silent, its bias included. The masks
    stay while the model is trained on. `ValueError` for a share outside [0, 1].
    """
    require_probability(share=share)
    prune.ln_structured(network.outer, "weight", float(share), n=2, dim=1)


def remove_dead_neurons(network: FeedForward) -> None:
    """Remove the neurons that are silent: the output stays, and both matrices shrink.

    An optimizer that was made before holds the old parameters. `ValueError` if no neuron would be left.
    """
    make_permanent(network)
    inner, outer = network.inner, network.outer
    alive = (outer.weight != 0).any(dim=0)
    if not alive.any():
        raise ValueError(f"all {alive.numel()} neurons are silent: leave out the whole sublayer instead")
    network.inner = linear_of(inner.weight[alive], inner.bias[alive])
    network.outer = linear_of(outer.weight[:, alive], outer.bias)
