"""Diffs that `git apply` accepts."""

from collections.abc import Iterator
from difflib import SequenceMatcher

from errata.sources.document import split_lines


def unified_diff(before: str, after: str, path: str, *, context: int = 3) -> str:
    """The shortest diff that `difflib` finds.

    `difflib.unified_diff` takes lines that occur often in a long text for junk, and then replaces far more than
    differs; the documents repeat themselves a lot.
    """
    old, new = split_lines(before), split_lines(after)
    groups = SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(context)
    body = "".join(line for group in groups for line in _hunk(group, old, new))
    return f"--- a/{path}\n+++ b/{path}\n{body}" if body else ""


def _hunk(group: list[tuple[str, int, int, int, int]], old: list[str], new: list[str]) -> Iterator[str]:
    (_, i, _, j, _), (_, _, i_end, _, j_end) = group[0], group[-1]
    yield f"@@ -{_range(i, i_end)} +{_range(j, j_end)} @@\n"
    for kind, i1, i2, j1, j2 in group:
        if kind == "equal":
            yield from (_line(" ", line) for line in old[i1:i2])
        else:
            yield from (_line("-", line) for line in old[i1:i2])
            yield from (_line("+", line) for line in new[j1:j2])


def _range(start: int, end: int) -> str:
    """Lines ``start`` to ``end`` as a hunk's header counts them: from 1, an empty range from the line before."""
    length = end - start
    first = start + 1 if length else start
    return f"{first}" if length == 1 else f"{first},{length}"


def _line(mark: str, line: str) -> str:
    return f"{mark}{line}" if line.endswith(("\n", "\r")) else f"{mark}{line}\n\\ No newline at end of file\n"
