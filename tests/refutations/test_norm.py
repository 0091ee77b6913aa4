import pytest

from errata.refutations import norm as shows
from reference import BatchNorm


def by_variance(x):
    return (x - x.mean(-1, keepdim=True)) / x.var(-1, correction=0, keepdim=True)


def scaled_by_the_reciprocals(x):
    return shows.layer_norm(x) / x.var(-1, correction=0, keepdim=True) + 1 / x.mean(-1, keepdim=True)


TRUE_OF = {
    shows.a_norm_divides_by_the_deviation: by_variance,
    shows.scale_and_shift_are_learned: scaled_by_the_reciprocals,
    shows.the_printed_batch_norm_ignores_the_batch: BatchNorm(4).double(),
}


@pytest.mark.parametrize(("refute", "subject"), TRUE_OF.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refutes_and_would_not_refute_the_truth(refute, subject):
    assert refute().refuted
    assert not refute(subject).refuted
