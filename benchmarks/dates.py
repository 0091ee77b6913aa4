"""The model that the first document calls Transformer learns to write dates, beside the reference.

The document's class (question 5) is repaired just enough to run: of its errata only those that crash. It has no
decoder, so it reads the source and the target so far as one sequence, under a mask that lets the source see the source
and a target position what comes before it; an output projection is added. Both get the same data, optimizer, schedule
and number of updates; see `reference.examples.dates`.
"""

import json
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.measure import start
from errata import curated
from reference import causal_mask
from reference.examples.dates import (
    DATE_PADDING,
    DATE_START,
    DATE_VOCABULARY,
    ISO_LENGTH,
    Curve,
    Dates,
    dates_model,
    plot_curves,
    train_on_dates,
    translated,
)

SNIPPET = "000_q05_transformer.py"
ROOT = Path(__file__).parent.parent


class PrefixModel(nn.Module):
    """An encoder as a translator: source and target are one sequence, and its last T states score the next ids."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.output = nn.Linear(width, DATE_VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Source ids `(B, S)` and target ids `(B, T)` to logits `(B, T, V)`."""
        ids, length = torch.cat([source, target], dim=1), source.shape[1]
        visible = causal_mask(ids.shape[1])
        visible[:, :length] = True
        states = self.encoder(ids, visible & (ids != DATE_PADDING)[:, None, None])
        logits: Tensor = self.output(states[:, length:])
        return logits


def document_model(width: int = 64) -> PrefixModel:
    """The document's class, with the errata repaired without which it does not run."""
    collection = curated.load(ROOT)
    (entry,) = (entry for entry in collection.entries if entry.curated.file == SNIPPET)
    names: dict[str, type[nn.Module]] = {}
    for source in entry.program(e for e in entry.curated.errata if e.severity == "crash").sources:
        exec(source.compile(), names)
    sizes = {"vocab_size": DATE_VOCABULARY, "pos_embedding_size": DATE_VOCABULARY, "d_model": width, "d_ff": 256}
    return PrefixModel(names["Transformer"](**sizes, num_heads=4), width)


def translated_step_by_step(model: nn.Module, source: Tensor) -> Tensor:
    """Greedy search without a cache, for a model that has none."""
    ids = torch.full((len(source), 1), DATE_START)
    with torch.inference_mode():
        for _ in range(ISO_LENGTH):
            ids = torch.cat([ids, model(source, ids)[:, -1:].argmax(dim=-1)], dim=1)
    return ids[:, 1:]


def main() -> None:
    """Train both, draw both."""
    settings = start(__doc__, rounds=10)
    dates, curves = Dates.split(), dict[str, Curve]()
    for name, build, translate in (
        ("reference", dates_model, translated),
        ("document 1, question 5, repaired just enough to run", document_model, translated_step_by_step),
    ):
        torch.manual_seed(0)
        model = build()
        curves[name] = train_on_dates(model, partial(translate, model), dates, epochs=settings.rounds)
        print(f"{curves[name].exact[-1]:7.1%} of {len(dates.test)} unseen dates are right: {name}")
    settings.out.mkdir(parents=True, exist_ok=True)
    plot_curves(curves, settings.out / "dates.svg")
    record = {name: vars(curve) for name, curve in curves.items()}
    (settings.out / "dates.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
