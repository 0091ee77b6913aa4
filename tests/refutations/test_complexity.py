import torch

from errata.refutations import complexity
from errata.refutations.measure import normal


def test_the_loops_compute_what_the_layers_compute() -> None:
    words = normal(1, 12, complexity.WIDTH)
    convolution, loop = complexity.convolution(), complexity.position_by_position(complexity.WIDTH)
    torch.testing.assert_close(loop(words), convolution(words))
    answers = complexity.attention_query_by_query()(words)
    torch.testing.assert_close(torch.cat(answers, dim=1), complexity.attention()(words)[0])
