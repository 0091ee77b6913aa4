import pytest

from errata.refutations import dropout as shows
from errata.refutations.models import small_transformer
from reference import Dropout


def drops(probability, where=lambda name: True):
    model = small_transformer()
    for name, module in model.named_modules():
        if isinstance(module, Dropout):
            module.probability = probability if where(name) else 0.0
    return model


def drops_a_half():
    return drops(0.5)


def drops_at_the_input_alone():
    return drops(0.5, lambda name: name.startswith("positional_encoding"))


def memorises(probability):
    return 1 - probability, 1 - probability


TRUE_OF = {
    shows.a_transformer_drops_a_tenth: drops_a_half,
    shows.dropout_acts_inside_every_layer: drops_at_the_input_alone,
    shows.dropout_raises_the_training_error: memorises,
}


@pytest.mark.parametrize(("refute", "subject"), TRUE_OF.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refutes_and_would_not_refute_the_truth(refute, subject):
    assert refute().refuted
    assert not refute(subject).refuted
