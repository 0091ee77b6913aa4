import numpy as np
import pytest
import torch
from transformers import GPTJConfig, LlamaConfig
from transformers.models.gptj import modeling_gptj
from transformers.models.llama import modeling_llama
from transformers.models.roformer.modeling_roformer import RoFormerSelfAttention

from reference.positions import RotaryEmbedding, rotary_table, rotate_half_split, rotate_interleaved

B, H, T, D = 2, 3, 7, 8


def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(B, H, T, D, dtype=torch.float64), torch.randn(B, H, T, D, dtype=torch.float64)


def turned_as_complex_numbers(x: torch.Tensor, base: float = 10000.0) -> torch.Tensor:
    """Equation 34 as `z_i exp(i m theta_i)` in NumPy."""
    x = x.numpy()
    width = x.shape[-1]
    z = x[..., 0::2] + 1j * x[..., 1::2]
    theta = np.power(base, -2 * np.arange(width // 2) / width)
    z = z * np.exp(1j * np.arange(x.shape[-2])[:, None] * theta)
    return torch.from_numpy(np.stack((z.real, z.imag), axis=-1).reshape(x.shape))


@pytest.mark.parametrize("base", [10000.0, 500.0])
def test_equals_complex_multiplication(base: float) -> None:
    queries, keys = vectors()
    actual = RotaryEmbedding(D, base=base)(queries, keys)
    assert actual[2] is None
    for x, turned in zip((queries, keys), actual[:2], strict=True):
        torch.testing.assert_close(turned, turned_as_complex_numbers(x, base), rtol=0, atol=1e-13)


def test_half_split_is_interleaved_with_the_features_in_another_order() -> None:
    x, _ = vectors()
    order = torch.cat((torch.arange(0, D, 2), torch.arange(1, D, 2)))
    table = rotary_table(T, D)
    assert torch.equal(rotate_half_split(x[..., order], table), rotate_interleaved(x, table)[..., order])
    assert not torch.equal(rotate_half_split(x, table), rotate_interleaved(x, table))


def test_half_split_equals_llama() -> None:
    config = LlamaConfig(
        hidden_size=H * D, num_attention_heads=H, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}
    )
    queries, keys = (x.float() for x in vectors())
    cosine, sine = modeling_llama.LlamaRotaryEmbedding(config)(queries, torch.arange(T)[None])
    expected = modeling_llama.apply_rotary_pos_emb(queries, keys, cosine, sine)
    torch.testing.assert_close(RotaryEmbedding(D, interleaved=False)(queries, keys)[:2], expected)


def test_interleaved_equals_gpt_j() -> None:
    """Theirs has the heads behind the positions."""
    config = GPTJConfig(n_embd=H * D, n_head=H, rotary_dim=D, n_positions=T)
    queries, keys = (x.float() for x in vectors())
    sine, cosine = modeling_gptj.GPTJRotaryEmbedding(config)(queries, torch.arange(T)[None])
    expected = tuple(
        modeling_gptj.apply_rotary_pos_emb(x.transpose(1, 2), sine, cosine).transpose(1, 2) for x in (queries, keys)
    )
    torch.testing.assert_close(RotaryEmbedding(D)(queries, keys)[:2], expected)


def test_interleaved_equals_roformer() -> None:
    queries, keys = vectors()
    cosine, sine = rotary_table(T, D)
    expected = RoFormerSelfAttention.apply_rotary_position_embeddings(torch.cat((sine, cosine), -1), queries, keys)
    torch.testing.assert_close(RotaryEmbedding(D)(queries, keys)[:2], expected)


@pytest.mark.parametrize("interleaved", [True, False])
def test_scores_depend_on_the_offset_alone_and_lengths_stay(interleaved: bool) -> None:
    query, key = (x[..., :1, :].expand(B, H, T, D) for x in vectors())
    queries, keys, _ = RotaryEmbedding(D, interleaved=interleaved)(query, key)
    scores = queries @ keys.mT
    torch.testing.assert_close(scores[..., 1:, 1:], scores[..., :-1, :-1], rtol=0, atol=1e-12)
    assert not torch.allclose(scores, scores.mT)  # the direction is told apart
    torch.testing.assert_close(queries.norm(dim=-1), query.norm(dim=-1))


@pytest.mark.parametrize("targets", range(T + 1))
def test_queries_are_the_last_of_the_keys(targets: int) -> None:
    queries, keys = vectors()
    module = RotaryEmbedding(D)
    assert torch.equal(module(queries[:, :, T - targets :], keys)[0], module(queries, keys)[0][:, :, T - targets :])


def test_the_table_grows_and_follows_the_dtype() -> None:
    module = RotaryEmbedding(D, length=3)
    assert module.table.shape == (2, 3, D // 2)
    for length, rows in ((3, 3), (4, 6), (5, 6), (40, 40)):
        x = torch.randn(1, 1, length, D)
        torch.testing.assert_close(module(x, x)[0].double(), turned_as_complex_numbers(x.double()), rtol=0, atol=1e-5)
        assert module.table.shape[1] == rows
    x = torch.randn(1, 1, 5, D, dtype=torch.float64)
    torch.testing.assert_close(module.double()(x, x)[0], turned_as_complex_numbers(x), rtol=0, atol=1e-13)
    assert not module.state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_late_positions_are_exact_to_the_rounding_of_the_result(dtype: torch.dtype) -> None:
    """Angles of float32 are off by 2e-4 here; positions in bfloat16 would coincide beyond 256."""
    x = torch.ones(1, 1, 5000, 2, dtype=dtype)
    turned = RotaryEmbedding(2)(x, x)[0]
    assert turned.dtype == dtype
    error = (turned.double() - turned_as_complex_numbers(x.double())).abs().max()
    assert error < (2 if dtype == torch.float32 else 0.51) * torch.finfo(dtype).eps  # half precision is rounded once


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RotaryEmbedding(5), "width must be even, because features are turned in pairs, got 5"),
        (lambda: RotaryEmbedding(0), "width must be at least 2, got 0"),
        (lambda: RotaryEmbedding(4, base=0.5), r"base must be at least 1, got 0\.5"),
        (lambda: RotaryEmbedding(4, length=-1), "length must be at least 0, got -1"),
        (lambda: RotaryEmbedding(4)(*2 * [torch.zeros(1, 1, 2, 6)]), "width of a head must be 4, got 6"),
        (lambda: RotaryEmbedding(4)(torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 2, 4)), "got 3 queries and 2 keys"),
    ],
)  # fmt: skip
def test_bad_arguments(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_table_that_fits_is_kept_and_another_dtype_needs_no_more_rows() -> None:
    module, x = RotaryEmbedding(D, length=3), torch.randn(1, 1, 3, D)
    before = module.table
    module(x, x)
    assert module.table is before
    module(x.double(), x.double())
    assert (module.table.shape[1], module.table.dtype) == (3, torch.float64)
    module(x.half(), x.half())
    assert (module.table.shape[1], module.table.dtype) == (3, torch.float32)


def test_the_first_table_has_512_rows_of_the_default_type() -> None:
    table = RotaryEmbedding(D).table
    assert (table.shape, table.dtype) == ((2, 512, D // 2), torch.get_default_dtype())
