"""Pretrained weights into a model that has more, fewer or other parts; nothing is left out in silence."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn


class LoadReport(NamedTuple):
    """What became of each weight, by name.

    Attributes:
        loaded: given, and now in the model.
        missing: the model has it, nobody gave it: it keeps its value.
        unexpected: given, and the model has nothing of this name.
        mismatched: given in another shape than the model's: it keeps its value.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, strict: bool) -> LoadReport:
    """Copy `weights` into the parameters and buffers of the same names, and report on all others.

    Tied weights have several names, and one of them is enough. Values are cast to the model's dtype.

    Args:
        model: what to load into.
        weights: by name, as from `state_dict`; of a part of the source see `weights_of_part`.
        strict: refuse anything but a perfect match, and then load nothing.

    Raises:
        ValueError: if `strict` and a weight is missing, unexpected or of another shape; and if none fits at all.
    """
    own = model.state_dict(keep_vars=True)  # the parameters themselves: those of tied names are one object
    report = _compare(own, weights)
    if strict and (report.missing or report.unexpected or report.mismatched):
        raise ValueError(f"the weights are not those of this model: {_deviations(report, own, weights)}")
    if not report.loaded:
        raise ValueError(f"none of the weights fits this model: {_deviations(report, own, weights)}")
    model.load_state_dict({name: weights[name] for name in report.loaded}, strict=False)
    return report


def weights_of_part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the weights of one module by its dotted name, e.g. "encoder", and name them as within that module.

    `ValueError` if there are none.
    """
    part = {
        name.removeprefix(f"{prefix}."): weight for name, weight in weights.items() if name.startswith(f"{prefix}.")
    }
    if not part:
        parts = sorted({name.split(".")[0] for name in weights})
        raise ValueError(f"there are no weights of {prefix!r}, only of {', '.join(parts)}")
    return part


def _compare(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> LoadReport:
    given = [name for name in weights if name in own]
    loaded = [name for name in given if own[name].shape == weights[name].shape]
    filled = {id(own[name]) for name in loaded}
    return LoadReport(
        loaded=tuple(loaded),
        missing=tuple(name for name, weight in own.items() if name not in weights and id(weight) not in filled),
        unexpected=tuple(name for name in weights if name not in own),
        mismatched=tuple(name for name in given if name not in loaded),
    )


def _deviations(report: LoadReport, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    shapes = [f"{n} {tuple(weights[n].shape)} for {tuple(own[n].shape)}" for n in report.mismatched]
    named = {"missing": report.missing, "unexpected": report.unexpected, "of another shape": shapes}
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in named.items() if names)
