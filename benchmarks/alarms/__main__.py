"""The command: see the package."""

import argparse
import os
from pathlib import Path

import torch
from loguru import logger
from rich.console import Console
from rich.progress import track

from benchmarks import alarms
from benchmarks.alarms import (
    packages,
    results,
    shipped,
    transformers_models,
    transformers_modules,
    x_transformers_options,
)
from benchmarks.alarms.implementation import Implementation, judge
from benchmarks.measure import RESULTS
from errata.checks.suite import parse_effort
from errata.files import write_atomically


def everything() -> list[Implementation]:
    """All implementations, in the order of the results."""
    return [
        *shipped.IMPLEMENTATIONS,
        *x_transformers_options.IMPLEMENTATIONS,
        *packages.implementations(),
        *transformers_modules.implementations(),
        *transformers_models.implementations(),
    ]


def main() -> int:
    """Judge all implementations, write the results, and say how many alarms there were."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alarms", description=alarms.__doc__.partition("\n")[0])
    parser.add_argument("--effort", default="3", help="quick, default, or a number of cases (default %(default)s)")
    parser.add_argument(
        "--only", nargs="*", metavar="WORD", help="implementations whose names have one of these in them"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logger.disable("x_transformers")  # it warns of the checks' small sizes, at every construction
    effort = parse_effort(given.effort)
    console = Console(stderr=True)
    chosen = [one for one in everything() if not given.only or any(word in one.adapter.name for word in given.only)]
    verdicts = [judge(one, effort) for one in track(chosen, "checking", console=console)]
    record = results.record(verdicts, effort)
    files = {"alarms.json": results.as_json(record), "alarms.md": results.as_markdown(record)}
    write_atomically({given.out / name: content for name, content in files.items()})
    print(results.first_line(record))
    return 1 if record["totals"]["alarms"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
