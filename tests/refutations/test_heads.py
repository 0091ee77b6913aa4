import torch

from errata.refutations import heads
from errata.refutations.measure import normal


def test_the_heads_are_those_of_the_module() -> None:
    words, module = normal(heads.WORDS, heads.WIDTH), heads.printed_attention()
    joined = heads.head_outputs(words).transpose(0, 1).flatten(1)
    torch.testing.assert_close(module.out_linear(joined), module(words[None], words[None], words[None])[0])


def test_equal_heads_contribute_the_same() -> None:
    first, second = heads._contributions(heads.twins())
    torch.testing.assert_close(first, second)


def test_looking_up_is_possible() -> None:
    """What is to be told stands in the one word whose key is the first word's."""
    words, told = heads.look_up(20, seed=0)
    keys, values = words.chunk(2, dim=-1)
    named = torch.einsum("nd,nsd->ns", keys[:, 0], keys[:, 1:]).argmax(dim=1) + 1
    torch.testing.assert_close(values[torch.arange(20), named], told)
