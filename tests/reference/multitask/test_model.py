import pytest
import torch
from torch import Tensor, nn

from reference import Encoder, EncoderLayer, FeedForward, MultiHeadAttention, padding_mask
from reference.multitask import MultiTaskModel, SequenceHead, TokenHead, labelled_losses, weighted_loss

B, S, D = 3, 5, 8
MASK = padding_mask(torch.tensor([5, 2, 4]), S)
CRITERIA = {"tags": nn.functional.cross_entropy, "score": nn.functional.mse_loss}
TARGETS = {"tags": torch.tensor([[0, 1, 2, 0, 1]] * B), "score": torch.tensor([[0.5, -1.0]] * B, dtype=torch.float64)}
LABELLED = {"tags": MASK[:, 0, 0], "score": torch.ones(B, dtype=torch.bool)}


@pytest.fixture
def model() -> MultiTaskModel:
    layers = [EncoderLayer(MultiHeadAttention(D, 2), FeedForward(D, 16), dropout=0.0) for _ in range(2)]
    return MultiTaskModel(Encoder(layers), {"tags": TokenHead(D, 3), "score": SequenceHead(D, 2)}).double()


def losses(model: MultiTaskModel, x: Tensor) -> dict[str, Tensor]:
    return labelled_losses(CRITERIA, model(x, MASK), TARGETS, LABELLED)


def gradients(model: MultiTaskModel, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}


def test_every_head_answers_from_the_one_encoding(model: MultiTaskModel) -> None:
    x = torch.randn(B, S, D, dtype=torch.float64)
    outputs = model(x, MASK)
    encoding = model.encoder(x, MASK)
    assert list(outputs) == ["tags", "score"]
    assert torch.equal(outputs["tags"], model.heads["tags"](encoding, MASK))
    assert torch.equal(outputs["score"], model.heads["score"](encoding, MASK))
    assert outputs["tags"].shape == (B, S, 3)
    assert outputs["score"].shape == (B, 2)


def test_the_encoder_runs_once(model: MultiTaskModel) -> None:
    calls = []
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    model(torch.randn(B, S, D, dtype=torch.float64), MASK)
    assert len(calls) == 1


def test_padding_has_no_influence_on_the_answers_to_real_input(model: MultiTaskModel) -> None:
    x = torch.randn(B, S, D, dtype=torch.float64)
    before = model(x, MASK)
    after = model(torch.where(MASK[:, 0, 0, :, None], x, 7.0), MASK)
    assert torch.equal(after["score"], before["score"])
    assert torch.equal(after["tags"][MASK[:, 0, 0]], before["tags"][MASK[:, 0, 0]])


def test_a_head_gets_no_gradient_from_another_task(model: MultiTaskModel) -> None:
    found = losses(model, torch.randn(B, S, D, dtype=torch.float64))
    for task, other in (("tags", "score"), ("score", "tags")):
        reached = gradients(model, found[task])
        assert not any(name.startswith(f"heads.{other}.") for name in reached)
        assert reached.keys() >= {name for name, _ in model.named_parameters() if not name.startswith("heads.")}
        assert reached.keys() >= {f"heads.{task}.projection.weight", f"heads.{task}.projection.bias"}


def test_the_encoders_gradient_is_the_weighted_sum_of_the_tasks(model: MultiTaskModel) -> None:
    found = losses(model, torch.randn(B, S, D, dtype=torch.float64))
    weights = {"tags": 0.3, "score": 2.5}
    total = gradients(model, weighted_loss(found, weights))
    alone = {task: gradients(model, loss) for task, loss in found.items()}
    for name in (f"encoder.{name}" for name, _ in model.encoder.named_parameters()):
        expected = 0.3 * alone["tags"][name] + 2.5 * alone["score"][name]
        torch.testing.assert_close(total[name], expected, rtol=1e-10, atol=1e-14)


def test_no_heads_are_refused(model: MultiTaskModel) -> None:
    with pytest.raises(ValueError, match="a multi-task model needs at least one head, got none"):
        MultiTaskModel(model.encoder, {})
