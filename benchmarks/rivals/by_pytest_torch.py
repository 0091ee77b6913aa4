"""pytest-torch: the checks of `ModelSuite`, and the named invariances, gradients, training loops and streaming.

Of its helpers are left out those that compare a model with one known to be right, with recorded values or with its own
compiled, exported or quantised form, and generic relations that a user would have to think of.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest_torch as tool
import torch
from torch import Tensor, nn

from benchmarks.rivals.harness import Verdicts, passes
from benchmarks.rivals.views import (
    BATCH,
    LENGTH,
    MODEL,
    VIEWS,
    VOCABULARY,
    WIDTH,
    Batch,
    Names,
    View,
    Viewed,
    ids,
    loss_of,
    normal,
    tokens,
)  # fmt: skip
from errata.candidates import Program

LEARNING_RATE = 0.03
STEPS = 100
GRADIENT_CHECKED = 1
"""Examples of the batch whose gradients are compared with finite differences, one number after the other."""

Check = Callable[[], object]


def judge(component: str, program: Program, _: Sequence[str] = ()) -> Verdicts:
    """Run everything on each view of the component."""
    loops = {"incremental_decoding": _streams, "gradient_accumulation": _accumulates, "checkpoint": _resumes}
    if component in loops:
        yield loops[component].__name__.strip("_"), passes(partial(loops[component], program))
    for view in VIEWS.get(component, []):
        make = partial(Viewed, view, program)
        for checks in (_inference, _invariance, _training):
            for name, check in checks(view, make, dict(view.batch())):
                yield f"{view.name}: {name}", passes(check)


def _inference(view: View, make: Callable[[], Viewed], batch: Batch) -> Iterator[tuple[str, Check]]:
    def contract(name: str) -> None:
        dtypes = (torch.bfloat16,) if name == "dtype_parity" else ()
        tool.check_inference_contract(make().eval(), batch, checks=[name], dtypes=dtypes)

    def specified() -> None:
        shape = (BATCH, *(view.shape or (...,)))
        spec = tool.Probabilities(shape) if view.probabilities else tool.TensorSpec(shape)
        with torch.inference_mode():
            tool.assert_output_spec(make().eval()(**batch), spec)

    yield "output_spec", specified
    for name in ("finite_outputs", "deterministic", "batch_invariance", "dtype_parity", "no_state_mutation"):
        yield name, partial(contract, name)
    yield "checkpoint", lambda: tool.assert_checkpoint_roundtrip(make, batch)
    yield "autocast", lambda: tool.assert_autocast_parity(make().eval(), batch)
    if not view.trained:
        return
    few = tuple(tensor[:GRADIENT_CHECKED] for tensor in batch.values())
    yield "gradcheck", lambda: tool.assert_gradcheck(make().eval(), few)


def _invariance(view: View, make: Callable[[], Viewed], batch: Batch) -> Iterator[tuple[str, Check]]:
    yield "layout", lambda: tool.assert_layout_invariant(make().eval(), batch)
    if view.padded:
        of_tokens, of_mask = view.padded
        keys = {"ids_key": of_tokens, "mask_key": of_mask}
        yield "padding right", lambda: tool.assert_padding_invariant(make().eval(), batch, side="right", **keys)
        yield "padding left", lambda: tool.assert_padding_invariant(make().eval(), batch, side="left", **keys)
        if not batch[of_tokens].is_floating_point():
            yield "mask", lambda: tool.assert_mask_invariant(make().eval(), batch, vocab_size=VOCABULARY, **keys)
    if view.permuted == "equivariant":
        yield "permutation", lambda: tool.assert_permutation_equivariant(make().eval(), batch)
    if view.permuted == "invariant":
        yield "permutation", lambda: tool.assert_permutation_invariant(make().eval(), batch)


def _training(view: View, make: Callable[[], Viewed], batch: Batch) -> Iterator[tuple[str, Check]]:
    def with_loss(check: Callable[..., object], **options: object) -> None:
        model = make().train()
        check(model, batch, loss_of(view, model, batch), **options)

    def learns(check: Callable[..., object], **options: object) -> None:
        model = make().train()
        by = view.optimizer and (lambda parameters: view.optimizer(model.names, nn.ParameterList(parameters)))
        check(model, batch, loss_of(view, model, batch), lr=LEARNING_RATE, optimizer=by, **options)

    def is_covered() -> None:
        model = make()
        tool.assert_optimizer_coverage(model, view.optimizer(model.names, model))

    if not view.trained:
        return
    yield "gradients", lambda: with_loss(tool.assert_gradients_finite)
    yield "all parameters", lambda: with_loss(tool.assert_all_params_receive_grad)
    if view.frozen:
        yield "frozen", lambda: with_loss(tool.assert_frozen, params=[f"{name}.*" for name in view.frozen])
    if view.optimizer:
        yield "optimizer coverage", is_covered
    yield "loss decreases", lambda: learns(tool.assert_loss_decreases)
    yield "overfits", lambda: learns(tool.assert_overfits_one_batch, steps=STEPS)


def _streams(program: Program) -> None:
    """Steps of several sizes against the full pass, with the cache as the explicit state."""
    model = Names(program)["build"](**MODEL).eval()
    source, real = ids()["x"], ids()["real"][:, None, None]

    def step(chunk: Tensor, state: object) -> tuple[Tensor, object]:
        return model.step(chunk, state), state

    tool.assert_streaming_equivalent(
        lambda target: model(source, target, real),
        step,
        tokens(BATCH, LENGTH),
        chunk_sizes=(1, 2, 5),
        init_state=lambda: model.start(source, real),
    )


def _accumulates(program: Program) -> None:
    """Four parts of a batch against the whole; the component takes all parts of an update in one call."""
    from pytest_torch import TrainingSetup

    accumulate = Names(program)["accumulate_gradients"]

    def setup() -> TrainingSetup:
        model = nn.Linear(WIDTH, 1)
        return TrainingSetup(model, torch.optim.SGD(model.parameters(), lr=0.1))

    def step_in(parts: int) -> Callable[[TrainingSetup, tuple[Tensor, Tensor]], None]:
        waiting: list[tuple[Tensor, Tensor]] = []

        def step(setup: TrainingSetup, part: tuple[Tensor, Tensor]) -> None:
            waiting.append(part)
            if len(waiting) == parts:
                losses = ((setup.model(x) - y).square().sum() for x, y in waiting)
                accumulate(losses, sum(len(x) for x, _ in waiting))
                setup.optimizer.step()
                setup.optimizer.zero_grad()
                waiting.clear()

        return step

    tool.assert_accumulation_equivalent(setup, [(normal(8, WIDTH), normal(8, 1))], step_in)


def _resumes(program: Program) -> None:
    """A run that is saved and resumed against one that goes on."""
    from pytest_torch import TrainingSetup

    run_of = Names(program)["TrainingRun"]

    def setup() -> TrainingSetup:
        model = nn.Sequential(nn.Dropout(0.3), nn.Linear(WIDTH, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return TrainingSetup(model, optimizer, schedulers=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9))

    def step(setup: TrainingSetup, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        loss = (setup.model(x) - y).square().mean()
        setup.optimizer.zero_grad()
        loss.backward()
        setup.optimizer.step()
        setup.scheduler.step()
        return loss.detach()

    def run(setup: TrainingSetup) -> object:
        return run_of(setup.model, setup.optimizer, setup.scheduler)

    def save(setup: TrainingSetup, path: Path) -> None:
        run(setup).save(path)

    def load(setup: TrainingSetup, path: Path) -> None:
        run(setup).resume(path)

    tool.assert_resume_equivalent(setup, [(normal(8, WIDTH), normal(8, 1))], step, save=save, load=load)
