"""What became of the checks of one implementation, for people and as JSON."""

import json
import reprlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from errata.checks.adapters.adapter import Adapter
from errata.checks.case import Case
from errata.checks.engine import Counterexample
from errata.checks.locate import address
from errata.checks.registry import Check

Kind = Literal[
    "passed", "failed", "error", "expected-failure", "unexpected-pass", "inconclusive", "blocked", "not-applicable"
]

RAN: tuple[Kind, ...] = ("passed", "failed", "error", "expected-failure", "unexpected-pass", "inconclusive")
BAD: tuple[Kind, ...] = ("failed", "error", "unexpected-pass", "inconclusive")
SCHEMA = 1


class ConformanceError(AssertionError):
    """An implementation fails checks; the text says which, where and how to see it again."""


@dataclass(frozen=True)
class Outcome:
    """What became of one check.

    Attributes:
        check: the check.
        kind: ``error``: valid input raised an exception; ``blocked``: what it builds on failed; ``inconclusive``: the
            same case passes now and fails then, or the answer cannot be compared.
        counterexample: the smallest case that was found, where one fails.
        blocked_by: the ids that block it.
        reason: why a failure was expected, or nothing could be concluded.
    """

    check: Check
    kind: Kind
    counterexample: Counterexample | None = None
    blocked_by: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """The outcomes of all checks of a component that were asked for.

    Attributes:
        adapter: the implementation.
        outcomes: in the order of the checks.
    """

    adapter: Adapter
    outcomes: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the implementation."""
        return not self.failures

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The outcomes that speak against it."""
        return tuple(outcome for outcome in self.outcomes if outcome.kind in BAD)

    @property
    def totals(self) -> Mapping[Kind, int]:
        """How many checks came to each outcome."""
        return Counter(outcome.kind for outcome in self.outcomes)

    @property
    def first_line(self) -> str:
        """How many checks ran, what came of them, and what one more callable would unlock."""
        totals = self.totals
        ran = ", ".join(f"{totals[kind]} {worded(kind)}" for kind in RAN if totals[kind]) or "none"
        rest = [f"{totals[kind]} {worded(kind)}" for kind in ("blocked", "not-applicable") if totals[kind]]
        line = f"ran {sum(totals[kind] for kind in RAN)} of {len(self.outcomes)}: {'; '.join([ran, *rest])}"
        unlocked = [f"{field} would unlock {count} more" for field, count in self.unlocked_by().items()]
        return f"{line} ({', '.join(unlocked)})" if unlocked else line

    def unlocked_by(self) -> dict[str, int]:
        """For fields of the adapter that were left out, how many checks each of them would unlock."""
        has = self.adapter.chosen_traits()
        barred = [outcome.check for outcome in self.outcomes if outcome.kind == "not-applicable"]
        missing = [check.needs - has for check in barred if not check.unless & has]
        single = Counter(trait for traits in missing if len(traits) == 1 for trait in traits)
        unlocking = self.adapter.unlocked_by
        return {unlocking[trait]: count for trait, count in single.most_common() if trait in unlocking}

    def raise_if_failed(self) -> None:
        """Raise what `str` shows.

        Raises:
            ConformanceError: unless `ok`.
        """
        if not self.ok:
            raise ConformanceError(str(self))

    def __str__(self) -> str:
        """The first line, and a paragraph for each outcome that speaks against the implementation."""
        paragraphs = [f"{self.adapter.title}, {self.adapter.component}: {self.first_line}"]
        return "\n\n".join(paragraphs + [described(outcome, self.adapter) for outcome in self.failures])

    def to_json(self) -> bytes:
        """The report as JSON: same outcomes, same bytes."""
        record = {
            "schema": SCHEMA,
            "adapter": self.adapter.title,
            "component": self.adapter.component,
            "ok": self.ok,
            "summary": self.first_line,
            "totals": {kind: self.totals[kind] for kind in (*RAN, "blocked", "not-applicable")},
            "outcomes": [recorded(outcome, self.adapter) for outcome in self.outcomes],
        }
        return (json.dumps(record, ensure_ascii=False, indent=2) + "\n").encode()


def worded(kind: Kind) -> str:
    """An outcome in words."""
    return {"error": "raised", "expected-failure": "failed as expected", "unexpected-pass": "passed unexpectedly"}.get(
        kind, kind.replace("-", " ")
    )


def described(outcome: Outcome, adapter: Adapter) -> str:
    """A paragraph about an outcome."""
    check = outcome.check
    lines = [
        f"{worded(outcome.kind).upper()} {check.id} ({check.level})",
        check.statement,
        f"{check.spec.work.name}, {check.spec.section}: {check.spec.quote!r}",
    ]
    if outcome.kind == "unexpected-pass":
        lines.append(f"expected to fail because {outcome.reason}: take it off the expected failures")
    if outcome.kind == "inconclusive":
        lines.append(outcome.reason)
    if outcome.blocked_by:
        lines.append(f"it builds on {', '.join(outcome.blocked_by)}: mend that first")
    if outcome.counterexample:
        lines += evidence_lines(outcome.counterexample, check)
        lines += [f"hint: {check.hint}", f"again: {again(outcome, adapter)}"]
    return "\n    ".join(lines)


def evidence_lines(found: Counterexample, check: Check) -> list[str]:
    """The smallest case, what matters in it, and how far the implementation is off."""
    evidence = found.evidence
    lines = [f"smallest case: {spelt(found.case) or 'all sizes at their smallest'}"]
    for influence in found.influences:
        if influence.matters:
            alike, other = (", ".join(map(str, values)) for values in (influence.fails, influence.passes))
            lines.append(f"{influence.field} matters: fails at {alike}; passes at {other}")
    if evidence.raised:
        return [*lines, f"raised {evidence.actual}" + (f" at {evidence.place}" if evidence.place else "")]
    lines += [f"expected: {shortened(evidence.expected)}", f"observed: {shortened(evidence.actual)}"]
    if evidence.noise:
        off, allowed = evidence.deviation * evidence.noise, check.tolerance * evidence.noise
        lines.append(f"off by {off:.3g}; allowed {allowed:.3g}; rounding noise {evidence.noise:.3g}")
    return lines


def shortened(value: Any) -> str:
    """A value of which a line shows the beginning."""
    brief = reprlib.Repr()
    brief.maxlist, brief.maxstring, brief.maxother = 8, 200, 200
    return brief.repr(value)


def differing(case: Case) -> dict[str, Any]:
    """The fields of a case that are not at their defaults."""
    own = {field.name: field.default for field in fields(case)}
    return {name: value for name, value in case.to_json().items() if name != "values" and value != own[name]}


def spelt(case: Case) -> str:
    """The fields of a case that are not at their defaults, as Python writes them."""
    return ", ".join(f"{name}={value!r}" for name, value in differing(case).items())


def again(outcome: Outcome, adapter: Adapter) -> str:
    """A line of Python that measures the counterexample once more and raises if it still fails.

    Where the adapter is a name of a module, the line stands alone; elsewhere it needs ``adapter`` in scope.
    """
    assert outcome.counterexample is not None
    found = ", ".join(
        repr(value) if name == "address" else f"{name}={value!r}" for name, value in origin(adapter).items()
    )
    fields = spelt(outcome.counterexample.case)
    arguments = [f"checks.find({found})" if found else "adapter", repr(outcome.check.id), *([fields] if fields else [])]
    return f"from errata import checks; checks.replay({', '.join(arguments)})"


def origin(adapter: Adapter) -> Mapping[str, str]:
    """The arguments of `errata.checks.find` that give the adapter, or nothing where it cannot be found."""
    if adapter.origin:
        return adapter.origin
    where = address(adapter)
    return {"address": where} if where else {}


def recorded(outcome: Outcome, adapter: Adapter) -> dict[str, Any]:
    """An outcome as JSON."""
    check, found = outcome.check, outcome.counterexample
    record: dict[str, Any] = {"check": check.id, "level": check.level, "outcome": outcome.kind}
    if outcome.reason:
        record["reason"] = outcome.reason
    if outcome.blocked_by:
        record["blocked_by"] = list(outcome.blocked_by)
    if found:
        record |= {
            "statement": check.statement,
            "source": {"name": check.spec.work.name, "section": check.spec.section, "quote": check.spec.quote},
            "hint": check.hint,
            "case": differing(found.case),
            "matters": {i.field: {"fails": i.fails, "passes": i.passes} for i in found.influences if i.matters},
            "expected": found.evidence.expected,
            "actual": found.evidence.actual,
            "raised": found.evidence.raised,
            "place": found.evidence.place,
            "deviation": str(found.evidence.deviation),
            "tolerance": check.tolerance,
            "noise": found.evidence.noise,
            "replay": {"adapter": dict(origin(adapter)), "check": check.id, "case": differing(found.case)},
            "again": again(outcome, adapter),
        }
    return record
