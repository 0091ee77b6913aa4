"""How long the checks of each component take on a right implementation: the reference, at two efforts.

Seconds belong to the machine; what they are held against are 1 s at effort ``quick`` and 10 s at ``default``.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from benchmarks.measure import RESULTS, versions
from errata import defects
from errata.candidates import LocalCandidate
from errata.checks import checks_of, engine
from errata.checks.suite import CASES
from errata.files import write_atomically

LIMITS = {"quick": 1.0, "default": 10.0}


def seconds(action: Callable[[], object], rounds: int) -> float:
    """The median time of some rounds, after one to warm up."""
    action()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measured(component: str, effort: str, rounds: int) -> float:
    """What all checks of a component take, one after the other, in one process."""
    candidate = LocalCandidate(defects.components()[component].reference())
    return seconds(lambda: engine.run(candidate, checks_of(component), examples=CASES[effort]), rounds)


def main() -> None:
    """Time every component and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.effort", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    shown = track(defects.components(), "timing", console=Console(stderr=True))
    times = {name: {effort: measured(name, effort, given.rounds) for effort in LIMITS} for name in shown}
    over = [f"{name} at {e}" for name, taken in times.items() for e, limit in LIMITS.items() if taken[e] > limit]
    record = {"versions": versions(["torch", "hypothesis"]), "seconds": times, "limits": LIMITS, "over": over}
    write_atomically({given.out / "effort.json": (json.dumps(record, indent=2) + "\n").encode()})
    for effort in LIMITS:
        slowest = max(times, key=lambda name: times[name][effort])
        median = statistics.median(taken[effort] for taken in times.values())
        print(f"{effort}: median {median:.2f} s, slowest {slowest} {times[slowest][effort]:.2f} s")
    print(f"over the limit: {', '.join(over) or 'none'}")


if __name__ == "__main__":
    main()
