import pytest
import torch

from errata.refutations import masks as shows
from reference import attention_with_weights, causal_mask, masked_softmax, padding_mask


def marks_the_padding(length, longest):
    return torch.arange(longest) >= length


def padding_taken_for_the_end(words, ids):
    lengths = (ids != shows.PADDING).sum(dim=-1)
    return attention_with_weights(words, words, words, padding_mask(lengths, ids.shape[1])[:, 0])[0]


TRUE_OF = {
    shows.a_causal_mask_hides_the_future: causal_mask(shows.WORDS).T,
    shows.a_score_of_zero_stays_visible: masked_softmax,
    shows.zeros_in_the_attention_matrix_do_not_do: masked_softmax,
    shows.the_printed_masked_softmax_is_no_distribution: masked_softmax,
    shows.the_printed_padding_mask_marks_nothing: marks_the_padding,
    shows.padding_may_stand_anywhere: padding_taken_for_the_end,
    shows.a_finite_penalty_hides_nothing: float("inf"),
}


@pytest.mark.parametrize(("refute", "subject"), TRUE_OF.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refutes_and_would_not_refute_the_truth(refute, subject):
    assert refute().refuted
    assert not refute(subject).refuted
