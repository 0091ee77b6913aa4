import pytest
import torch

from errata.refutations import complexity as shows


def position_by_position(channels):
    layer = shows.convolution(channels)

    def run(words):
        padded = torch.nn.functional.pad(words, (0, 0, 1, 1))
        return torch.cat([layer(padded[:, t : t + 3])[..., 1:2] for t in range(words.shape[1])], dim=-1)

    return run


TRUE_OF = {
    shows.attention_outgrows_recurrence: shows.recurrence,
    shows.attention_outgrows_convolution: shows.convolution,
    shows.attention_stores_all_pairs: shows.stepwise,
    shows.a_convolution_takes_everything_at_once: position_by_position,
}


@pytest.mark.parametrize(("refute", "subject"), TRUE_OF.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refutes_and_would_not_refute_the_truth(refute, subject):
    assert refute().refuted
    assert not refute(subject).refuted
