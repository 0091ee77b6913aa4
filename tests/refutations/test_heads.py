import pytest
import torch

from errata.refutations import heads as shows
from errata.refutations.measure import normal
from reference import MultiHeadAttention, attention_with_weights


def one_part_of_the_sequence_each(words):
    return torch.stack([part.cumsum(dim=0)[-1] for part in words.tensor_split(shows.HEADS)])


def one_part_of_the_word_each(words):
    return torch.stack([part.cumsum(dim=0) for part in words.chunk(shows.HEADS, dim=1)])


class FullWidthHeads(MultiHeadAttention):
    """Every head as wide as the model."""

    def __init__(self, width, heads):
        super().__init__(width * heads, heads)
        self.double()

    def with_weights(self, query, key, value, mask=None):
        return super().with_weights(*(x.repeat(1, 1, self.heads) for x in (query, key, value)), mask)


def word_by_word(words):
    return torch.cat([attention_with_weights(word, words, words)[0] for word in words.split(1, dim=1)], dim=1)


def fewer_features_with_more_heads(width, heads):
    module = shows.multi_head(width, heads)
    with torch.no_grad():
        module.value.weight[width // heads :] = 0
        module.value.bias[width // heads :] = 0
    return module


def separate_losses(contributions, target):
    return (contributions - target).square().mean()


def in_proportion_to_the_width(width, heads):
    if heads != width // 16:
        raise ValueError("another number of heads")
    return shows.multi_head(width, heads)


def across_the_batch(words):
    return shows.attend(words.flatten(0, 1)[None]).view_as(words)


def sequences_apart(items):
    return shows.attend(items.transpose(0, 1)).transpose(0, 1)


TRUE_OF = {
    shows.every_head_sees_the_whole_sequence: one_part_of_the_sequence_each,
    shows.every_head_sees_the_whole_word: one_part_of_the_word_each,
    shows.projections_keep_the_model_width: 1,
    shows.heads_cost_what_one_head_costs: FullWidthHeads,
    shows.one_head_computes_all_words_at_once: word_by_word,
    shows.heads_do_not_regularise: fewer_features_with_more_heads,
    shows.heads_are_trained_together: separate_losses,
    shows.the_number_of_heads_is_free: in_proportion_to_the_width,
    shows.sequences_of_a_batch_do_not_meet: across_the_batch,
    shows.the_second_axis_holds_words: sequences_apart,
}


@pytest.mark.parametrize(("refute", "subject"), TRUE_OF.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refutes_and_would_not_refute_the_truth(refute, subject):
    assert refute().refuted
    assert not refute(subject).refuted


def test_the_heads_are_those_of_the_module():
    words, module = normal(shows.WORDS, shows.WIDTH), shows.multi_head()
    joined = shows.head_outputs(words).transpose(0, 1).flatten(1)
    torch.testing.assert_close(module.output(joined), module(words[None], words[None], words[None])[0])
