"""The checks of this project, in the same run and by the same rule."""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.rivals.harness import Verdicts
from errata.candidates import LocalCandidate, Program
from errata.checks import checks_of, engine


def black_box(component: str, program: Program, likely: Sequence[str] = ()) -> Verdicts:
    """Run the checks that need no names of parameters, on a program whose names are unknown."""
    return with_weights(component, replace(program, weights={}), likely)


def with_weights(component: str, program: Program, likely: Sequence[str] = ()) -> Verdicts:
    """Run all checks that apply, the likely ones first: one that fails decides."""
    candidate = LocalCandidate(program)
    for check in sorted(checks_of(component), key=lambda check: check.id not in likely):
        if check.applies_to(candidate):
            yield check.id, engine.search(check, candidate, shrink=False).status == "passed"
