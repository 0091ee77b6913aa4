"""Penalties on weights as terms of the loss: ``build(kind, strength)``, ``call(first, second, bias)``.

``first`` and ``second`` are the weight matrices of two layers, ``bias`` is the bias of one. The answer is the penalty,
one number. Traits say which ``kind`` the candidate knows: ``l1``, ``l2``. An L2 penalty with or without the factor 1/2
is accepted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate, Reply
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, printed
from errata.checks.literature import GOODFELLOW
from errata.checks.oracles import array
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class PenaltyCase(Case):
    """The parameters of two layers."""

    width: int = 1
    inner: int = 2
    strength: float = 0.1

    def inputs(self) -> dict[str, Argument]:
        """The arguments of a call."""
        return {
            "first": self.normal("first", self.inner, self.width),
            "second": self.normal("second", self.width, self.inner),
            "bias": self.normal("bias", self.width),
        }

    def weights(self) -> Tensor:
        """All weights as one vector; the bias is none."""
        return torch.cat(
            [self.normal("first", self.inner * self.width), self.normal("second", self.width * self.inner)]
        )

    def penalty(
        self,
        candidate: Candidate,
        kind: str,
        changed: Mapping[str, Argument] = MappingProxyType({}),
        cotangent: Tensor | None = None,
    ) -> Reply:
        """The candidate's answer to the case's arguments, but for those ``changed``."""
        built = candidate.build({"kind": kind, "strength": self.strength}, dtype=self.dtype)
        return built.call(self.inputs() | dict(changed), training=True, cotangent=cotangent)

    def gradient(self, candidate: Candidate, kind: str) -> Tensor:
        """The gradient at all weights, as one vector."""
        reply = self.penalty(candidate, kind, cotangent=torch.ones((), dtype=torch.float64))
        found = [
            reply.gradients.get(name, torch.zeros_like(value))
            for name, value in self.inputs().items()
            if name != "bias" and isinstance(value, Tensor)
        ]
        return torch.cat([gradient.flatten() for gradient in found])


DOMAIN: dict[str, Sequence[Any]] = {
    "width": (1, 2, 3),
    "inner": (2, 1, 4),
    "strength": (0.1, 0.5, 2.0),
    "scale": (1.0, 0.1, 10.0),
}

L1 = "regularisation.l1-is-the-sum-of-absolute-values"
L2 = "regularisation.l2-is-the-sum-of-squares"

ABSOLUTE = GOODFELLOW.says("7.1.2", "as the sum of absolute values of the individual parameters")
SQUARES = GOODFELLOW.says("7.1.1", "drives the weights closer to the origin by adding a regularization term")
SPARED = GOODFELLOW.says("7.1", "leaves the biases unregularized")


def sum_of(case: PenaltyCase, power: int, factor: float) -> Tensor:
    """``strength * factor * sum |w|^power``."""
    total = (abs(array(case.weights())) ** power).sum()
    return torch.tensor(case.strength * factor * total, dtype=torch.float64)


def without_bias(candidate: Candidate, case: PenaltyCase, kind: str) -> Tensor:
    """The penalty where the bias is 0, and so adds nothing whatever the candidate thinks of it."""
    return case.penalty(candidate, kind, {"bias": torch.zeros(case.width, dtype=torch.float64)}).output


@check(
    L1,
    "the L1 penalty is strength * sum |w| over the weights of all layers",
    spec=ABSOLUTE,
    level="paper",
    hint="Sum over all entries of all weights: no mean, no root, no largest column.",
    case=PenaltyCase,
    domain=DOMAIN,
    needs=["l1"],
)
def l1_is_the_sum_of_absolute_values(candidate: Candidate, case: PenaltyCase) -> Evidence:
    return equal(without_bias(candidate, case, "l1"), sum_of(case, 1, 1.0))


@check(
    "regularisation.l1-gradient-is-the-sign",
    "the gradient of the L1 penalty is strength * sign(w)",
    spec=ABSOLUTE,
    level="paper",
    hint="Keep the graph: neither detach, nor .data, nor item().",
    case=PenaltyCase,
    domain=DOMAIN,
    needs=["l1"],
)
def l1_gradient_is_the_sign(candidate: Candidate, case: PenaltyCase) -> Evidence:
    return equal(case.gradient(candidate, "l1"), case.strength * case.weights().sign())


@check(
    L2,
    "the L2 penalty is strength * sum w^2 over the weights of all layers, perhaps halved",
    spec=SQUARES,
    level="paper",
    hint="Square: the norm itself is the root of the sum, and pulls with the same force however large the weights are.",
    case=PenaltyCase,
    domain=DOMAIN,
    needs=["l2"],
)
def l2_is_the_sum_of_squares(candidate: Candidate, case: PenaltyCase) -> Evidence:
    penalty = without_bias(candidate, case, "l2")
    return min((equal(penalty, sum_of(case, 2, factor)) for factor in (0.5, 1.0)), key=lambda e: e.deviation)


@check(
    "regularisation.l2-gradient-is-the-weight",
    "the gradient of the L2 penalty is strength * w, or twice that",
    spec=SQUARES,
    level="paper",
    hint="Keep the graph: neither detach, nor .data, nor item().",
    case=PenaltyCase,
    domain=DOMAIN,
    needs=["l2"],
)
def l2_gradient_is_the_weight(candidate: Candidate, case: PenaltyCase) -> Evidence:
    gradient, weights = case.gradient(candidate, "l2"), case.strength * case.weights()
    return min((equal(gradient, factor * weights) for factor in (1.0, 2.0)), key=lambda e: e.deviation)


def _bias_is_spared(candidate: Candidate, case: PenaltyCase, kind: str) -> Evidence:
    return equal(case.penalty(candidate, kind).output, without_bias(candidate, case, kind))


@check(
    "regularisation.l1-spares-biases",
    "the L1 penalty does not depend on biases",
    spec=SPARED,
    level="convention",
    hint="Give the penalty the weight matrices, not all of model.parameters().",
    case=PenaltyCase,
    domain=DOMAIN,
    needs=["l1"],
    builds_on=[L1],
)
def l1_spares_biases(candidate: Candidate, case: PenaltyCase) -> Evidence:
    return _bias_is_spared(candidate, case, "l1")


@check(
    "regularisation.l2-spares-biases",
    "the L2 penalty does not depend on biases",
    spec=SPARED,
    level="convention",
    hint="Give the penalty the weight matrices, not all of model.parameters().",
    case=PenaltyCase,
    domain=DOMAIN,
    needs=["l2"],
    builds_on=[L2],
)
def l2_spares_biases(candidate: Candidate, case: PenaltyCase) -> Evidence:
    return _bias_is_spared(candidate, case, "l2")


@check(
    "regularisation.l2-has-a-gradient-at-zero",
    "where all weights are 0, the gradient of the L2 penalty is 0, not NaN",
    spec=SQUARES,
    level="robustness",
    hint="Square without taking a root first: the root's slope at 0 is infinite.",
    case=PenaltyCase,
    domain=DOMAIN | {"scale": (0.0,)},
    needs=["l2"],
)
def l2_has_a_gradient_at_zero(candidate: Candidate, case: PenaltyCase) -> Evidence:
    gradient = case.gradient(candidate, "l2")
    return holds(not gradient.any(), expected="zeros", actual=printed(gradient))
