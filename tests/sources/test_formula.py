import pytest

from errata.errors import ErrataError
from errata.sources.formula import to_python


def test_words_become_names() -> None:
    tex = "\\[ \\text{Output} = \\text{Layer Norm}(\\text{Input} + 2) \\]\n"
    assert to_python(tex, "doc:1") == "Output = Layer_Norm(Input + 2)\n"


def test_other_commands_are_refused() -> None:
    with pytest.raises(ErrataError, match=r"^doc:1: only \\text is understood"):
        to_python("\\[ y = \\frac{1}{2} \\]", "doc:1")


def test_dollars_stand_for_the_brackets() -> None:
    assert to_python("$$ \\text{Out} = \\text{In} $$\n", "doc:1") == "Out = In\n"
