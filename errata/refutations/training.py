"""One loss, one backward pass, one update: how an encoder-decoder is trained."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.functional import cosine_similarity, cross_entropy

from errata.refutations.measure import influence, largest_difference, normal, rounded, seeded
from errata.refutations.models import (
    SOURCE,
    TARGET,
    VOCABULARY,
    WIDTH,
    Translator,
    causal_torch_mask,
    torch_transformer,
    translator,
    vectors,
)
from errata.refutations.printed import printed
from errata.refutations.registry import Adversary, Shown, refutation

INPUT, LABELS = TARGET[:, :-1], TARGET[:, 1:]
"""The decoder reads the target without its last id and predicts it without its first."""

Loss = Callable[[Translator, Tensor], Tensor]
"""From the model and the encoder's vectors to a loss."""


def one_loss(model: Translator, memory: Tensor) -> Tensor:
    """The cross-entropy at the decoder's output."""
    return cross_entropy(model.output(model.decode(INPUT, memory)).flatten(0, 1), LABELS.flatten())


def two_losses(model: Translator, memory: Tensor) -> Tensor:
    """A loss for the decoder and one for the encoder alone."""
    return one_loss(model, memory) + model.encode(SOURCE).square().mean()


def loss_of_the_decoder_alone(model: Translator, memory: Tensor) -> Tensor:
    """The encoder, trained beforehand, stays as it is."""
    return one_loss(model, memory.detach())


@refutation(
    if_true=two_losses,
    adversary=Adversary(
        "an encoder that was trained beforehand and is frozen, which no gradient reaches, cut or not",
        loss_of_the_decoder_alone,
        refuted=False,
    ),
)
def encoder_learns_only_through_the_decoder(loss: Loss = one_loss) -> Shown:
    """Make a training step of PyTorch's Transformer and count the encoder's tensors that the loss's gradient reaches.

    Then cut the link from the encoder to the decoder for gradients: an encoder trained by itself would learn on.
    """

    def reached(*, cut: bool) -> tuple[int, int]:
        model = translator()
        memory = model.encode(SOURCE)
        loss(model, memory.detach().requires_grad_() if cut else memory).backward()
        parameters = list(model.transformer.encoder.parameters())
        return sum(p.grad is not None and bool(p.grad.any()) for p in parameters), len(parameters)

    (linked, total), (alone, _) = reached(cut=False), reached(cut=True)
    return Shown(
        refuted=linked > 0 and alone == 0,
        numbers={
            "tensors of parameters in the encoder": total,
            "of these, reached by the gradient of the loss": linked,
            "reached when no gradient may flow back from the decoder": alone,
        },
    )


def printed_model() -> nn.Module:
    """The model of the code of question 5 of the first document, from the parts that questions 3 and 4 print."""
    parts = {
        **printed("000_q03_multi_head_attention.py"),
        **printed("000_q04_feed_forward.py"),
        "vocab_size": VOCABULARY,
        "pos_embedding_size": VOCABULARY,
    }
    model: nn.Module = seeded(
        lambda: printed(
            "000_q05_transformer.py",
            ("self多头注意力", "self.attention"),
            ("self前馈网络", "self.feed_forward"),
            **parts,
        )["Transformer"](WIDTH, 16, 2)
    )
    return model.eval()


def with_finished_vectors() -> nn.Module:
    """The same model with word vectors and positions that were made beforehand."""
    model = printed_model()
    model.get_submodule("embedding").requires_grad_(False)
    model.get_submodule("positional_encoding").requires_grad_(False)
    return model


def with_finished_word_vectors() -> nn.Module:
    """The same model with word vectors that were made beforehand, and learned positions."""
    model = printed_model()
    model.get_submodule("embedding").requires_grad_(False)
    return model


@refutation(
    if_true=with_finished_vectors,
    adversary=Adversary(
        "a model with finished word vectors and learned positions, whose sums change with every update all the same",
        with_finished_word_vectors,
        refuted=False,
    ),
)
def embeddings_are_learned_with_the_model(build: Callable[[], nn.Module] = printed_model) -> Shown:
    """Make one update of the model that question 5 of the first document prints; look at its table of word vectors."""
    model = build()
    table = model.get_parameter("embedding.weight")
    before = table.detach().clone()
    output = model(SOURCE)
    (normal(*output.shape).float() * output).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    changed = (table.detach() != before).any(dim=-1)
    return Shown(
        refuted=bool(changed.any()),
        numbers={
            "word vectors in the model": VOCABULARY,
            "different words in the input": len(set(SOURCE.flatten().tolist())),
            "word vectors that one update changes": int(changed.sum()),
        },
    )


Read = Callable[[Tensor, Tensor], Tensor]
"""From the ids of the source and of the target, without its start, to those that the decoder reads."""

START = 1


def the_shifted_target(_source: Tensor, target: Tensor) -> Tensor:
    """The target behind a start symbol, without its last word."""
    return torch.cat([torch.full_like(target[:, :1], START), target[:, :-1]], dim=1)


def the_source(source: Tensor, target: Tensor) -> Tensor:
    """The input sequence, as long as the target."""
    return source[:, : target.shape[1]]


def the_target_itself(_source: Tensor, target: Tensor) -> Tensor:
    """The target, not shifted."""
    return target


@refutation(
    if_true=the_source,
    adversary=Adversary(
        "a decoder that reads the target without the shift: it too knows the word before, and the answer besides",
        the_target_itself,
        refuted=True,
    ),
)
def decoder_must_read_the_target(read: Read = the_shifted_target) -> Shown:
    """Train PyTorch's Transformer on one input with two outputs, equally often: the word 2 twice, or the word 3 twice.

    The first word of the output is a toss-up (cross-entropy 0.6931 at best), the second repeats it. A decoder that
    reads the input instead of the output cannot know which of the two was first.
    """
    model = translator()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    source, target = torch.tensor([[4, 5]]).expand(2, -1), torch.tensor([[2, 2], [3, 3]])
    for _ in range(100):
        losses = cross_entropy(model(source, read(source, target)).mT, target, reduction="none").mean(dim=0)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    first, second = losses.detach()
    return Shown(
        refuted=float(second) < 0.1,
        numbers={
            "cross-entropy of the first word of the output": rounded(first),
            "cross-entropy of the second word": rounded(second),
        },
    )


Backward = Callable[[nn.Module, Tensor], None]
"""What is done with the model and its loss."""


def backward(_model: nn.Module, loss: Tensor) -> None:
    """The backward pass."""
    loss.backward()


def backward_twice(_model: nn.Module, loss: Tensor) -> None:
    """Two backward passes, as when gradients are accumulated."""
    loss.backward(retain_graph=True)
    loss.backward()


def backward_that_updates(model: nn.Module, loss: Tensor) -> None:
    """A backward pass with an optimizer built in, which updates each parameter as soon as its gradient is there."""

    def update(parameter: Tensor) -> None:
        if parameter.grad is not None:
            with torch.no_grad():
                parameter -= 0.1 * parameter.grad

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(update)
    loss.backward()


@refutation(
    if_true=backward_that_updates,
    adversary=Adversary(
        "two backward passes with one update, in which gradients add up but no weight changes",
        backward_twice,
        refuted=True,
    ),
)
def backward_computes_gradients_only(back: Backward = backward) -> Shown:
    """Compute the loss of a training step with and without gradients; follow a weight through backward and update."""
    model = translator()
    with torch.no_grad():
        without = one_loss(model, model.encode(SOURCE))
    loss = one_loss(model, model.encode(SOURCE))
    weight = model.output.weight
    start = weight.detach().clone()
    back(model, loss)
    by_backward = largest_difference(weight, start)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return Shown(
        refuted=by_backward == 0 and largest_difference(loss, without) == 0,
        numbers={
            "loss from the forward pass, no gradient computed": rounded(without),
            "difference to the loss that is then propagated back": rounded(largest_difference(loss, without)),
            "change of a weight by the backward pass": rounded(by_backward),
            "change of a weight by the whole training step": rounded(largest_difference(weight, start)),
        },
    )


Compare = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From logits, labels, the encoder's and the decoder's vectors to a loss."""


def cross_entropy_of_logits(logits: Tensor, labels: Tensor, _memory: Tensor, _decoded: Tensor) -> Tensor:
    """PyTorch's cross-entropy."""
    return cross_entropy(logits.mT, labels)


def with_label_smoothing(logits: Tensor, labels: Tensor, _memory: Tensor, _decoded: Tensor) -> Tensor:
    """The same with label smoothing, as in the paper."""
    return cross_entropy(logits.mT, labels, label_smoothing=0.1)


def encoder_against_decoder(_logits: Tensor, _labels: Tensor, memory: Tensor, decoded: Tensor) -> Tensor:
    """The squared distance of the mean vectors of encoder and decoder."""
    return (memory.mean(dim=1) - decoded.mean(dim=1)).square().mean()


@refutation(
    if_true=encoder_against_decoder,
    adversary=Adversary(
        "cross-entropy with label smoothing, another loss, which compares no encoder with a decoder either",
        with_label_smoothing,
        refuted=True,
    ),
)
def cross_entropy_reads_logits_and_labels(compare: Compare = cross_entropy_of_logits) -> Shown:
    """Compute the loss of a training step; then give it other labels, or other vectors of encoder and decoder."""
    model = translator()
    memory = model.encode(SOURCE).detach()
    decoded = model.decode(INPUT, memory).detach()
    logits = model.output(decoded).detach()
    loss = compare(logits, LABELS, memory, decoded)
    by_labels = largest_difference(loss, compare(logits, LABELS.flip(-1), memory, decoded))
    by_vectors = largest_difference(loss, compare(logits, LABELS, normal(*memory.shape), normal(*decoded.shape)))
    return Shown(
        refuted=by_vectors == 0 < by_labels,
        numbers={
            "loss of the training step": rounded(loss),
            "minus the mean logarithm of the labels' probabilities": rounded(
                -logits.log_softmax(dim=-1).gather(-1, LABELS[..., None]).mean()
            ),
            "change of the loss with other labels": rounded(by_labels),
            "change of the loss with other vectors of encoder and decoder": rounded(by_vectors),
        },
    )


Masks = Callable[[int], Tensor | None]
"""From the length of the target to a mask as PyTorch wants it, or to none."""


def no_mask(_positions: int) -> None:
    """No mask."""


def mask_of_all_but_the_next(positions: int) -> Tensor:
    """A mask that is off by one: it shows each position the next one, and hides the rest."""
    return torch.ones(positions, positions, dtype=torch.bool).triu(2)


@refutation(
    if_true=causal_torch_mask,
    adversary=Adversary(
        "a mask that hides what lies ahead except the very next word, which is the label",
        mask_of_all_but_the_next,
        refuted=True,
    ),
)
def without_a_mask_the_decoder_reads_its_labels(mask: Masks = no_mask) -> Shown:
    """Run the decoder of PyTorch's Transformer on a whole target, as in training.

    Measure how strongly the word at each position moves the output at the position before, which must predict it.
    """
    model, source, target = torch_transformer(), vectors(5), vectors(4, seed=1)
    output = model(source, target, tgt_mask=mask(target.shape[1]))
    labels = [float(influence(output[:, t], target)[0, t + 1].max()) for t in range(target.shape[1] - 1)]
    return Shown(
        refuted=max(labels) > 0,
        numbers={
            f"influence of word {t + 2} on the output that predicts it": rounded(label)
            for t, label in enumerate(labels)
        },
    )


Gradients = Callable[[Translator], Sequence[Tensor]]
"""The gradient of a training step computed at all positions at once, one tensor for each of the model's parameters."""


def _gradient(model: Translator, logits: Tensor, labels: Tensor, reduction: str = "sum") -> tuple[Tensor, ...]:
    loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction=reduction)
    return grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)


def at_once(model: Translator) -> Sequence[Tensor]:
    """One pass under the causal mask, the losses of all positions added up."""
    return _gradient(model, model(SOURCE, INPUT), LABELS)


def at_once_averaged(model: Translator) -> Sequence[Tensor]:
    """The same with the mean of the losses."""
    return _gradient(model, model(SOURCE, INPUT), LABELS, reduction="mean")


def at_once_without_a_mask(model: Translator) -> Sequence[Tensor]:
    """One pass in which each position reads the whole target: parallel, but another function."""
    decoded = model.transformer.decoder(model.target_embedding(INPUT), model.encode(SOURCE))
    return _gradient(model, model.output(decoded), LABELS)


@refutation(
    if_true=at_once_without_a_mask,
    adversary=Adversary(
        "the mean of the losses instead of the sum, which makes the gradient shorter but leads nowhere else",
        at_once_averaged,
        refuted=True,
    ),
)
def parallel_training_follows_the_same_gradient(parallel: Gradients = at_once) -> Shown:
    """Compute the gradient of a training step of PyTorch's Transformer in one pass over all positions of the target.

    And in one pass for each position, in series, adding up. What leads in the same direction needs as many updates.
    """
    model = translator()
    series: list[Any] = [
        _gradient(model, model(SOURCE, INPUT[:, : t + 1])[:, -1:], LABELS[:, t : t + 1]) for t in range(LABELS.shape[1])
    ]
    one_by_one = torch.cat([torch.stack(parts).sum(dim=0).flatten() for parts in zip(*series, strict=True)])
    together = torch.cat([part.flatten() for part in parallel(model)])
    return Shown(
        refuted=float(cosine_similarity(together, one_by_one, dim=0)) > 1 - 1e-12,
        numbers={
            "passes in series": len(series),
            "passes in parallel": 1,
            "length of the gradient in series": rounded(one_by_one.norm()),
            "length of the gradient in parallel": rounded(together.norm()),
            "cosine of the angle between the two gradients": rounded(cosine_similarity(together, one_by_one, dim=0)),
        },
    )
