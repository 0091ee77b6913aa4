"""The findings at the terminal."""

import io

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from errata.findings import Findings

COLOURS = {"pass": "green", "fail": "red", "variant": "yellow", "inconclusive": "magenta"}
PICTURE_WIDTH = 136

PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""The picture's frame; rich's own fetches a font from the web."""


def snippets(findings: Findings) -> Table:
    """The table of snippets and verdicts; those that repeat an earlier one are dim."""
    table = Table("snippet", "lines", "component", "verdict", "errata", title="Snippets")
    for snippet in findings.snippets:
        verdict = Text(snippet.verdict, COLOURS[snippet.verdict])
        lines = "{}–{}".format(*snippet.lines)
        style = "dim" if snippet.duplicate_of else ""
        table.add_row(snippet.file, lines, snippet.component, verdict, " ".join(snippet.errata), style=style)
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
    return console.export_svg(title=title, unique_id="errata", code_format=PICTURE)
