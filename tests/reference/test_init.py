import ast
from pathlib import Path

import jaxtyping
import pytest
import torch

import reference

FOLDER = Path(reference.__file__).parent


def test_shapes_are_checked_in_these_tests() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        reference.attention(torch.zeros(2, 3, 4), torch.zeros(2, 5, 4), torch.zeros(2, 6, 4))


def test_every_exported_name_exists_and_is_documented() -> None:
    for name in set(reference.__all__) - {"Mask"}:  # an alias has no docstring
        assert getattr(reference, name).__doc__, name


def test_the_package_is_typed_and_needs_torch_and_jaxtyping_alone() -> None:
    assert (FOLDER / "py.typed").exists()
    allowed = {"reference", "torch", "jaxtyping", "collections", "math", "typing"}
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] in allowed, path
            elif isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, path
