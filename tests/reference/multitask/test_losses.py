import pytest
import torch
from torch import Tensor, nn

from reference.multitask import labelled_losses, weighted_loss

CRITERIA = {"tags": nn.functional.cross_entropy, "score": nn.functional.mse_loss}
LABELLED = {
    "tags": torch.tensor([[True, True, False], [False, False, False]]),
    "score": torch.tensor([False, True]),
}


def outputs() -> dict[str, Tensor]:
    return {
        "tags": torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True),
        "score": torch.randn(2, 1, dtype=torch.float64, requires_grad=True),
    }


def targets() -> dict[str, Tensor]:
    return {"tags": torch.tensor([[1, 3, 0], [2, 2, 2]]), "score": torch.randn(2, 1, dtype=torch.float64)}


def test_each_loss_is_the_mean_over_what_is_labelled() -> None:
    given, wanted = outputs(), targets()
    losses = labelled_losses(CRITERIA, given, wanted, LABELLED)
    first, second = given["tags"].detach()[0, :2].log_softmax(dim=-1)
    torch.testing.assert_close(losses["tags"].detach(), -(first[1] + second[3]) / 2)
    torch.testing.assert_close(losses["score"], (given["score"][1, 0] - wanted["score"][1, 0]).square())


def test_unlabelled_examples_get_zero_gradient_even_from_nan() -> None:
    given, wanted = outputs(), targets()
    wanted["score"][0] = torch.nan
    weighted_loss(labelled_losses(CRITERIA, given, wanted, LABELLED), {"tags": 1, "score": 1}).backward()
    for task, labelled in LABELLED.items():
        gradient = given[task].grad
        assert torch.equal(gradient[~labelled], torch.zeros_like(gradient[~labelled]))
        assert (gradient[labelled].abs().amax(dim=-1) > 0).all()


def test_a_task_without_any_label_is_left_out() -> None:
    given = outputs()
    labelled = LABELLED | {"score": torch.zeros(2, dtype=torch.bool)}
    losses = labelled_losses(CRITERIA, given, targets(), labelled)
    assert list(losses) == ["tags"]
    weighted_loss(losses, {"tags": 2.0, "score": 3.0}).backward()
    assert given["score"].grad is None


def test_weighted_loss_is_the_weighted_sum() -> None:
    losses = {"a": torch.tensor(2.0), "b": torch.tensor(-3.0), "c": torch.tensor(5.0)}
    assert weighted_loss(losses, {"a": 0.5, "b": 2, "c": 0.0, "absent": 9.0}).item() == -5.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"outputs": {}}, r"outputs must be of the tasks \['score', 'tags'\], got \[\]"),
        ({"targets": {"tags": torch.zeros(1)}}, r"targets must be of the tasks .*, got \['tags'\]"),
        ({"labelled": LABELLED | {"x": torch.tensor([True])}}, r"labelled must be of the tasks"),
        (
            {"labelled": LABELLED | {"score": torch.ones(3, dtype=torch.bool)}},
            r"labelled\['score'\] must be boolean, .* got torch.bool \(3,\) for outputs \(2, 1\)",
        ),
        ({"labelled": LABELLED | {"score": torch.tensor(True)}}, r"labelled\['score'\] must be boolean"),
    ],
)
def test_bad_labels(changed: dict[str, dict[str, Tensor]], message: str) -> None:
    arguments = {"outputs": outputs(), "targets": targets(), "labelled": LABELLED} | changed
    with pytest.raises(ValueError, match=message):
        labelled_losses(CRITERIA, **arguments)


def test_bad_weights() -> None:
    loss = torch.tensor(1.0)
    with pytest.raises(ValueError, match="losses must name at least one task, got none"):
        weighted_loss({}, {"a": 1.0})
    with pytest.raises(ValueError, match=r"weights must name every task, none given for \['b'\]"):
        weighted_loss({"a": loss, "b": loss}, {"a": 1.0})
    with pytest.raises(ValueError, match=r"a must be at least 0, got -1\.0"):
        weighted_loss({"a": loss}, {"a": -1.0})
