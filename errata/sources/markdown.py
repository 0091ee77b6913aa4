r"""The code blocks and display formulas of Markdown documents, through CommonMark tokens."""

from collections.abc import Iterator
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.token import Token

from errata.errors import ErrataError
from errata.files import sha256
from errata.sources.document import Document
from errata.sources.python import leads_to
from errata.sources.snippet import Snippet

ALIASES = {"py": "python", "python3": "python"}
SUFFIXES = {"python": ".py", "latex": ".tex"}
LONGEST_STEM = 60  # characters; file names end at 255 bytes


def snippets(*documents: Document) -> list[Snippet]:
    """Return the blocks of the documents in order, with names and duplicates relative to all that are given.

    A fence with no line inside has nothing to quote and is left out. An unclosed fence, or code that is not verbatim
    the tails of its document lines, raises `ErrataError`.
    """
    found: list[Snippet] = []
    taken: set[str] = set()
    first_with: dict[str, str] = {}
    for document in documents:
        for token, question, title in _outline(document):
            if token.type == "heading_open":
                continue
            first, columns = _place(document, token)
            if not columns:
                continue
            end = first + len(columns)
            text = _text(document, first, columns)
            language = _language(token)
            stem = _unique(_stem(document, question, token, language, text), taken)
            file = stem + SUFFIXES.get(language, ".txt")
            digest = sha256(text.encode())
            found.append(
                Snippet(
                    file=file,
                    kind="formula" if token.type == "formula" else "code",
                    language=language,
                    document=document.path.name,
                    document_sha256=document.sha256,
                    question=question,
                    title=title,
                    first_line=first + 1,
                    last_line=end,
                    line_map=tuple(range(first + 1, end + 1)),
                    columns=columns,
                    byte_range=(document.starts[first], document.starts[end]),
                    sha256=digest,
                    duplicate_of=first_with.get(digest),
                    text=text,
                )
            )
            first_with.setdefault(digest, file)
    return found


def questions(document: Document) -> list[int | None]:
    """For each line the number of the question in which it stands."""
    found: list[int | None] = [None] * len(document.lines)
    for token, question, _ in _outline(document):
        start = token.map[0] if token.map else 0
        found[start:] = [question] * (len(found) - start)
    return found


def question_of(document: Document, line: int) -> int | None:
    """Return the number of the question in which a line (from 1) stands."""
    return questions(document)[line - 1]


def _outline(document: Document) -> Iterator[tuple[Token, int | None, str]]:
    """Yield each heading and block with the number and title of its question.

    A question is a heading such as `26. Title`. Deeper headings without a number belong to it; others end it.
    """
    depth, question, title = 7, None, ""
    # With a last newline every line of a token's content ends in one. CommonMark reads the document alike without it.
    tokens = iter(_parser().parse(document.text + "\n"))
    for token in tokens:
        if token.type == "heading_open":
            level, heading = int(token.tag[1:]), next(tokens).content
            number, dot, rest = heading.partition(". ")
            if dot and number.isdecimal():
                depth, question, title = level, int(number), rest.strip()
            elif question is None or level <= depth:
                depth, question, title = level, None, heading
        if token.type in ("heading_open", "fence", "formula"):
            yield token, question, title


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    parser.block.ruler.before("fence", "formula", _formula, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser


def _formula(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    r"""Read a display formula: lines without a blank one, from one that starts with `\[` to one that ends with `\]`.

    `$$` may stand for both.
    """
    opened = state.bMarks[start] + state.tShift[start]
    closing = {"\\[": "\\]", "$$": "$$"}.get(state.src[opened : opened + 2])
    if closing is None:
        return False
    for line in range(start, end):
        if state.isEmpty(line) or state.sCount[line] < state.blkIndent:
            return False
        begins = opened + 2 if line == start else state.bMarks[line]
        if state.src[begins : state.eMarks[line]].rstrip().endswith(closing):
            if not silent:
                token = state.push("formula", "", 0)
                token.map = [start, line + 1]
                token.content = state.getLines(start, line + 1, state.sCount[start], True)
                state.line = line + 1
            return True
    return False


def _place(document: Document, token: Token) -> tuple[int, tuple[int, ...]]:
    """Return the first line (from 0) of a block's text and the column at which each of its lines starts."""
    assert token.map is not None
    opening, end = token.map
    lines = token.content.split("\n")[:-1]
    fences = end - opening - len(lines)
    if token.type == "fence" and fences != 2:
        where = f"{document.path}:{opening + 1}"
        raise ErrataError(f"{where}: this fence is never closed; add a line {token.markup} after its code")
    first = opening + fences // 2
    return first, tuple(_column(document, number, line) for number, line in enumerate(lines, first))


def _column(document: Document, number: int, line: str) -> int:
    whole = document.lines[number].rstrip("\r\n")
    if not whole.endswith(line):
        raise ErrataError(
            f"{document.path}:{number + 1}: this code line cannot be quoted verbatim, for a tab stands half in its "
            "block's indentation or it holds a NUL; indent with spaces and remove NULs"
        )
    return len(whole) - len(line)


def _text(document: Document, first: int, columns: tuple[int, ...]) -> str:
    lines = [document.lines[number][column:] for number, column in enumerate(columns, first)]
    for number, (line, following) in enumerate(pairwise(lines), first + 2):
        if line.endswith("\r") and following.startswith("\n"):
            raise ErrataError(
                f"{document.path}:{number}: unindented, this line feed would join the carriage return above; "
                "save the document with one kind of line ending"
            )
    return "".join(lines)


def _language(token: Token) -> str:
    if token.type == "formula":
        return "latex"
    word = next(iter(token.info.lower().split()), "")
    return ALIASES.get(word, word)


def _stem(document: Document, question: int | None, token: Token, language: str, text: str) -> str:
    what = leads_to(text) if language == "python" else "formula" if token.type == "formula" else "code"
    parts = [document.path.stem.partition("_")[0], *([] if question is None else [f"q{question:02}"]), what]
    return "_".join(parts)[:LONGEST_STEM]


def _unique(stem: str, taken: set[str]) -> str:
    name, count = stem, 1
    while name in taken:
        count += 1
        name = f"{stem}_{count}"
    taken.add(name)
    return name
