"""What the encoder hands on, what each attention reads, and how the source reaches the output."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from errata.refutations.measure import influence, largest_difference, normal, rounded, seeded
from errata.refutations.models import SOURCE, TARGET, WIDTH, outputs_of, small_transformer, vectors
from errata.refutations.registry import Shown, refutation
from reference import MultiHeadAttention, Transformer


def _encode(x: Tensor) -> Tensor:
    output: Tensor = small_transformer().encoder(x)
    return output


@refutation
def encoder_gives_one_vector_per_position(encode: Callable[[Tensor], Tensor] = _encode) -> Shown:
    """Encode sequences of 3, 6 and 12 positions and count the numbers in each result."""
    sizes = {length: encode(vectors(length)).numel() for length in (3, 6, 12)}
    return Shown(
        refuted=len(set(sizes.values())) > 1,
        numbers={f"numbers in the encoding of {length} positions": size for length, size in sizes.items()},
    )


@refutation
def encoding_already_holds_the_dependencies(mask: Tensor | None = None) -> Shown:
    """Measure how strongly the first position moves the last vector of the finished encoding.

    Then with a mask under which each position may attend itself alone, so that the self-attention relates nothing.
    """

    def first_on_last(mask: Tensor | None) -> float:
        x = vectors(5)
        encoded = small_transformer().encoder(x, mask)
        return float(influence(encoded[:, -1], x)[:, 0].max())

    strength = first_on_last(mask)
    return Shown(
        refuted=strength > 0,
        numbers={
            "influence of the first position on the last vector of the encoding": rounded(strength),
            "the same when self-attention relates no two positions": rounded(
                first_on_last(torch.eye(5, dtype=torch.bool))
            ),
        },
    )


def _memory(source: Tensor, target: Tensor) -> Tensor:
    model = small_transformer()
    with outputs_of(model.encoder) as seen:
        model(source, target)
    return seen[0]


@refutation
def memory_knows_nothing_of_the_target(memory: Callable[[Tensor, Tensor], Tensor] = _memory) -> Shown:
    """Run the model on two targets and on two sources, and compare the vectors that its encoder gives."""
    original = memory(SOURCE, TARGET)
    by_target = largest_difference(original, memory(SOURCE, TARGET.flip(-1)))
    by_source = largest_difference(original, memory(SOURCE.flip(-1), TARGET))
    return Shown(
        refuted=by_target == 0 < by_source,
        numbers={
            "change of the encoder's vectors with another output sequence": rounded(by_target),
            "change of the encoder's vectors with another input sequence": rounded(by_source),
        },
    )


class Readers(NamedTuple):
    """How many attentions read what."""

    within_input: int
    within_output: int
    output_to_input: int


def _readers(model: Transformer) -> Readers:
    """Give every layer the two sequences, and ask by gradient which of them its queries and its keys come from."""
    source, target = vectors(5), vectors(4, seed=1)
    memory = model.encoder.layers[0](source)
    counts: dict[tuple[bool, bool], int] = {}

    def count(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        query, key = inputs[:2]
        kind = bool(influence(query, target).any()), bool(influence(key, target).any())
        counts[kind] = counts.get(kind, 0) + 1

    attentions = [part for part in model.modules() if isinstance(part, MultiHeadAttention)]
    hooks = [attention.register_forward_pre_hook(count) for attention in attentions]
    for encoder_layer in model.encoder.layers:
        encoder_layer(source)
    for decoder_layer in model.decoder.layers:
        decoder_layer(target, memory)
    for hook in hooks:
        hook.remove()
    return Readers(counts.get((False, False), 0), counts.get((True, True), 0), counts.get((True, False), 0))


@refutation
def attention_reads_more_than_the_input(read: Callable[[Transformer], Readers] = _readers) -> Shown:
    """Give every attention of a six-layer model its inputs, and ask by gradient which sequence its sides come from."""
    readers = read(small_transformer(layers=6))
    return Shown(
        refuted=readers.within_output + readers.output_to_input > 0,
        numbers={
            "attentions that relate positions of the input": readers.within_input,
            "attentions that relate positions of the output": readers.within_output,
            "attentions that relate the output to the input": readers.output_to_input,
        },
    )


@refutation
def self_attention_stays_in_its_sequence(kind: str = "self_attention") -> Shown:
    """Run the first decoder layer and measure what its self-attention takes from either sequence."""
    model, source, target = small_transformer(), vectors(5), vectors(4, seed=1)
    layer = model.decoder.layers[0]
    with outputs_of(layer.get_submodule(kind)) as seen:
        layer(target, model.encoder(source))
    from_source, from_target = (float(influence(seen[0], sequence).max()) for sequence in (source, target))
    return Shown(
        refuted=from_source == 0 < from_target,
        numbers={
            "influence of the output sequence on the decoder's first self-attention": rounded(from_target),
            "influence of the input sequence on it": rounded(from_source),
        },
    )


def _influence_when_silent(kind: str | None) -> float:
    """How strongly the source moves the decoder when every attention of this name answers 0."""
    model, source, target = small_transformer(), vectors(5), vectors(4, seed=1)
    for name, module in model.named_modules():
        if kind and name.endswith(f".{kind}"):
            module.register_forward_hook(lambda _module, _inputs, output: torch.zeros_like(output))
    return float(influence(model.decoder(target, model.encoder(source)), source).max())


@refutation
def only_cross_attention_carries_the_source_across(carrier: str = "cross_attention") -> Shown:
    """Measure how strongly the source moves the decoder's output; silence one kind of attention, then the other."""
    other = {"cross_attention": "self_attention", "self_attention": "cross_attention"}[carrier]
    without_carrier, without_other = _influence_when_silent(carrier), _influence_when_silent(other)
    return Shown(
        refuted=without_carrier == 0 < without_other,
        numbers={
            "influence of the input on the decoder's output": rounded(_influence_when_silent(None)),
            f"with every {other.replace('_', '-')} silenced": rounded(without_other),
            f"with every {carrier.replace('_', '-')} silenced": rounded(without_carrier),
        },
    )


Attend = Callable[[MultiHeadAttention, Tensor, Tensor], tuple[Tensor, Tensor]]


def _attend_memory(attention: MultiHeadAttention, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    return attention.with_weights(x, memory, memory)


@refutation
def cross_attention_weighs_the_source_alone(attend: Attend = _attend_memory) -> Shown:
    """Attend from 3 target positions to 5 source positions: look at the weights and at who moves the first answer.

    Then make all source vectors equal: whatever the queries are, the answers are equal; nothing of them is passed on.
    """
    attention: MultiHeadAttention = seeded(lambda: MultiHeadAttention(WIDTH, 2)).double()
    target, source = vectors(3), vectors(5, seed=1)
    output, weights = attend(attention, target, source)
    others = float(influence(output[:, 0], target)[:, 1:].max())
    same, _ = attend(attention, target, source[:, :1].expand_as(source))
    spread = largest_difference(same, same[:, :1])
    return Shown(
        refuted=weights.shape[-1] == source.shape[1] and others == 0 and spread < 1e-12,
        numbers={
            "positions that a query weighs": weights.shape[-1],
            "positions of the input": source.shape[1],
            "influence of the other output positions on an answer": rounded(others),
            "difference between the answers when all source vectors are equal": rounded(spread),
        },
    )


Remember = Callable[[nn.Module, Tensor], Tensor]


def _whole_encoder(encoder: nn.Module, source: Tensor) -> Tensor:
    memory: Tensor = encoder(source)
    return memory


@refutation
def decoder_waits_for_the_encoder(remember: Remember = _whole_encoder) -> Shown:
    """Change one weight of the encoder's last layer and see whether the decoder's first layer answers otherwise."""
    model, source, target = small_transformer(), vectors(5), vectors(4, seed=1)
    first = model.decoder.layers[0]
    before = first(target, remember(model.encoder, source))
    with torch.no_grad():
        model.encoder.layers[-1].get_parameter("feed_forward.outer.weight")[0, 0] += 1.0
    change = largest_difference(before, first(target, remember(model.encoder, source)))
    return Shown(
        refuted=change > 0,
        numbers={"change of the decoder's first layer when the encoder's last layer changes": rounded(change)},
    )


def _causal_attention(heads: int) -> Callable[[Tensor], Tensor]:
    attention: MultiHeadAttention = seeded(lambda: MultiHeadAttention(WIDTH, heads)).double()

    def run(x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1])
        output: Tensor = attention(x, x, x, positions <= positions[:, None])
        return output

    return run


@refutation
def one_head_is_as_parallel_as_many(build: Callable[[int], Callable[[Tensor], Tensor]] = _causal_attention) -> Shown:
    """Hold one pass over 6 positions under the causal mask against 6 passes, one a prefix; with 1 head and with 4."""
    x = normal(1, 6, WIDTH)

    def gap(heads: int) -> float:
        run = build(heads)
        one_by_one = torch.cat([run(x[:, : end + 1])[:, -1:] for end in range(x.shape[1])], dim=1)
        return largest_difference(run(x), one_by_one)

    one, four = gap(1), gap(4)
    return Shown(
        refuted=one < 1e-12,
        numbers={
            "one pass against six, 1 head: largest difference": rounded(one),
            "one pass against six, 4 heads: largest difference": rounded(four),
        },
    )
