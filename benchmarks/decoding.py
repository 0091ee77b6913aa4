"""Greedy and beam search of 128 ids on a cache, float32, reading the source included, against HF Marian and a bound.

Sizes and sources as in `benchmarks.training`; the end id is made impossible, so that everybody finds 128 ids.
"reference" is `FastTransformer`, "reference, readable" its twin `CachedTransformer`; Marian is `generate`. The bound is
what cannot be spared: the encoder once, the keys and values of the memory once, and for each id every weight of the
decoder once, as plain `torch.nn.functional.linear`. That is not always the fastest form of a product, see
`FewRowsLinear`: of the small model the bound is that of the form, not of the machine. The notes say what one step takes
after so many ids, and what its attention to them takes alone. Memory is the peak of building the model and searching in
a fresh process.
"""

import statistics
import time
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from benchmarks import peers
from benchmarks.measure import Goal, Run, compare, compare_memory, publish, start, timed
from benchmarks.peers import BASE, MARIAN, OURS, SMALL, TINY, Size
from reference import Transformer
from reference.decoding import CachedTransformer, FastTransformer, beam_search, greedy_search

READABLE = "reference, readable"
BOUND = "bound"
PADDING_ID, END_ID = 0, 1
SMALL_ALONE = replace(SMALL, name="small, batch 1", batch=1)
GREEDY = {
    BASE: (Goal(MARIAN, at_least=1.3), Goal(BOUND, at_most=1.2)),
    SMALL: (Goal(MARIAN, at_least=3.0),),
    SMALL_ALONE: (Goal(MARIAN, at_least=3.5),),
}
BEAMS = 4
PREFIXES = (64, 128, 256, 512, 1024)


def search(name: str, size: Size, beams: int = 1) -> Run:
    """Find `size.length` ids for each source."""
    source, _ = peers.ids(size)
    return (marian if name == MARIAN else ours)(name, size, source, beams)


def ours(name: str, size: Size, source: Tensor, beams: int) -> Run:
    """Our searches, on either scorer."""
    model = endless(size)
    fast = FastTransformer(model)
    begin = torch.full((size.batch,), END_ID)
    bounds = {"end_id": END_ID, "padding_id": PADDING_ID, "max_length": size.length}

    def run() -> None:
        with torch.inference_mode():
            if name == READABLE:
                scorer = CachedTransformer(model, source, beams=beams)
            else:
                scorer = fast.scorer(source, size.length, beams=beams)
            if beams == 1:
                greedy_search(scorer, begin, **bounds)
            else:
                beam_search(scorer, begin, beams=beams, **bounds)

    return run


def marian(name: str, size: Size, source: Tensor, beams: int) -> Run:
    """`generate`, told what to do and nothing else."""
    model = without_end(peers.build(name, size).eval().model)
    options = {"num_beams": beams, "do_sample": False, "max_new_tokens": size.length}

    def run() -> None:
        with torch.inference_mode():
            found = model.generate(source, attention_mask=(source != PADDING_ID).long(), **options)
        assert found.shape[1] == size.length + 1

    return run


def without_end(model: Any) -> Any:
    """Marian, which never ends."""
    model.final_logits_bias[:, END_ID] = -1e4
    return model


def endless(size: Size) -> Transformer:
    """Our model, which never ends."""
    model = peers.build(OURS, size).eval()
    assert isinstance(model, Transformer)
    with torch.no_grad():
        model.output.bias[END_ID] = -1e4
    return model


def bound(size: Size) -> Run:
    """What no decoder can spare."""
    model = endless(size)
    source, _ = peers.ids(size)
    mask = (source != PADDING_ID)[:, None, None]
    rows = {width: torch.randn(size.batch, width) for width in (size.width, size.inner)}
    per_id = [
        module
        for name, module in model.decoder.named_modules()
        if isinstance(module, nn.Linear) and not name.endswith(("cross_attention.key", "cross_attention.value"))
    ]

    def run() -> None:
        with torch.inference_mode():
            model.decoder.start(model.encode(source, mask))
            for _ in range(size.length):
                for module in (*per_id, model.output):
                    linear(rows[module.in_features], module.weight, module.bias)

    return run


def by_prefix(size: Size, repeats: int = 9) -> dict[str, dict[int, float]]:
    """Milliseconds of a step after so many ids, on both scorers, and of the attention to these ids alone."""
    model = endless(size)
    source, _ = peers.ids(size)
    scorers = {
        OURS: FastTransformer(model).scorer(source, PREFIXES[-1] + repeats),
        READABLE: CachedTransformer(model, source),
    }
    ids = torch.full((size.batch,), END_ID)
    times: dict[str, list[float]] = {name: [] for name in scorers}
    with torch.inference_mode():
        for _ in range(PREFIXES[-1] + repeats):
            for name, scorer in scorers.items():
                begin = time.perf_counter()
                scorer(ids)
                times[name].append(1000 * (time.perf_counter() - begin))
        alone = [attention_alone(size, length, repeats) for length in PREFIXES]
    found = {name: [statistics.median(all_[n : n + repeats]) for n in PREFIXES] for name, all_ in times.items()}
    found["attention alone"] = alone
    return {name: dict(zip(PREFIXES, [round(x, 3) for x in row], strict=True)) for name, row in found.items()}


def attention_alone(size: Size, length: int, repeats: int) -> float:
    """Milliseconds of the self-attention of a step in all layers, each with keys and values of its own."""
    shape = size.batch, size.heads, length, size.width // size.heads
    layers = [(torch.randn(shape), torch.randn(shape)) for _ in range(size.layers)]
    query = torch.randn(*shape[:2], 1, shape[3])

    def run() -> None:
        for keys, values in layers:
            scaled_dot_product_attention(query, keys, values)

    return 1000 * statistics.median(timed(run) for _ in range(repeats))


def main() -> None:
    """Measure, print and write."""
    settings = start(__doc__, rounds=5)
    names = [name for name in (OURS, READABLE, MARIAN) if name in (READABLE, *peers.present((OURS, MARIAN)))]
    comparisons = []
    for size, size_goals in GREEDY.items():
        contestants = {name: search(name, size) for name in names} | {BOUND: bound(size)}
        kept = [goal for goal in size_goals if goal.peer in contestants]
        comparisons.append(compare(f"{size.name} greedy", contestants, rounds=settings.rounds, goals=kept, warm_up=1))
    for size in (BASE, SMALL):
        contestants = {name: search(name, size, BEAMS) for name in names}
        kept = [goal for goal in GREEDY[size] if goal.peer in contestants]
        rounds = max(settings.rounds // 2, 1)
        comparisons.append(compare(f"{size.name} beam {BEAMS}", contestants, rounds=rounds, goals=kept, warm_up=1))
    goals = [Goal(MARIAN, at_most=1.0)] if MARIAN in names else []
    for beams in (1, BEAMS):
        builders = {name: partial(search, name, BASE, beams) for name in names}
        warm_up = {name: partial(search, name, TINY, beams) for name in names}
        title = f"base peak memory, {'greedy' if beams == 1 else f'beam {beams}'}"
        comparisons.append(compare_memory(title, builders, warm_up=warm_up, goals=goals, calls=1))
    notes = {"milliseconds of a step, base, by the ids before it": by_prefix(BASE)}
    publish("decoding", __doc__, comparisons, settings, packages=peers.PACKAGES, notes=notes)


if __name__ == "__main__":
    main()
