"""The figures of one run, as JSON, as a table and as a chart: the same outcomes give the same bytes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from benchmarks.measure import versions
from benchmarks.rivals.harness import Outcome, Tool
from errata.files import write_atomically

FOUND = (
    "A defect is found by a tool if one of its checks passes on the unmutated reference and, in the same call, fails, "
    "raises or does not end on the mutant. A tool of which no check passes on a component's reference is not "
    "applicable to that component."
)


@dataclass(frozen=True)
class Score:
    """How many defects a tool found of those that it was applied to."""

    found: int
    of: int

    def __str__(self) -> str:
        return f"{self.found} of {self.of}" if self.of else "n/a"


def score(tool: str, outcomes: Sequence[Outcome]) -> Score:
    """Over the components to which the tool is applicable."""
    applied = [outcome for outcome in outcomes if tool in outcome.checks]
    found = sum(tool in by for outcome in applied for by in outcome.found.values())
    return Score(found, sum(len(outcome.found) for outcome in applied))


def scores(tools: Sequence[Tool], outcomes: Sequence[Outcome]) -> dict[str, Score]:
    """The score of each tool."""
    return {tool.name: score(tool.name, outcomes) for tool in tools}


def together(tools: Sequence[Tool], outcomes: Sequence[Outcome]) -> Score:
    """What the rivals find between them."""
    rivals = {tool.name for tool in tools if tool.package}
    by = [by for outcome in outcomes for by in outcome.found.values()]
    return Score(sum(bool(rivals & found.keys()) for found in by), len(by))


def record(description: str, tools: Sequence[Tool], outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Everything as JSON has it."""
    rivals = together(tools, outcomes)
    return {
        "schema": 1,
        "name": "rivals",
        "description": description.strip(),
        "found": FOUND,
        "versions": versions(_packages(tools)),
        "defects": rivals.of,
        "totals": {name: vars(total) for name, total in scores(tools, outcomes).items()}
        | {"rivals together": vars(rivals)},
        "components": [
            {
                "component": outcome.component,
                "checks": {tool: list(checks) for tool, checks in outcome.checks.items()},
                "defects": [{"name": name, "found_by": dict(by)} for name, by in outcome.found.items()],
            }
            for outcome in outcomes
        ],
    }


def table(tools: Sequence[Tool], outcomes: Sequence[Outcome]) -> str:
    """The rows are components, the columns tools; a cell says how many defects were found of how many."""
    names = [tool.name for tool in tools]
    all_of_them = sum(len(outcome.found) for outcome in outcomes)
    totals, all_rivals = scores(tools, outcomes), together(tools, outcomes)
    rows = [[outcome.component, *(str(score(name, [outcome])) for name in names)] for outcome in outcomes]
    rows += [
        ["**where applicable**", *(_share(totals[name].found, totals[name].of) for name in names)],
        ["**of all**", *(_share(totals[name].found, all_of_them) for name in names)],
    ]
    used = ", ".join(f"{name} {version}" for name, version in versions(_packages(tools)).items())
    lines = [
        "# Defects that public tools find",
        "",
        f"{FOUND} n/a: not applicable. Written by `python -m benchmarks.rivals` with {used}.",
        "",
        _row(["component", *names]),
        _row(["---", *["---:"] * len(names)]),
        *map(_row, rows),
        "",
        f"Together the rivals find {_share(all_rivals.found, all_rivals.of)}.",
        "",
    ]
    return "\n".join(lines)


def _packages(tools: Sequence[Tool]) -> list[str]:
    return ["torch", *(tool.package for tool in tools if tool.package)]


def _share(found: int, of: int) -> str:
    return f"{found} of {of} ({found / of:.0%})" if of else "n/a"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def drawn(tools: Sequence[Tool], outcomes: Sequence[Outcome]) -> bytes:
    """The chart as SVG: for each tool the share of all defects: found, missed, and not applicable."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    totals = scores(tools, outcomes)
    all_of_them = sum(len(outcome.found) for outcome in outcomes)
    with matplotlib.rc_context({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 8}):
        figure, axes = pyplot.subplots(figsize=(9, 1 + 0.35 * len(tools)), layout="constrained")
        for height, total in enumerate(reversed(totals.values())):
            parts = (total.found, total.of - total.found, all_of_them - total.of)
            left = 0
            for part, colour in zip(parts, ("tab:green", "tab:red", "0.85"), strict=True):
                axes.barh(height, part, left=left, color=colour)
                left += part
            axes.text(total.found, height, f" {total}", va="center")
        axes.set_yticks(range(len(totals)), list(reversed(totals)))
        axes.set_xlabel(
            "defects: found (green), missed (red), of components to which the tool is not applicable (grey)"
        )
        chart = BytesIO()
        figure.savefig(chart, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    return chart.getvalue()


def publish(description: str, tools: Sequence[Tool], outcomes: Sequence[Outcome], out: Path) -> None:
    """Write `rivals.json`, `rivals.md` and `rivals.svg`."""
    text = json.dumps(record(description, tools, outcomes), indent=1, ensure_ascii=False) + "\n"
    files = {
        "rivals.md": table(tools, outcomes).encode(),
        "rivals.svg": drawn(tools, outcomes),
        "rivals.json": text.encode(),
    }
    write_atomically({out / name: content for name, content in files.items()})
