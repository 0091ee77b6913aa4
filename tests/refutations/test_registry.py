"""Every refutation holds, would not refute the truth, and is not fooled; one that fails in this is refused."""

import pytest

from errata import refutations
from errata.errors import ErrataError
from errata.refutations import registry
from errata.refutations.registry import Adversary, Shown, refutation


@pytest.mark.parametrize("name", refutations.names())
def test_it_refutes_would_not_refute_the_truth_and_is_not_fooled(name: str) -> None:
    found, outcome = refutations.get(name), refutations.outcome(name)
    assert outcome.shown.refuted
    assert not outcome.if_true.refuted
    assert outcome.adversary.refuted is found.adversary.refuted
    assert found.measured.endswith(".")
    assert not found.adversary.name.endswith("."), "a noun phrase"
    assert dict(outcome.shown.numbers) != dict(outcome.if_true.numbers)


@pytest.fixture
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REFUTATIONS", {})


def measured(threshold: float, *, others: bool = False):
    def the_number_is_small(number: float = 1.0) -> Shown:
        """Compare a number."""
        return Shown(refuted=number < threshold, numbers={"other" if others and number > 1 else "number": number})

    return the_number_is_small


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize(
    ("measure", "adversary", "message"),
    [
        (measured(0.5), Adversary("a larger one", 2.0, refuted=False), "it no longer refutes"),
        (measured(99.0), Adversary("a larger one", 2.0, refuted=True), "it refutes what is true as well"),
        (measured(5.0, others=True), Adversary("a larger one", 2.0, refuted=True), "other numbers of what is true"),
        (measured(5.0), Adversary("a larger one", 2.0, refuted=False), "fooled by a larger one"),
    ],
)
def test_a_refutation_that_proves_nothing_is_refused(measure, adversary: Adversary, message: str) -> None:
    registry.outcome.cache_clear()
    refutation(if_true=10.0, adversary=adversary)(measure)
    with pytest.raises(ErrataError, match=f"the_number_is_small: {message}"):
        registry.outcome("the_number_is_small")
    with pytest.raises(ValueError, match="two refutations are called"):
        refutation(if_true=10.0, adversary=adversary)(measure)
    registry.outcome.cache_clear()
