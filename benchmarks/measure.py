"""The harness: contestants take turns, and what is reported are ratios.

One round calls each contestant once (or `repeats` times in a row), and the next round begins with the next of them.
The ratio of two contestants is that of their median times; beside it stand the quartiles of the ratios of the rounds,
which say how far one run may be trusted. Garbage is collected between the timed calls, never within.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
MILLISECONDS = "ms"
MEBIBYTES = "MiB"

Run = Callable[[], object]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Settings:
    """What the command line of every benchmark says."""

    rounds: int
    threads: int
    out: Path
    flags: frozenset[str] = frozenset()


def start(
    description: str | None,
    *,
    rounds: int,
    flags: Mapping[str, str] | None = None,
    arguments: Sequence[str] | None = None,
) -> Settings:
    """Read the command line, and set the threads and the seed of this process; `flags` are switches and their help."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="timed calls of each contestant (default %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    flags = flags or {}
    for flag, meaning in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=meaning)
    given = parser.parse_args(arguments)
    chosen = frozenset(flag for flag in flags if getattr(given, flag))
    settings = Settings(given.rounds, given.threads, given.out, chosen)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    return settings


@dataclass(frozen=True)
class Goal:
    """How the first contestant shall compare with `peer`.

    `at_most` bounds our time (or memory) divided by the peer's; `at_least` bounds our speed divided by the peer's.
    """

    peer: str
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        """`ValueError` unless exactly one bound is given."""
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"a goal needs one of at_most and at_least, got {self.at_most} and {self.at_least}")


@dataclass(frozen=True)
class Ratio:
    """Ours to a peer's: time to time, or speed to speed where `of` says so, with the quartiles over the rounds."""

    peer: str
    of: str
    ratio: float
    low: float
    high: float
    goal: float | None
    met: bool | None


@dataclass(frozen=True)
class Comparison:
    """What was measured of several contestants in the same rounds; the first one is ours.

    Attributes:
        title: what they did.
        unit: of the measurements.
        measurements: one number a round, by contestant.
        goals: how ours shall compare with some of the others.
    """

    title: str
    unit: str
    measurements: Mapping[str, Sequence[float]]
    goals: Sequence[Goal] = ()

    def __post_init__(self) -> None:
        """`ValueError` for fewer than two contestants, unequal rounds, or a goal about nobody."""
        if len(self.measurements) < 2:
            raise ValueError(f"{self.title}: a comparison needs two contestants, got {list(self.measurements)}")
        if len({len(values) for values in self.measurements.values()}) > 1:
            raise ValueError(f"{self.title}: contestants were measured in different numbers of rounds")
        for goal in self.goals:
            if goal.peer not in list(self.measurements)[1:]:
                raise ValueError(f"{self.title}: a goal names {goal.peer!r}, known are {list(self.measurements)[1:]}")

    def medians(self) -> dict[str, float]:
        """The median of each contestant."""
        return {name: statistics.median(values) for name, values in self.measurements.items()}

    def ratios(self) -> list[Ratio]:
        """Ours to each of the others."""
        ours, *others = self.measurements
        goals = {goal.peer: goal for goal in self.goals}
        return [self._ratio(ours, peer, goals.get(peer)) for peer in others]

    def _ratio(self, ours: str, peer: str, goal: Goal | None) -> Ratio:
        speed = goal is not None and goal.at_least is not None
        above, below = (peer, ours) if speed else (ours, peer)
        medians = self.medians()
        ratio = medians[above] / medians[below]
        rounds = sorted(a / b for a, b in zip(self.measurements[above], self.measurements[below], strict=True))
        low, _, high = statistics.quantiles(rounds, n=4, method="inclusive") if len(rounds) > 1 else rounds * 3
        of = "speed" if speed else "memory" if self.unit == MEBIBYTES else "time"
        if goal is None:
            return Ratio(peer, of, ratio, low, high, None, None)
        if goal.at_least is not None:
            return Ratio(peer, of, ratio, low, high, goal.at_least, ratio >= goal.at_least)
        assert goal.at_most is not None
        return Ratio(peer, of, ratio, low, high, goal.at_most, ratio <= goal.at_most)

    def record(self) -> dict[str, object]:
        """Everything as JSON has it."""
        medians = self.medians()
        return {
            "title": self.title,
            "unit": self.unit,
            "contestants": [
                {"name": name, "median": _rounded(medians[name]), "rounds": [_rounded(value) for value in values]}
                for name, values in self.measurements.items()
            ],
            "ratios": [
                {
                    **vars(ratio),
                    "ratio": _rounded(ratio.ratio),
                    "low": _rounded(ratio.low),
                    "high": _rounded(ratio.high),
                }
                for ratio in self.ratios()
            ],
        }


def compare(
    title: str,
    contestants: Mapping[str, Run],
    *,
    rounds: int,
    goals: Sequence[Goal] = (),
    warm_up: int = 2,
    repeats: int = 1,
    settle: Callable[[], None] = lambda: None,
) -> Comparison:
    """Time the contestants in turn; the first one is ours.

    `settle` waits until the device has done what it was asked, e.g. `torch.cuda.synchronize`. `repeats` is for calls
    that are short against the clock: so many in a row are one measurement.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in _progress(range(-warm_up, rounds), title):
        for name in rotated(list(contestants), number):
            seconds = timed(contestants[name], repeats, settle)
            if number >= 0:
                times[name].append(1000 * seconds)
    return Comparison(title, MILLISECONDS, times, goals)


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The same order, begun `by` places later: nobody always follows the same contestant's warm cache first."""
    by %= len(names)
    return [*names[by:], *names[:by]]


def timed(run: Run, repeats: int = 1, settle: Callable[[], None] = lambda: None) -> float:
    """Seconds of one call."""
    gc.collect()
    gc.disable()
    try:
        settle()
        begin = time.perf_counter()
        for _ in range(repeats):
            run()
        settle()
        return (time.perf_counter() - begin) / repeats
    finally:
        gc.enable()


def compare_memory(
    title: str,
    contestants: Mapping[str, Callable[[], Run]],
    *,
    warm_up: Mapping[str, Callable[[], Run]],
    goals: Sequence[Goal] = (),
    calls: int = 3,
) -> Comparison:
    """Compare peak memory; each contestant is built and called in a fresh process.

    The builders must be picklable: `functools.partial` of module-level functions. `warm_up` builds a tiny one of the
    same kind, which loads the libraries before the memory is first read, so that they do not count.
    """
    peaks = {
        name: [peak_memory(build, warm_up=warm_up[name], calls=calls) / 2**20]
        for name, build in _progress(list(contestants.items()), title)
    }
    return Comparison(title, MEBIBYTES, peaks, goals)


def peak_memory(build: Callable[[], Run], *, warm_up: Callable[[], Run], calls: int = 3) -> int:
    """Bytes that a fresh process needs at most, beyond what it had after the warm-up, to build and call (Linux)."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak_here, build, warm_up, calls, torch.get_num_threads()).result()


def _peak_here(build: Callable[[], Run], warm_up: Callable[[], Run], calls: int, threads: int) -> int:
    torch.set_num_threads(threads)
    warm_up()()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, at the present size
    before = _status("VmHWM")
    run = build()
    for _ in range(calls):
        run()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    value = next(line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return 1024 * int(value)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each package; "missing" where there is none."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def publish(
    name: str,
    description: str | None,
    comparisons: Sequence[Comparison],
    settings: Settings,
    *,
    packages: Sequence[str] = ("torch",),
    notes: Mapping[str, object] | None = None,
) -> None:
    """Write `<name>.json` and `<name>.svg`, and print the table.

    Args:
        name: of the benchmark.
        description: its docstring, which says what is measured and how.
        comparisons: what was measured.
        settings: how.
        packages: whose versions are stated.
        notes: what else was found, as JSON values.
    """
    record = {
        "schema": 1,
        "name": name,
        "description": (description or "").strip(),
        "environment": {
            "processor": platform.processor() or platform.machine(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "threads": settings.threads,
            "versions": versions(packages),
        },
        "notes": dict(notes or {}),
        "comparisons": [comparison.record() for comparison in comparisons],
    }
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / f"{name}.json").write_text(
        json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    draw(comparisons, settings.out / f"{name}.svg")
    show(comparisons)


def show(comparisons: Sequence[Comparison], console: Console | None = None) -> None:
    """Print one table a comparison: medians, our ratios with their quartiles, goals and whether they are met."""
    console = console or Console()
    for comparison in comparisons:
        ours = next(iter(comparison.measurements))
        table = Table(title=comparison.title, title_justify="left")
        table.add_column("contestant")
        table.add_column(f"median {comparison.unit}", justify="right")
        table.add_column("ours to it", justify="right")
        table.add_column("quartiles", justify="right")
        table.add_column("goal", justify="right")
        table.add_column("")
        medians = comparison.medians()
        table.add_row(ours, f"{medians[ours]:.2f}")
        for ratio in comparison.ratios():
            goal = "" if ratio.goal is None else f"{'≥' if ratio.of == 'speed' else '≤'} {ratio.goal:.2f}"
            met = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[ratio.met]
            spread = f"{ratio.low:.3f} … {ratio.high:.3f}"
            table.add_row(ratio.peer, f"{medians[ratio.peer]:.2f}", f"{ratio.ratio:.3f}", spread, goal, met)
        console.print(table)


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw our ratio to each peer with its quartiles, and the goal as a bar across; the same input, the same bytes."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = [(comparison.title, ratio) for comparison in comparisons for ratio in comparison.ratios()]
    with matplotlib.rc_context({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 8}):
        figure, axes = pyplot.subplots(figsize=(9, 1 + 0.3 * len(rows)), layout="constrained")
        for height, (_, ratio) in enumerate(reversed(rows)):
            colour = {None: "0.4", True: "tab:green", False: "tab:red"}[ratio.met]
            axes.plot([ratio.low, ratio.high], [height, height], color=colour, linewidth=2)
            axes.plot([ratio.ratio], [height], "o", color=colour)
            if ratio.goal is not None:
                axes.plot([ratio.goal, ratio.goal], [height - 0.4, height + 0.4], color="black", linewidth=1.5)
        axes.axvline(1, color="0.8", zorder=0)
        labels = [f"{title}, {ratio.of} to {ratio.peer}" for title, ratio in reversed(rows)]
        axes.set_yticks(range(len(rows)), labels)
        axes.set_xlabel("ours divided by the peer's, median and quartiles; a black bar is the goal")
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _progress(items: Sequence[Item], title: str) -> Iterable[Item]:
    return track(items, title, console=Console(stderr=True))


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
