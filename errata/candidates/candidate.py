"""The interface between a check and the implementation that it judges.

Tensors go in and tensors come out: no object of the candidate ever reaches a check. A process elsewhere can
therefore stand behind the same interface, and no check would notice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

Scalar = int | float | bool | str
Argument = Tensor | Scalar | None


class CandidateError(Exception):
    """The candidate raised an exception, or answered with something that is not a tensor.

    Attributes:
        kind: the exception's class name.
        message: its text, on one line.
        place: ``file:line`` of the innermost line of the candidate's own source, or None.
    """

    def __init__(self, kind: str, message: str, place: str | None = None) -> None:
        self.kind = kind
        self.message = " ".join(message.split())
        self.place = place
        super().__init__(f"{kind}: {self.message}" + (f" ({place})" if place else ""))


@dataclass(frozen=True)
class Reply:
    """What one call gave back.

    Attributes:
        outputs: the results by name; a single tensor is called ``output``.
        arguments: the tensors that were passed in, as they are after the call.
        gradients: of ``sum(output * cotangent)`` with respect to each floating argument; absent if it has no influence.
        parameter_gradients: the same with respect to each parameter.
    """

    outputs: Mapping[str, Tensor]
    arguments: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor] = field(default_factory=dict)
    parameter_gradients: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def output(self) -> Tensor:
        """The main result."""
        return self.outputs["output"]


class Instance(Protocol):
    """A built candidate."""

    def call(
        self,
        arguments: Mapping[str, Argument],
        *,
        training: bool = False,
        seed: int = 0,
        cotangent: Tensor | None = None,
        autocast: str | None = None,
    ) -> Reply:
        """Run the candidate once, in evaluation unless ``training``, with torch's generator at ``seed``.

        With ``autocast``, it runs under `torch.autocast` to that type; gradients are computed outside.

        Raises:
            CandidateError: when the candidate raises.
        """
        ...

    def state(self) -> Mapping[str, Tensor]:
        """Parameters and buffers, by the component's own names where the candidate's are known to match them."""
        ...

    def parameters(self) -> frozenset[str]:
        """Which names of `state` are trained; the others are buffers or frozen."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Overwrite the named parameters and buffers; the others keep their values.

        Raises:
            CandidateError: when a name is unknown or a shape differs.
        """
        ...


class Candidate(Protocol):
    """One implementation under check.

    Attributes:
        name: for messages.
        traits: what it can do or has chosen, e.g. ``weights`` (its parameters have known names), ``post-norm``.
    """

    name: str
    traits: frozenset[str]

    def build(self, config: Mapping[str, Scalar], *, dtype: str = "float64", seed: int = 0) -> Instance:
        """Construct it with ``dtype`` as the default, and torch's generator at ``seed``.

        Raises:
            CandidateError: when its source does not run or its constructor raises.
        """
        ...
