import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from reference import Transformer
from reference.training.regularisation import affine_weights, l1_penalty, l2_penalty

WEIGHTS = [torch.tensor([[1.0, -2.0], [0.0, 3.0]]), torch.tensor([[-0.5]])]


def test_penalties_are_the_closed_forms() -> None:
    assert l1_penalty(WEIGHTS, 0.1).item() == pytest.approx(0.1 * 6.5)
    assert l2_penalty(WEIGHTS, 0.1).item() == pytest.approx(0.05 * 14.25)
    assert l1_penalty(iter(WEIGHTS), 0.0).item() == 0


def test_gradients_are_the_sign_and_the_weight() -> None:
    weight = WEIGHTS[0].clone().requires_grad_()
    (sign,) = torch.autograd.grad(l1_penalty([weight], 0.1), weight)
    (itself,) = torch.autograd.grad(l2_penalty([weight], 0.1), weight)
    assert torch.allclose(sign, 0.1 * torch.tensor([[1.0, -1.0], [0.0, 1.0]]))
    assert torch.allclose(itself, 0.1 * WEIGHTS[0])


def test_affine_weights_of_a_model() -> None:
    model = Transformer(7, 9, width=8, heads=2, inner_width=16, layers=1)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {names[weight] for weight in affine_weights(model)}
    assert found == {name for name in names.values() if name.endswith("weight") and "embedding" not in name}
    assert len(found) == 4 + 8 + 2 * 2 + 1  # attention of encoder and decoder, feed-forward, output


def test_a_projection_tied_to_an_embedding_is_a_table() -> None:
    tied = Transformer(7, 7, width=8, heads=2, inner_width=16, layers=1, tied=True)
    assert not any(weight is tied.output.weight for weight in affine_weights(tied))
    untied = Transformer(7, 7, width=8, heads=2, inner_width=16, layers=1)
    assert any(weight is untied.output.weight for weight in affine_weights(untied))


def test_a_shared_weight_counts_once() -> None:
    linear = nn.Linear(2, 2)
    twin = nn.Linear(2, 2)
    twin.weight = linear.weight
    assert len(affine_weights(nn.Sequential(linear, twin))) == 1


def test_convolutions_and_torchs_own_norms_and_embeddings() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LayerNorm(2), nn.Embedding(3, 2), nn.Linear(2, 1))
    assert affine_weights(model) == [model[0].weight, model[3].weight]


def after_steps(optimizer: type[Optimizer], penalised: bool, **options: float) -> Tensor:
    """Weights 1 and 1 after ten steps with gradients 0.1 and 10, and perhaps an L2 penalty of 0.5."""
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    steps = optimizer([weight], lr=0.01, **options)
    for _ in range(10):
        steps.zero_grad()
        loss = weight @ torch.tensor([0.1, 10.0], dtype=torch.float64)
        (loss + l2_penalty([weight], 0.5) if penalised else loss).backward()
        steps.step()
    return weight.detach()


def test_under_gradient_descent_the_l2_penalty_is_weight_decay() -> None:
    assert torch.allclose(after_steps(SGD, True), after_steps(SGD, False, weight_decay=0.5), rtol=1e-14, atol=0)


def test_under_adam_the_l2_penalty_is_not_the_decoupled_decay() -> None:
    penalised, unpenalised = after_steps(Adam, True), after_steps(Adam, False)
    decayed = after_steps(AdamW, False, weight_decay=0.5)
    assert torch.allclose(after_steps(Adam, False, weight_decay=0.5), penalised, rtol=1e-12, atol=0)
    # Decoupled decay shrinks both weights alike; the penalty adds nothing to a step that Adam rescales anyway.
    assert (unpenalised - decayed > 0.04).all()
    assert ((unpenalised - penalised).abs() < 0.001).all()


@pytest.mark.parametrize("penalty", [l1_penalty, l2_penalty])
def test_bad_arguments(penalty: object) -> None:
    with pytest.raises(ValueError, match=r"strength must be at least 0, got -0\.1"):
        penalty(WEIGHTS, -0.1)
    used_up = iter(WEIGHTS)
    list(used_up)
    with pytest.raises(ValueError, match="weights must hold at least one tensor, got none"):
        penalty(used_up, 0.1)
