"""What the encoder hands on, what each attention reads, and how the source reaches the output."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, cross_entropy

from errata.refutations.depth import longest_chain
from errata.refutations.measure import influence, largest_difference, normal, rounded, seeded
from errata.refutations.models import WIDTH, causal_torch_mask, torch_transformer, vectors
from errata.refutations.registry import Adversary, Shown, refutation
from reference import sinusoids

Encode = Callable[[Tensor], Tensor]
"""From the vectors of a sequence `(1, positions, width)` to its encoding."""


def torch_encoder(x: Tensor) -> Tensor:
    """PyTorch's encoder."""
    encoding: Tensor = torch_transformer().encoder(x)
    return encoding


def one_vector(x: Tensor) -> Tensor:
    """The mean of the encoder's vectors, whatever their number."""
    return torch_encoder(x).mean(dim=1, keepdim=True)


def one_vector_repeated(x: Tensor) -> Tensor:
    """One vector for the sequence, handed on once for each position."""
    return one_vector(x).expand_as(x)


@refutation(
    if_true=one_vector,
    adversary=Adversary(
        "one vector for the sequence, repeated at every position, which a count of the numbers does not tell apart",
        one_vector_repeated,
        refuted=False,
    ),
)
def encoder_gives_one_vector_per_position(encode: Encode = torch_encoder) -> Shown:
    """Encode sequences of 3, 6 and 12 positions with PyTorch's encoder and count the different vectors in each."""
    different = {length: len(encode(vectors(length))[0].unique(dim=0)) for length in (3, 6, 12)}
    return Shown(
        refuted=len(set(different.values())) > 1,
        numbers={
            f"different vectors in the encoding of {length} positions": count for length, count in different.items()
        },
    )


def embedding_alone(x: Tensor) -> Tensor:
    """The vectors of the words with the codes of their positions, before any attention."""
    return x + sinusoids(x.shape[1], WIDTH)


def convolutional_encoder(x: Tensor) -> Tensor:
    """A convolution of width 3."""
    return conv1d(x.mT, normal(WIDTH, WIDTH, 3), padding=1).mT


@refutation(
    if_true=embedding_alone,
    adversary=Adversary(
        "an encoder by convolution, in which the first position does not reach the last, but neighbours do",
        convolutional_encoder,
        refuted=True,
    ),
)
def encoding_already_holds_the_dependencies(encode: Encode = torch_encoder) -> Shown:
    """Encode 5 positions with PyTorch's encoder and measure how strongly each position moves the vectors of others."""
    x = vectors(5)
    encoding = encode(x)
    by_position = torch.stack([influence(encoding[:, t], x)[0].amax(dim=-1) for t in range(5)])
    own, others = by_position.diagonal(), by_position.masked_fill(torch.eye(5, dtype=torch.bool), 0)
    return Shown(
        refuted=float(others.max()) > 0,
        numbers={
            "influence of a position on its own vector, largest": rounded(own.max()),
            "influence of a position on the vector of another, largest": rounded(others.max()),
        },
    )


Remember = Callable[[Tensor, Tensor], Tensor]
"""From the vectors of the source and of the target to what the encoder hands on in a run of the whole model."""


def _memory_of(model: nn.Transformer, source: Tensor, target: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = model.encoder.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model(source, target)
    hook.remove()
    return seen[0]


def torch_memory(source: Tensor, target: Tensor) -> Tensor:
    """What the encoder hands on in PyTorch's Transformer."""
    return _memory_of(torch_transformer(), source, target)


def memory_with_dropout(source: Tensor, target: Tensor) -> Tensor:
    """The same in training with dropout."""
    return seeded(lambda: _memory_of(torch_transformer(dropout=0.5), source, target))


def memory_of_both(source: Tensor, target: Tensor) -> Tensor:
    """An encoder that is given the two sequences as one."""
    return torch_encoder(torch.cat([source, target], dim=1))


@refutation(
    if_true=memory_of_both,
    adversary=Adversary(
        "a model in training with dropout, whose encoder answers otherwise at every run, whatever the output sequence",
        memory_with_dropout,
        refuted=True,
    ),
)
def memory_knows_nothing_of_the_target(memory: Remember = torch_memory) -> Shown:
    """Run PyTorch's Transformer and ask by gradient which sequence moves the vectors that its encoder gives."""
    source, target = vectors(5), vectors(4, seed=1)
    handed_on = memory(source, target)
    by_source, by_target = (float(influence(handed_on, sequence).max()) for sequence in (source, target))
    return Shown(
        refuted=by_target == 0 < by_source,
        numbers={
            "influence of the input sequence on the encoder's vectors": rounded(by_source),
            "influence of the output sequence on them": rounded(by_target),
        },
    )


class Attended(NamedTuple):
    """One call of an attention: by its name in the model, how many queries and keys, and what it answered."""

    name: str
    queries: int
    keys: int
    answer: Tensor


@contextmanager
def _attentions(model: nn.Module) -> Iterator[list[Attended]]:
    """Collect what the attentions of a model are given and answer, in the order of their calls."""
    seen: list[Attended] = []

    def watch(name: str, attention: nn.MultiheadAttention) -> torch.utils.hooks.RemovableHandle:
        return attention.register_forward_hook(
            lambda _module, inputs, output: seen.append(
                Attended(name, inputs[0].shape[1], inputs[1].shape[1], output[0])
            )
        )

    hooks = [watch(name, part) for name, part in model.named_modules() if isinstance(part, nn.MultiheadAttention)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


class EncoderAlone(nn.Module):
    """A model that only reads its input, as for classification."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch_transformer(layers=6).encoder

    def forward(self, source: Tensor, _target: Tensor) -> Tensor:
        """Encode the source."""
        encoding: Tensor = self.encoder(source)
        return encoding


class EncoderOfWindows(EncoderAlone):
    """The same, run on pieces of the input of at most 4 positions."""

    def forward(self, source: Tensor, _target: Tensor) -> Tensor:
        """Encode the source piece by piece."""
        return torch.cat([self.encoder(piece) for piece in source.split(4, dim=1)], dim=1)


@refutation(
    if_true=EncoderAlone,
    adversary=Adversary(
        "an encoder run on windows of 4 positions, exactly as many as the output sequence has",
        EncoderOfWindows,
        refuted=False,
    ),
)
def attention_reads_more_than_the_input(build: Callable[[], nn.Module] | None = None) -> Shown:
    """Run PyTorch's Transformer of six layers on output sequences of 4 and of 6 positions, the input being the same.

    An attention whose queries, or whose keys, become more with the output sequence belongs to that sequence.
    """
    model = build() if build else torch_transformer(layers=6)
    with _attentions(model) as seen:
        model(vectors(5), vectors(4, seed=1))
        model(vectors(5), vectors(6, seed=1))
    half = len(seen) // 2
    sides = [
        (long.queries > short.queries, long.keys > short.keys)
        for short, long in zip(seen[:half], seen[half:], strict=True)
    ]
    return Shown(
        refuted=sides.count((False, False)) < len(sides),
        numbers={
            "attentions that relate positions of the input": sides.count((False, False)),
            "attentions that relate positions of the output": sides.count((True, True)),
            "attentions that relate the output to the input": sides.count((True, False)),
        },
    )


@refutation(
    if_true="decoder.layers.0.multihead_attn",
    adversary=Adversary(
        "the self-attention of the second decoder layer, which the input does move, through the layer before it",
        "decoder.layers.1.self_attn",
        refuted=True,
    ),
)
def self_attention_stays_in_its_sequence(name: str = "decoder.layers.0.self_attn") -> Shown:
    """Run PyTorch's Transformer on sequences of several lengths and count the keys of the decoder's self-attention.

    They are the positions that it relates its queries to, and belong to the sequence with which they become more.
    """

    def attended(source: Tensor, target: Tensor) -> Attended:
        model = torch_transformer()
        with _attentions(model) as seen:
            model(source, target)
        return next(call for call in seen if call.name == name)

    source, target = vectors(5), vectors(4, seed=1)
    first = attended(source, target)
    longer_source, longer_target = attended(vectors(7), target), attended(source, vectors(6, seed=1))
    return Shown(
        refuted=first.keys == longer_source.keys < longer_target.keys,
        numbers={
            "keys with 5 positions of the input and 4 of the output": first.keys,
            "keys with 7 positions of the input and 4 of the output": longer_source.keys,
            "keys with 5 positions of the input and 6 of the output": longer_target.keys,
            "influence of the input on the answers": rounded(influence(first.answer, source).max()),
        },
    )


class DecoderAlone(nn.Module):
    """A model without an encoder, which reads the source and the target as one sequence, as GPT does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch_transformer().encoder

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """The vectors of the target's positions."""
        both = torch.cat([source, target], dim=1)
        output: Tensor = self.layers(both, mask=causal_torch_mask(both.shape[1]))
        return output[:, source.shape[1] :]


class Autoencoder(nn.Module):
    """PyTorch's Transformer with its input for an output sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = torch_transformer()

    def forward(self, source: Tensor, _target: Tensor) -> Tensor:
        """The vectors of the decoder."""
        output: Tensor = self.transformer(source, source)
        return output


@refutation(
    if_true=DecoderAlone,
    adversary=Adversary(
        "a model that repeats its input: the decoder is given the input itself and needs nothing to carry it across",
        Autoencoder,
        refuted=False,
    ),
)
def only_cross_attention_carries_the_source_across(build: Callable[[], nn.Module] | None = None) -> Shown:
    """Measure how strongly the input moves the output of PyTorch's Transformer.

    Then let every self-attention answer zeros, and then every cross-attention instead.
    """

    def reach(silent: str | None) -> float:
        model, source, target = build() if build else torch_transformer(), vectors(5), vectors(4, seed=1)
        for name, attention in model.named_modules():
            if silent and name.endswith(silent):
                attention.register_forward_hook(lambda _module, _in, output: (torch.zeros_like(output[0]), None))
        return float(influence(model(source, target), source).max())

    whole, without_self, without_cross = (reach(silent) for silent in (None, "self_attn", "multihead_attn"))
    return Shown(
        refuted=without_cross == 0 < without_self,
        numbers={
            "influence of the input on the output": rounded(whole),
            "with every self-attention silenced": rounded(without_self),
            "with every cross-attention silenced": rounded(without_cross),
        },
    )


Attend = Callable[[nn.MultiheadAttention, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From the attention, the decoder's vectors and the encoder's vectors to answers and weights."""


def attend_memory(attention: nn.MultiheadAttention, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-attention."""
    output, weights = attention(x, memory, memory)
    return output, weights


def attend_both(attention: nn.MultiheadAttention, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Attention whose keys and values are those of both sequences."""
    return attend_memory(attention, x, torch.cat([memory, x], dim=1))


def attend_memory_but_residual(attention: nn.MultiheadAttention, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-attention and the residual connection around it."""
    output, weights = attend_memory(attention, x, memory)
    return x + output, weights


@refutation(
    if_true=attend_both,
    adversary=Adversary(
        "the attention together with its residual connection, which does hand on the output's own vectors",
        attend_memory_but_residual,
        refuted=False,
    ),
)
def cross_attention_weighs_the_source_alone(attend: Attend = attend_memory) -> Shown:
    """Attend from 3 positions of the output to 5 of the input with PyTorch's module; look at weights and influences.

    Then make all vectors of the input equal: whatever the queries are, the answers are equal; nothing of them is passed
    on.
    """
    attention = seeded(lambda: nn.MultiheadAttention(WIDTH, 2, batch_first=True, dtype=torch.float64))
    target, source = vectors(3), vectors(5, seed=1)
    output, weights = attend(attention, target, source)
    others = float(influence(output[:, 0], target)[:, 1:].max())
    same, _ = attend(attention, target, source[:, :1].expand_as(source))
    spread = largest_difference(same, same[:, :1])
    return Shown(
        refuted=weights.shape[-1] == source.shape[1] and others == 0 and spread < 1e-12,
        numbers={
            "positions of the input": source.shape[1],
            "positions that a query weighs": weights.shape[-1],
            "influence of the other output positions on an answer": rounded(others),
            "difference between the answers when all vectors of the input are equal": rounded(spread),
        },
    )


Hand = Callable[[nn.Module, Tensor], Tensor]
"""From the encoder and the source to what the decoder is given."""


def whole_encoder(encoder: nn.Module, source: Tensor) -> Tensor:
    """What the encoder's last layer gives."""
    memory: Tensor = encoder(source)
    return memory


def frozen_encoder(encoder: nn.Module, source: Tensor) -> Tensor:
    """The same, but no gradient flows back."""
    return whole_encoder(encoder, source).detach()


def no_encoder(_encoder: nn.Module, source: Tensor) -> Tensor:
    """The source as it is, so that the two halves could run side by side."""
    return source


@refutation(
    if_true=no_encoder,
    adversary=Adversary(
        "a frozen encoder, on which the decoder depends though no gradient says so", frozen_encoder, refuted=True
    ),
)
def decoder_waits_for_the_encoder(hand: Hand = whole_encoder) -> Shown:
    """Change one bias of the last encoder layer of PyTorch's Transformer and run the decoder's first layer again."""
    model, source, target = torch_transformer(), vectors(5), vectors(4, seed=1)
    first = model.decoder.layers[0]
    before = first(target, hand(model.encoder, source))
    with torch.no_grad():
        model.encoder.layers[-1].get_parameter("linear2.bias")[0] += 1.0
    change = largest_difference(before, first(target, hand(model.encoder, source)))
    return Shown(
        refuted=change > 0,
        numbers={"change of the decoder's first layer when the encoder's last layer changes": rounded(change)},
    )


Build = Callable[[int], Callable[[Tensor], Tensor]]
"""From a number of heads to a layer that reads a sequence from left to right."""


def causal_attention(heads: int) -> Callable[[Tensor], Tensor]:
    """PyTorch's attention under the causal mask."""
    attention = seeded(lambda: nn.MultiheadAttention(WIDTH, heads, batch_first=True, dtype=torch.float64))

    def run(x: Tensor) -> Tensor:
        output: Tensor = attention(x, x, x, attn_mask=causal_torch_mask(x.shape[1]))[0]
        return output

    return run


def recurrent_cells(_heads: int) -> Callable[[Tensor], Tensor]:
    """A recurrent layer, which has no heads and waits at each position for the one before."""
    cell = seeded(lambda: nn.RNNCell(WIDTH, WIDTH, dtype=torch.float64))

    def run(x: Tensor) -> Tensor:
        states: list[Tensor] = []
        for word in x.unbind(dim=1):
            states.append(cell(word, states[-1] if states else None))
        return torch.stack(states, dim=1)

    return run


def parallel_by_heads(heads: int) -> Callable[[Tensor], Tensor]:
    """Position by position with one head, at once with several."""
    return causal_attention(heads) if heads > 1 else recurrent_cells(heads)


@refutation(
    if_true=parallel_by_heads,
    adversary=Adversary(
        "a recurrent layer, whose one pass over a sequence also equals a pass over every prefix",
        recurrent_cells,
        refuted=False,
    ),
)
def one_head_is_as_parallel_as_many(build: Build = causal_attention) -> Shown:
    """Count the longest chain of operations that wait for one another in PyTorch's attention under the causal mask.

    With 1 head and with 4, and for 8 and for 64 positions: what is parallel takes no longer a chain for more positions.
    """

    def chain(heads: int, positions: int) -> int:
        return longest_chain(build(heads)(vectors(positions)))

    one, four = ([chain(heads, positions) for positions in (8, 64)] for heads in (1, 4))
    return Shown(
        refuted=one[0] == one[1],
        numbers={
            "longest chain of operations, 1 head, 8 positions": one[0],
            "longest chain of operations, 1 head, 64 positions": one[1],
            "longest chain of operations, 4 heads, 8 positions": four[0],
            "longest chain of operations, 4 heads, 64 positions": four[1],
        },
    )


WORDS = 8
"""The different words of the language in which sequences are repeated."""


class Repeat(nn.Module):
    """Read a sequence with a recurrent network and say its words again from the last state."""

    def __init__(self, length: int, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.position = nn.Parameter(torch.randn(length, width))
        self.decoder = nn.Sequential(nn.Linear(2 * width, 64), nn.ReLU(), nn.Linear(64, WORDS))

    def remember(self, states: Tensor) -> Tensor:
        """What the decoder knows of the sequence at each position."""
        return states[:, -1:].expand_as(states)

    def forward(self, words: Tensor) -> Tensor:
        """The logits `(B, positions, WORDS)`."""
        states, _ = self.encoder(self.embedding(words))
        asked = self.position.expand(len(words), -1, -1)
        logits: Tensor = self.decoder(torch.cat([self.remember(states), asked], dim=-1))
        return logits


class RepeatFromAllStates(Repeat):
    """The same, but the decoder finds at each position the state of that position, as attention may give it."""

    def remember(self, states: Tensor) -> Tensor:
        """All states."""
        return states


class Guess(nn.Module):
    """The same probability for every word."""

    def __init__(self, _length: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(()))

    def forward(self, words: Tensor) -> Tensor:
        """The logits `(B, positions, WORDS)`."""
        return self.logits.expand(*words.shape, WORDS)


@refutation(
    if_true=RepeatFromAllStates,
    adversary=Adversary(
        "a model that guesses: its errors add up with the length, while no word becomes harder", Guess, refuted=False
    ),
)
def one_vector_holds_short_sequences_best(build: Callable[[int], nn.Module] = Repeat) -> Shown:
    """Train a recurrent encoder of width 16 and a decoder that sees its last state alone to repeat random sequences.

    One model for each length, 300 steps of Adam; then the cross-entropy of a word in new sequences (0 is perfect, 2.079
    is a guess among 8 words).
    """

    def loss(length: int) -> float:
        model = seeded(lambda: build(length))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        generator = torch.Generator().manual_seed(1)

        def of(sequences: int) -> Tensor:
            words = torch.randint(WORDS, (sequences, length), generator=generator)
            return cross_entropy(model(words).flatten(0, 1), words.flatten())

        for _ in range(300):
            optimizer.zero_grad()
            of(64).backward()
            optimizer.step()
        with torch.no_grad():
            return float(of(1000))

    losses = {length: loss(length) for length in (2, 4, 8)}
    return Shown(
        refuted=losses[8] > losses[2] + 0.1,
        numbers={f"cross-entropy of a word, {length} words": rounded(value) for length, value in losses.items()},
    )
