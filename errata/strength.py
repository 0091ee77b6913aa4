"""The proof that the checks are worth something: every defect, held against every check of its component.

Mutants run in processes that are forked from one that has imported everything, a few one after the other in each:
what a mutant does to its process ends soon, and a fork for each of them would take longer than the mutant.
"""

import gc
import multiprocessing
import signal
import tomllib
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import FrameType

import torch

from errata import defects
from errata.candidates import LocalCandidate
from errata.checks import Check, all_checks, checks_of, engine, with_foundations
from errata.defects import Defect
from errata.matrix import Death, Mark

SECONDS = 60
"""Longer than any mutant takes that ends at all."""

MUTANTS_A_PROCESS = 25

FEW = 2
"""Cases for a check that is not declared to kill: the matrix shows it where it kills easily."""


def deaths(processes: int) -> Iterator[Death]:
    """Judge every defect of every component, in the order of their lists."""
    keys = all_defects()
    gc.freeze()  # else the first collection in a fork would touch, and so copy, all that it shares with this process
    with multiprocessing.get_context("fork").Pool(processes, _one_thread, (), MUTANTS_A_PROCESS) as pool:
        yield from pool.imap(_judge, keys)


def all_defects() -> list[tuple[str, str]]:
    """Component and name of every defect."""
    return [(name, defect.name) for name, component in defects.components().items() for defect in component.defect]


def killed_by_peers(folder: Path) -> frozenset[str]:
    """The checks that wrong implementations by others must fail, as the files of this folder say and tests hold."""
    texts = [tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.toml"))]
    wrong = [peer for text in texts for peer in text["peer"] if peer.get("wrong")]
    return frozenset(id for peer in wrong for id in peer["expected_failures"])


def complaints(found: Sequence[Death], proved_on_peers: Collection[str]) -> list[str]:
    """What is wrong with the checks or the lists of defects, one line each."""
    listed = _defects()
    lines = []
    for death in found:
        where = f"errata/defects/{death.component}.toml: {death.defect}"
        declared = listed[death.component, death.defect].kills
        silent = [id for id in declared if death.marks.get(id) != "declared"]
        if not death.by:
            lines.append(f"{where} survives: write the check that is missing")
        elif not declared:
            lines.append(f"{where} dies by undeclared checks alone, {', '.join(death.by)}: list them in kills")
        elif silent:
            lines.append(f"{where} does not die by {', '.join(silent)}: mend the check, or take it off kills")
    useful = {id for death in found for id in death.by}
    idle = [check.id for check in all_checks() if check.id not in useful and check.id not in proved_on_peers]
    return lines + [f"{id} kills nothing: plant the defect that it is for in errata/defects" for id in idle]


@cache
def _defects() -> dict[tuple[str, str], Defect]:
    return {
        (name, defect.name): defect for name, component in defects.components().items() for defect in component.defect
    }


def _one_thread() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _time_is_up)


def _time_is_up(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"no answer within {SECONDS} s")


def _judge(key: tuple[str, str]) -> Death:
    name, _ = key
    defect = _defects()[key]
    candidate = LocalCandidate(defects.components()[name].mutant(defect))
    signal.alarm(SECONDS)
    marks = {
        result.check.id: _mark(result.status, result.check, defect)
        for result in engine.results(candidate, checks_of(name), examples=FEW, shrink=False)
    }
    declared = [check for check in with_foundations(defect.kills) if marks[check.id] != "declared"]
    marks |= {
        result.check.id: _mark(result.status, result.check, defect)
        for result in engine.results(candidate, declared, shrink=False)
        if result.check.id in defect.kills
    }
    killers = [id for id, mark in marks.items() if mark in ("declared", "also")]
    black_box = _dies_without_weights(candidate, name, killers) if "weights" in candidate.traits else bool(killers)
    signal.alarm(0)
    return Death(name, defect.name, marks, black_box)


def _mark(status: engine.Status, check: Check, defect: Defect) -> Mark:
    if status in ("failed", "inconclusive"):
        return "declared" if check.id in defect.kills else "also"
    if status == "passed":
        return "survived"
    return "blocked" if status == "blocked" else "not-applicable"


def _dies_without_weights(candidate: LocalCandidate, name: str, killers: Sequence[str]) -> bool:
    """Whether a check kills that knows no weights; first those that kill anyway are asked."""
    candidate.traits -= {"weights"}
    return any(
        result.status in ("failed", "inconclusive")
        for checks in (with_foundations(killers), checks_of(name))
        for result in engine.results(candidate, checks, shrink=False)
    )
