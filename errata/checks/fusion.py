"""What the checks of early and of cross-attention fusion share: one case, and properties of any fusion of two modes.

``build(width, heads, hidden, layers)`` and ``call(text, image, text_real, image_real)``, with text ``(B, T, D)``, image
``(B, P, D)``, positions included, and booleans ``(B, T)`` and ``(B, P)``, False at padding. The answer is the new
vectors of both modes, ``(B, T + P, D)``, those of the text first.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.candidates.candidate import Scalar
from errata.checks import modules
from errata.checks.evidence import Evidence, finite
from errata.checks.modules import ModuleCase, answers, given

Mode = Literal["text", "image"]


@dataclass(frozen=True, kw_only=True)
class FusionCase(ModuleCase):
    """Sizes of one model and one batch."""

    batch: int = 1
    text_length: int = 1
    image_length: int = 1
    heads: int = 1
    head_width: int = 4
    hidden: int = 5
    layers: int = 1

    @property
    def width(self) -> int:
        """The model width."""
        return self.heads * self.head_width

    def config(self) -> dict[str, Scalar]:
        """See `ModuleCase.config`."""
        return {"width": self.width, "heads": self.heads, "hidden": self.hidden, "layers": self.layers}

    def inputs(self) -> dict[str, Tensor]:
        """See `ModuleCase.inputs`. Each mode has at least one real token in each example, its first."""
        arguments = {}
        for mode, length in (("text", self.text_length), ("image", self.image_length)):
            lengths = self.integers(f"{mode} lengths", 1, length + 1, self.batch)
            arguments[mode] = self.normal(mode, self.batch, length, self.width)
            arguments[f"{mode}_real"] = torch.arange(length) < lengths[:, None]
        return arguments

    def without(self, mode: Mode) -> dict[str, Tensor]:
        """The same, but the last example lacks this mode."""
        arguments = self.inputs()
        arguments[f"{mode}_real"][-1] = False
        return arguments

    def with_others(self, arguments: dict[str, Tensor], mode: Mode, where: Tensor) -> dict[str, Tensor]:
        """The same with other vectors at some positions ``(B, T)`` of one mode."""
        vectors = given(arguments, mode)
        return arguments | {mode: torch.where(where[..., None], self.normal(f"other {mode}", *vectors.shape), vectors)}

    def of(self, mode: Mode, output: Tensor) -> Tensor:
        """The part of an output that belongs to this mode."""
        return output[:, : self.text_length] if mode == "text" else output[:, self.text_length :]


ANY = {
    "batch": (1, 2, 3),
    "text_length": (1, 2, 3),
    "image_length": (1, 2, 4),
    "heads": (1, 2),
    "head_width": (4, 5),
    "hidden": (7, 11),
    "layers": (1, 2),
}
DOMAIN = ANY | {"text_length": (2, 3), "image_length": (3, 4), "hidden": (23, 29), "layers": (1,)}


def real(arguments: dict[str, Tensor]) -> Tensor:
    """Which positions of the output are not padding."""
    return torch.cat((arguments["text_real"], arguments["image_real"]), dim=1)


def has_shape(candidate: Candidate, case: FusionCase) -> Evidence:
    """One vector for each token of each mode."""
    return modules.has_shape(candidate, case, case.batch, case.text_length + case.image_length, case.width)


def padding_has_no_influence(candidate: Candidate, case: FusionCase, mode: Mode) -> Evidence:
    """Other vectors at the padding of one mode move no real token of either."""
    arguments = case.inputs()
    others = case.with_others(arguments, mode, ~arguments[f"{mode}_real"])
    return modules.none_moves(*answers(candidate, case, arguments, others), among=real(arguments))


def real_tokens_have_influence(candidate: Candidate, case: FusionCase, source: Mode, target: Mode) -> Evidence:
    """Another vector at one real token of the source moves every real token of the target."""
    arguments = case.inputs()
    vectors = given(arguments, source)
    position = int(case.integers("position", 0, vectors.shape[1]))
    here = (torch.arange(vectors.shape[1]) == position) & arguments[f"{source}_real"]
    before, after = answers(candidate, case, arguments, case.with_others(arguments, source, here))
    return modules.all_move(
        case.of(target, before),
        case.of(target, after),
        expected=f"another vector at {position} of the {source} changes every real token of the {target}",
        among=arguments[f"{target}_real"] & here.any(dim=1, keepdim=True),
    )


def missing_mode_is_finite(candidate: Candidate, case: FusionCase, mode: Mode) -> Evidence:
    """Without one mode, the other's vectors and all gradients are numbers."""
    other: Mode = "text" if mode == "image" else "image"
    arguments = case.without(mode)
    kept = real(arguments)[..., None].expand(-1, -1, case.width)
    reply = case.build(candidate).call(arguments, cotangent=kept.to(given(arguments, mode).dtype))
    gradients = [*reply.gradients.values(), *reply.parameter_gradients.values()]
    answer = case.of(other, reply.output)[arguments[f"{other}_real"]]
    return finite(torch.cat([answer.flatten(), *(gradient.flatten() for gradient in gradients)]))


def missing_mode_has_no_influence(candidate: Candidate, case: FusionCase, mode: Mode) -> Evidence:
    """What stands in the place of a mode that is missing changes nothing."""
    arguments = case.without(mode)
    others = case.with_others(arguments, mode, ~arguments[f"{mode}_real"])
    return modules.none_moves(*answers(candidate, case, arguments, others), among=real(arguments))
