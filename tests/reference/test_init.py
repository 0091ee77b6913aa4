import ast
import pkgutil
import sys
from importlib import import_module
from pathlib import Path

import jaxtyping
import pytest
import torch

import reference

FOLDER = Path(reference.__file__).parent


def test_shapes_are_checked_in_these_tests() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        reference.attention(torch.zeros(2, 3, 4), torch.zeros(2, 5, 4), torch.zeros(2, 6, 4))


PACKAGES = ["reference", *(m.name for m in pkgutil.walk_packages(reference.__path__, "reference.") if m.ispkg)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_exists_and_is_documented(package: str) -> None:
    module = import_module(package)
    assert module.__doc__
    for name in getattr(module, "__all__", ()):
        exported = getattr(module, name)
        if getattr(exported, "__module__", "").startswith("reference."):  # an alias of a type has no docstring
            assert exported.__doc__, name


def test_the_package_is_typed_and_needs_torch_and_jaxtyping_alone() -> None:
    """Whatever else a part needs is imported by `extras.require`, where it is used."""
    assert (FOLDER / "py.typed").exists()
    allowed = {"reference", "torch", "jaxtyping", *sys.stdlib_module_names}
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] in allowed, path
            elif isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, path
