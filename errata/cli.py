"""The command line.

What needs torch is imported where it is used: to list and explain what was found, the record is enough.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from errata.errors import ErrataError
from errata.files import keep_caches_out_of_the_way, write_atomically
from errata.findings import Findings
from errata.render import markdown, terminal

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Executable errata of documents."
)

Item = TypeVar("Item")

Project = Annotated[Path, typer.Option(help="The checkout that holds snippets/ and report/.", file_okay=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Kind(StrEnum):
    """What `errata list` lists."""

    SNIPPETS = "snippets"
    CHECKS = "checks"
    DEFECTS = "defects"
    ERRATA = "errata"
    CLAIMS = "claims"


def main() -> None:
    """Run the command line; an error that the user can mend is one line, and exit status 2."""
    keep_caches_out_of_the_way()
    try:
        app()
    except ErrataError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


@app.command()
def extract(project: Project = Path()) -> None:
    """Write every code block and formula of snippets/documents/ to a file of its own, and snippets/manifest.json."""
    from errata.sources import manifest

    snippets = manifest.extract(project).snippets
    distinct = sum(snippet.duplicate_of is None for snippet in snippets)
    print(f"{len(snippets)} snippets, {distinct} distinct; see {project / 'snippets' / 'manifest.json'}")


@app.command()
def report(project: Project = Path()) -> None:
    """Prove every erratum, refute every claim, and write report/."""
    from errata import claims, curated, proof

    collection = curated.load(project)
    statements = claims.load(project, collection)
    judged = [proof.judge(entry, collection) for entry in _shown(collection.entries, "proving errata")]
    refuted = [claims.judge(claim, collection.documents) for claim in _shown(statements, "refuting claims")]
    findings = proof.collect(collection, judged, refuted)
    folder = project / "report"
    write_atomically({folder / name: content for name, content in render(findings).items()})
    totals = findings.totals
    print(
        f"{totals.snippets} snippets ({totals.distinct_snippets} distinct, {totals.right_snippets} right), "
        f"{totals.errata} errata, {totals.claims} claims."
    )
    print(f"Read {folder / 'README.md'}; the record is {folder / 'errata.json'}.")


@app.command()
def fix(project: Project = Path()) -> None:
    """Write the corrected edition of the documents to report/corrected/: as text, as a diff and as a notebook."""
    from errata import claims, curated, edition

    collection = curated.load(project)
    statements = claims.load(project, collection)
    folder = project / "report" / "corrected"
    files = edition.files(collection, statements)
    write_atomically({folder / name: content for name, content in files.items()})
    print(f"{len(files)} files in {folder}: {', '.join(files)}")


def _shown(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, with a progress bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, description=what)


def render(findings: Findings) -> dict[str, bytes]:
    """Every file of report/ that is made from the record."""
    from errata.render import figure

    figures = {f"figures/{name}.svg": figure.svg(drawn) for name, drawn in findings.figures().items()}
    texts = {
        "README.md": markdown.report(findings),
        "claims.md": markdown.claims(findings),
        "verdicts.svg": terminal.picture(terminal.snippets(findings), "errata list snippets"),
        **figures,
    }
    return {name: text.encode() for name, text in texts.items()} | {"errata.json": findings.to_json()}


@app.command("list")
def list_(kind: Kind, project: Project = Path(), as_json: Json = False) -> None:
    """List snippets, checks, defects, errata or claims."""
    if kind in (Kind.CHECKS, Kind.DEFECTS):
        from errata import catalogue

        checks = kind is Kind.CHECKS
        records = catalogue.check_records() if checks else catalogue.defect_records()
        table = catalogue.check_table() if checks else catalogue.defect_table()
    else:
        findings = _findings(project)
        records = findings.model_dump(mode="json")[kind]
        tables = {Kind.SNIPPETS: terminal.snippets, Kind.ERRATA: terminal.errata, Kind.CLAIMS: terminal.claims}
        table = tables[kind](findings)
    if as_json:
        print(json.dumps(records, ensure_ascii=False, indent=2))
    else:
        Console().print(table)


@app.command()
def explain(id: str, project: Project = Path()) -> None:
    """Explain an erratum, a claim or a check."""
    if "." in id:
        from errata import catalogue

        pages = catalogue.pages()
    else:
        findings = _findings(project)
        pages = {erratum.id: markdown.erratum(erratum) for erratum in findings.errata}
        pages |= {claim.id: markdown.claim(claim) for claim in findings.claims}
    if id not in pages:
        near = get_close_matches(id, pages, n=1, cutoff=0)[0]
        raise ErrataError(
            f"no erratum, claim or check is called {id!r}; the nearest is {near}, `errata list` shows all"
        )
    Console().print(Markdown(pages[id]))


def _findings(project: Path) -> Findings:
    path = project / "report" / "errata.json"
    try:
        return Findings.from_json(path.read_bytes(), str(path))
    except OSError as error:
        raise ErrataError(f"{path}: cannot be read ({error.strerror}); run `errata report`") from None
