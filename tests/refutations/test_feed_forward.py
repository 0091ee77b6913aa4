import pytest
import torch

from errata.refutations import feed_forward as shows


def relu_at_the_end(x):
    return torch.relu(shows.feed_forward(x))


def feature_by_feature(features):
    layer = shows.fully_connected(features)
    return lambda x: sum(x[:, i : i + 1] * layer.weight[:, i] for i in range(features)) + layer.bias


def position_by_position(words):
    return shows.fully_connected(shows.WIDTH)(words)


TRUE_OF = {
    shows.the_second_map_has_no_relu: relu_at_the_end,
    shows.a_fully_connected_layer_takes_all_features_at_once: feature_by_feature,
    shows.a_fully_connected_layer_reaches_every_position: position_by_position,
}


@pytest.mark.parametrize(("refute", "subject"), TRUE_OF.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refutes_and_would_not_refute_the_truth(refute, subject):
    assert refute().refuted
    assert not refute(subject).refuted
