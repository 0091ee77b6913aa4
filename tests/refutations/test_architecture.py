"""What the statements about the architecture are measured with."""

from errata.refutations import architecture
from errata.refutations.models import torch_transformer, vectors


def test_every_attention_of_a_run_is_seen_with_its_lengths() -> None:
    model = torch_transformer(layers=1)
    with architecture._attentions(model) as seen:
        model(vectors(5), vectors(4, seed=1))
    assert [(call.name, call.queries, call.keys) for call in seen] == [
        ("encoder.layers.0.self_attn", 5, 5),
        ("decoder.layers.0.self_attn", 4, 4),
        ("decoder.layers.0.multihead_attn", 4, 5),
    ]
    model(vectors(5), vectors(4, seed=1))
    assert len(seen) == 3
