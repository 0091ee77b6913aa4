import pytest

from tests.mutation.survivors import Edit, Equivalent, Run, complaints, dotted_name, edit, summary

EDIT = Edit("reference.masks.hard_mask", "return scores", "return None")
EXPLAINED = Equivalent(function=EDIT.function, old=EDIT.old, new=(EDIT.new, "return 0"), proof="Nobody asks.")


def test_an_explained_survivor_is_counted_and_no_complaint() -> None:
    run = Run(5, ((EDIT, "survived"), (Edit(EDIT.function, EDIT.old, "return 0"), "survived")))
    assert complaints(run, [EXPLAINED]) == []
    assert summary(run, [EXPLAINED]) == "killed 3 of 5, 2 equivalent"


def test_an_unexplained_survivor_is_named_once() -> None:
    run = Run(3, ((EDIT, "survived"), (EDIT, "survived")))
    assert complaints(run, []) == [
        "survived, and is not explained: reference.masks.hard_mask: `return scores` -> `return None`"
    ]
    assert summary(run, []) == "killed 1 of 3, 0 equivalent"


def test_an_explanation_of_no_survivor_is_named() -> None:
    assert complaints(Run(3, ((EDIT, "survived"),)), [EXPLAINED]) == [
        "explained, but is no survivor: reference.masks.hard_mask: `return scores` -> `return 0`"
    ]


@pytest.mark.parametrize("outcome", ["no tests", "not checked", "suspicious"])
def test_a_mutant_that_was_not_run_to_its_end_is_named(outcome: str) -> None:
    assert complaints(Run(1, ((EDIT, outcome),)), []) == [f"{outcome}: {EDIT}"]


@pytest.mark.parametrize(
    ("mutant", "dotted"),
    [
        ("reference.masks.x_hard_mask__mutmut_12", "reference.masks.hard_mask"),
        ("reference.masks.x__inner__mutmut_1", "reference.masks._inner"),
        ("reference.cache.xǁCacheǁ__init____mutmut_3", "reference.cache.Cache.__init__"),
    ],
)
def test_a_function_has_its_dotted_name(mutant: str, dotted: str) -> None:
    assert dotted_name(mutant) == dotted


def test_an_edit_is_what_the_diff_takes_out_and_puts_in() -> None:
    diff = "--- a.py\n+++ a.py\n@@ -1,3 +1,4 @@\n def f(x):\n-    y = x\n-    z = -y\n+    y = --x\n     return y"
    assert edit("a.f", diff) == Edit("a.f", "y = x\nz = -y", "y = --x")
