"""A candidate as data: source texts, where they stand, and the few lines that call them."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType


@dataclass(frozen=True)
class Source:
    """A piece of Python and the place it was taken from.

    Attributes:
        text: the code.
        file: the file that tracebacks shall name.
        lines: for each line of ``text``, its line in ``file`` (1-based).
    """

    text: str
    file: str
    lines: tuple[int, ...]

    @classmethod
    def whole(cls, text: str, file: str) -> "Source":
        """A text that is a file of its own: line n of one is line n of the other."""
        return cls(text, file, tuple(range(1, text.count("\n") + 2)))

    def compile(self) -> CodeType:
        """Compile so that every traceback points into ``file``.

        Raises:
            SyntaxError: with the line of ``file``.
        """
        try:
            tree = ast.parse(self.text)
        except SyntaxError as error:
            error.filename, error.lineno = self.file, self.place(error.lineno or 1)
            raise
        for node in ast.walk(tree):
            if isinstance(node, (ast.stmt, ast.expr, ast.excepthandler, ast.arg, ast.keyword, ast.alias)):
                node.lineno = self.place(node.lineno)
                node.end_lineno = self.place(node.end_lineno or 1)
                if node.end_lineno == node.lineno:  # what an edit spread over lines comes from one
                    node.end_col_offset = max(node.col_offset, node.end_col_offset or 0)
        return compile(tree, self.file, "exec", dont_inherit=True)

    def place(self, line: int) -> int:
        """The line of ``file`` on which line ``line`` of ``text`` stands."""
        return self.lines[min(line, len(self.lines)) - 1]


@dataclass(frozen=True)
class Program:
    """Everything that is needed to run a candidate, here or in another process.

    Attributes:
        name: for messages.
        sources: run one after the other in one namespace.
        adapter: code that defines ``call(...)`` and, for what is constructed first, ``build(...)``. It sees the
            names that the sources define. ``call`` takes the component's arguments, after the built object if any.
        weights: the component's parameter names, as dotted prefixes, to the candidate's.
        traits: see `Candidate`.
        script: the last source is a script without definitions: instead of running it once, hand the adapter a
            function ``script(**names)`` that runs it with these names bound and returns its namespace.
    """

    name: str
    sources: tuple[Source, ...]
    adapter: str
    weights: Mapping[str, str] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    script: bool = False
