"""One loss, one backward pass, one update: how an encoder-decoder is trained."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from errata.refutations.measure import influence, largest_difference, normal, rounded
from errata.refutations.models import SOURCE, TARGET, VOCABULARY, outputs_of, small_transformer
from errata.refutations.registry import Shown, refutation
from reference import Transformer

INPUT, LABELS = TARGET[:, :-1], TARGET[:, 1:]
"""The decoder reads the target without its last id and predicts it without its first."""


def _loss(logits: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), LABELS.flatten())


Losses = Callable[[Transformer, Tensor], Tensor]


def _one_loss(model: Transformer, memory: Tensor) -> Tensor:
    return _loss(model.decode(INPUT, memory, torch.ones(1, 1, 1, SOURCE.shape[1], dtype=torch.bool)))


@refutation
def encoder_learns_only_through_the_decoder(loss: Losses = _one_loss) -> Shown:
    """Count the encoder's parameters that the loss reaches; then cut the link from the encoder to the decoder."""

    def reached(*, cut: bool) -> tuple[int, int]:
        model = small_transformer()
        memory = model.encode(SOURCE, SOURCE[:, None, None] != 0)
        loss(model, memory.detach().requires_grad_() if cut else memory).backward()
        parameters = list(model.encoder.parameters())
        return sum(p.grad is not None and bool(p.grad.any()) for p in parameters), len(parameters)

    (linked, total), (alone, _) = reached(cut=False), reached(cut=True)
    return Shown(
        refuted=linked > 0 and alone == 0,
        numbers={
            "tensors of parameters in the encoder": total,
            "of these, reached by the gradient of the one loss": linked,
            "reached when the decoder's gradient may not flow back": alone,
        },
    )


@refutation
def embeddings_are_learned_with_the_model(model: Transformer | None = None) -> Shown:
    """Make one update and look at the embedding of a word of the sentence."""
    model = model or small_transformer()
    before = model.source_embedding.weight.detach().clone()
    _loss(model(SOURCE, INPUT)).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    changed = (model.source_embedding.weight.detach() != before).any(dim=-1)
    return Shown(
        refuted=bool(changed.any()),
        numbers={
            "different words in the input": len(set(SOURCE.flatten().tolist())),
            "word vectors that one update of the model changes": int(changed.sum()),
            "learned word vectors in the model": VOCABULARY,
        },
    )


def _decoder_input(model: Transformer) -> Tensor:
    seen: list[Tensor] = []
    hook = model.decoder.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    model(SOURCE, INPUT)
    hook.remove()
    return seen[0]


@refutation
def decoder_reads_the_shifted_target(decoder_input: Callable[[Transformer], Tensor] = _decoder_input) -> Shown:
    """Run a training step and ask by gradient which embeddings the vectors at the decoder's entrance are made of."""
    model = small_transformer()
    x = decoder_input(model)
    by_source = float(influence(x, model.source_embedding.weight).max())
    by_target = influence(x, model.target_embedding.weight).amax(dim=-1)
    return Shown(
        refuted=by_source == 0 < float(by_target.max()),
        numbers={
            "influence of the input's word vectors on the decoder's input": rounded(by_source),
            "influence of the output's word vectors on it": rounded(by_target.max()),
            "ids that it is made of": " ".join(str(int(i)) for i in by_target.nonzero()),
            "ids of the output sequence": " ".join(str(int(i)) for i in TARGET.flatten().sort().values),
        },
    )


def _backward(_model: nn.Module, loss: Tensor) -> None:
    loss.backward()


@refutation
def backward_computes_gradients_only(backward: Callable[[nn.Module, Tensor], None] = _backward) -> Shown:
    """Compute the loss with and without gradients, then follow a weight through the backward pass and the update."""
    model = small_transformer()
    with torch.no_grad():
        without = _loss(model(SOURCE, INPUT))
    loss = _loss(model(SOURCE, INPUT))
    weight = model.output.weight
    start = weight.detach().clone()
    backward(model, loss)
    by_backward = largest_difference(weight, start)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return Shown(
        refuted=by_backward == 0 and largest_difference(loss, without) == 0,
        numbers={
            "loss from the forward pass, no gradient computed": rounded(without),
            "difference to the loss that is then propagated back": rounded(largest_difference(loss, without)),
            "change of the weights by the backward pass": rounded(by_backward),
            "change of the weights by the optimizer's step": rounded(largest_difference(weight, start)),
        },
    )


Compare = Callable[[Tensor, Tensor, Tensor], Tensor]


def _cross_entropy(logits: Tensor, _memory: Tensor, _decoded: Tensor) -> Tensor:
    return _loss(logits)


@refutation
def cross_entropy_reads_logits_and_labels(compare: Compare = _cross_entropy) -> Shown:
    """Compute the loss of a training step, hold it against its closed form, and replace the encoder's output in it."""
    model = small_transformer()
    with outputs_of(model.encoder, model.decoder) as seen:
        logits = model(SOURCE, INPUT).detach()
    memory, decoded = (output.detach() for output in seen)
    loss = compare(logits, memory, decoded)
    closed = -logits.log_softmax(dim=-1).gather(-1, LABELS[..., None]).mean()
    change = largest_difference(loss, compare(logits, normal(*memory.shape), decoded))
    return Shown(
        refuted=change == 0 and largest_difference(loss, closed) < 1e-12,
        numbers={
            "cross-entropy of the training step": rounded(loss),
            "minus the mean logarithm of the labels' probabilities": rounded(closed),
            "change of the loss when the encoder's vectors are replaced": rounded(change),
        },
    )
