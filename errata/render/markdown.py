"""The findings as Markdown."""

import re
from collections.abc import Sequence
from functools import cache

import jinja2

from errata.findings import Claim, Erratum, Findings
from errata.matrix import Death, Matrix, by_component
from errata.render.words import lines, matters, shown, sizes

MARKS = {"declared": "●", "also": "○", "blocked": "–", "survived": "·", "not-applicable": ""}
"""How the matrix of checks and defects shows what a check says of a mutant."""


SEVERITIES = {
    "misconception": "whoever believes it builds or uses the model wrongly",
    "imprecise": "a reader who knows can mend it; a learner takes away something wrong",
    "wording": "a wrong word for a right thought",
}
"""How much a false statement harms."""


def report(findings: Findings) -> str:
    """The whole report."""
    withdrawn = [entry for entry in findings.withdrawn if entry.id.startswith("TE")]
    return _templates().get_template("report.md.j2").render(findings=findings, withdrawn=withdrawn)


def erratum(erratum: Erratum) -> str:
    """One entry of the report."""
    return _templates().get_template("erratum.md.j2").render(erratum=erratum, root="")


def claims(findings: Findings) -> str:
    """The report's second part: the false statements by topic."""
    topics = sorted({claim.topic for claim in findings.claims})
    by_topic = {topic: [claim for claim in findings.claims if claim.topic == topic] for topic in topics}
    withdrawn = [entry for entry in findings.withdrawn if entry.id.startswith("TC")]
    template = _templates().get_template("claims.md.j2")
    return template.render(findings=findings, topics=by_topic, severities=SEVERITIES, withdrawn=withdrawn)


def claim(claim: Claim) -> str:
    """One entry of the second part."""
    return _templates().get_template("claim.md.j2").render(claim=claim, root="")


def strength(deaths: Sequence[Death]) -> str:
    """The matrix of checks and defects."""
    template = _templates().get_template("strength.md.j2")
    return template.render(all=Matrix("all", deaths), matrices=by_component(deaths), marks=MARKS)


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("errata.render"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        share=_share, fenced=_fenced, cell=_cell, marked=_marked, sizes=sizes, matters=matters, shown=shown, lines=lines
    )
    return environment


def _fenced(text: str, language: str) -> str:
    """A code block that no backticks of its text can end."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def _marked(sentence: str, words: Sequence[str]) -> str:
    """The sentence with these words bold, and nothing else."""
    plain = sentence.replace("**", "")
    for part in words:
        plain = plain.replace(part.replace("**", ""), f"**{part.replace('**', '')}**")
    return plain


def _share(part: int, whole: int) -> str:
    """A share in percent."""
    return f"{100 * part / whole:.1f} %"


def _cell(text: str) -> str:
    """Text that stays inside its table cell."""
    return " ".join(text.replace("|", "\\|").split())
