"""The command: see the package."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from benchmarks import rivals
from benchmarks.measure import RESULTS
from benchmarks.rivals import harness, results
from benchmarks.rivals.harness import Tool
from errata.defects import components
from errata.errors import ErrataError

RIVALS = ("pytest-torch", "torchtest2", "pangolinn", "torch-judge")


def tools() -> list[Tool]:
    """The rivals and ours; imported here, because a rival need not be installed."""
    from benchmarks.rivals import by_errata, by_pangolinn, by_pytest_torch, by_torch_judge, by_torchtest2

    judges = (by_pytest_torch.judge, by_torchtest2.judge, by_pangolinn.judge, by_torch_judge.judge)
    return [
        *(Tool(name, name, judge) for name, judge in zip(RIVALS, judges, strict=True)),
        Tool("errata, black box", None, by_errata.black_box),
        Tool("errata, with weights", None, by_errata.with_weights),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, write the results and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals", description=rivals.__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=2, help="at once (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    given = parser.parse_args(arguments)
    try:
        harness.require_installed(RIVALS)
    except ErrataError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    torch.set_num_threads(1)
    contestants = tools()
    for tool in contestants:  # what a tool imports when it runs is imported here once, and not in every fork
        harness.passing(tool, "feed_forward", components()["feed_forward"].reference())
    outcomes = harness.measure(components(), contestants, processes=given.processes, shown=_shown)
    results.publish(rivals.__doc__, contestants, outcomes, given.out)
    print(results.table(contestants, outcomes))


def _shown(items: Sequence[int], title: str) -> Iterator[int]:
    yield from track(items, title, console=Console(stderr=True))


if __name__ == "__main__":
    main()
