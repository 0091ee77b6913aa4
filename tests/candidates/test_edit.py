import pytest

from errata.candidates import Source
from errata.candidates.edit import Edit, edited
from errata.errors import ErrataError

SOURCE = Source("one\ntwo two\nthree\n", "doc.md", (11, 12, 13, 13))


def test_edits_are_made_at_once_and_lines_keep_their_places() -> None:
    edits = [Edit(line=3, old="three", new="3\n33"), Edit(line=1, old="one", new="zero\none")]
    result = edited(SOURCE, edits, "here")
    assert result.text == "zero\none\ntwo two\n3\n33\n"
    assert result.lines == (11, 11, 12, 13, 13, 13)


def test_an_edit_that_joins_lines() -> None:
    result = edited(SOURCE, [Edit(line=1, old="one\ntwo two", new="both")], "here")
    assert (result.text, result.lines) == ("both\nthree\n", (11, 13, 13))


def test_no_edit_changes_nothing() -> None:
    assert edited(SOURCE, [], "here") == SOURCE


def test_without_a_line_the_text_must_occur_once_anywhere() -> None:
    assert edited(SOURCE, [Edit(old="three", new="3")], "here").text == "one\ntwo two\n3\n"


@pytest.mark.parametrize(
    ("edit", "times"),
    [(Edit(line=1, old="two", new=""), 0), (Edit(line=2, old="two", new=""), 2), (Edit(line=9, old="one", new=""), 0),
     (Edit(old="two", new=""), 2), (Edit(line=1, old="", new="x"), 0)],
)  # fmt: skip
def test_a_text_that_is_not_there_once_is_refused(edit: Edit, times: int) -> None:
    with pytest.raises(ErrataError, match=f"^here.* occurs {times} times there; quote a text that occurs once$"):
        edited(SOURCE, [edit], "here")


def test_overlapping_edits_are_refused() -> None:
    edits = [Edit(line=3, old="three", new=""), Edit(line=3, old="ree", new="")]
    with pytest.raises(ErrataError, match="overlaps"):
        edited(SOURCE, edits, "here")


def test_an_edit_of_several_lines_compiles_and_keeps_the_line_that_it_replaces() -> None:
    source = edited(
        Source.whole("first = 1\nlonger = max(first, 2)\n", "there"),
        [Edit(old="max(first, 2)", new="max(\n  first,\n2)")],
        "here",
    )
    names: dict[str, object] = {}
    exec(source.compile(), names)
    assert names["longer"] == 2
    assert [source.place(line) for line in range(1, 5)] == [1, 2, 2, 2]
