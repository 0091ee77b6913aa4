"""What all tests share: the checkout, and the count of originals at the end of a run."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: small tensors gain nothing from threads

from pathlib import Path

import jaxtyping
import pytest

# Before `reference` is first imported: its shape annotations are checked at run time in all tests.
jaxtyping.install_import_hook("reference", "beartype.beartype")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parent.parent


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of the garbage collector's rounds; it is never freed."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many originals fail as documented, and how many are right."""

    def originals(kind: str) -> set[str]:
        reports = terminalreporter.getreports(kind)  # those of a collection that failed have no keywords
        return {report.nodeid for report in reports if "original" in getattr(report, "keywords", ())}

    counts = {kind: len(originals(kind)) for kind in ("xfailed", "passed", "failed", "xpassed", "error")}
    wrong = counts["failed"] + counts["xpassed"] + counts["error"]
    shown = terminalreporter.config.getoption("runxfail")  # asked to see them fail
    reproduced = wrong if shown else counts["xfailed"]
    if any(counts.values()):
        line = f"originals: {reproduced} errata {'shown' if shown else 'reproduced'}, {counts['passed']} snippets right"
        terminalreporter.write_sep("=", line if shown or not wrong else f"{line}, {wrong} otherwise than documented")
