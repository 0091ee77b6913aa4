from pathlib import Path

import pytest

from errata.errors import ErrataError
from errata.sources.document import Document
from errata.sources.markdown import snippets
from errata.sources.python import check_parses


@pytest.mark.parametrize(
    ("body", "line"),
    [("x = 1\ny = = 2", 6), ("def f(:\n    pass", 5), ("x = 1\nif x:", 6), ("def f():\n\n    return (1,\n", 7)],
)
def test_a_block_that_does_not_parse_names_its_line_in_the_document(body: str, line: int) -> None:
    text = f"# 1. T\n\ntext\n```python\n{body}\n```\n"
    (snippet,) = snippets(Document(Path("000_x.md"), text.encode(), text))
    with pytest.raises(ErrataError, match=rf"^000_x\.md:{line}: this Python block does not parse \(.+\); correct it"):
        check_parses(snippet)


def test_lines_of_a_block_in_a_list_are_counted_in_the_document() -> None:
    text = "- a\n\n  ```python\n  x = 1\n  y y\n  ```\n"
    (snippet,) = snippets(Document(Path("000_x.md"), text.encode(), text))
    with pytest.raises(ErrataError, match=r"^000_x\.md:5: "):
        check_parses(snippet)
