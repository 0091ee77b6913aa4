r"""Display formulas as expressions that can be evaluated."""

import re

from errata.errors import ErrataError

DELIMITERS = re.compile(r"\\\[|\\\]|\$\$")
WORDS = re.compile(r"\\text\{([^{}]*)\}")


def to_python(tex: str, where: str) -> str:
    r"""Translate an equation written in words, such as ``\[ \text{Out} = \text{Norm}(\text{In}) \]``, to Python.

    Words become names (``\text{Residual Connection}`` is ``Residual_Connection``), all else is kept.

    Raises:
        ErrataError: when LaTeX commands other than ``\text`` are left.
    """
    words = WORDS.sub(lambda match: match[1].strip().replace(" ", "_"), tex)
    python = DELIMITERS.sub("", words).strip() + "\n"
    if "\\" in python:
        raise ErrataError(f"{where}: only \\text is understood in {tex.strip()!r}; write the equation in words")
    return python
