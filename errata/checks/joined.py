"""What the checks of joined blocks share: attention behind what makes its mask, or behind what tells positions apart.

A block that is right by itself may not fit the next one: a mask that is True at padding, say, in front of attention
that takes True for permission. So these components are called as a user of both calls them, without any mask.
"""

from dataclasses import dataclass

from torch import Tensor

from errata.candidates import Argument, Candidate, Instance
from errata.candidates.candidate import Scalar
from errata.checks.modules import ModuleCase


@dataclass(frozen=True, kw_only=True)
class JoinedCase(ModuleCase):
    """Sizes of one call. Functions are not built, and do without ``heads``.

    Attributes:
        batch: B.
        length: T, without padding.
        heads: H.
        head_width: d, so that D = H d.
    """

    batch: int = 1
    length: int = 1
    heads: int = 1
    head_width: int = 1

    @property
    def width(self) -> int:
        """D, which the heads share."""
        return self.heads * self.head_width

    def config(self) -> dict[str, Scalar]:
        """See `ModuleCase.config`."""
        return {"width": self.width, "heads": self.heads}


SIZES = {"heads": (1, 2, 3), "head_width": (1, 2, 4), "scale": (1.0, 0.3)}


def sequences(candidate: Candidate, case: JoinedCase, length: int) -> dict[str, Tensor]:
    """Query, key and value: one sequence for candidates that take one."""
    shape = (case.batch, length, case.width)
    query = case.normal("query", *shape)
    if "self-only" in candidate.traits:
        return {"query": query, "key": query, "value": query}
    return {"query": query, "key": case.normal("key", *shape), "value": case.normal("value", *shape)}


def keys_moved(candidate: Candidate, case: JoinedCase, inputs: dict[str, Tensor], at: Tensor) -> dict[str, Tensor]:
    """Other keys and values at the positions ``at``; so another sequence, where they are one."""
    move = at[:, None] * case.normal("move", *inputs["key"].shape)
    names = inputs if "self-only" in candidate.traits else ("key", "value")
    return inputs | {name: inputs[name] + move for name in names}


def answer(instance: Instance, inputs: dict[str, Tensor], **more: Argument) -> Tensor:
    """One call in evaluation."""
    return instance.call({**inputs, **more}).output
