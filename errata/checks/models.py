"""What the checks of whole models share: the case of a text of token ids, and measures of any model over ids.

A model of a text is called with ids int64 ``(B, T)`` and a mask boolean ``(B, T)`` or None, True = a real token; it
answers one vector for each position. Id 0 is never drawn: it may mean padding. What else a call may be given:

- ``chunks``, int64 ``(n,)``: lengths that sum to T; the ids go through the candidate's cache piece by piece.
- ``labels``, int64 ``(B, T)``, -100 = not counted: the answer is the mean loss, and label t belongs to the logits at t.
- ``eager``, True: the answer comes from the candidate's second, plainly written attention.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, TypeGuard

import torch
from torch import Tensor

from errata.candidates import Argument, Candidate
from errata.checks import modules
from errata.checks.encoder import EncoderCase, another
from errata.checks.evidence import Evidence, equal, holds
from errata.checks.literature import PYTORCH, TRANSFORMERS, VASWANI
from errata.checks.modules import Arguments, ModuleCase, StackCase, answers, given

Side = Literal["left", "right"]

ORDER = VASWANI.says("3.5", "in order for the model to make use of the order of the sequence")
STEP_BY_STEP = VASWANI.says(
    "3", "consuming the previously generated symbols as additional input when generating the next"
)
SHARED_MATRIX = VASWANI.says(
    "3.4", "we share the same weight matrix between the two embedding layers and the pre-softmax linear transformation"
)
PADDING_MASK = TRANSFORMERS.says(
    "glossary, attention mask",
    "This argument indicates to the model which tokens should be attended to, and which should not.",
)
EQUIVALENT = PYTORCH.says(
    "torch.nn.functional.scaled_dot_product_attention", "Efficient implementation equivalent to the following"
)
COUNTED = PYTORCH.says("torch.nn.CrossEntropyLoss", "the loss is averaged over non-ignored targets")
NOT_COUNTED = PYTORCH.says("torch.nn.CrossEntropyLoss", "is ignored and does not contribute to the input gradient")

IGNORED = -100
"""The label that does not count, in torch's cross entropy and in most libraries."""


@dataclass(frozen=True, kw_only=True)
class TextCase(EncoderCase):
    """Sizes of one model and its texts; with ``masked`` a call has padding at the right."""

    def inputs(self) -> dict[str, Tensor | None]:
        """See `ModuleCase.inputs`."""
        return {"ids": self.ids(), "mask": self.real() if self.masked else None}

    def two_texts(self) -> tuple[Tensor, Tensor]:
        """Ids, and ids of the same shape that differ from them everywhere."""
        return self.ids(), another(self.ids(), self.vocabulary)

    def variations(self) -> Tensor:
        """Ids ``(T + 1, T)``: a text, and for each of its positions the text with another token there."""
        text = self.ids()[:1].expand(self.length + 1, -1)
        changed = torch.eye(self.length + 1, self.length, dtype=torch.bool).roll(1, dims=0)
        return torch.where(changed, another(text, self.vocabulary), text)

    def real(self, side: Side = "right") -> Tensor:
        """Which positions are no padding, ``(B, T)``: each text has at least one, and padding on this side."""
        lengths = self.integers("lengths", 1, self.length, self.batch)[:, None]
        position = torch.arange(self.length)
        return position < lengths if side == "right" else position >= self.length - lengths


DOMAIN = {
    "batch": (1, 2, 3),
    "length": (2, 3, 5),
    "vocabulary": (7, 11),  # unlike any width
    "heads": (1, 2, 3),
    "head_width": (4, 6),  # even, for rotary positions
    "hidden": (23, 29),
    "layers": (1, 2),
}


def shape_at_any_length(candidate: Candidate, case: TextCase, width: int) -> Evidence:
    """One model answers texts of any length with a vector of this width for each position."""
    instance = case.build(candidate)
    lengths = (case.length, 1, case.length + 2)
    texts = [replace(case, length=length).ids() for length in lengths]
    shapes = [tuple(instance.call({"ids": ids, "mask": None}).output.shape) for ids in texts]
    wanted = [(case.batch, length, width) for length in lengths]
    return holds(shapes == wanted, expected=f"shapes {wanted}", actual=f"shapes {shapes}")


def before_and_after(candidate: Candidate, case: TextCase, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The answers ``(T, T, X)`` to one text, and to the texts with another token at s, for all s in one batch."""
    mask = None if real is None else real.expand(case.length + 1, -1)
    (output,) = answers(candidate, case, {"ids": case.variations(), "mask": mask})
    return output[:1].expand(case.length, -1, -1), output[1:]


def order_matters(candidate: Candidate, case: TextCase, places: tuple[int, int], among: slice) -> Evidence:
    """The answers at other positions change when two different tokens swap places."""
    first, second = places
    ids = case.ids()
    ids[:, second] = another(ids[:, first], case.vocabulary)
    swapped = ids.clone()
    swapped[:, [first, second]] = ids[:, [second, first]]
    before, after = answers(candidate, case, {"ids": ids, "mask": None}, {"ids": swapped, "mask": None})
    return modules.all_move(
        before[:, among], after[:, among], expected=f"swapping tokens {first} and {second} changes the other positions"
    )


def full_mask_equals_none(candidate: Candidate, case: TextCase) -> Evidence:
    """A mask that marks every token as real says what no mask says."""
    ids = case.ids()
    without, full = answers(
        candidate, case, {"ids": ids, "mask": None}, {"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}
    )
    return equal(full, without)


def padding_has_no_influence(candidate: Candidate, case: TextCase, side: Side) -> Evidence:
    """Other tokens under the padding change no answer at a real token."""
    ids, real = case.ids(), case.real(side)
    replaced = torch.where(real, ids, another(ids, case.vocabulary))
    before, after = answers(candidate, case, {"ids": ids, "mask": real}, {"ids": replaced, "mask": real})
    return modules.none_moves(before, after, among=real)


def padding_changes_nothing(candidate: Candidate, case: TextCase, side: Side) -> Evidence:
    """Each padded text of a batch gets the answers that it gets alone, without padding and mask."""
    ids, real = case.ids(), case.real(side)
    instance = case.build(candidate)
    padded = instance.call({"ids": ids, "mask": real}).output
    alone = [
        instance.call({"ids": text[own][None], "mask": None}).output[0] for text, own in zip(ids, real, strict=True)
    ]
    return equal(padded[real], torch.cat(alone))


def eager_equals_fused(
    candidate: Candidate, case: ModuleCase, arguments: Arguments, among: Tensor | None = None
) -> Evidence:
    """Both implementations of attention give the same answers, or those ``among`` the positions named."""
    fused, eager = answers(candidate, case, arguments, {**arguments, "eager": True})
    return equal(eager, fused) if among is None else modules.none_moves(fused, eager, among=among)


def every_split(length: int) -> list[Tensor]:
    """Every way to cut this length into chunks, as lengths of these."""
    cuts = product((False, True), repeat=length - 1)
    ends = [[t + 1 for t, cut in enumerate(choice) if cut] for choice in cuts]
    return [torch.tensor([0, *inner, length]).diff() for inner in ends]


def cached_equals_full(
    candidate: Candidate,
    case: ModuleCase,
    arguments: Arguments,
    splits: Sequence[Tensor],
    among: Tensor | None = None,
) -> Evidence:
    """Through the cache, however cut, the model answers as in one pass, or so ``among`` the positions named."""
    cached = [{**arguments, "chunks": split} for split in splits]
    full, *pieces = answers(candidate, case, arguments, *cached)
    wanted = full.expand(len(splits), *full.shape)
    if any(piece.shape != full.shape for piece in pieces):
        shapes = ", ".join(str(tuple(piece.shape)) for piece in pieces)
        return holds(False, expected=f"shape {tuple(full.shape)} for every split", actual=f"shapes {shapes}")
    seen = torch.stack(pieces)
    return equal(seen, wanted) if among is None else equal(seen[:, among], wanted[:, among])


def caches_start_afresh(candidate: Candidate, case: ModuleCase, first: Arguments, second: Arguments) -> Evidence:
    """What went through the cache before has no part in what goes through it now."""
    used, fresh = case.build(candidate), case.build(candidate)
    used.call(first)
    return equal(used.call(second).output, fresh.call(second).output)


def one_by_one(length: int) -> Tensor:
    """The split into single positions."""
    return torch.ones(length, dtype=torch.int64)


def labels(case: StackCase, *shape: int, some_ignored: bool = False) -> Tensor:
    """Labels for logits of this shape, the first of each text counted."""
    drawn = case.integers("labels", 1, case.vocabulary, *shape)
    if not some_ignored:
        return drawn
    ignored = case.booleans("ignored", *shape)
    ignored[:, 0] = False
    return drawn.masked_fill(ignored, IGNORED)


def loss_is_mean_negative_log_probability(
    candidate: Candidate, case: StackCase, arguments: Arguments, labels: Tensor
) -> Evidence:
    """The loss is that of the model's own logits: ``-log softmax(logits)[label]``, averaged over the labels counted."""
    logits, loss = answers(candidate, case, arguments, {**arguments, "labels": labels})
    counted = labels != IGNORED
    log_probabilities = torch.log_softmax(logits[counted].double(), dim=-1)
    losses = -log_probabilities.gather(-1, labels[counted][:, None])
    return equal(loss, losses.mean())


def ignored_labels_have_no_gradient(
    candidate: Candidate, case: StackCase, whole: Arguments, part: Arguments
) -> Evidence:
    """A text whose last labels are ignored trains the model as the text without its end does."""
    instance = case.build(candidate)
    one = torch.ones((), dtype=getattr(torch, case.dtype))
    wanted, actual = (instance.call(arguments, cotangent=one).parameter_gradients for arguments in (part, whole))
    state = instance.state()

    def all_of(gradients: Mapping[str, Tensor]) -> Tensor:
        reached = sorted(wanted.keys() | actual.keys())
        return torch.cat([gradients.get(name, torch.zeros_like(state[name])).flatten() for name in reached])

    return equal(all_of(actual), all_of(wanted), scale=1.0)


def embedding_is_projection(candidate: Candidate, case: StackCase, arguments: Arguments, text: str) -> Evidence:
    """There is one matrix with a row for each token: a new row moves the token's vector, and its logit everywhere.

    ``text`` names the ids that the logits follow.
    """
    unused = case.vocabulary - 1
    passed = {name: value.clamp(max=unused - 1) if _are_ids(value) else value for name, value in arguments.items()}
    used = int(given(passed, text)[0, 0])
    instance = case.build(candidate)
    state = instance.state()
    tables = sorted(n for n in instance.parameters() if state[n].ndim == 2 and len(state[n]) == case.vocabulary)
    if len(tables) != 1:
        return holds(
            False, expected="one matrix with a row for each token", actual=f"{len(tables)}: {', '.join(tables)}"
        )
    before = instance.call(passed).output
    moved = {}
    for row in (used, unused):
        table = state[tables[0]].clone()
        table[row] += case.normal("change", table.shape[1])
        instance.load({tables[0]: table})
        moved[row] = (instance.call(passed).output - before).abs() > modules.INFLUENCE
    projection, embedding = bool(moved[unused][..., unused].all()), bool(moved[used][0, 0, unused])
    return holds(
        projection and embedding,
        expected="a new row moves the token's vector and its logits",
        actual=f"the vector {'moves' if embedding else 'stays'}, the logits {'move' if projection else 'stay'}",
    )


def _are_ids(value: Argument) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.dtype == torch.int64
