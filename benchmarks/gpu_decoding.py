"""Greedy search of 128 ids on a GPU in bfloat16, reading the source included: a part of `benchmarks.gpu`.

"reference" is `GraphedDecoder`, restarted for each search; "reference, no graph" the twin for CPUs, `FastTransformer`.
Marian is `generate` with the cache that it takes by default.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.decoding import END_ID, PADDING_ID, endless, without_end
from benchmarks.measure import Comparison, Goal, Run, compare
from benchmarks.peers import BASE, MARIAN, OURS, Size
from reference.decoding import FastTransformer, GraphedDecoder, greedy_search

NO_GRAPH = "reference, no graph"
SIZES = tuple(replace(BASE, name=f"base, batch {batch}", batch=batch) for batch in (8, 64))


def decoding_run(name: str, size: Size, device: str) -> Run:
    """What one contestant does in one round."""
    source = peers.ids(size)[0].to(device)
    if name == MARIAN:
        return marian(size, source)
    model = endless(size).to(device, torch.bfloat16)
    begin = torch.full((size.batch,), END_ID, device=device)
    if name == OURS:
        graphed = GraphedDecoder(model, source, size.length)
    else:
        fast = FastTransformer(model)

    def run() -> None:
        if name == OURS:
            graphed.restart(source)
        scorer = graphed if name == OURS else fast.scorer(source, size.length)
        greedy_search(scorer, begin, end_id=END_ID, padding_id=PADDING_ID, max_length=size.length)

    return run


def marian(size: Size, source: Tensor) -> Run:
    """`generate`, greedily."""
    model = without_end(peers.build(MARIAN, size).eval().model).to(source.device, torch.bfloat16)
    mask = (source != PADDING_ID).long()

    def run() -> None:
        with torch.inference_mode():
            model.generate(source, attention_mask=mask, do_sample=False, max_new_tokens=size.length)

    return run


def decoding(sizes: Sequence[Size], device: str, settle: Callable[[], None], rounds: int) -> list[Comparison]:
    """Compare; whoever fails costs a line and nothing else."""
    return [found for size in sizes if (found := decoding_of(size, device, settle, rounds)) is not None]


def decoding_of(size: Size, device: str, settle: Callable[[], None], rounds: int) -> Comparison | None:
    """One comparison, or None if we or all others fail."""
    title = f"{size.name} greedy search of {size.length} ids, bfloat16"
    contestants: dict[str, Run] = {}
    for name in (OURS, NO_GRAPH, *peers.present((MARIAN,))):
        try:
            run = decoding_run(name, size, device)
            for _ in range(2):
                run()
            settle()
            contestants[name] = run
        except Exception as error:  # one contestant must not cost the others their measurement
            print(f"left out: {name} in {title}: {type(error).__name__}: {str(error).splitlines()[:1]}")
    if OURS not in contestants or len(contestants) < 2:
        return None
    goals = [Goal(MARIAN, at_least=1.0)] if MARIAN in contestants else []
    return compare(title, contestants, rounds=rounds, goals=goals, warm_up=0, settle=settle)
