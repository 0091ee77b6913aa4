"""What a user reads who calls something wrongly: in a process without the shape checks of these tests."""

import subprocess
import sys

CALLS = """
import torch
from reference import MultiHeadAttention, PositionalEncoding, Transformer, attention
from reference import attention_with_weights
from reference.positions import LearnedPositionalEncoding

model = Transformer(13, 13, width=12, heads=3, inner_width=7, layers=1)
heads = MultiHeadAttention(12, 3)
ids = torch.tensor([[1, 2, 3]])
x = torch.randn(2, 4, 12)

for call in (
    lambda: model(ids[0], ids),
    lambda: model(ids, ids[0]),
    lambda: model(ids + 11, ids),
    lambda: heads(x[0], x[0], x[0]),
    lambda: heads(x[..., :6], x, x),
    lambda: heads(x, x[..., :6], x),
    lambda: heads(x, x, x[..., :6]),
    lambda: heads(x, x, x[:, :2]),
    lambda: heads(x, x[:1], x[:1]),
    lambda: attention(x, x[..., :6], x),
    lambda: attention_with_weights(x[0, 0], x[0, 0], x[0, 0]),
    lambda: PositionalEncoding(10)(x),
    lambda: LearnedPositionalEncoding(12)(x[0]),
    lambda: LearnedPositionalEncoding(12, length=3)(x),
):
    try:
        call()
        print("no complaint")
    except ValueError as error:
        print(error)
"""

MESSAGES = """\
ids must have the shape (B, S), got (3,)
ids must have the shape (B, S), got (3,)
ids must lie within 0..12, got 12..14
key must have the shape (B, T, 12), got (4, 12)
query must have the shape (B, T, 12), got (2, 4, 6)
key must have the shape (B, T, 12), got (2, 4, 6)
value must have the shape (B, T, 12), got (2, 4, 6)
query (..., T, d), key (..., S, d) and value (..., S, v) are wanted, got query (2, 3, 4, 4), key (2, 3, 4, 4), value (2, 3, 2, 4)
query (..., T, d), key (..., S, d) and value (..., S, v) are wanted, got query (2, 3, 4, 4), key (1, 3, 4, 4), value (1, 3, 4, 4)
query (..., T, d), key (..., S, d) and value (..., S, v) are wanted, got query (2, 4, 12), key (2, 4, 6), value (2, 4, 12)
query (..., T, d), key (..., S, d) and value (..., S, v) are wanted, got query (12,), key (12,), value (12,)
x must have the shape (B, T, 10), got (2, 4, 12)
x must have the shape (B, T, 12), got (4, 12)
a sequence of length 4 goes beyond the learned table, which has length 3
"""  # noqa: E501


def test_each_message_names_what_was_given_and_what_is_allowed() -> None:
    run = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=False)
    assert run.stdout == MESSAGES, run.stderr
