"""The full model in evaluation, float32, without gradients, all target positions at once, against peers.

Sizes and ids as in `benchmarks.training`. `nn.Transformer` packs the sentences there and so skips the padded tokens of
the whole encoder; ours skips them in its feed-forward networks; the others compute them. The bare matrix products are
those of all tokens.
"""

import torch

from benchmarks import peers, products
from benchmarks.measure import Goal, Run, compare, publish, start
from benchmarks.peers import BASE, SMALL, TORCH, TORCH_LIKE_OURS, X_TRANSFORMERS_LIKE_OURS, Size

GOALS = {"base": Goal(TORCH, at_most=0.95), "small": Goal(TORCH, at_most=0.75)}


def forward(name: str, size: Size) -> Run:
    """The forward pass of one contestant."""
    model = peers.build(name, size).eval()
    source, target = peers.ids(size)

    def run() -> None:
        with torch.inference_mode():
            model(source, target)

    return run


def main() -> None:
    """Measure, print and write."""
    settings = start(__doc__, rounds=25)
    names = [name for name in peers.present() if name not in (TORCH_LIKE_OURS, X_TRANSFORMERS_LIKE_OURS)]
    comparisons = []
    for size in (BASE, SMALL):
        contestants = {name: forward(name, size) for name in names}
        contestants["bare matrix products"] = products.forward(size)
        repeats = 1 if size is BASE else 4
        goals = [GOALS[size.name]]
        comparisons.append(
            compare(f"{size.name} forward", contestants, rounds=settings.rounds, goals=goals, repeats=repeats)
        )
    publish("forward", __doc__, comparisons, settings, packages=peers.PACKAGES)


if __name__ == "__main__":
    main()
