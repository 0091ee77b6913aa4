"""What the checks of losses share: batches of sequences of unequal lengths, and what is said about their padding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Reply
from errata.candidates.candidate import Scalar
from errata.checks.case import Case
from errata.checks.evidence import Evidence, holds, printed
from errata.checks.literature import PYTORCH

IGNORED = PYTORCH.says(
    "torch.nn.functional.cross_entropy",
    "Specifies a target value that is ignored and does not contribute to the input gradient",
)
AVERAGED = PYTORCH.says(
    "torch.nn.functional.cross_entropy", "When size_average is True, the loss is averaged over non-ignored targets"
)

ONE = torch.ones((), dtype=torch.float64)
NO_CHANGE: Mapping[str, Argument] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class PaddedCase(Case):
    """One batch; ``padded`` leaves room behind its first sequence and perhaps behind others."""

    batch: int = 1
    length: int = 1
    padded: bool = False

    def present(self) -> Tensor:
        """Where a token stands ``(B, T)``: at the beginning of every sequence, at least."""
        lengths = torch.full((self.batch,), self.length)
        if self.padded:
            lengths = self.integers("lengths", 1, self.length + 1, self.batch)
            lengths[0] = max(1, self.length - 1)
        return torch.arange(self.length) < lengths[:, None]

    def config(self) -> dict[str, Scalar]:
        """The arguments of ``build``."""
        return {}

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call."""
        raise NotImplementedError

    def answer(
        self, candidate: Candidate, changed: Mapping[str, Argument] = NO_CHANGE, cotangent: Tensor | None = None
    ) -> Reply:
        """What the candidate answers to the case's arguments, but for those ``changed``."""
        built = candidate.build(self.config(), dtype=self.dtype)
        return built.call(self.inputs() | dict(changed), training=True, cotangent=cotangent)

    def gradient(self, candidate: Candidate, name: str, changed: Mapping[str, Argument] = NO_CHANGE) -> Tensor:
        """The gradient of the answer, one number, at an argument; 0 if that has no influence."""
        argument = (self.inputs() | dict(changed))[name]
        assert isinstance(argument, Tensor)
        return self.answer(candidate, changed, ONE).gradients.get(name, torch.zeros_like(argument))


BATCHES: dict[str, Sequence[Any]] = {"batch": (1, 2, 3), "length": (1, 2, 4)}
PADDED: dict[str, Sequence[Any]] = {"length": (2, 4), "padded": (True,)}


def is_one_number(candidate: Candidate, case: PaddedCase) -> Evidence:
    """The answer has no axes and is finite."""
    loss = case.answer(candidate).output
    shown = f"shape {tuple(loss.shape)}: {printed(loss)}"
    return holds(loss.shape == () and bool(loss.isfinite()), expected="a finite number, shape ()", actual=shown)
