import torch

from reference.positional_encoding import PositionalEncoding
from reference.text_embedding import TextEmbedding

IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


def test_without_padding_it_is_token_plus_position() -> None:
    module = TextEmbedding(11, 6)
    expected = PositionalEncoding(6)(module.token(IDS))
    torch.testing.assert_close(module(IDS, torch.ones_like(IDS, dtype=torch.bool)), expected)


def test_padding_at_the_left_moves_nobody() -> None:
    module = TextEmbedding(11, 6)
    real = torch.tensor([[True] * 5, [False, False, True, True, True]])
    alone = module(IDS[1:, 2:], real[1:, 2:])
    assert torch.equal(module(IDS, real)[1:, 2:], alone)


def test_later_positions_go_on_counting() -> None:
    module = TextEmbedding(11, 6)
    real = torch.tensor([[True] * 5, [False, True, True, False, True]])
    assert torch.equal(module(IDS[:, 3:], real), module(IDS, real)[:, 3:])


def test_dtype_and_dropout() -> None:
    module = TextEmbedding(11, 6, 0.5).bfloat16()
    real = torch.ones_like(IDS, dtype=torch.bool)
    assert module(IDS, real).dtype == torch.bfloat16
    assert (module(IDS, real) == 0).any()
    assert not (module.eval()(IDS, real) == 0).any()
