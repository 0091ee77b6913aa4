import pytest
import torch

from reference import Encoder, EncoderLayer, FeedForward, MultiHeadAttention, combine_masks, padding_mask
from reference.fusion import SegmentEmbedding, segment_mask

D = 8


def encoder() -> Encoder:
    layers = [EncoderLayer(MultiHeadAttention(D, 2), FeedForward(D, 16), dropout=0.0) for _ in range(2)]
    return Encoder(layers).double()


def test_mask_joins_equal_segments_wherever_they_stand() -> None:
    mask = segment_mask(torch.tensor([[0, 0, 1], [2, 1, 2]]))
    assert mask.shape == (2, 1, 3, 3)
    assert mask[0, 0].tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert mask[1, 0].tolist() == [[True, False, True], [False, True, False], [True, False, True]]


def test_packed_sequences_are_encoded_as_if_each_were_alone() -> None:
    model = encoder()
    first, second = torch.randn(1, 3, D, dtype=torch.float64), torch.randn(1, 4, D, dtype=torch.float64)
    packed = torch.cat((first, second), dim=1)
    segments = torch.tensor([[0] * 3 + [1] * 4])
    together = model(packed, segment_mask(segments))
    torch.testing.assert_close(together, torch.cat((model(first), model(second)), dim=1), rtol=1e-10, atol=1e-12)
    assert (model(packed) - together).abs().amax(dim=-1).min() > 1e-6  # without the mask they attend each other


def test_mask_combines_with_padding() -> None:
    model = encoder()
    x = torch.randn(1, 5, D, dtype=torch.float64)
    mask = combine_masks(segment_mask(torch.tensor([[0, 0, 1, 1, 1]])), padding_mask(torch.tensor([4]), 5))
    torch.testing.assert_close(model(x, mask)[:, 2:4], model(x[:, 2:4]), rtol=1e-10, atol=1e-12)


def test_embedding_adds_the_vector_of_each_segment() -> None:
    embedding = SegmentEmbedding(3, 4)
    x, segments = torch.randn(2, 3, 4), torch.tensor([[0, 2, 2], [1, 0, 1]])
    expected = torch.stack([torch.stack([embedding.weight[s] for s in row]) for row in segments.tolist()])
    assert torch.equal(embedding(x, segments) - x, (x + expected) - x)
    assert torch.equal(embedding(x, segments[:1]), x + expected[:1])  # one row of segments serves all sequences


def test_an_unknown_segment_is_refused() -> None:
    with pytest.raises(IndexError):
        SegmentEmbedding(2, 4)(torch.randn(1, 1, 4), torch.tensor([[2]]))


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="segments must be at least 1, got 0"):
        SegmentEmbedding(0, 4)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        SegmentEmbedding(2, 0)


def test_it_starts_small_and_different_everywhere() -> None:
    table = SegmentEmbedding(64, 64).weight
    assert 0.018 < table.std() < 0.022
    assert len(set(table.flatten().tolist())) > 4000
