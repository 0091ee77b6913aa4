"""Optimizers and regularisers, measured on the steps that they take."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from errata.findings import Figure
from errata.refutations.measure import flops, largest_difference, normal, rounded, seeded
from errata.refutations.registry import Shown, refutation
from reference import Dropout, FeedForward, dropout

Build = Callable[[list[Tensor]], Optimizer]


def steps(build: Build, gradients: Tensor, start: float = 0.0) -> tuple[Tensor, Optimizer]:
    """The moves that an optimizer makes from `start` when it is given these gradients, one row a step."""
    weight = torch.full_like(gradients[0], start, requires_grad=True)
    optimizer = build([weight])
    moves = []
    for gradient in gradients:
        before = weight.detach().clone()
        weight.grad = gradient.clone()
        optimizer.step()
        moves.append(weight.detach() - before)
    return torch.stack(moves), optimizer


def _mean_of(gradients: Tensor, chosen: Tensor) -> Tensor:
    return gradients[chosen].mean(dim=0)


@refutation
def fewer_samples_make_the_gradient_noisier(estimate: Callable[[Tensor, Tensor], Tensor] = _mean_of) -> Shown:
    """Estimate the gradient of a least-squares loss over 64 samples from 1, 4, 16 and all of them, 500 times each."""
    x, y = normal(64, 3), normal(64, seed=1)
    gradients = 2 * (x @ normal(3, seed=2) - y)[:, None] * x
    full = gradients.mean(dim=0)
    draw = torch.Generator().manual_seed(0)

    def error(size: int) -> float:
        chosen = [torch.randperm(64, generator=draw)[:size] for _ in range(500)]
        off = torch.stack([estimate(gradients, some) - full for some in chosen])
        return rounded(off.square().sum(dim=-1).mean().sqrt() / full.norm())

    errors = {size: error(size) for size in (1, 4, 16, 64)}
    return Shown(
        refuted=errors[1] > errors[16] > errors[64],
        numbers={f"relative error of a gradient from {size} of 64 samples": value for size, value in errors.items()},
        figure=Figure(
            kind="lines",
            title="Noise of a stochastic gradient",
            x_label="samples in the batch (of 64)",
            y_label="error relative to the full gradient",
            data={"x": list(errors), "root mean square error": list(errors.values())},
        ),
    )


def _adam(weights: list[Tensor]) -> Optimizer:
    return Adam(weights, lr=0.1, eps=0.0)


def _descent(weights: list[Tensor]) -> Optimizer:
    return SGD(weights, lr=0.1)


@refutation
def adam_does_not_scale_with_the_gradient(build: Build = _adam) -> Shown:
    """Multiply all gradients by 1000 and compare the lengths of the steps.

    Both gradient descent and its stochastic form step in proportion to the gradient, and so does any blend of the two.
    Without its first moment, Adam is RMSProp with its bias corrected.
    """
    gradients = normal(5, 3)

    def growth(build: Build) -> float:
        return float(steps(build, 1000 * gradients)[0].norm() / steps(build, gradients)[0].norm())

    rms, _ = steps(lambda w: RMSprop(w, lr=0.1, alpha=0.999, eps=0.0), gradients)
    correction = (1 - 0.999 ** torch.arange(1.0, 6.0, dtype=torch.float64)).sqrt()[:, None]
    one_moment, _ = steps(lambda w: Adam(w, lr=0.1, betas=(0.0, 0.999), eps=0.0), gradients)
    grown = growth(build)
    return Shown(
        refuted=abs(grown - 1) < 1e-9,
        numbers={
            "growth of the optimizer's steps when gradients grow 1000-fold": rounded(grown),
            "growth of the steps of (stochastic) gradient descent": rounded(growth(_descent)),
            "difference between Adam without first moment and corrected RMSProp": rounded(
                largest_difference(one_moment, rms * correction)
            ),
        },
    )


def _momentum(weights: list[Tensor]) -> Optimizer:
    return SGD(weights, lr=0.1, momentum=0.9)


@refutation
def momentum_leaves_the_learning_rate_alone(build: Build = _momentum) -> Shown:
    """Feed gradients of 1 and of 1000 to two weights for 100 steps: an adaptive rate would make their steps alike."""
    moves, optimizer = steps(build, torch.tensor([1.0, 1000.0], dtype=torch.float64).expand(100, 2))
    ratio = float(moves[-1, 1] / moves[-1, 0])
    rate = optimizer.param_groups[0]["lr"]
    adam, _ = steps(_adam, torch.tensor([1.0, 1000.0], dtype=torch.float64).expand(100, 2))
    return Shown(
        refuted=abs(ratio - 1000) < 1e-6 and rate == 0.1,
        numbers={
            "learning rate before training": 0.1,
            "learning rate after 100 steps with momentum": rate,
            "steps of the two weights, larger by smaller": rounded(ratio),
            "the same for Adam, whose rate adapts": rounded(adam[-1, 1] / adam[-1, 0]),
        },
    )


@refutation
def momentum_accumulates_rather_than_averages(build: Build = _momentum) -> Shown:
    """Feed the constant gradient 1 for 200 steps at learning rate 0.1 and divide the last step by the rate."""
    moves, _ = steps(build, torch.ones(200, 1, dtype=torch.float64))
    velocity = -float(moves[-1]) / 0.1
    return Shown(
        refuted=abs(velocity - 1) > 1e-3,
        numbers={
            "average of the past gradients": 1.0,
            "what momentum 0.9 puts in their place": rounded(velocity),
            "closed form 1 / (1 - 0.9)": 10.0,
        },
    )


def _rmsprop(weights: list[Tensor]) -> Optimizer:
    return RMSprop(weights, lr=0.1, eps=0.0)


@refutation
def adaptive_rates_read_gradients_not_parameters(build: Build = _rmsprop) -> Shown:
    """Give the same gradients to weights that start at 0 and at 100; then look at what the optimizer keeps."""
    gradients = normal(20, 3)
    moves, optimizer = steps(build, gradients)
    shifted, _ = steps(build, gradients, start=100.0)
    moments = [name for name in next(iter(optimizer.state.values())) if name != "step"]
    change = largest_difference(moves, shifted)
    _, adam = steps(_adam, gradients)
    mean = sum((0.1 * 0.9 ** (19 - i) * gradient for i, gradient in enumerate(gradients)), torch.zeros(3))
    return Shown(
        refuted=change < 1e-9 and moments == ["square_avg"],
        numbers={
            "change of the steps when the parameters are 100 larger": round(change, 9),
            "what RMSProp, an adaptive rate, keeps": " ".join(moments),
            "first moment of Adam against the running mean of the gradients: difference": rounded(
                largest_difference(next(iter(adam.state.values()))["exp_avg"], mean)
            ),
        },
    )


def _weight_decay(weight: Tensor) -> Tensor:
    parameter = weight.clone().requires_grad_()
    parameter.grad = torch.zeros_like(weight)
    SGD([parameter], lr=1.0, weight_decay=0.1).step()
    return weight - parameter.detach()


@refutation
def l2_regularisation_is_the_squared_norm(pull: Callable[[Tensor], Tensor] = _weight_decay) -> Shown:
    """Measure the pull of an L2 penalty on a weight vector and on its double.

    The gradient of `a |w|^2 / 2` is `a w` and doubles; that of the norm itself, `a w / |w|`, has length `a` everywhere.
    """
    weight = normal(6)
    growth = float(pull(2 * weight).norm() / pull(weight).norm())
    return Shown(
        refuted=abs(growth - 2) < 1e-9,
        numbers={
            "growth of the pull when the weights double": rounded(growth),
            "the same for the gradient of the norm": 1.0,
            "difference between the pull and the gradient of 0.1 |w|^2 / 2": rounded(
                largest_difference(pull(weight), 0.1 * weight)
            ),
        },
    )


Objective = Callable[[Tensor, list[Tensor]], Tensor]


def _plain(error: Tensor, _weights: list[Tensor]) -> Tensor:
    return error


@refutation
def dropout_adds_no_term_to_the_loss(objective: Objective = _plain) -> Shown:
    """Multiply the first map of a ReLU network by 10 and divide the second by 10: the outputs stay, the weights do not.

    A term in the loss would notice. The loss under dropout is compared for the same dropped units.
    """
    x, y, first, second = normal(4, 8), normal(4, 8, seed=1), normal(8, 8, seed=2), normal(8, 8, seed=3)

    def loss(objective: Objective, scale: float) -> Tensor:
        hidden = seeded(lambda: dropout((x @ (scale * first)).relu(), 0.5))
        error = (hidden @ (second / scale) - y).square().mean()
        return objective(error, [scale * first, second / scale])

    def with_l2(error: Tensor, weights: list[Tensor]) -> Tensor:
        return error + 0.01 * sum(weight.square().sum() for weight in weights)

    change = float((loss(objective, 10.0) - loss(objective, 1.0)).abs())
    return Shown(
        refuted=change < 1e-9,
        numbers={
            "change of the loss under dropout when the weights are rescaled": rounded(change),
            "change of the loss with an L2 term": rounded(loss(with_l2, 10.0) - loss(with_l2, 1.0)),
        },
    )


def _network(probability: float) -> nn.Module:
    network: nn.Module = seeded(lambda: nn.Sequential(FeedForward(16, 64), Dropout(probability)))
    return network


@refutation
def dropout_makes_no_model_smaller(build: Callable[[float], nn.Module] = _network) -> Shown:
    """Count parameters and operations of a feed-forward network without dropout and with dropout 0.5."""

    def size(probability: float) -> tuple[int, int, int]:
        network, x = build(probability), torch.zeros(4, 16)
        in_training = flops(lambda: network.train()(x))
        return sum(p.numel() for p in network.parameters()), in_training, flops(lambda: network.eval()(x))

    plain, dropped = size(0.0), size(0.5)
    return Shown(
        refuted=plain == dropped,
        numbers={
            "parameters without dropout": plain[0],
            "parameters with dropout 0.5": dropped[0],
            "operations in training, without and with": f"{plain[1]} and {dropped[1]}",
            "operations in use, without and with": f"{plain[2]} and {dropped[2]}",
        },
    )
