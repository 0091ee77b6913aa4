"""The rules of the house."""

import ast
import importlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

from errata.checks import all_checks

ROOT = Path(__file__).parent.parent


def test_imports_go_one_way() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_ids_of_checks_only_grow() -> None:
    committed = (ROOT / "tests" / "check_ids.txt").read_text().split()
    present = sorted(check.id for check in all_checks())
    assert committed == present, "add new ids to tests/check_ids.txt, in order; never remove or rename one"


def test_there_are_at_least_sixty_checks_and_each_says_what_it_demands() -> None:
    assert len(all_checks()) >= 60
    for check in all_checks():
        assert check.statement, check.id
        assert check.hint.endswith("."), check.id
        assert check.spec.quote, check.id
        assert check.spec.section, check.id


def test_top_level_names_of_the_reference_are_unique() -> None:
    """Its modules are run in one namespace when a defect is planted."""
    names = Counter(
        node.name
        for file in (ROOT / "reference").rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_every_name_that_a_package_exports_is_there() -> None:
    for file in sorted([*(ROOT / "errata").rglob("__init__.py"), *(ROOT / "reference").rglob("__init__.py")]):
        package = importlib.import_module(".".join(file.parent.relative_to(ROOT).parts))
        missing = [name for name in getattr(package, "__all__", ()) if not hasattr(package, name)]
        assert missing == [], package.__name__
