"""The findings as Markdown."""

import re
from functools import cache

import jinja2

from errata.findings import Erratum, Findings
from errata.render.words import matters, shown, sizes


def report(findings: Findings) -> str:
    """The whole report."""
    return _templates().get_template("report.md.j2").render(findings=findings)


def erratum(erratum: Erratum) -> str:
    """One entry of the report."""
    return _templates().get_template("erratum.md.j2").render(erratum=erratum, root="")


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("errata.render"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(fenced=_fenced, cell=_cell, sizes=sizes, matters=matters, shown=shown)
    return environment


def _fenced(text: str, language: str) -> str:
    """A code block that no backticks of its text can end."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def _cell(text: str) -> str:
    """Text that stays inside its table cell."""
    return " ".join(text.replace("|", "\\|").split())
