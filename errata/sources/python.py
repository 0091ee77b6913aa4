"""What a Python snippet says about itself, read from its syntax tree alone."""

import ast
import re

from errata.errors import ErrataError
from errata.sources.snippet import Snippet

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def check_parses(snippet: Snippet) -> None:
    """Raise `ErrataError` with the document's line if the snippet is not Python."""
    try:
        ast.parse(snippet.text)
    except SyntaxError as error:
        # An unfinished block is reported behind its last line.
        line = min(snippet.first_line + (error.lineno or 1) - 1, snippet.last_line)
        problem = f"{snippet.document}:{line}: this Python block does not parse ({error.msg})"
        raise ErrataError(f"{problem}; correct it or mark its fence as text") from error


def leads_to(text: str) -> str:
    """Name what a block leads to, in snake case.

    These are the top-level definitions that no other definition of the block mentions, joined; in a block that defines
    nothing, the first name that its last assigning statement assigns; `code` if there is none, or no Python.
    """
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return "code"
    definitions = [node for node in body if isinstance(node, Definition)]
    mentioned = {name for node in definitions for name in _names(node) if name != node.name}
    ends = [node.name for node in definitions if node.name not in mentioned]
    if ends:
        return "_".join(map(_snake_case, dict.fromkeys(ends)))
    if definitions:  # they mention each other in a ring
        return _snake_case(definitions[-1].name)
    return next((_snake_case(name) for node in reversed(body) for name in _assigned(node)), "code")


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _assigned(tree: ast.AST) -> list[str]:
    targets = [node.targets[0] for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
