"""The full model on a GPU in bfloat16, against peers and against the measured matrix-product peak.

A training step (forward, cross-entropy in float32, backward; dropout 0.1) and a forward pass in evaluation; as it is,
and compiled by `torch.compile` as a whole, the loss included. Width 512 and 1024, 64 sentences of 256 tokens, a quarter
of the source padded. Weights are bfloat16, or float32 under autocast; each title says which. Float32 products do not
use TF32. Attention is `scaled_dot_product_attention` for all; which fused kernel it takes is up to torch and the mask.

The peak is that of a bfloat16 product of 8192 x 8192 matrices in the same run. A row says how long the model's products
would take at that peak (three times the forward ones for a training step; all tokens, attention in full): our speed
relative to it is the model FLOP utilisation. Decoding comes first, see `benchmarks.gpu_decoding`. Compilation takes
most of the time: what does not begin within four minutes is left out, and a line says so.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks import gpu_decoding, peers, products
from benchmarks.measure import Comparison, Goal, Run, Settings, compare, publish, start, timed
from benchmarks.peers import MARIAN, OURS, TINY, TORCH, X_TRANSFORMERS, Size

PEAK = "its products at the measured peak"
BUDGET_SECONDS = 240
UTILISATION_GOAL = 0.5


@dataclass(frozen=True)
class Part:
    """One comparison."""

    size: Size
    training: bool = True
    compiled: bool = True
    autocast: bool = False

    @property
    def title(self) -> str:
        """What is done, and how."""
        what = "training step" if self.training else "forward"
        how = "float32 weights under autocast" if self.autocast else "bfloat16 weights"
        return f"{self.size.name} {what}, {how}, {'compiled' if self.compiled else 'not compiled'}"


@dataclass(frozen=True)
class Device:
    """Where it runs."""

    name: str
    compiler: str

    def settle(self) -> None:
        """Wait for what was asked."""
        if self.name == "cuda":
            torch.cuda.synchronize()

    def allocated(self, *, peak: bool = False) -> int:
        """Bytes of tensors now, or at most since the last look at the peak's beginning."""
        if self.name != "cuda":
            return 0
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()


WIDE = Size("width 1024, batch 64", 1024, 16, 6, 4096, batch=64, length=256)
NARROW = Size("width 512, batch 64", 512, 8, 6, 2048, batch=64, length=256)
PARTS = (
    Part(WIDE, compiled=False),
    Part(WIDE, compiled=False, autocast=True),
    Part(WIDE, training=False, compiled=False),
    Part(NARROW, compiled=False),
    Part(WIDE),
    Part(NARROW),
)


def run_of(name: str, part: Part, device: Device) -> Run:
    """What one contestant does in one round."""
    dtype = torch.float32 if part.autocast else torch.bfloat16
    model = peers.build(name, part.size).to(device.name, dtype).train(part.training)
    source, target = (ids.to(device.name) for ids in peers.ids(part.size))

    def loss(source: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(source, target).flatten(0, 1).float(), target.flatten())

    call = loss if part.training else model
    if part.compiled:
        call = torch.compile(call, backend=device.compiler, dynamic=False)

    def run() -> None:
        with torch.autocast(device.name, torch.bfloat16, enabled=part.autocast), torch.set_grad_enabled(part.training):
            result = call(source, target)
        if part.training:
            model.zero_grad()
            result.backward()

    return run


def peak(device: Device, side: int) -> float:
    """Floating-point operations per second of a large bfloat16 matrix product."""
    a, b = (torch.randn(side, side, device=device.name, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        torch.mm(a, b)
    seconds = sorted(timed(lambda: torch.mm(a, b), repeats=10, settle=device.settle) for _ in range(5))
    return float(2 * side**3 / seconds[2])


def measured(
    part: Part, names: Sequence[str], device: Device, rounds: int, per_second: float
) -> tuple[Comparison, dict[str, int]]:
    """The comparison, and each contestant's peak memory in MiB (parameters, gradients and all else)."""
    torch.compiler.reset()  # what an earlier comparison compiled would count towards the limit of recompilations
    contestants: dict[str, Run] = {}
    memory: dict[str, int] = {}
    for name in names:
        before = device.allocated()
        if device.name == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            run = run_of(name, part, device)
            for _ in range(2):
                run()
            device.settle()
        except Exception as error:  # one contestant must not cost the others their measurement
            if name == OURS:
                raise
            print(f"left out: {name} in {part.title}: {type(error).__name__}: {str(error).splitlines()[:1]}")
            continue
        contestants[name] = run
        memory[name] = round((device.allocated(peak=True) - before) / 2**20)
    compared = compare(part.title, contestants, rounds=rounds, repeats=3, settle=device.settle)
    operations = products.floating_point_operations(part.size) * (3 if part.training else 1)
    bound = {PEAK: [1000 * operations / per_second] * rounds}
    goals = [Goal(name, at_most=1.0) for name in contestants if name != OURS]
    if part.training and part.size.width >= 1024:
        goals.append(Goal(PEAK, at_least=UTILISATION_GOAL))
    return Comparison(part.title, compared.unit, {**compared.measurements, **bound}, goals), memory


def measure_all(parts: Sequence[Part], decoded: Sequence[Size], device: Device, settings: Settings, side: int) -> None:
    """Every part that begins in time; what was measured is written also if a later part fails."""
    begin = time.monotonic()
    names = peers.present((OURS, TORCH, MARIAN, X_TRANSFORMERS))
    per_second = peak(device, side)
    comparisons = gpu_decoding.decoding(decoded, device.name, device.settle, min(settings.rounds, 3))
    memory: dict[str, dict[str, int]] = {}
    try:
        for part in parts:
            if time.monotonic() - begin > BUDGET_SECONDS:
                print(f"left out: {part.title}, for lack of time")
                continue
            compared, memory[part.title] = measured(part, names, device, settings.rounds, per_second)
            comparisons.append(compared)
            print(f"{time.monotonic() - begin:.0f} s: {part.title}", file=sys.stderr)
    finally:
        notes = {
            "device": torch.cuda.get_device_name() if device.name == "cuda" else device.name,
            "matrix-product peak, TFLOP/s": round(per_second / 1e12, 1),
            "TF32": torch.backends.cuda.matmul.allow_tf32,
            "peak memory, MiB": memory,
        }
        print(notes)
        publish("gpu", __doc__, comparisons, settings, packages=peers.PACKAGES, notes=notes)


def main() -> None:
    """Measure, print and write; status 2 without a GPU."""
    settings = start(__doc__, rounds=10, flags={"tiny": "a tiny model on the CPU, which only shows that it runs"})
    if "tiny" in settings.flags:
        parts = [replace(part, size=replace(TINY, name=f"tiny in place of {part.size.name}")) for part in PARTS]
        decoded = [replace(TINY, name=f"tiny in place of {size.name}") for size in gpu_decoding.SIZES]
        measure_all(parts, decoded, Device("cpu", "eager"), settings, 64)
    elif torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = False
        measure_all(PARTS, gpu_decoding.SIZES, Device("cuda", "inductor"), settings, 8192)
    else:
        print("no GPU here: nothing measured (--tiny runs a tiny model on the CPU)")
        sys.exit(2)


if __name__ == "__main__":
    main()
