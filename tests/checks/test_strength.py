"""The checks are proved: the reference and correct implementations pass, every defect dies, every check kills."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pydantic
import pytest

from errata import defects
from errata.candidates import LocalCandidate, Source
from errata.candidates.binding import Binding
from errata.candidates.edit import Edit, edited
from errata.checks import Check, all_checks, checks_of, engine, get, with_foundations
from errata.tables import Table, read

COMPONENTS = defects.components()
COMPONENT_NAMES = sorted({check.component for check in all_checks()})
DEFECTS = [(name, defect) for name, component in COMPONENTS.items() for defect in component.defect]


class Planted(Table):
    """A defect of the component's list, made in somebody else's code: the checks are not tuned to our source.

    `kills` replaces the defect's own list only where other checks of this implementation see the same mistake.
    """

    name: str
    old: str
    new: str
    where: Literal["code", "adapter"] = "code"
    kills: tuple[str, ...] = ()

    @property
    def edits(self) -> list[Edit]:
        return [Edit(old=self.old, new=self.new)]


class Peer(Table):
    """An implementation by somebody else, right or (`wrong`) wrong."""

    name: str
    code: str
    binding: Binding
    wrong: bool = False
    expected_failures: dict[str, str] = pydantic.Field(default_factory=dict)
    defect: tuple[Planted, ...] = ()

    def candidate(self) -> LocalCandidate:
        source = Source.whole(self.code, self.name)
        return LocalCandidate(self.binding.program(self.name, [source]))

    def mutant(self, planted: Planted) -> LocalCandidate:
        name = f"{self.name} with {planted.name}"
        texts = {"code": self.code, "adapter": self.binding.adapter}
        texts[planted.where] = edited(Source.whole(texts[planted.where], name), planted.edits, name).text
        binding = self.binding.model_copy(update={"adapter": texts["adapter"]})
        return LocalCandidate(binding.program(name, [Source.whole(texts["code"], name)]))

    def says_nothing_by(self) -> set[str]:
        """Checks that fail before anything is planted, and those that build on them."""
        ids = set(self.expected_failures)
        for check in checks_of(self.binding.component):
            if ids & set(check.builds_on):
                ids.add(check.id)
        return ids


class Peers(Table):
    """The peers of one component; `unplanted` says which defects none of them can have, and why."""

    unplanted: dict[str, str] = pydantic.Field(default_factory=dict)
    peer: tuple[Peer, ...]


PEER_FILES = {file.stem: read(file, Peers) for file in sorted((Path(__file__).parent / "peers").glob("*.toml"))}
PEERS = [peer for file in PEER_FILES.values() for peer in file.peer]
PLANTED = [(peer, planted) for peer in PEERS for planted in peer.defect]


FEW = 6
"""Cases for the peers: there are many, and a false alarm of a check shows on one or another of them."""


def failed(candidate: LocalCandidate, checks: Iterable[Check], examples: int = engine.EXAMPLES) -> dict[str, str]:
    return {
        result.check.id: f"{result.counterexample}"
        for result in engine.run(candidate, checks, examples=examples, shrink=False)
        if result.status not in ("passed", "not-applicable", "blocked")
    }


@pytest.mark.parametrize("name", COMPONENT_NAMES)
def test_the_reference_passes_and_every_check_applies_to_it_or_to_a_peer(name: str) -> None:
    results = engine.run(LocalCandidate(COMPONENTS[name].reference()), checks_of(name))
    assert {r.check.id: str(r.counterexample) for r in results if r.status not in ("passed", "not-applicable")} == {}
    peers = [peer.candidate() for peer in PEERS if peer.binding.component == name and not peer.wrong]
    for result in results:
        assert result.status == "passed" or any(result.check.applies_to(peer) for peer in peers), result.check.id


@pytest.mark.parametrize(("name", "defect"), [pytest.param(n, d, id=f"{n}-{d.name}") for n, d in DEFECTS])
def test_a_defect_dies_by_its_declared_checks(name: str, defect: defects.Defect) -> None:
    assert defect.kills
    found = failed(LocalCandidate(COMPONENTS[name].mutant(defect)), with_foundations(defect.kills))
    assert set(defect.kills) <= set(found)


@pytest.mark.parametrize("id", [check.id for check in all_checks()])
def test_a_check_kills_a_defect_or_a_wrong_peer(id: str) -> None:
    killed = [defect.name for _, defect in DEFECTS if id in defect.kills]
    killed += [peer.name for peer in PEERS if peer.wrong and id in peer.expected_failures]
    assert killed


@pytest.mark.parametrize("peer", [pytest.param(p, id=f"{p.binding.component}-{p.name}") for p in PEERS if not p.wrong])
def test_a_right_peer_raises_no_alarm_but_the_expected(peer: Peer) -> None:
    found = failed(peer.candidate(), checks_of(peer.binding.component), examples=FEW)
    assert found.keys() == peer.expected_failures.keys(), found
    assert not [id for id in found if get(id).level == "paper"]


@pytest.mark.parametrize("peer", [pytest.param(p, id=f"{p.binding.component}-{p.name}") for p in PEERS if p.wrong])
def test_a_wrong_peer_is_caught(peer: Peer) -> None:
    assert peer.expected_failures
    found = failed(peer.candidate(), with_foundations(peer.expected_failures))
    assert set(peer.expected_failures) <= set(found)


@pytest.mark.parametrize(
    ("peer", "planted"), [pytest.param(p, d, id=f"{p.binding.component}-{d.name}-{p.name}") for p, d in PLANTED]
)
def test_a_defect_planted_in_a_peer_dies_too(peer: Peer, planted: Planted) -> None:
    assert not peer.wrong
    (defect,) = (d for d in COMPONENTS[peer.binding.component].defect if d.name == planted.name)
    mutant, silent = peer.mutant(planted), peer.says_nothing_by()
    wanted = {id for id in planted.kills or defect.kills if get(id).applies_to(mutant)} - silent
    assert wanted
    assert wanted <= set(failed(mutant, with_foundations(wanted)))


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_defect_is_planted_in_a_peer_too(name: str) -> None:
    named = {defect.name for defect in COMPONENTS[name].defect}
    planted = {defect.name for peer in PEER_FILES[name].peer for defect in peer.defect}
    excused = PEER_FILES[name].unplanted.keys()
    assert planted | excused == named
    assert not planted & excused


def test_names_of_defects_are_unique() -> None:
    names = [(component, defect.name) for component, defect in DEFECTS]
    assert len(set(names)) == len(names)
