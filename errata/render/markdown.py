"""The findings as Markdown."""

import re
from functools import cache

import jinja2

from errata.findings import Claim, Erratum, Findings
from errata.render.words import lines, matters, shown, sizes


def report(findings: Findings) -> str:
    """The whole report."""
    return _templates().get_template("report.md.j2").render(findings=findings)


def erratum(erratum: Erratum) -> str:
    """One entry of the report."""
    return _templates().get_template("erratum.md.j2").render(erratum=erratum, root="")


def claims(findings: Findings) -> str:
    """The report's second part: the false statements by topic."""
    topics = sorted({claim.topic for claim in findings.claims})
    by_topic = {topic: [claim for claim in findings.claims if claim.topic == topic] for topic in topics}
    return _templates().get_template("claims.md.j2").render(findings=findings, topics=by_topic)


def claim(claim: Claim) -> str:
    """One entry of the second part."""
    return _templates().get_template("claim.md.j2").render(claim=claim, root="")


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("errata.render"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(fenced=_fenced, cell=_cell, sizes=sizes, matters=matters, shown=shown, lines=lines)
    return environment


def _fenced(text: str, language: str) -> str:
    """A code block that no backticks of its text can end."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def _cell(text: str) -> str:
    """Text that stays inside its table cell."""
    return " ".join(text.replace("|", "\\|").split())
