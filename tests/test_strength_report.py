"""The proof of strength: what it complains of, and that its page shows what there is."""

from dataclasses import replace
from pathlib import Path

from errata import defects, strength
from errata.checks import all_checks
from errata.matrix import Death
from errata.render import markdown

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "report" / "strength.md").read_text(encoding="utf-8")
PEERS = strength.killed_by_peers(ROOT / "tests" / "checks" / "peers")


def death(component: str, name: str) -> Death:
    (defect,) = (defect for defect in defects.components()[component].defect if defect.name == name)
    marks = dict.fromkeys((check.id for check in all_checks() if check.component == component), "survived")
    return Death(component, name, marks | dict.fromkeys(defect.kills, "declared"), True)


def everything() -> list[Death]:
    return [death(component, name) for component, name in strength.all_defects()]


def test_nothing_is_said_when_every_defect_dies_by_its_checks_and_every_check_kills() -> None:
    assert strength.complaints(everything(), PEERS) == []


def test_a_survivor_an_undeclared_death_and_a_silent_check_are_named() -> None:
    found = everything()
    first = found[0]
    alive = replace(first, marks=dict.fromkeys(first.marks, "survived"))
    (line, *_) = strength.complaints([alive, *found[1:]], PEERS)
    assert line == f"errata/defects/{first.component}.toml: {first.defect} survives: write the check that is missing"
    other = next(id for id, mark in first.marks.items() if mark == "survived")
    (line, *_) = strength.complaints([replace(alive, marks=alive.marks | {other: "also"}), *found[1:]], PEERS)
    assert f"{first.defect} does not die by {first.by[0]}" in line


def test_a_check_that_kills_nothing_is_named() -> None:
    found = [death for death in everything() if death.component != "causal_mask"]
    idle = [line for line in strength.complaints(found, ()) if line.startswith("causal_mask.")]
    assert len(idle) == sum(check.component == "causal_mask" for check in all_checks())


def test_a_mutant_is_judged_in_a_process_of_its_own(monkeypatch) -> None:
    keys = [("causal_mask", "upper-triangle"), ("causal_mask", "own-position-hidden")]
    monkeypatch.setattr(strength, "all_defects", lambda: keys)
    judged = list(strength.deaths(processes=1))
    assert [(death.component, death.defect) for death in judged] == keys
    for found in judged:
        (defect,) = (d for d in defects.components()["causal_mask"].defect if d.name == found.defect)
        assert set(defect.kills) <= set(found.by)
        assert found.black_box


def test_the_page_has_a_row_for_every_defect_and_a_line_for_every_check() -> None:
    rows = {line.split("|")[1].strip(" ¹") for line in PAGE.splitlines() if line.startswith("| ")}
    assert {name for _, name in strength.all_defects()} <= rows
    for check in all_checks():
        assert f"`{check.id.split('.')[1]}`" in PAGE, f"{check.id}: run make strength"


def test_the_page_marks_what_dies_only_with_weights() -> None:
    page = markdown.strength([replace(death("layer_norm", "scalar-gain"), black_box=False)])
    assert "| scalar-gain ¹ |" in page
    assert "1 killed (100.0 %)" in page
    assert "by behaviour alone, 0 (0.0 %)" in page
