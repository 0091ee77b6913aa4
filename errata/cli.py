"""The command line."""

import dataclasses
import json
import sys
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from errata.checks import Check, all_checks
from errata.errors import ErrataError
from errata.files import write_atomically
from errata.findings import Findings
from errata.render import markdown, terminal

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Executable errata of documents."
)

Project = Annotated[Path, typer.Option(help="The checkout that holds snippets/ and report/.", file_okay=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Kind(StrEnum):
    """What `errata list` lists."""

    SNIPPETS = "snippets"
    CHECKS = "checks"
    ERRATA = "errata"


def main() -> None:
    """Run the command line; an error that the user can mend is one line, and exit status 2."""
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
    """Prove every erratum and write report/."""
    from errata import curated, proof

    collection = curated.load(project)
    columns = (TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(collection.entries))
        judged = []
        for entry in collection.entries:
            progress.update(task, description=entry.snippet.file)
            judged.append(proof.judge(entry, collection))
            progress.advance(task)
    findings = proof.collect(collection, judged)
    folder = project / "report"
    write_atomically({folder / name: content for name, content in render(findings).items()})
    totals = findings.totals
    print(
        f"{totals.snippets} snippets ({totals.distinct_snippets} distinct, {totals.right_snippets} right), "
        f"{totals.errata} errata, {totals.claims} claims."
    )
    print(f"Read {folder / 'README.md'}; the record is {folder / 'errata.json'}.")


def render(findings: Findings) -> dict[str, bytes]:
    """Every file of report/."""
    return {
        "README.md": markdown.report(findings).encode(),
        "verdicts.svg": terminal.picture(terminal.snippets(findings), "errata list snippets").encode(),
        "errata.json": findings.to_json(),
    }


@app.command("list")
def list_(kind: Kind, project: Project = Path(), as_json: Json = False) -> None:
    """List snippets, checks or errata."""
    if kind is Kind.CHECKS:
        records, table = [_check_record(check) for check in all_checks()], _checks_table()
    else:
        findings = _findings(project)
        records = findings.model_dump(mode="json")[kind]
        table = terminal.snippets(findings) if kind is Kind.SNIPPETS else terminal.errata(findings)
    if as_json:
        print(json.dumps(records, ensure_ascii=False, indent=2))
    else:
        Console().print(table)


@app.command()
def explain(id: str, project: Project = Path()) -> None:
    """Explain an erratum or a check."""
    checks = {check.id: check for check in all_checks()}
    if id in checks:
        Console().print(_check_page(checks[id]))
        return
    findings = _findings(project)
    errata = [erratum.id for erratum in findings.errata]
    if id not in errata:
        near = get_close_matches(id, [*errata, *checks], n=1, cutoff=0)[0]
        raise ErrataError(
            f"no erratum or check is called {id!r}; the nearest is {near}, `errata list errata` shows all"
        )
    Console().print(terminal.erratum(findings, id))


def _findings(project: Path) -> Findings:
    path = project / "report" / "errata.json"
    try:
        return Findings.from_json(path.read_bytes(), str(path))
    except OSError as error:
        raise ErrataError(f"{path}: cannot be read ({error.strerror}); run `errata report`") from None


def _check_record(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "component": check.component,
        "statement": check.statement,
        "level": check.level,
        "source": {**dataclasses.asdict(check.spec.work), "section": check.spec.section, "quote": check.spec.quote},
        "hint": check.hint,
        "domain": {name: list(values) for name, values in check.domain.items()},
        "needs": sorted(check.needs),
        "unless": sorted(check.unless),
        "builds_on": list(check.builds_on),
    }


def _checks_table() -> Table:
    table = Table("id", "level", "statement", "source", title="Checks")
    for check in all_checks():
        table.add_row(check.id, check.level, check.statement, f"{check.spec.work.name}, {check.spec.section}")
    return table


def _check_page(check: Check) -> Markdown:
    domain = "\n".join(f"- {name}: {', '.join(map(str, values))}" for name, values in check.domain.items())
    return Markdown(
        f"# {check.id}\n\n{check.statement}\n\n> {check.spec.quote}\n>\n> — {check.spec.work.name}, "
        f"{check.spec.section}\n\nLevel: {check.level}.\n\nWhen it fails: {check.hint}\n\nSearched:\n\n{domain}\n"
    )
