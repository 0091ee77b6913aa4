"""One implementation by others, and what the checks say of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from errata import checks
from errata.checks import Adapter, Outcome, Report
from errata.checks.suite import Effort


@dataclass(frozen=True)
class Implementation:
    """An implementation that is taken for correct.

    Attributes:
        library: the distribution that it comes from.
        adapter: how it is built and called; its name is that in the results.
        shipped: whether the adapter is one of `errata.checks.ready`.
        known: ids of checks that fail, and why.
    """

    library: str
    adapter: Adapter
    shipped: bool = False
    known: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What became of the checks of one implementation."""

    implementation: Implementation
    report: Report

    @property
    def alarms(self) -> tuple[Outcome, ...]:
        """Failures of level paper."""
        return tuple(outcome for outcome in self.report.failures if outcome.check.level == "paper")

    @property
    def differences(self) -> tuple[Outcome, ...]:
        """Failures of the other levels."""
        return tuple(outcome for outcome in self.report.failures if outcome.check.level != "paper")


def judge(implementation: Implementation, effort: Effort) -> Verdict:
    """Run all checks of all levels."""
    return Verdict(implementation, checks.run(implementation.adapter, effort=effort))
