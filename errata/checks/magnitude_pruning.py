"""Pruning by magnitude: ``call(first, second, gradient, share, together)``.

The two matrices of weights lose a ``share`` of their numbers, each for itself or both ``together``. The candidate
answers them as ``output`` and ``second``, and as ``trained`` the first after a step of gradient descent at rate 1, with
this ``gradient``, that follows the pruning. Traits: ``apart-only`` and ``together-only`` for one that ignores the
choice; ``no-training`` answers no ``trained``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import HAN, PYTORCH
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class PruningCase(Case):
    """Two matrices, the second with weights ``ratio`` times as large, and the share of them that goes."""

    rows: int = 1
    columns: int = 3
    share: float = 0.5
    ratio: float = 1.0
    together: bool = False

    def weights(self) -> tuple[Tensor, Tensor]:
        """The two matrices, of different sizes."""
        first = self.normal("first", self.rows, self.columns)
        return first, self.ratio * self.normal("second", self.columns, self.rows + 1)

    def gradient(self) -> Tensor:
        """That of the first matrix."""
        return self.normal("gradient", self.rows, self.columns)


@dataclass(frozen=True)
class Pruned:
    """Weights before and after, in one group or several."""

    before: tuple[Tensor, ...]
    after: tuple[Tensor, ...]

    def joined(self) -> "Pruned":
        """All of them in one group."""
        return Pruned((_joined(self.before),), (_joined(self.after),))


def pruned(candidate: Candidate, case: PruningCase) -> Pruned:
    """What the candidate makes of the two matrices."""
    outputs = _outputs(candidate, case)
    return Pruned(case.weights(), (outputs["output"], outputs["second"]))


def is_together(candidate: Candidate, case: PruningCase) -> bool:
    """Whether the candidate ranks all weights together in this case."""
    return "together-only" in candidate.traits or (case.together and "apart-only" not in candidate.traits)


DOMAIN = {
    "rows": (1, 2, 4),
    "columns": (3, 5),
    "share": (0.5, 0.0, 0.25, 0.9, 1.0),
    "ratio": (1.0, 10.0),
    "together": (False, True),
    "scale": (1.0, 0.01),
}
SOME = DOMAIN | {"share": (0.5, 0.25, 0.8)}

RUNS = "magnitude_pruning.accepts-valid-input"
SMALLEST = "magnitude_pruning.smallest-weights-go"

THRESHOLD = HAN.says("3", "All connections with weights below a threshold are removed from the network")
RETRAINED = HAN.says("3", "retrains the network to learn the final weights for the remaining sparse connections")
SHARE = PYTORCH.says("torch.nn.utils.prune.l1_unstructured", "represent the fraction of parameters to prune")
AGGREGATED = PYTORCH.says(
    "torch.nn.utils.prune.global_unstructured", "aggregating all weights prior to deciding which ones to prune"
)


@check(
    RUNS,
    "both matrices keep their shapes",
    spec=THRESHOLD,
    level="paper",
    hint="Run it once: pruning sets weights to 0, it takes none out.",
    case=PruningCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: PruningCase) -> Evidence:
    outputs, (first, second) = _outputs(candidate, case), case.weights()
    shapes = [tuple(outputs[name].shape) for name in ("output", "second")]
    wanted = [tuple(first.shape), tuple(second.shape)]
    return holds(shapes == wanted, expected=f"shapes {wanted}", actual=f"shapes {shapes}")


@check(
    SMALLEST,
    "in no matrix does a weight go that is larger in absolute value than one that stays",
    spec=THRESHOLD,
    level="paper",
    hint="Rank by absolute value: sorted with their signs, the large negative weights go first.",
    case=PruningCase,
    domain=SOME,
    builds_on=[RUNS],
)
def smallest_weights_go(candidate: Candidate, case: PruningCase) -> Evidence:
    return _one_threshold(pruned(candidate, case))


@check(
    "magnitude_pruning.one-threshold-for-all-matrices",
    "ranked together, no weight that goes is larger than one that stays in any matrix: larger weights lose fewer",
    spec=AGGREGATED,
    level="convention",
    hint="Join all weights before the threshold is chosen; do not choose one for each matrix.",
    case=PruningCase,
    domain=SOME | {"ratio": (10.0,), "together": (True,)},
    unless=["apart-only"],
    builds_on=[SMALLEST],
)
def one_threshold_for_all_matrices(candidate: Candidate, case: PruningCase) -> Evidence:
    return _one_threshold(pruned(candidate, case).joined())


@check(
    "magnitude_pruning.each-matrix-loses-its-share",
    "ranked apart, a matrix of smaller weights loses no more than its share",
    spec=SHARE,
    level="convention",
    hint="Choose a threshold for each matrix.",
    case=PruningCase,
    domain=SOME | {"ratio": (10.0,), "together": (False,)},
    unless=["together-only"],
    builds_on=[RUNS],
)
def each_matrix_loses_its_share(candidate: Candidate, case: PruningCase) -> Evidence:
    return _share(pruned(candidate, case), case.share)


@check(
    "magnitude_pruning.share-is-met",
    "the number of weights that go is the share of them, rounded to a whole number",
    spec=SHARE,
    level="convention",
    hint="Take the threshold from the sorted absolute values; mind which side of it goes, and shares of 0 and 1.",
    case=PruningCase,
    domain=DOMAIN | {"ratio": (1.0,)},
    builds_on=[RUNS],
)
def share_is_met(candidate: Candidate, case: PruningCase) -> Evidence:
    weights = pruned(candidate, case)
    return _share(weights.joined() if is_together(candidate, case) else weights, case.share)


@check(
    "magnitude_pruning.survivors-keep-their-values",
    "a weight that stays is what it was",
    spec=THRESHOLD,
    level="paper",
    hint="Multiply by a mask of zeros and ones; shrink nothing, and lose no sign.",
    case=PruningCase,
    domain=SOME,
    builds_on=[RUNS],
)
def survivors_keep_their_values(candidate: Candidate, case: PruningCase) -> Evidence:
    weights = pruned(candidate, case).joined()
    (before,), (after,) = weights.before, weights.after
    return equal(after[after != 0], before[after != 0])


@check(
    "magnitude_pruning.zeros-survive-a-training-step",
    "a pruned weight stays 0 while the others are trained on",
    spec=RETRAINED,
    level="paper",
    hint="Keep the mask and apply it after every step, or in every forward: an optimizer revives a bare zero.",
    case=PruningCase,
    domain=SOME,
    unless=["no-training"],
    builds_on=[RUNS],
)
def zeros_survive_a_training_step(candidate: Candidate, case: PruningCase) -> Evidence:
    outputs = _outputs(candidate, case)
    gone = outputs["output"] == 0
    return equal(outputs["trained"][gone], outputs["output"][gone])


@check(
    "magnitude_pruning.survivors-are-trained-on",
    "a weight that stays follows its gradient",
    spec=RETRAINED,
    level="paper",
    hint="Keep the parameter that the optimizer holds: a mask on its copy, or detached, stops the training.",
    case=PruningCase,
    domain=SOME,
    unless=["no-training"],
    builds_on=[RUNS],
)
def survivors_are_trained_on(candidate: Candidate, case: PruningCase) -> Evidence:
    outputs = _outputs(candidate, case)
    kept = outputs["output"] != 0
    return equal(outputs["trained"][kept], (case.weights()[0] - case.gradient())[kept])


def _outputs(candidate: Candidate, case: PruningCase) -> dict[str, Tensor]:
    first, second = case.weights()
    arguments: dict[str, Argument] = {
        "first": first,
        "second": second,
        "gradient": case.gradient(),
        "share": case.share,
        "together": is_together(candidate, case),
    }
    return dict(candidate.build({}, dtype=case.dtype).call(arguments).outputs)


def _joined(weights: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([weight.flatten() for weight in weights])


def _one_threshold(weights: Pruned) -> Evidence:
    """In each group, the largest weight that goes and the smallest that stays."""
    pairs = []
    for before, after in zip(weights.before, weights.after, strict=True):
        gone, kept = before[after == 0].abs(), before[after != 0].abs()
        pairs.append((gone.max().item() if gone.numel() else 0.0, kept.min().item() if kept.numel() else float("inf")))
    return holds(
        all(gone <= kept for gone, kept in pairs),
        expected="the largest that goes to be no larger than the smallest that stays",
        actual=", ".join(f"{gone:.3g} goes and {kept:.3g} stays" for gone, kept in pairs),
    )


def _share(weights: Pruned, share: float) -> Evidence:
    """In each group, how many weights went of how many."""
    counts = [(int((after == 0).sum()), after.numel()) for after in weights.after]
    return holds(
        all(abs(gone - share * size) < 1 for gone, size in counts),
        expected=f"{share} of each",
        actual=", ".join(f"{gone} of {size}" for gone, size in counts),
    )
