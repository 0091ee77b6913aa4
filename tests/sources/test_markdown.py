import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from errata.errors import ErrataError
from errata.files import sha256
from errata.sources.document import Document
from errata.sources.markdown import question_of, questions, snippets
from errata.sources.snippet import Snippet


def document(text: str, name: str = "000_x.md", mark: bytes = b"") -> Document:
    return Document(Path("docs") / name, mark + text.encode(), text)


def quoted(snippet: Snippet, source: Document) -> bytes:
    """Cut the snippet out of the raw bytes by its byte range and columns, with another splitter than the product's."""
    start, end = snippet.byte_range
    lines = re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", source.raw[start:end])
    return b"".join(line.decode()[column:].encode() for line, column in zip(lines, snippet.columns, strict=True))


# One row a trap: what it is, the Markdown, and the blocks in it as (first line, text).
NASTY = [
    ("backticks", "a\n\n```python\nx = 1\n```\n", [(4, "x = 1\n")]),
    ("tildes", "~~~py\nx\n~~~\n", [(2, "x\n")]),
    ("tildes hold backticks", "~~~\n```\nx\n```\n~~~\n", [(2, "```\nx\n```\n")]),
    ("a longer fence holds a shorter one", "````\n```\nx\n```\n````\n", [(2, "```\nx\n```\n")]),
    ("a longer fence closes", "```\nx\n``````\n", [(2, "x\n")]),
    ("blanks behind the closing fence", "```\nx\n```  \n\ny\n", [(2, "x\n")]),
    ("text behind a fence does not close it", "```\nx\n``` y\n```\n", [(2, "x\n``` y\n")]),
    ("four blanks do not close", "```\nx\n    ```\n```\n", [(2, "x\n    ```\n")]),
    ("info string", "```Python title=\"a\" {1,3}\nx = 1\n```\n", [(2, "x = 1\n")]),
    ("backticks in the info string make no fence", "``` a`b\nx\n", []),
    ("backticks inside a line", "a ```x``` b\n`` ` ``\n\n```\ns = '```'\n```\n", [(5, "s = '```'\n")]),
    ("inline code over two lines", "a ```\nx ``` b\n\n``` \ny\n```\n", [(5, "y\n")]),
    ("indented code is no fence", "a\n\n    ```python\n    x\n    ```\n", []),
    ("two fences in a row", "```\nx\n```\n```\ny\n```\n", [(2, "x\n"), (5, "y\n")]),
    ("a fence ends a paragraph", "text\n```\nx\n```\ntext\n", [(2 + 1, "x\n")]),
    ("an indented fence loses its own indentation", "  ```\n  x\n    y\n z\n  ```\n", [(2, "x\n  y\nz\n")]),
    ("in a list", "1. a\n\n   ```py\n   if x:\n       y\n\n   z\n   ```\n", [(4, "if x:\n    y\n\nz\n")]),
    ("on the line of a list marker", "- ```\n  x\n  ```\n", [(2, "x\n")]),
    ("in a list in a list", "- a\n  - b\n    ~~~\n    x\n    ~~~\n", [(4, "x\n")]),
    ("in a quote", "> ```\n> x\n>\n>  y\n> ```\n", [(2, "x\n\n y\n")]),
    ("in a quote without blanks", ">```\n>x\n>```\n", [(2, "x\n")]),
    ("in a quote in a list", "- > ```\n  > x\n  > ```\n", [(2, "x\n")]),
    ("tabs in the code", "```\n\tx\ty\n \tz\n```\n", [(2, "\tx\ty\n \tz\n")]),
    ("tabs as a list's indentation", "1.\ta\n\n\t```\n\tx\n\t\ty\n\t```\n", [(4, "x\n\ty\n")]),
    ("carriage returns and line feeds", "a\r\n\r\n```\r\nx\r\n\r\ny\r\n```\r\n", [(4, "x\r\n\r\ny\r\n")]),
    ("carriage returns alone", "a\r\r```\rx\ry\r```\r", [(4, "x\ry\r")]),
    ("mixed line endings", "a\r\n```\nx\r\ny\rz\n```", [(3, "x\r\ny\rz\n")]),
    ("a closing fence ends the document", "```\nx\n```", [(2, "x\n")]),
    ("other separators", "a\u2028b\x0b\x0c\x85\n```\nx\u2028y\x0c\n\x1c\n```\n", [(3, "x\u2028y\x0c\n\x1c\n")]),
    ("blanks at the ends of lines", "```\nx  \n  \n```\n", [(2, "x  \n  \n")]),
    ("a fence with nothing inside", "```\n```\n\n```\nx\n```\n", [(5, "x\n")]),
    ("a fence with one empty line", "```\n\n```\n", [(2, "\n")]),
    ("inside an HTML block", "<div>\n```\nx\n```\n</div>\n\n```\ny\n```\n", [(8, "y\n")]),
    ("after an HTML block", "<details>\n\n```\nx\n```\n\n</details>\n", [(4, "x\n")]),
    ("inside a comment", "<!--\n```\nx\n\n```\n-->\n\n```\ny\n```\n", [(9, "y\n")]),
    ("after a link reference", "[a]: /url\n'title'\n```\nx\n```\n", [(4, "x\n")]),
    ("after a table and a rule", "| a |\n|---|\n---\n```\nx\n```\n", [(5, "x\n")]),
    ("wide characters", "中文\n\n> ```\n> 变量 = '𝟙'\n> ```\n", [(4, "变量 = '𝟙'\n")]),
    ("formula on a line", "a\n\n\\[ x \\]\n\nb\n", [(3, "\\[ x \\]\n")]),
    ("formula on many lines", "\\[\nx\n= y\n- z \\\\[2pt]\n\\]\n", [(1, "\\[\nx\n= y\n- z \\\\[2pt]\n\\]\n")]),
    ("formula right under a text", "a\n\\[ x \\]\nb\n", [(2, "\\[ x \\]\n")]),
    ("formula in a list", "1. a\n\n   \\[\n     x\n   \\]\n", [(3, "\\[\n  x\n\\]\n")]),
    ("formula in a quote", "> \\[ x \\]\n", [(1, "\\[ x \\]\n")]),
    ("formula at the end, without a line ending", "\\[ x \\]", [(1, "\\[ x \\]")]),
    ("formula inside a fence", "```\n\\[ x \\]\n```\n", [(2, "\\[ x \\]\n")]),
    ("formula between dollars", "a\n\n$$ x $$\n\nb\n", [(3, "$$ x $$\n")]),
    ("formula between dollars on many lines", "$$\nx\n= y\n$$\n", [(1, "$$\nx\n= y\n$$\n")]),
    ("dollars inside a line are no block", "a costs $$ 5\n", []),
    ("dollars end no bracket", "\\[ x $$\n", []),
    ("a blank line ends a formula that is none", "\\[ x\n\ny \\]\n", []),
    ("the end of its list ends a formula that is none", "- \\[ x\n\ny \\]\n", []),
    ("the end of its item ends a formula that is none", "- \\[ x\n- y \\]\n", []),
    ("escaped brackets in a sentence", "\\[1\\] says so, a \\[ x \\] b\n", []),
    ("indented code is no formula", "a\n\n    \\[ x \\]\n", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in NASTY], ids=[row[0] for row in NASTY])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
def test_nasty_markdown(text: str, expected: list[tuple[int, str]], mark: bytes) -> None:
    source = document(text, mark=mark)
    found = snippets(source)
    assert [(snippet.first_line, snippet.text) for snippet in found] == expected
    for snippet in found:
        assert quoted(snippet, source) == snippet.text.encode()


def test_line_and_column_maps_lead_back_into_the_document() -> None:
    source = document("1. a\n\n   ~~~\n   x\n\n       y\n   ~~~\n\n> ```\n> z\n>w\n> ```\n")
    in_list, in_quote = snippets(source)
    assert (in_list.line_map, in_list.columns) == ((4, 5, 6), (3, 0, 3))
    assert (in_list.first_line, in_list.last_line, in_list.text) == (4, 6, "x\n\n    y\n")
    assert (in_quote.line_map, in_quote.columns, in_quote.text) == ((10, 11), (2, 1), "z\nw\n")


def test_language_kind_and_suffix() -> None:
    source = document(
        "```Python3 x\na\n```\n```py\nb\n```\n```bash\nc\n```\n```\nd\n```\n```latex\ne\n```\n\\[ f \\]\n"
    )
    assert [(s.kind, s.language, s.file.rpartition(".")[2]) for s in snippets(source)] == [
        ("code", "python", "py"),
        ("code", "python", "py"),
        ("code", "bash", "txt"),
        ("code", "", "txt"),
        ("code", "latex", "tex"),
        ("formula", "latex", "tex"),
    ]


def test_questions_come_from_numbered_headings() -> None:
    fence = "```\nx\n```\n"
    source = document(
        f"{fence}# A. Book\n{fence}### 26. What is `x`?\n{fence}#### Example\n{fence}"
        f"### Summary\n{fence}#### Detail\n{fence}7. no heading\n\n1.5 V\n---\n{fence}> ## 2. Quoted ##\n\n{fence}"
    )
    assert [(s.question, s.title) for s in snippets(source)] == [
        (None, ""),
        (None, "A. Book"),
        (26, "What is `x`?"),
        (26, "What is `x`?"),
        (None, "Summary"),
        (None, "Detail"),
        (None, "1.5 V"),
        (2, "Quoted"),
    ]


def python(*bodies: str) -> str:
    return "".join(f"```python\n{body}\n```\n" for body in bodies)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("class ResidualBlock(Module):\n    pass", "residual_block"),
        ("class BERTModelV2: pass", "bert_model_v2"),
        ("async def run(): pass", "run"),
        ("def inner(): pass\n\ndef outer():\n    return inner()", "outer"),
        ("def outer():\n    return inner()\n\ndef inner(): pass", "outer"),
        ("def hard(): pass\n\ndef soft(): pass", "hard_soft"),
        ("def again(n):\n    return again(n - 1)", "again"),
        ("def ping(): pong()\n\ndef pong(): ping()", "pong"),
        ("def twice(): pass\n\ndef twice(): pass", "twice"),
        ("rate = 1\nfor step in steps:\n    decayed = rate / step\n    use = decayed", "decayed"),
        ("first = 1\nlast = 2\nprint(last)", "last"),
        ("print(1)", "code"),
        ("def broken(", "code"),
        ("x" * 300 + " = 1", "x" * 52),
    ],
)
def test_python_blocks_are_named_by_what_they_lead_to(body: str, name: str) -> None:
    (snippet,) = snippets(document("## 3. T\n" + python(body)))
    assert (snippet.name, snippet.file) == (f"000_q03_{name}", f"000_q03_{name}.py")


def test_names_are_unique_and_the_first_of_equal_texts_is_the_original() -> None:
    one = document("# 1. A\n" + python("x = 1", "x = 2", "x = 1"))
    other = document("# 1. A\n" + python("x = 2", "x = 1 "), name="000_y.md")
    assert [(s.file, s.duplicate_of) for s in snippets(one, other)] == [
        ("000_q01_x.py", None),
        ("000_q01_x_2.py", None),
        ("000_q01_x_3.py", "000_q01_x.py"),
        ("000_q01_x_4.py", "000_q01_x_2.py"),
        ("000_q01_x_5.py", None),
    ]


@pytest.mark.parametrize(
    ("text", "line", "markup"),
    [
        ("a\n\n```python\nx\n", 3, "```"),
        ("```\nx\n```\n\n~~~~\n", 5, "~~~~"),
        ("````\nx\n```", 1, "````"),
        ("```\nx\n    ```\n", 1, "```"),
        ("  ```\n  ", 1, "```"),
        ("- ```\n  x\n\ntext\n", 1, "```"),
        ("\n> ```\n> x\n\ntext\n", 2, "```"),
        ("a\u2028b\r\n```\r\n", 2, "```"),
    ],
)
def test_an_unclosed_fence_names_its_opening_line(text: str, line: int, markup: str) -> None:
    with pytest.raises(ErrataError) as error:
        snippets(document(text))
    assert str(error.value) == f"docs/000_x.md:{line}: this fence is never closed; add a line {markup} after its code"


def test_lines_whose_endings_would_fuse_are_refused() -> None:
    with pytest.raises(ErrataError, match=r"^docs/000_x\.md:3: unindented, .+ one kind of line ending$"):
        snippets(document("> ```\n> x\r> \n> ```\n"))


@pytest.mark.parametrize(("text", "line"), [("- ```\n  x\n\ty\n  ```\n", 3), ("```\nx\n\0\n```\n", 3)])
def test_a_line_that_cannot_be_quoted_is_refused(text: str, line: int) -> None:
    with pytest.raises(ErrataError, match=rf"^docs/000_x\.md:{line}: this code line cannot be quoted verbatim"):
        snippets(document(text))


# What stands before the first line of a container and before its others.
CONTAINERS = [("", ""), ("> ", "> "), ("- ", "  "), ("12. ", "    "), ("- > ", "  > "), (">", ">"), ("-\t", "\t")]
RAGGED = [("", "  "), ("  ", ""), ("", "> "), ("> ", ""), ("- ", "\t"), (">\t", ">\t"), ("    ", "    ")]
TAILS = ["```", "```", "```", "~~~", "````", "``` py", "", "x", "\tx  ", "中", "\\[", "\\]", "# 3. T", "<p>", "\u2028"]
LINE_ENDINGS = st.sampled_from(["\n", "\r\n", "\r"])


def sound(text: str, mark: bytes) -> tuple[Document, list[Snippet]]:
    """Reword every line that a refusal names, until there is none: a refusal that blames a wrong line never ends."""
    lines = re.findall("[^\r\n]*(?:\r\n|\r|\n)", text)
    for _ in range(len(lines) + 1):
        source = document("".join(lines), mark=mark)
        try:
            return source, snippets(source)
        except ErrataError as error:
            blamed = re.match(r"docs/000_x\.md:(\d+): [^\n]+; [^\n]+$", str(error))
            assert blamed
            number = int(blamed[1]) - 1
            lines[number] = lines[number].replace(lines[number].rstrip("\r\n"), "z")
    raise AssertionError(f"a refusal stays: {lines}")


@st.composite
def ragged_markdown(draw: st.DrawFn) -> str:
    lines: list[str] = []
    for first, rest in draw(st.lists(st.sampled_from(CONTAINERS + RAGGED), min_size=1, max_size=5)):
        tails = draw(st.lists(st.sampled_from(TAILS), min_size=1))
        lines += [prefix + tail for prefix, tail in zip([first] + [rest] * len(tails), tails, strict=False)]
    return "".join(line + draw(LINE_ENDINGS) for line in lines)


@given(ragged_markdown(), st.booleans())
@example("- ```\n  x\r\n  ```\n", True)
def test_any_markdown_is_quoted_verbatim_or_refused_at_its_line(text: str, marked: bool) -> None:
    source, found = sound(text, b"\xef\xbb\xbf" if marked else b"")
    raw_lines = re.split("\r\n|\r|\n", source.text)
    for snippet in found:
        assert quoted(snippet, source) == snippet.text.encode()
        assert sha256(snippet.text.encode()) == snippet.sha256
        tails = [raw_lines[line - 1][column:] for line, column in zip(snippet.line_map, snippet.columns, strict=True)]
        assert tails == re.split("\r\n|\r|\n", snippet.text)[: len(tails)]


BODIES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0`"), max_size=9), min_size=1
)


@given(st.lists(st.tuples(BODIES, st.sampled_from(CONTAINERS[:-2]))), LINE_ENDINGS)
def test_what_was_fenced_comes_back(blocks: list[tuple[list[str], tuple[str, str]]], ending: str) -> None:
    lines: list[str] = []
    expected: list[tuple[int, str, set[int]]] = []
    for body, (first, rest) in blocks:
        lines += ["text\u2028", "", f"{first}```"]
        expected.append((len(lines) + 1, "".join(line + ending for line in body), {len(rest)}))
        lines += [f"{rest}{line}" for line in body] + [f"{rest}```", ""]
    found = snippets(document(ending.join(lines)))
    assert [(s.first_line, s.text, set(s.columns)) for s in found] == expected


def test_the_question_of_a_line() -> None:
    source = document(
        "intro\n\n## 1. First\n\nText.\n\n### Deeper\n\nText.\n\n## 2. Second\n\nText.\n\n## End\n\nText.\n"
    )
    assert [question_of(source, line) for line in (1, 3, 5, 9, 11, 13, 17)] == [None, 1, 1, 1, 2, 2, None]


def test_every_line_has_its_question() -> None:
    text = "a\n\n# 1. One\n\nb\n\n## Deeper\n\nc\n\n# Other\n\nd\n\n# 2. Two\n"
    asked = questions(document(text))
    assert asked == [None, None, 1, 1, 1, 1, 1, 1, 1, 1, None, None, None, None, 2]
    assert [question_of(document(text), line) for line in range(1, 16)] == asked
