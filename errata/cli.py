"""The command line.

What needs torch is imported where it is used: to list and explain what was found, the record is enough.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from errata.errors import ErrataError
from errata.files import write_atomically
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
    refuted = [claims.judge(claim, collection.documents) for claim in _shown(statements.claim, "refuting claims")]
    findings = proof.collect(collection, judged, refuted, statements.withdrawn)
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
    statements = claims.load(project, collection).claim
    folder = project / "report" / "corrected"
    files = edition.files(collection, statements, edition.load(project, collection, statements))
    write_atomically({folder / name: content for name, content in files.items()})
    print(f"{len(files)} files in {folder}: {', '.join(files)}")


@app.command()
def strength(
    project: Project = Path(),
    processes: Annotated[int, typer.Option(help="Mutants that run side by side.")] = os.cpu_count() or 1,
) -> None:
    """Hold every defect against every check of its component, and write report/strength.md."""
    from errata import strength

    keys = strength.all_defects()
    found = list(_shown(strength.deaths(processes), "judging defects", total=len(keys)))
    file = project / "report" / "strength.md"
    write_atomically({file: markdown.strength(found).encode()})
    complaints = strength.complaints(found, strength.killed_by_peers(project / "tests" / "checks" / "peers"))
    for line in complaints:
        print(line)
    print(f"{len(found)} defects, {sum(bool(death.by) for death in found)} killed; see {file}")
    raise typer.Exit(1 if complaints else 0)


@app.command()
def check(
    target: Annotated[str, typer.Argument(help="A class, a function or an adapter: package.module:name.")] = "",
    adapter: Annotated[str, typer.Option(help="The same, for adapters.")] = "",
    component: Annotated[str, typer.Option(help="What a class is, where its name does not say.")] = "",
    mask: Annotated[str, typer.Option(help="How a class reads masks: true-is-attend, true-is-masked, additive.")] = "",
    level: Annotated[list[str] | None, typer.Option(help="A level to check; repeatable. All without it.")] = None,
    expect: Annotated[list[str] | None, typer.Option(help="A failure that is accepted: ID=REASON; repeatable.")] = None,
    effort: Annotated[str, typer.Option(help="quick, default, hunt, or a number of cases for each check.")] = "default",
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file as JSON.")] = None,
) -> None:
    """Run the checks of its component on an implementation of yours."""
    from errata import checks
    from errata.checks.suite import ALL_LEVELS, Suite, parse_effort

    if bool(target) == bool(adapter):
        raise ErrataError("name one thing to check: package.module:Class, or --adapter package.module:name")
    sys.path.insert(0, "")  # as `python -m` does: modules of the current folder can be named
    conventions = {name: value for name, value in (("component", component), ("mask", mask)) if value}
    suite = Suite(
        checks.find(target or adapter, **conventions),
        levels=frozenset(level or ALL_LEVELS),  # type: ignore[arg-type]  # the suite refuses others
        expected_failures=dict(_reason(text) for text in expect or ()),
        effort=parse_effort(effort),
        seed=seed,
    )
    outcomes = [suite.outcome(one) for one in _shown(suite.checks, "checking")]
    report = checks.Report(suite.adapter, tuple(outcomes))
    if json_file:
        write_atomically({json_file: report.to_json()})
    print(report)
    raise typer.Exit(0 if report.ok else 1)


def _reason(text: str) -> tuple[str, str]:
    id, equals, reason = text.partition("=")
    if not equals:
        raise ErrataError(f"--expect {text}: write ID=REASON")
    return id, reason


@app.command("replay")
def replay_(
    case: Annotated[Path, typer.Argument(help="A report of `errata check --json`, or one of its replay records.")],
    adapter: Annotated[str, typer.Option(help="Where the adapter is, if the record does not say: module:name.")] = "",
) -> None:
    """Measure recorded cases again, without any search."""
    from errata import checks

    sys.path.insert(0, "")
    failed = False
    for record in _records(case):
        where = {"address": adapter} if adapter else record["adapter"]
        if not where:
            raise ErrataError(f"{case}: {record['check']} does not say where its adapter is: name it with --adapter")
        try:
            checks.replay(checks.find(**where), record["check"], **record["case"])
            print(f"PASSED {record['check']}")
        except checks.ConformanceError as error:
            print(error)
            failed = True
    raise typer.Exit(1 if failed else 0)


def _records(file: Path) -> list[dict[str, Any]]:
    """The replay records of a file."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ErrataError(f"{file}: cannot be read ({error}); give a file of `errata check --json`") from None
    outcomes = content.get("outcomes", [{"replay": content}]) if isinstance(content, dict) else []
    records = [outcome["replay"] for outcome in outcomes if "replay" in outcome]
    if not all(isinstance(record, dict) and record.keys() >= {"adapter", "check", "case"} for record in records):
        raise ErrataError(f"{file}: no replay record has adapter, check and case; give a file of `errata check --json`")
    return records


def _shown(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, with a progress bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total=total, description=what)


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
