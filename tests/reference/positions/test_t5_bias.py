import pytest
import torch
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention

from reference import MultiHeadAttention, causal_mask
from reference.positions import RelativeBias, relative_bucket

H, D = 3, 12


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (8, 16), (4, 3), (12, 50), (64, 1000), (6, 20)])
def test_buckets_equal_those_of_hugging_face(buckets: int, max_distance: int, bidirectional: bool) -> None:
    offsets = torch.arange(-2000, 2001)
    theirs = T5Attention._relative_position_bucket(offsets, bidirectional, buckets, max_distance)
    assert torch.equal(relative_bucket(offsets, buckets, max_distance, bidirectional=bidirectional), theirs)


def test_buckets_by_hand() -> None:
    """With 8 buckets each way: 4 single distances, then 4-5, 6-7, 8-11, and from 12 on the last."""
    distance = torch.arange(40)
    expected = [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, *[7] * 28]
    assert relative_bucket(-distance, 16, 16).tolist() == expected
    assert relative_bucket(distance, 16, 16).tolist() == [bucket + 8 if bucket else 0 for bucket in expected]
    assert relative_bucket(-distance, 8, 16, bidirectional=False).tolist() == expected
    assert relative_bucket(distance, 8, 16, bidirectional=False).tolist() == [0] * 40


@pytest.mark.parametrize("decoder", [True, False])
def test_equals_the_attention_of_hugging_face(decoder: bool) -> None:
    """Their scores lack `1 / sqrt(d)`, so their queries get it."""
    config = T5Config(
        d_model=D, num_heads=H, d_kv=D // H, relative_attention_num_buckets=8, relative_attention_max_distance=10,
        dropout_rate=0.0, is_decoder=decoder,
    )  # fmt: skip
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0).double()
    bias = RelativeBias(H, buckets=8, max_distance=10, bidirectional=not decoder)
    ours = MultiHeadAttention(D, H, bias=False, position=bias).double()
    with torch.no_grad():
        bias.table.normal_()
        theirs.relative_attention_bias.weight.copy_(bias.table)
        for mine, other in (
            (ours.query, theirs.q),
            (ours.key, theirs.k),
            (ours.value, theirs.v),
            (ours.output, theirs.o),
        ):
            other.weight.copy_(mine.weight)
        theirs.q.weight /= (D // H) ** 0.5
    x = torch.randn(2, 15, D, dtype=torch.float64)
    mask = causal_mask(15) if decoder else None
    additive = None if mask is None else torch.zeros(1, 1, 15, 15).double().masked_fill(~mask, float("-inf"))
    torch.testing.assert_close(ours(x, x, x, mask), theirs(x, mask=additive)[0], rtol=0, atol=1e-12)


def test_a_stack_may_share_one_table() -> None:
    bias = RelativeBias(H)
    layers = torch.nn.ModuleList(MultiHeadAttention(D, H, position=bias) for _ in range(3))
    x = torch.randn(2, 5, D)
    for layer in layers:
        x = layer(x, x, x)
    x.sum().backward()
    assert sum(parameter is bias.table for parameter in layers.parameters()) == 1
    assert bias.table.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"heads": 2, "buckets": 2}, "buckets must be at least 4, got 2"),
        ({"heads": 2, "buckets": 1, "bidirectional": False}, "buckets must be at least 2, got 1"),
        ({"heads": 2, "buckets": 9}, "buckets must be even, half of them for each direction, got 9"),
        ({"heads": 2, "buckets": 32, "max_distance": 8}, "max_distance must be at least 9, got 8"),
        ({"heads": 2, "buckets": 9, "max_distance": 4, "bidirectional": False}, "max_distance must be at least 5"),
    ],
)
def test_bad_arguments(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RelativeBias(**arguments)


@pytest.mark.parametrize("arguments", [{"buckets": 4, "max_distance": 2}, {"buckets": 2, "bidirectional": False}])
def test_smallest_tables(arguments: dict[str, int]) -> None:
    bias = RelativeBias(2, **arguments)
    assert bias(torch.zeros(1, 2, 9, 4), torch.zeros(1, 2, 9, 4))[2].isfinite().all()


def test_defaults_are_those_of_the_paper_and_its_code() -> None:
    """Section 2.1: 32 buckets, of which the last is for offsets from 128 on."""
    bias = RelativeBias(2)
    assert (bias.buckets, bias.max_distance, bias.bidirectional) == (32, 128, True)


def test_it_starts_small_and_different_everywhere() -> None:
    table = RelativeBias(64, buckets=64).table
    assert 0.018 < table.std() < 0.022
    assert len(set(table.flatten().tolist())) > 4000


def test_the_bias_has_the_type_of_the_scores() -> None:
    x = torch.zeros(1, 2, 3, 4, dtype=torch.float16)
    assert RelativeBias(2)(x, x)[2].dtype == torch.float16


@pytest.mark.parametrize(("buckets", "max_distance", "distance", "bucket"), [(9, 128, 8, 5), (17, 27, 12, 11)])
def test_a_range_starts_at_its_first_distance(buckets: int, max_distance: int, distance: int, bucket: int) -> None:
    """4 + 5 log(8 / 4) / log(128 / 4) = 5 and 8 + 9 log(12 / 8) / log(27 / 8) = 11, whatever logarithms round to."""
    offsets = torch.tensor([-distance, 1 - distance])
    assert relative_bucket(offsets, buckets, max_distance, bidirectional=False).tolist() == [bucket, bucket - 1]


@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets_have_the_same_defaults(bidirectional: bool) -> None:
    offsets = torch.arange(-200, 201)
    theirs = T5Attention._relative_position_bucket(offsets, bidirectional)
    assert torch.equal(relative_bucket(offsets, bidirectional=bidirectional), theirs)
    assert torch.equal(relative_bucket(offsets), T5Attention._relative_position_bucket(offsets))
