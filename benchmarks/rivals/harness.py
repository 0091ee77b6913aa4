"""The harness: every tool judges the reference, then every defect, each in a process of its own."""

import gc
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

import torch

from benchmarks.measure import versions
from errata.candidates import Program
from errata.defects import Component
from errata.errors import ErrataError

Verdicts = Iterable[tuple[str, bool]]
"""Names of checks, and whether the program passes; lazily, the cheap ones first."""

Answer = TypeVar("Answer")

LONGEST = 60
"""Seconds of computing that a tool may take for one program; a right one takes a few."""


@dataclass(frozen=True)
class Tool:
    """Something that judges programs.

    Attributes:
        name: in the results.
        package: the distribution that has to be installed, or None.
        judge: component and program to the verdicts of all checks; none where it cannot take the component. The last
            argument names checks that are declared to find the defect: a tool that has them may begin with them.
    """

    name: str
    package: str | None
    judge: Callable[[str, Program, Sequence[str]], Verdicts]


@dataclass(frozen=True)
class Outcome:
    """What came of one component.

    Attributes:
        component: its name.
        checks: for each tool that is applicable, the checks that the reference passes.
        found: for each defect, the tools that found it, each with the first check that did.
    """

    component: str
    checks: Mapping[str, tuple[str, ...]]
    found: Mapping[str, Mapping[str, str]]


def require_installed(packages: Iterable[str]) -> None:
    """Raise `ErrataError` unless all of these are installed."""
    missing = [package for package, version in versions(packages).items() if version == "missing"]
    if missing:
        raise ErrataError(f"not installed: {', '.join(missing)}; run `pip install -c constraints.txt -e '.[rivals]'`")


def passing(tool: Tool, component: str, reference: Program) -> tuple[str, ...]:
    """The checks of a tool that a right program passes: only these count."""
    with _undisturbed():
        return tuple(name for name, passed in tool.judge(component, reference, ()) if passed)


def first_failure(
    tool: Tool, component: str, mutant: Program, counted: Iterable[str], likely: Sequence[str] = ()
) -> str | None:
    """The first of the checks counted that fails on a program, or what it raised; None when it passes."""
    counted = set(counted)
    try:
        with _undisturbed():
            verdicts = tool.judge(component, mutant, likely)
            return next((name for name, passed in verdicts if name in counted and not passed), None)
    except Exception as error:
        return type(error).__name__


def passes(action: Callable[[], object]) -> bool:
    """Whether a check ends without raising, begun at the same state of torch's generator."""
    torch.manual_seed(0)
    try:
        action()
    except TimeoutError:
        raise
    except Exception:
        return False
    return True


Shown = Callable[[Sequence[int], str], Iterator[int]]
"""A sequence of work with a progress bar of this title."""


def measure(
    components: Mapping[str, Component], tools: Sequence[Tool], *, processes: int, shown: Shown
) -> list[Outcome]:
    """Judge the reference and all defects of these components; those that no rival can take are left out."""
    rivals, ours = ([tool for tool in tools if bool(tool.package) is rival] for rival in (True, False))
    checks = _counted(components, rivals, processes, shown)
    checks_of_ours = _counted({name: components[name] for name in checks}, ours, processes, shown)
    checks = {name: checks[name] | checks_of_ours.get(name, {}) for name in sorted(checks)}
    defects = [(name, defect) for name in checks for defect in components[name].defect]

    def on_defect(number: int) -> dict[str, str]:
        name, defect = defects[number]
        mutant = components[name].mutant(defect)
        applicable = [tool for tool in tools if tool.name in checks[name]]
        found = {t.name: first_failure(t, name, mutant, checks[name][t.name], defect.kills) for t in applicable}
        return {tool: failure for tool, failure in found.items() if failure}

    found: dict[str, dict[str, dict[str, str]]] = {name: {} for name in checks}
    answers = _forked(on_defect, len(defects), processes, lambda numbers: shown(numbers, "defects"))
    for (name, defect), by in zip(defects, answers, strict=True):
        found[name][defect.name] = by
    return [Outcome(name, checks[name], found[name]) for name in checks]


def _counted(
    components: Mapping[str, Component], tools: Sequence[Tool], processes: int, shown: Shown
) -> dict[str, dict[str, tuple[str, ...]]]:
    """For each component the tools that are applicable, with the checks that its reference passes."""
    pairs = [(name, tool) for name in components for tool in tools]

    def on_reference(number: int) -> tuple[str, ...]:
        name, tool = pairs[number]
        return passing(tool, name, components[name].reference())

    counted: dict[str, dict[str, tuple[str, ...]]] = {}
    answers = _forked(on_reference, len(pairs), processes, lambda numbers: shown(numbers, "reference"))
    for (name, tool), names in zip(pairs, answers, strict=True):
        if names:
            counted.setdefault(name, {})[tool.name] = names
    return counted


def _forked(
    work: Callable[[int], Answer], count: int, processes: int, shown: Callable[[Sequence[int]], Iterator[int]]
) -> list[Answer]:
    """The answers to 0..count - 1, each from a fresh fork of this process: a mutant leaves nothing behind."""
    global _work
    _work = work
    gc.freeze()  # else the first collection in a fork would touch, and so copy, all that it shares with this process
    with get_context("fork").Pool(processes, maxtasksperchild=1) as pool:
        answers = pool.imap(_work_here, range(count), chunksize=1)
        return [next(answers) for _ in shown(range(count))]


_work: Callable[[int], object]
"""What the forks do: a closure, which no pickle could carry to them."""


def _work_here(number: int) -> object:
    return _work(number)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Silence what a tool prints, and raise `TimeoutError` in a program that does not end."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"no verdict after {LONGEST} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
