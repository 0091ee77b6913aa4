"""torchtest2: `check_model` in its strict form, in which a warning counts as a failure."""

from collections.abc import Sequence

import torch
import torchtest2

from benchmarks.rivals.harness import Verdicts
from benchmarks.rivals.views import BATCH, VIEWS, View, Viewed, loss_of
from errata.candidates import Program

LEARNING_RATE = 0.03
STEPS = 100


def judge(component: str, program: Program, _: Sequence[str] = ()) -> Verdicts:
    """Run everything on each view of the component."""
    for view in VIEWS.get(component, []):
        yield from _report(view, program)


def _report(view: View, program: Program) -> Verdicts:
    torch.manual_seed(0)
    model, batch = Viewed(view, program), dict(view.batch())
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE) if parameters else None
    if view.optimizer:
        optimizer = view.optimizer(model.names, model)
    report = torchtest2.check_model(
        model,
        batch,
        loss_fn=loss_of(view, model, batch) if parameters else None,
        optimizer=optimizer,
        output_shape=(BATCH, *view.shape) if view.shape else None,
        output_range=(0.0, 1.0) if view.probabilities else None,
        frozen=view.frozen,
        overfit_steps=STEPS if view.trained else 0,
        gradcheck=view.trained,
    )
    for result in report.results:
        if result.status is not torchtest2.Status.SKIP:
            yield f"{view.name}: {result.name}", result.status is torchtest2.Status.PASS
