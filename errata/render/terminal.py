"""The findings at the terminal."""

import io

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from errata.findings import Findings

COLOURS = {"pass": "green", "fail": "red", "variant": "yellow", "inconclusive": "magenta"}
PICTURE_WIDTH = 118


def snippets(findings: Findings) -> Table:
    """The table of snippets and verdicts."""
    table = Table("snippet", "lines", "component", "verdict", "errata", title="Snippets")
    for snippet in findings.snippets:
        errata = f"as {snippet.duplicate_of}" if snippet.duplicate_of else " ".join(snippet.errata)
        verdict = Text(snippet.verdict, COLOURS[snippet.verdict])
        table.add_row(snippet.file, "{}–{}".format(*snippet.lines), snippet.component, verdict, errata)
    return table


def errata(findings: Findings) -> Table:
    """The table of errata."""
    table = Table("id", "title", "snippet", "severity", "level", "check", title="Errata")
    for erratum in findings.errata:
        table.add_row(erratum.id, erratum.title, erratum.snippet, erratum.severity, erratum.level, erratum.check)
    return table


def claims(findings: Findings) -> Table:
    """The table of false statements."""
    table = Table("id", "topic", "kind", "verdict", "statement", title="Claims")
    for claim in findings.claims:
        verdict = Text(claim.verdict, COLOURS[claim.verdict])
        table.add_row(claim.id, claim.topic, claim.kind, verdict, claim.translation)
    return table


def picture(renderable: RenderableType, title: str) -> str:
    """What the terminal would show, as SVG."""
    console = Console(
        record=True, width=PICTURE_WIDTH, file=io.StringIO(), color_system="truecolor", legacy_windows=False
    )
    console.print(renderable)
    # The id keeps the file the same from run to run.
    return console.export_svg(title=title, unique_id="errata")
