"""Losses over batches of padded sequences: padding takes no part, and every token counts the same."""

from typing import Literal, TypeAlias

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from reference.validation import require_probability

Reduction: TypeAlias = Literal["mean", "sum", "none"]


def sequence_cross_entropy(
    logits: Float[Tensor, "B T V"],
    target: Int[Tensor, "B T"],
    *,
    padding_id: int,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "B T"]:
    """Compare each token of `target` with the distribution that `logits` give to it, in nats.

    `loss[b, t] = -sum_k q(k) log softmax(logits[b, t])_k` with `q(k) = (1 - e) [k = target[b, t]] + e / V` and `e` the
    `label_smoothing` (Szegedy et al. 2016, section 7, with `u(k) = 1/K`; Vaswani et al. 2017, section 5.4, `e = 0.1`).
    The smoothed mass goes to all V entries, as in `F.cross_entropy`. Who spreads `e` over the `V - 1` wrong entries
    alone, as fairseq and tensor2tensor do, writes the same loss with `label_smoothing = e * V / (V - 1)`.

    `mean` divides by the number of tokens of the whole batch, so a long sequence weighs more than a short one; `sum`
    is for those who divide by the tokens of several batches; `none` gives 0 at padding. A batch of padding alone has
    loss 0 and gradient 0. `ValueError` for a smoothing outside [0, 1]; an id outside the vocabulary raises
    `IndexError`.
    """
    require_probability(label_smoothing=label_smoothing)
    losses = F.cross_entropy(
        logits.flatten(0, 1),
        target.flatten(),
        ignore_index=padding_id,
        label_smoothing=label_smoothing,
        # Its own "mean" divides by zero when there is nothing but padding.
        reduction="none" if reduction == "none" else "sum",
    )
    if reduction == "none":
        return losses.view_as(target)
    return losses if reduction == "sum" else losses / (target != padding_id).sum().clamp(min=1)


def sequence_squared_error(
    prediction: Float[Tensor, "B T D"], target: Float[Tensor, "B T D"], present: Bool[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Average `(prediction - target)^2` over the features of all positions where `present` is True.

    What stands elsewhere has no influence, be it NaN. If nothing is present, the loss and its gradient are 0.
    """
    # Masked before the square, whose gradient at NaN would be NaN even if it were multiplied by 0.
    difference = (prediction - target).masked_fill(~present[..., None], 0.0)
    return difference.square().sum() / (present.sum() * prediction.shape[-1]).clamp(min=1)
