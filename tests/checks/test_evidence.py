import math

import pytest
import torch

from errata.candidates import CandidateError
from errata.checks.evidence import different, equal, finite, printed, raised, refuses

NAN, INF = float("nan"), float("inf")


def t(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


@pytest.mark.parametrize(
    ("actual", "expected", "deviation"),
    [
        (t(1.0), t(1.0), 0.0),
        (t(1.0 + 2**-52), t(1.0), 1.0),
        (t(8.0 + 2**-49), t(8.0), 1.0),
        (t(2**-60), t(0.0), 2**-8),
        (t(INF, -INF), t(INF, -INF), 0.0),
        (t(NAN), t(NAN), 0.0),
        (t(NAN), t(1.0), INF),
        (t(1.0), t(NAN), INF),
        (t(1.0), t(0.0), 2.0**52),
        (t(INF), t(1.0), INF),
        (t(-INF), t(INF), INF),
        (t(1, dtype=torch.int64), t(1, dtype=torch.int64), 0.0),
        (t(1, dtype=torch.int64), t(2, dtype=torch.int64), INF),
        (t(True, dtype=torch.bool), t(False, dtype=torch.bool), INF),
        (t(), t(), 0.0),
    ],
)
def test_equal_measures_in_units_of_rounding(actual, expected, deviation: float) -> None:
    assert equal(actual, expected).deviation == deviation


def test_the_unit_is_the_candidates_own_type() -> None:
    assert equal(t(1.0 + 2**-23, dtype=torch.float32), t(1.0)).deviation == 1.0


def test_intermediate_magnitude_widens_the_unit() -> None:
    assert equal(t(2**-52), t(0.0), scale=4.0).deviation == 0.25


def test_another_shape_is_a_contradiction() -> None:
    evidence = equal(torch.zeros(1, 2), torch.zeros(2))
    assert (evidence.deviation, evidence.expected, evidence.actual) == (INF, "shape (2)", "shape (1, 2)")


def test_different() -> None:
    assert different(t(1.0), t(1.1), expected="a change").deviation == 0
    assert different(t(NAN), t(1.0), expected="a change").deviation == 0
    assert different(t(1.0), t(1.0), expected="a change").deviation == INF


def test_finite() -> None:
    assert finite(t(1.0)).deviation == 0
    assert finite(t(1.0, NAN)).deviation == INF
    assert finite(t(INF)).deviation == INF


def test_refuses() -> None:
    def complains():
        raise CandidateError("ValueError", "heads must divide width", "doc.md:3")

    assert refuses(complains, expected="an error").deviation == 0
    assert refuses(lambda: None, expected="an error").deviation == INF


def test_an_exception_is_evidence() -> None:
    evidence = raised(CandidateError("NameError", "name 'np'\nis not defined", "doc.md:26"))
    assert (evidence.raised, evidence.place, evidence.actual) == (
        "NameError", "doc.md:26", "NameError: name 'np' is not defined",
    )  # fmt: skip
    assert math.isinf(evidence.deviation)


def test_printed_is_strict_json_without_noise() -> None:
    assert printed(t(1 / 3, NAN, -INF, 1e-17, 2.0)) == [0.3333, "nan", "-inf", 0.0, 2.0]
    assert printed(torch.tensor([[True], [False]])) == [[True], [False]]
    assert printed(torch.tensor(3)) == 3
