"""Cell magics of the corrected edition: `%load_ext errata.notebook` in a notebook that lies in a checkout.

`%%original FILE` judges the cell's text and shows how it fails; `%%corrected FILE` runs every check on the cell's text,
and raises if one fails.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from errata import curated, proof
from errata.candidates import LocalCandidate, Source
from errata.checks import engine, get
from errata.checks.engine import Result
from errata.curated import Collection, Entry
from errata.errors import ErrataError
from errata.findings import Findings
from errata.render.words import original_fails

EXAMPLES = 6
"""Cases for each check of a cell, so that a reader need not wait; the report's proof tries more."""


def load_ipython_extension(shell: Any) -> None:
    """Register the magics."""
    shell.register_magic_function(original, "cell")
    shell.register_magic_function(corrected, "cell")


def original(line: str, cell: str) -> None:
    """Show each erratum of the cell's text, with the others repaired, or the checks that it passes."""
    file = line.strip()
    entry = _entry(file, cell)
    recorded = {erratum.id: erratum for erratum in _record().errata}
    for erratum in entry.curated.errata:
        check, known = get(erratum.check), recorded[erratum.id]
        case = check.case.from_json(known.occurrence_in(file).counterexample.case)
        if not engine.fails(check, proof.replay(entry, entry.all_but(erratum), check, case)):
            raise ErrataError(f"{erratum.id} does not show in this cell; take its text from the document")
        print(original_fails(known, next(p for p in known.places if p.snippet == file)), end="\n\n")
    if not entry.curated.errata:
        _passes(entry, Source.whole(cell, file))


def corrected(line: str, cell: str) -> None:
    """Run every check of the component on the cell's text."""
    _passes(_entry(line.strip(), cell), Source.whole(cell, line.strip()))


def _passes(entry: Entry, source: Source) -> None:
    results = [
        result
        for way in entry.ways
        for result in engine.run(LocalCandidate(entry.program(way, source)), way.checks, examples=EXAMPLES)
    ]
    wrong = [_described(result) for result in results if not result.ok]
    if wrong:
        raise ErrataError(f"{entry.snippet.file}: " + "; ".join(wrong))
    passed = len({result.check.id for result in results if result.status == "passed"})
    print(f"passes {passed} checks of {', '.join(dict.fromkeys(way.binding.component for way in entry.ways))}")


def _described(result: Result) -> str:
    seen = f": {result.counterexample.evidence.actual}" if result.counterexample else ""
    return f"{result.check.id} {result.status}{seen}"


def _entry(file: str, cell: str) -> Entry:
    """The entry of a snippet, with the cell's text in place of the document's."""
    snippets = {snippet.file: snippet for snippet in _collection().snippets}
    if file not in snippets:
        raise ErrataError(f"there is no snippet {file!r}; `errata list snippets` names them all")
    entry = _collection().entry_of(snippets[file])
    return replace(entry, snippet=snippets[file].model_copy(update={"text": cell}))


@cache
def _root() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "snippets" / "manifest.json").exists():
            return folder
    raise ErrataError(f"{here}: no snippets/manifest.json here or above; open the notebook in a checkout")


@cache
def _collection() -> Collection:
    return curated.load(_root())


@cache
def _record() -> Findings:
    path = _root() / "report" / "errata.json"
    return Findings.from_json(path.read_bytes(), str(path))
