import pytest

from errata.refutations import schedule as shows


def exponential(epoch):
    return shows.INITIAL * shows.DECAY**epoch


def stops_early(epoch):
    return 0.1 * 0.001**epoch


def keep(optimizer, weights):
    return optimizer


TRUE_OF = {
    shows.the_printed_decay_is_not_exponential: exponential,
    shows.decay_fits_the_training_examples_better: stops_early,
    shows.a_new_optimizer_forgets: keep,
}


@pytest.mark.parametrize(("refute", "subject"), TRUE_OF.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refutes_and_would_not_refute_the_truth(refute, subject):
    assert refute().refuted
    assert not refute(subject).refuted
