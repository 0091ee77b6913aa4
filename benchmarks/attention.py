"""One multi-head self-attention block in evaluation, float32, against `nn.MultiheadAttention`.

Width 512, 8 heads, 8 sequences of 128 and of 512 tokens, no mask, no weights asked for. nn.MultiheadAttention takes its
own fast path there (one packed projection, no autograd).
"""

import torch
from torch import nn

from benchmarks.measure import Comparison, Goal, compare, publish, start
from reference import MultiHeadAttention

WIDTH, HEADS, BATCH = 512, 8, 8
PEER = "nn.MultiheadAttention"
GOALS = {128: 0.90, 512: 0.72}


def compare_at(length: int, rounds: int) -> Comparison:
    """Both at one length."""
    ours = MultiHeadAttention(WIDTH, HEADS).eval()
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    x = torch.randn(BATCH, length, WIDTH)
    contestants = {"reference": lambda: ours(x, x, x), PEER: lambda: theirs(x, x, x, need_weights=False)}
    goals = [Goal(PEER, at_most=GOALS[length])]
    with torch.inference_mode():
        return compare(f"attention block, {length} tokens", contestants, rounds=rounds, goals=goals, repeats=4)


def main() -> None:
    """Measure, print and write."""
    settings = start(__doc__, rounds=60)
    comparisons = [compare_at(length, settings.rounds) for length in GOALS]
    publish("attention", __doc__, comparisons, settings)


if __name__ == "__main__":
    main()
