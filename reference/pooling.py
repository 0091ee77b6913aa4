"""From the states of a sequence to one vector; padding takes no part."""

from jaxtyping import Bool, Float
from torch import Tensor


def mean_of_real(states: Float[Tensor, "B S D"], real: Bool[Tensor, "B S"]) -> Float[Tensor, "B D"]:
    """Average the states of the real positions (Reimers and Gurevych 2019, section 3); of none, the mean is 0."""
    total = states.masked_fill(~real[..., None], 0.0).sum(dim=1)
    return total / real.sum(dim=1, keepdim=True).clamp(min=1)


def first_real(states: Float[Tensor, "B S D"], real: Bool[Tensor, "B S"]) -> Float[Tensor, "B D"]:
    """Take the state of the first real position, as BERT does of [CLS] (Devlin et al. 2019, section 3); of none, 0."""
    first = real & (real.cumsum(dim=1) == 1)
    return states.masked_fill(~first[..., None], 0.0).sum(dim=1)
