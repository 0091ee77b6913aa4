"""A file of tensors: ``call(first, second, kept)``.

The candidate saves the two tensors under two names in one file, cuts the file to the share ``kept`` of its bytes (1.0
leaves it whole), and loads it. It answers ``output``, the first tensor, and ``second``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.candidates import Candidate, Reply
from errata.checks.case import Case
from errata.checks.evidence import Evidence, equal, holds, refuses
from errata.checks.literature import PYTORCH
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class FileCase(Case):
    """Two tensors: a matrix of some type, and another tensor made from it."""

    rows: int = 2
    columns: int = 3
    stored: str = "float64"
    second: str = "copy"
    kept: float = 1.0

    def tensors(self) -> tuple[Tensor, Tensor]:
        """The two."""
        first = (50 * self.normal("first", self.rows, self.columns)).to(getattr(torch, self.stored))
        seconds = {"copy": first.clone(), "transposed": first.T, "scalar": first[0, 0], "empty": first[:0]}
        return first, seconds[self.second]

    def reload(self, candidate: Candidate) -> Reply:
        """What comes back."""
        first, second = self.tensors()
        built = candidate.build({}, dtype=self.dtype)
        return built.call({"first": first, "second": second, "kept": self.kept})


DOMAIN = {
    "rows": (2, 1, 3),
    "columns": (3, 1, 5),
    "stored": ("float64", "float32", "float16", "bfloat16", "int64", "int8", "bool"),
    "second": ("copy", "transposed", "scalar", "empty"),
}

RUNS = "checkpoint_file.accepts-valid-input"
SAVES = PYTORCH.says("Saving and Loading Models", "Saves a serialized object to disk.")
LOADS = PYTORCH.says("Saving and Loading Models", "Loads a model's parameter dictionary")


def same(actual: Tensor, expected: Tensor) -> Evidence:
    """Equal in shape and in every number, whatever the type says."""
    return equal(actual.double(), expected.double())


@check(
    RUNS,
    "two tensors are saved, and two of the same shapes come back",
    spec=SAVES,
    level="paper",
    hint="Run it once: a missing import or name shows at once.",
    case=FileCase,
    domain=DOMAIN,
)
def accepts_valid_input(candidate: Candidate, case: FileCase) -> Evidence:
    reply = case.reload(candidate)
    wanted = [tuple(tensor.shape) for tensor in case.tensors()]
    shapes = [tuple(reply.output.shape), tuple(reply.outputs["second"].shape)]
    return holds(shapes == wanted, expected=f"shapes {wanted}", actual=f"shapes {shapes}")


@check(
    "checkpoint_file.keeps-every-bit",
    "the numbers are the same to the last bit",
    spec=LOADS,
    level="paper",
    hint="Write the bytes of the tensor: a rounded text, or a narrower type, loses bits.",
    case=FileCase,
    domain=DOMAIN,
    builds_on=[RUNS],
    tolerance=0.0,
)
def keeps_every_bit(candidate: Candidate, case: FileCase) -> Evidence:
    return same(case.reload(candidate).output, case.tensors()[0])


@check(
    "checkpoint_file.keeps-the-order-of-a-transposed-tensor",
    "a tensor that does not lie row by row in memory comes back with its numbers in their places",
    spec=LOADS,
    level="paper",
    hint="Make the tensor contiguous before its bytes are written.",
    case=FileCase,
    domain=DOMAIN | {"second": ("transposed",)},
    builds_on=[RUNS],
    tolerance=0.0,
)
def keeps_the_order_of_a_transposed_tensor(candidate: Candidate, case: FileCase) -> Evidence:
    return same(case.reload(candidate).outputs["second"], case.tensors()[1])


@check(
    "checkpoint_file.keeps-the-types",
    "each tensor comes back in its own type",
    spec=LOADS,
    level="convention",
    hint="Store the type with the bytes, and convert nothing.",
    case=FileCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def keeps_the_types(candidate: Candidate, case: FileCase) -> Evidence:
    reply = case.reload(candidate)
    types = [str(reply.output.dtype), str(reply.outputs["second"].dtype)]
    return holds(types == [f"torch.{case.stored}"] * 2, expected=f"twice {case.stored}", actual=", ".join(types))


@check(
    "checkpoint_file.refuses-a-truncated-file",
    "a file that has lost its end is refused, not filled up",
    spec=LOADS,
    level="robustness",
    hint="Compare the length of the file with what its header promises.",
    case=FileCase,
    domain=DOMAIN | {"columns": (30,), "second": ("copy",), "kept": (0.95, 0.5, 0.1)},
    builds_on=[RUNS],
)
def refuses_a_truncated_file(candidate: Candidate, case: FileCase) -> Evidence:
    return refuses(lambda: case.reload(candidate), expected="a complaint about the file")
