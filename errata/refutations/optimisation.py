"""Optimizers and regularisers, measured on the steps that they take."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adagrad, Adam, Optimizer, RMSprop

from errata.findings import Figure
from errata.refutations.measure import NOISE, flops, largest_difference, normal, rounded, seeded
from errata.refutations.registry import Adversary, Shown, refutation
from reference import Dropout, FeedForward

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


def steadier_with_fewer(gradients: Tensor, chosen: Tensor) -> Tensor:
    """An estimate as stated: the more samples, the further off."""
    return gradients.mean(dim=0) * (1 + len(chosen) / len(gradients))


def always_the_first(gradients: Tensor, chosen: Tensor) -> Tensor:
    """As many samples, but the same ones every time."""
    return gradients[: len(chosen)].mean(dim=0)


@refutation(
    if_true=steadier_with_fewer,
    adversary=Adversary(
        "the same few samples every time: no draw differs from the last, but all are off",
        always_the_first,
        refuted=True,
    ),
)
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


def _clipped_descent(weights: list[Tensor]) -> Optimizer:
    class Clipped(SGD):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            nn.utils.clip_grad_norm_(weights, 1e-3)
            super().step(closure)

    return Clipped(weights, lr=0.1)


@refutation(
    if_true=_descent,
    adversary=Adversary(
        "gradient descent with its gradient clipped: its steps do not grow either, but their direction changes",
        _clipped_descent,
        refuted=False,
    ),
)
def adam_does_not_scale_with_the_gradient(build: Build = _adam) -> Shown:
    """Make the gradient of one weight 1000 times larger and that of another 1000 times smaller, and compare the steps.

    Both gradient descent and its stochastic form step in proportion to the gradient, and so does any blend of the two.
    Without its first moment, Adam is RMSProp with its bias corrected.
    """
    gradients, scales = normal(5, 2), torch.tensor([1000.0, 0.001], dtype=torch.float64)
    before, after = (steps(build, scale * gradients)[0].norm(dim=0) for scale in (torch.ones(2), scales))
    growth = after / before
    rms, _ = steps(lambda w: RMSprop(w, lr=0.1, alpha=0.999, eps=0.0), gradients)
    correction = (1 - 0.999 ** torch.arange(1.0, 6.0, dtype=torch.float64)).sqrt()[:, None]
    one_moment, _ = steps(lambda w: Adam(w, lr=0.1, betas=(0.0, 0.999), eps=0.0), gradients)
    return Shown(
        refuted=largest_difference(growth, torch.ones(2)) < 1e-9,
        numbers={
            "growth of the steps of the weight whose gradient grows 1000-fold": rounded(growth[0]),
            "growth of the steps of the weight whose gradient shrinks 1000-fold": rounded(growth[1]),
            "difference between Adam without first moment and corrected RMSProp": rounded(
                largest_difference(one_moment, rms * correction)
            ),
        },
    )


def _momentum(weights: list[Tensor]) -> Optimizer:
    return SGD(weights, lr=0.1, momentum=0.9)


def adagrad(weights: list[Tensor]) -> Optimizer:
    """The first method with adaptive rates."""
    return Adagrad(weights, lr=0.1)


@refutation(
    if_true=adagrad,
    adversary=Adversary(
        "Adam, which leaves the learning rate that it was given alone too, but adapts each step", _adam, refuted=False
    ),
)
def momentum_leaves_the_learning_rate_alone(build: Build = _momentum) -> Shown:
    """Feed gradients of 1 and of 1000 to two weights for 100 steps: an adaptive rate would make their steps alike."""
    moves, optimizer = steps(build, torch.tensor([1.0, 1000.0], dtype=torch.float64).expand(100, 2))
    ratio = float(moves[-1, 1] / moves[-1, 0])
    return Shown(
        refuted=abs(ratio - 1000) < 1e-6,
        numbers={
            "learning rate of the optimizer before training": 0.1,
            "the same after 100 steps": optimizer.param_groups[0]["lr"],
            "last steps of the two weights, larger by smaller": rounded(ratio),
        },
    )


def averaging(weights: list[Tensor]) -> Optimizer:
    """Momentum scaled by 1 - 0.9, an exponentially weighted mean."""
    return SGD(weights, lr=0.1, momentum=0.9, dampening=0.9)


def at_a_tenth_of_the_rate(weights: list[Tensor]) -> Optimizer:
    """Momentum whose steps become as long as those of an average at the rate 0.1."""
    return SGD(weights, lr=0.01, momentum=0.9)


@refutation(
    if_true=averaging,
    adversary=Adversary(
        "momentum at a tenth of the rate, whose steps become as long as those of an average",
        at_a_tenth_of_the_rate,
        refuted=True,
    ),
)
def momentum_accumulates_rather_than_averages(build: Build = _momentum) -> Shown:
    """Feed the constant gradient 1 for 200 steps and divide the last step by the learning rate.

    The average of all past gradients is 1. The decaying sum that torch's momentum keeps is 1 / (1 - 0.9) = 10.
    """
    moves, optimizer = steps(build, torch.ones(200, 1, dtype=torch.float64))
    velocity = -float(moves[-1]) / optimizer.param_groups[0]["lr"]
    return Shown(
        refuted=abs(velocity - 1) > 1e-3,
        numbers={
            "average of the past gradients": 1.0,
            "what momentum 0.9 puts in their place": rounded(velocity),
        },
    )


def _rmsprop(weights: list[Tensor]) -> Optimizer:
    return RMSprop(weights, lr=0.1, eps=0.0)


def decayed_adam(weights: list[Tensor]) -> Optimizer:
    """Adam with an L2 penalty in its gradients, so that its moments read the parameters too."""
    return Adam(weights, lr=0.1, weight_decay=0.1)


@refutation(
    if_true=decayed_adam,
    adversary=Adversary(
        "plain Adam, which does keep a first and a second moment, but of the gradients", _adam, refuted=True
    ),
)
def adaptive_rates_read_gradients_not_parameters(build: Build = _rmsprop) -> Shown:
    """Give the same gradients to weights that start at 0 and at 100; then look at what the optimizer keeps."""
    gradients = normal(20, 3)
    moves, optimizer = steps(build, gradients)
    shifted, _ = steps(build, gradients, start=100.0)
    moments = [name for name in next(iter(optimizer.state.values())) if name != "step"]
    change = largest_difference(moves, shifted)
    return Shown(
        refuted=change < 1e-9,
        numbers={
            "change of the steps when the parameters are 100 larger": round(change, 9),
            "what the optimizer keeps": " ".join(moments),
        },
    )


Pull = Callable[[Tensor], Tensor]
"""From a weight vector to the gradient of the penalty."""


def _weight_decay(weight: Tensor) -> Tensor:
    parameter = weight.clone().requires_grad_()
    parameter.grad = torch.zeros_like(weight)
    SGD([parameter], lr=1.0, weight_decay=0.1).step()
    return weight - parameter.detach()


def of_the_norm(weight: Tensor) -> Tensor:
    """The gradient of 0.1 |w|."""
    pull: Tensor = 0.1 * weight / weight.norm()
    return pull


def of_the_sum(weight: Tensor) -> Tensor:
    """The gradient of L1, 0.1 (|w1| + |w2| + ...)."""
    return 0.1 * weight.sign()


@refutation(
    if_true=of_the_norm,
    adversary=Adversary(
        "L1, whose pull is the same on a vector and on its double, as that of the L2 norm", of_the_sum, refuted=True
    ),
)
def l2_regularisation_is_the_squared_norm(pull: Pull = _weight_decay) -> Shown:
    """Measure the pull of torch's weight decay on a weight vector and on its double.

    The gradient of `a |w|^2 / 2` is `a w` and doubles; that of the norm itself, `a w / |w|`, has length `a` everywhere.
    """
    weight = normal(6)
    from_norm, from_square = (largest_difference(pull(weight), other(weight)) for other in (of_the_norm, _square))
    return Shown(
        refuted=from_norm > NOISE,
        numbers={
            "growth of the pull when the weights double": rounded(pull(2 * weight).norm() / pull(weight).norm()),
            "difference between the pull and the gradient of 0.1 |w|": rounded(from_norm),
            "difference between the pull and the gradient of 0.1 |w|^2 / 2": rounded(from_square),
        },
    )


def _square(weight: Tensor) -> Tensor:
    return 0.1 * weight


Objective = Callable[[Tensor, list[Tensor]], Tensor]
"""From the error and the two weight matrices of a network to what is minimised."""


def _plain(error: Tensor, _weights: list[Tensor]) -> Tensor:
    return error


def with_l2(error: Tensor, weights: list[Tensor]) -> Tensor:
    """The error and an L2 penalty."""
    return error + 0.01 * weights[0].square().sum() + 0.01 * weights[1].square().sum()


def with_path_norm(error: Tensor, weights: list[Tensor]) -> Tensor:
    """The error and a penalty that rescaling the units does not change."""
    outer, inner = weights[1].abs(), weights[0].abs()
    return error + 0.01 * (outer @ inner).sum()


@refutation(
    if_true=with_l2,
    adversary=Adversary(
        "a penalty on the products of the two matrices, which does not change when one is scaled up and one down",
        with_path_norm,
        refuted=False,
    ),
)
def dropout_adds_no_explicit_term_to_the_loss(objective: Objective = _plain) -> Shown:
    """Look for a term that reads the weights in the loss of a network with torch's dropout.

    First the weights are rescaled so that the outputs stay the same: a penalty on their size would change. Then inputs
    and targets are 0, so that the error says nothing about the weights: a penalty would still pull on them.
    """
    inner, dropout, outer = seeded(lambda: (nn.Linear(8, 8, bias=False), nn.Dropout(0.5), nn.Linear(8, 8, bias=False)))
    network = nn.Sequential(inner, nn.ReLU(), dropout, outer).double()
    weights = [inner.weight, outer.weight]

    def loss(x: Tensor, y: Tensor) -> Tensor:
        error: Tensor = (seeded(lambda: network(x)) - y).square().mean()
        return objective(error, weights)

    nothing = torch.zeros(4, 8, dtype=torch.float64)
    pull = max(float(gradient.norm()) for gradient in grad(loss(nothing, nothing), weights))
    x, y = normal(4, 8), normal(4, 8, seed=1)
    before = loss(x, y).item()
    with torch.no_grad():
        inner.weight *= 10
        outer.weight /= 10
    change = abs(loss(x, y).item() - before)
    return Shown(
        refuted=max(pull, change) < NOISE,
        numbers={
            "change of the loss when the weights are rescaled": rounded(change),
            "pull on the weights when inputs and targets are 0": rounded(pull),
        },
    )


def _with_dropout(probability: float) -> nn.Module:
    network: nn.Module = seeded(lambda: nn.Sequential(FeedForward(16, 64), Dropout(probability)))
    return network


def narrower(probability: float) -> nn.Module:
    """A network that has as many fewer units."""
    return nn.Linear(16, round(64 * (1 - probability)))


def with_zeros(probability: float) -> nn.Module:
    """A network in which that share of the weights is 0."""
    linear: nn.Linear = seeded(lambda: nn.Linear(16, 64))
    with torch.no_grad():
        linear.weight[: round(64 * probability)] = 0
    return linear


@refutation(
    if_true=narrower,
    adversary=Adversary(
        "a network half of whose weights are 0: fewer are not 0, but as many are stored and multiplied",
        with_zeros,
        refuted=True,
    ),
)
def dropout_makes_no_model_smaller(build: Callable[[float], nn.Module] = _with_dropout) -> Shown:
    """Count parameters and operations of a feed-forward network without dropout and with dropout 0.5."""

    def size(probability: float) -> tuple[int, int, int]:
        network, x = build(probability), torch.zeros(4, 16)
        in_training = flops(lambda: network.train()(x))
        return sum(p.numel() for p in network.parameters()), in_training, flops(lambda: network.eval()(x))

    without, dropped = size(0.0), size(0.5)
    return Shown(
        refuted=without == dropped,
        numbers={
            "parameters, without and with": f"{without[0]} and {dropped[0]}",
            "operations in training, without and with": f"{without[1]} and {dropped[1]}",
            "operations in use, without and with": f"{without[2]} and {dropped[2]}",
        },
    )


class Method(NamedTuple):
    """An optimizer and the number of samples, of 256, from which it estimates each gradient."""

    build: Callable[..., Optimizer]
    rate: float
    batch: int


STOCHASTIC_ADAM = Method(Adam, 0.03, 16)
FULL_DESCENT = Method(SGD, 1.5, 256)
"""At the best of the rates 0.3, 0.5, 1, 1.5 and 2."""


class _Reverser(nn.Module):
    """One encoder layer of torch that shall reverse sequences of four symbols."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 16)
        self.positions = nn.Parameter(torch.randn(4, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.predict = nn.Linear(16, 8)

    def loss(self, ids: Tensor) -> Tensor:
        """The mean loss on these sequences."""
        logits = self.predict(self.layer(self.embedding(ids) + self.positions))
        return cross_entropy(logits.flatten(0, 1), ids.flip(1).flatten())


def _effort(method: Method) -> tuple[int, int]:
    """How many updates and samples it takes until the loss over all 256 sequences is below 0.5."""
    model, ids = _Reverser().double(), torch.randint(8, (256, 4))
    optimizer = method.build(model.parameters(), lr=method.rate)
    updates = read = 0
    while model.loss(ids) > 0.5:
        chosen = torch.randperm(len(ids))[: method.batch]
        optimizer.zero_grad()
        model.loss(ids[chosen]).backward()
        optimizer.step()
        updates, read = updates + 1, read + len(chosen)
    return updates, read


@refutation(
    if_true=Method(SGD, 1.0, 16),
    adversary=Adversary(
        "Adam on all samples, which takes the fewest updates but reads everything for each",
        Method(Adam, 0.1, 256),
        refuted=True,
    ),
)
def full_gradient_descent_reads_too_much(method: Method = FULL_DESCENT) -> Shown:
    """Train a small Transformer until its loss is below 0.5, and count updates and the samples read for them.

    Gradient descent reads all 256 samples for each update. If it were the method to use, it would not read many times
    what Adam on mini-batches reads; its stochastic form does not.
    """
    updates, read = seeded(lambda: _effort(method))
    _, usual = seeded(lambda: _effort(STOCHASTIC_ADAM))
    return Shown(
        refuted=read > 4 * usual,
        numbers={"updates": updates, "samples read": read, "samples read by Adam on mini-batches of 16": usual},
    )
