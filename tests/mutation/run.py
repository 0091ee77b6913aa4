"""mutmut on this project, with the arguments of ``mutmut``: ``python tests/mutation/run.py run``.

Four things are otherwise than in mutmut itself. Tests are collected once, so that a mutant costs a fork and its own
tests. The tests that call the reference in another process, where mutmut does not see what they call, are run against
each mutant, last. Progress bars get a lock for each process. And functions under `torch.no_grad()` or
`torch.inference_mode()` are mutated too; mutmut leaves out whatever is decorated, because a copy of it is decorated
once more, which does no harm here.
"""

import os
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from functools import cached_property
from threading import RLock

import libcst as cst
import pytest
from _pytest.config import _prepareconfig
from mutmut.__main__ import cli
from mutmut.mutation import file_mutation
from mutmut.runners.harness import PytestRunner
from mutmut.utils.file_utils import change_cwd
from mutmut.utils.format_utils import get_module_from_key
from mutmut.workers import isolation
from tqdm import tqdm

HARMLESS_DECORATORS = {"torch.no_grad()", "torch.inference_mode()"}
NEEDS_A_GPU = {"_captured"}
IN_ANOTHER_PROCESS = "tests/reference/test_messages.py"
SUSPICIOUS = 35  # mutmut's exit status for it


class DecoratedToo(file_mutation.MutationVisitor):
    """Looks into functions whose decorators are all harmless."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            if node.name.value in NEEDS_A_GPU:
                return True
            decorators = {cst.Module([]).code_for_node(decorator.decorator) for decorator in node.decorators}
            if decorators and decorators <= HARMLESS_DECORATORS:
                return False
        return bool(super()._skip_node_and_children(node))


class CollectedOnce(PytestRunner):
    """Runs tests of one collection, made before the first fork."""

    @cached_property
    def session(self) -> pytest.Session:
        arguments = [*self._pytest_add_cli_args_test_selection, *self._pytest_add_cli_args]
        config = _prepareconfig(["--rootdir=.", "-x", "-q", "--tb=no", *arguments])
        config._do_configure()
        session = pytest.Session.from_config(config)
        config.hook.pytest_sessionstart(session=session)
        config.hook.pytest_collection(session=session)
        return session

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        with change_cwd("mutants"):
            if mutant_name is None:
                assert self.session.items
                return isolation.run_in_fork(self._run, tests)
            try:  # in a child already
                return self._run(own_first(mutant_name, tests))
            except Exception:  # a fault of this file, which mutmut would take for a kill
                return SUSPICIOUS

    def _run(self, tests: Iterable[str]) -> int:
        session = self.session
        if wanted := list(tests):
            items = {item.nodeid: item for item in session.items}
            wanted += [name for name in items if name.startswith(IN_ANOTHER_PROCESS)]
            session.items = [items[name] for name in wanted]
        tqdm.set_lock(RLock())  # its own is one for all forks, and stays locked when one of them is killed
        # These also keep the streams that mutmut puts there, whose end would be a warning, and so a failure, in a test.
        with open(os.devnull, "w") as quiet, redirect_stdout(quiet), redirect_stderr(quiet):
            try:
                session.config.hook.pytest_runtestloop(session=session)
            except (pytest.Session.Failed, pytest.Session.Interrupted):
                return 1
        return int(session.testsfailed > 0)


def own_first(mutant: str, tests: Iterable[str]) -> list[str]:
    """Put the tests of the mutant's own module first: they are the likeliest to kill it, and share few fixtures."""
    folder, _, module = get_module_from_key(mutant).replace(".", "/").rpartition("/")
    return sorted(tests, key=lambda test: not test.startswith(f"tests/{folder}/test_{module}.py"))


# Where mutmut looks them up.
file_mutation.MutationVisitor = DecoratedToo  # type: ignore[misc]
isolation.PytestRunner = CollectedOnce  # type: ignore[misc]

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cli()
