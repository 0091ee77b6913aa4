"""A training step of the full model in float32, against peers and against its bare matrix products.

Forward, cross-entropy of all target positions, backward; and the same with a step of AdamW (fused, the same for all).
Base is width 512, 8 heads, 6 + 6 layers, inner width 2048; small is 128, 4, 2 + 2, 512. Vocabulary 8,000, 8 sentences
of 128 tokens, a quarter of the source padded, dropout 0.1; `benchmarks.peers` says what each contestant drops. The
gradients of the last step are forgotten before a step begins.

The matrix products are those of all tokens, padded ones as well; ours leaves these out in the feed-forward networks of
the encoder, about a sixteenth of all products.

Memory is the peak of building the model and three steps of it with AdamW in a fresh process, beyond what its libraries
need.
"""

from functools import partial

from torch import nn, optim

from benchmarks import peers, products
from benchmarks.measure import Goal, Run, compare, compare_memory, publish, start
from benchmarks.peers import BASE, OURS, SMALL, TINY, TORCH, Size

PRODUCTS = "bare matrix products"
GOALS = {
    "base": (Goal(TORCH, at_most=0.88), Goal(PRODUCTS, at_most=1.15)),
    "small": (Goal(TORCH, at_most=0.85),),
}


def step(name: str, size: Size, *, optimizer: bool) -> Run:
    """The training step of one contestant."""
    model = peers.build(name, size).train()
    source, target = peers.ids(size)
    update = optim.AdamW(model.parameters(), fused=True).step if optimizer else lambda: None

    def run() -> None:
        model.zero_grad()
        nn.functional.cross_entropy(model(source, target).flatten(0, 1), target.flatten()).backward()
        update()

    return run


def main() -> None:
    """Measure, print and write."""
    settings = start(__doc__, rounds=15)
    names = peers.present()
    comparisons = []
    for size in (BASE, SMALL):
        bare = {name: step(name, size, optimizer=False) for name in names}
        bare[PRODUCTS] = products.training_step(size)
        title = f"{size.name} training step"
        repeats = 1 if size is BASE else 4
        compared = compare(title, bare, rounds=settings.rounds, goals=GOALS[size.name], repeats=repeats)
        comparisons.append(compared)
        del bare
        whole = {name: step(name, size, optimizer=True) for name in names}
        comparisons.append(compare(f"{title} with AdamW", whole, rounds=settings.rounds, repeats=repeats))
        del whole
    builders = {name: partial(step, name, BASE, optimizer=True) for name in names}
    warm_up = {name: partial(step, name, TINY, optimizer=True) for name in names}
    goals = [Goal(name, at_most=1.0) for name in names if name != OURS]
    comparisons.append(compare_memory("base peak memory with AdamW", builders, warm_up=warm_up, goals=goals))
    publish("training", __doc__, comparisons, settings, packages=peers.PACKAGES)


if __name__ == "__main__":
    main()
