"""The encoder-decoder: ``build(vocabulary, width, heads, hidden, layers)``, ``call(source, target, source_mask)``.

Shapes: source ids int64 ``(B, S)``, target ids int64 ``(B, T)``, source_mask boolean ``(B, S)`` or None, True = a real
token, False = padding. Output: logits ``(B, T, V)``; those at t score the token after target t. The candidate adds the
causal mask itself. Parameters, where known: ``encoder`` (its layers). Id 0 is never drawn: it may mean padding.

Traits: ``one-layer`` (one layer a stack, whatever ``layers`` asks for), ``no-mask`` (it takes no mask), ``tied`` (both
embeddings and the output projection are one parameter), and those whose argument is passed only where they are
declared, see `models`: ``cache`` (``chunks`` of the target; with ``single-steps`` one position at a time only),
``loss`` (``labels`` of the target), ``eager``.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.candidates.candidate import Scalar
from errata.checks import models, modules
from errata.checks.encoder import another
from errata.checks.evidence import Evidence, equal, finite, holds
from errata.checks.literature import PYTORCH, VASWANI
from errata.checks.modules import StackCase, answers, given
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class TransformerCase(StackCase):
    """Sizes of one model and one call; ``masked`` says whether a source mask is passed."""

    batch: int = 1
    sources: int = 1
    targets: int = 1
    heads: int = 1
    head_width: int = 4
    hidden: int = 7
    masked: bool = False

    def config(self) -> dict[str, Scalar]:
        """See `ModuleCase.config`."""
        return {
            "vocabulary": self.vocabulary,
            "width": self.heads * self.head_width,
            "heads": self.heads,
            "hidden": self.hidden,
            "layers": self.layers,
        }

    def inputs(self) -> dict[str, Tensor | None]:
        """See `ModuleCase.inputs`. The first source token is never padding."""
        real = self.real() if self.masked else None
        return {"source": self.source(), "target": self.target(), "source_mask": real}

    def source(self) -> Tensor:
        """Source ids."""
        return self.integers("source", 1, self.vocabulary, self.batch, self.sources)

    def target(self) -> Tensor:
        """Target ids."""
        return self.integers("target", 1, self.vocabulary, self.batch, self.targets)

    def real(self) -> Tensor:
        """Which source positions are no padding, ``(B, S)``."""
        real = self.booleans("real", self.batch, self.sources)
        real[:, 0] = True
        return real

    def with_one_replaced(self, name: str) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None], int]:
        """The arguments, the arguments with another token at one position of source or target, and that position."""
        before = self.inputs()
        replaced = given(before, name).clone()
        position = int(self.integers(f"position in {name}", 0, replaced.shape[1]))
        replaced[:, position] = another(replaced[:, position], self.vocabulary)
        return before, before | {name: replaced}, position

    def with_two_swapped(self, name: str) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None]]:
        """The arguments with two different tokens at positions 0 and 1, and with these in the other order."""
        arguments = self.inputs()
        ids = given(arguments, name).clone()
        ids[:, 1] = another(ids[:, 0], self.vocabulary)
        swapped = ids.clone()
        swapped[:, [0, 1]] = ids[:, [1, 0]]
        return arguments | {name: ids}, arguments | {name: swapped}


DOMAIN = {
    "batch": (1, 2, 3),
    "sources": (2, 3, 5),
    "targets": (2, 3, 4),
    "vocabulary": (6, 11),  # unlike any width
    "heads": (1, 2, 3),
    "head_width": (4, 5),
    "hidden": (23, 29),
    "layers": (1, 2),
}
ANY = DOMAIN | {"sources": (1, 2, 3, 5), "targets": (1, 2, 3, 4)}

RUNS = "transformer.accepts-valid-input"
RUNS_UNEQUAL = "transformer.lengths-may-differ"
RUNS_MASKED = "transformer.accepts-source-mask"
CAUSAL = "transformer.no-influence-from-the-future"
HISTORY = "transformer.influence-from-the-past"
SOURCE_USED = "transformer.every-source-token-has-influence"
PADDING = "transformer.source-padding-has-no-influence"
STEPS = "transformer.cached-steps-equal-the-full-pass"
EAGER = "transformer.eager-equals-fused"
LOSS = "transformer.loss-is-mean-negative-log-probability"

ENCODER_DECODER = VASWANI.says("3", "the decoder then generates an output sequence")
NO_FUTURE = VASWANI.says(
    "3.1", "ensures that the predictions for position i can depend only on the known outputs at positions less than i"
)
UP_TO_ITSELF = VASWANI.says("3.2.3", "to attend to all positions in the decoder up to and including that position")
ALL_OF_THE_INPUT = VASWANI.says(
    "3.2.3", "This allows every position in the decoder to attend over all positions in the input sequence"
)
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")
AT_THE_BOTTOMS = VASWANI.says("3.5", "at the bottoms of the encoder and decoder stacks")


def logits_have_their_shape(candidate: Candidate, case: TransformerCase) -> Evidence:
    """One score for each token of the vocabulary at each target position."""
    return modules.has_shape(candidate, case, case.batch, case.targets, case.vocabulary)


@check(
    RUNS,
    "source ids (B, S) and target ids (B, T) of one length give logits (B, T, V)",
    spec=ENCODER_DECODER,
    level="paper",
    hint="Run it once. Try one sequence, one token, and sizes that all differ.",
    case=TransformerCase,
    domain=ANY,
    where=lambda case: case.sources == case.targets,
)
def accepts_valid_input(candidate: Candidate, case: TransformerCase) -> Evidence:
    return logits_have_their_shape(candidate, case)


@check(
    RUNS_UNEQUAL,
    "source (B, S) and target (B, T) may have different lengths: the logits are (B, T, V)",
    spec=ALL_OF_THE_INPUT,
    level="paper",
    hint="Masks and positions of the source have the source's length, those of the target the target's.",
    case=TransformerCase,
    domain=ANY,
    builds_on=[RUNS],
)
def lengths_may_differ(candidate: Candidate, case: TransformerCase) -> Evidence:
    return logits_have_their_shape(candidate, case)


@check(
    RUNS_MASKED,
    "a mask (B, S) that tells real source tokens from padding is accepted",
    spec=MASKING,
    level="paper",
    hint="Give it axes for heads and queries: mask[:, None, None, :] against (B, H, T, S).",
    case=TransformerCase,
    domain=ANY | {"masked": (True,)},
    unless=["no-mask"],
    builds_on=[RUNS_UNEQUAL],
)
def accepts_source_mask(candidate: Candidate, case: TransformerCase) -> Evidence:
    return logits_have_their_shape(candidate, case)


@check(
    "transformer.finite-at-any-length",
    "the logits are finite numbers, at length 1 as well",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="The causal mask includes the diagonal: without it the first position has no key, and softmax gives 0/0.",
    case=TransformerCase,
    domain=ANY,
    builds_on=[RUNS_UNEQUAL],
)
def finite_at_any_length(candidate: Candidate, case: TransformerCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    return finite(output)


@check(
    CAUSAL,
    "another target token at s changes no logits before s",
    spec=NO_FUTURE,
    level="paper",
    hint="Give the decoder's self-attention a causal mask: position t attends to positions up to t.",
    case=TransformerCase,
    domain=DOMAIN,
    builds_on=[RUNS_UNEQUAL],
)
def no_influence_from_the_future(candidate: Candidate, case: TransformerCase) -> Evidence:
    before, after, position = case.with_one_replaced("target")
    earlier = torch.arange(case.targets).lt(position).expand(case.batch, -1)
    return modules.none_moves(*answers(candidate, case, before, after), among=earlier)


@check(
    HISTORY,
    "another target token at s changes the logits at s and at every later position",
    spec=UP_TO_ITSELF,
    level="paper",
    hint="Embed the target, let it attend to itself, and check the polarity of the causal mask.",
    case=TransformerCase,
    domain=ANY,
    builds_on=[RUNS_UNEQUAL],
)
def influence_from_the_past(candidate: Candidate, case: TransformerCase) -> Evidence:
    before, after, position = case.with_one_replaced("target")
    return modules.all_move(
        *answers(candidate, case, before, after),
        among=torch.arange(case.targets).ge(position).expand(case.batch, -1),
        expected=f"another target token at {position} changes the logits there and at all later positions",
    )


@check(
    "transformer.prefix-gives-the-same-logits",
    "the logits of a prefix of the target are those of the whole target, cut off: greedy decoding relies on it",
    spec=NO_FUTURE,
    level="paper",
    hint="The positional term of position t depends on t only, and nothing is averaged over the target.",
    case=TransformerCase,
    domain=DOMAIN,
    builds_on=[CAUSAL],
    tolerance=modules.FLOAT32_INSIDE,
)
def prefix_gives_the_same_logits(candidate: Candidate, case: TransformerCase) -> Evidence:
    arguments = case.inputs()
    length = int(case.integers("prefix", 1, case.targets))
    prefix = arguments | {"target": case.target()[:, :length]}
    whole, part = answers(candidate, case, arguments, prefix)
    return equal(part, whole[:, :length])


@check(
    SOURCE_USED,
    "another source token anywhere changes the logits at every target position, the first one as well",
    spec=ALL_OF_THE_INPUT,
    level="paper",
    hint="Give every decoder layer the encoder's output, and do not put the causal mask on this attention.",
    case=TransformerCase,
    domain=ANY,
    builds_on=[RUNS_UNEQUAL],
)
def every_source_token_has_influence(candidate: Candidate, case: TransformerCase) -> Evidence:
    before, after, position = case.with_one_replaced("source")
    return modules.all_move(
        *answers(candidate, case, before, after), expected=f"another source token at {position} changes all logits"
    )


@check(
    "transformer.source-order-matters",
    "the logits change when two different source tokens swap places",
    spec=AT_THE_BOTTOMS,
    level="paper",
    hint="Add the positional encoding to the source embeddings, indexed by position.",
    case=TransformerCase,
    domain=DOMAIN,
    builds_on=[SOURCE_USED],
)
def source_order_matters(candidate: Candidate, case: TransformerCase) -> Evidence:
    return modules.all_move(
        *answers(candidate, case, *case.with_two_swapped("source")),
        expected="swapping source tokens 0 and 1 changes all logits",
    )


@check(
    "transformer.target-order-matters",
    "with one layer, the logits at t >= 2 change when the target tokens 0 and 1 swap places",
    spec=AT_THE_BOTTOMS,
    level="paper",
    hint="Add the positional encoding to the target embeddings too, indexed by position.",
    case=TransformerCase,
    # In a second layer the causal mask alone would let the order through.
    domain=DOMAIN | {"targets": (3, 4), "layers": (1,)},
    builds_on=[HISTORY],
)
def target_order_matters(candidate: Candidate, case: TransformerCase) -> Evidence:
    before, after = answers(candidate, case, *case.with_two_swapped("target"))
    return modules.all_move(
        before[:, 2:], after[:, 2:], expected="swapping target tokens 0 and 1 changes all logits from position 2 on"
    )


@check(
    PADDING,
    "another token at a source position that is padding changes no logits",
    spec=MASKING,
    level="paper",
    hint="Mask the source twice: in the encoder's self-attention, and in the decoder's attention over the memory.",
    case=TransformerCase,
    domain=DOMAIN | {"masked": (True,)},
    unless=["no-mask"],
    builds_on=[RUNS_MASKED],
)
def source_padding_has_no_influence(candidate: Candidate, case: TransformerCase) -> Evidence:
    arguments = case.inputs()
    replaced = torch.where(case.real(), case.source(), another(case.source(), case.vocabulary))
    before, after = answers(candidate, case, arguments, arguments | {"source": replaced})
    return equal(after, before)


@check(
    "transformer.longer-padding-changes-nothing",
    "more padding after the source leaves the logits as they are",
    spec=MASKING,
    level="paper",
    hint="The positional term of position t depends on t only, not on the padded length.",
    case=TransformerCase,
    domain=ANY,
    unless=["no-mask"],
    builds_on=[PADDING],
    tolerance=modules.FLOAT32_INSIDE,
)
def longer_padding_changes_nothing(candidate: Candidate, case: TransformerCase) -> Evidence:
    longer = replace(case, sources=case.sources + 3)
    real = torch.arange(longer.sources).lt(case.sources).expand(case.batch, -1).clone()
    padded = {"source": longer.source(), "target": case.target(), "source_mask": real}
    alone = padded | {"source": longer.source()[:, : case.sources], "source_mask": real[:, : case.sources]}
    before, after = answers(candidate, case, alone, padded)
    return equal(after, before)


@check(
    "transformer.unpadded-source-has-influence",
    "another token at a source position that is no padding changes the logits, whatever else is padding",
    spec=ALL_OF_THE_INPUT,
    level="paper",
    hint="Check the polarity of the source mask: True, or 1, marks real tokens.",
    case=TransformerCase,
    domain=DOMAIN | {"masked": (True,)},
    unless=["no-mask"],
    builds_on=[RUNS_MASKED, SOURCE_USED],
)
def unpadded_source_has_influence(candidate: Candidate, case: TransformerCase) -> Evidence:
    arguments = case.inputs()
    replaced = case.source()
    replaced[:, 0] = another(replaced[:, 0], case.vocabulary)
    return modules.all_move(
        *answers(candidate, case, arguments, arguments | {"source": replaced}),
        expected="another source token at 0 changes all logits",
    )


@check(
    "transformer.only-padding-is-finite",
    "a source that is padding throughout gives finite logits, not NaN",
    spec=MASKING,
    level="robustness",
    hint="softmax of a row of -inf is 0/0. Set the weights of such a row to 0.",
    case=TransformerCase,
    domain=ANY,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED],
)
def only_padding_is_finite(candidate: Candidate, case: TransformerCase) -> Evidence:
    nothing = torch.zeros(case.batch, case.sources, dtype=torch.bool)
    (output,) = answers(candidate, case, case.inputs() | {"source_mask": nothing})
    return finite(output)


@check(
    "transformer.sequences-are-independent",
    "a pair of source and target gets the same logits alone as in a batch",
    spec=ALL_OF_THE_INPUT,
    level="paper",
    hint="The first axis is the batch: positions count along the second, and nothing may cross the first.",
    case=TransformerCase,
    domain=DOMAIN | {"batch": (2, 3), "masked": (False, True)},
    builds_on=[RUNS_MASKED],
    tolerance=modules.FLOAT32_INSIDE,
)
def sequences_are_independent(candidate: Candidate, case: TransformerCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "transformer.decoder-residual-stream",
    "with the weights and biases of all layers at 0, another target token still gives other logits: no layer drops x",
    spec=VASWANI.says("3.1", "we employ residual connections around each of the sub-layers"),
    level="paper",
    hint="Write x + sublayer(x) around every sublayer of every decoder layer.",
    case=TransformerCase,
    domain=ANY,
    builds_on=[HISTORY],
)
def decoder_residual_stream(candidate: Candidate, case: TransformerCase) -> Evidence:
    before, after, position = case.with_one_replaced("target")
    instance = case.build(candidate)
    modules.silence(instance, modules.layer_parameters(candidate, case))
    return modules.all_move(
        instance.call(before).output,
        instance.call(after).output,
        among=torch.arange(case.targets).eq(position).expand(case.batch, -1),
        expected=f"another target token at {position} changes the logits there",
    )


@check(
    "transformer.encoder-residual-stream",
    "with the encoder's weights and biases at 0, another source token still changes the logits at all positions",
    spec=modules.RESIDUAL,
    level="paper",
    hint="Write x + sublayer(x) around every encoder sublayer; let every target position attend to all of the memory.",
    case=TransformerCase,
    domain=ANY,
    needs=["weights"],
    builds_on=[SOURCE_USED],
)
def encoder_residual_stream(candidate: Candidate, case: TransformerCase) -> Evidence:
    before, after, position = case.with_one_replaced("source")
    instance = case.build(candidate)
    modules.silence(instance, frozenset(name for name in instance.parameters() if name.startswith("encoder.")))
    return modules.all_move(
        instance.call(before).output,
        instance.call(after).output,
        expected=f"another source token at {position} changes all logits",
    )


@check(
    "transformer.states-are-normalised",
    "the logits do not grow with the size of the embeddings: norms stand between the two",
    spec=modules.NORMALISED,
    level="paper",
    hint="Post-norm: LayerNorm(x + Sublayer(x)) in every sublayer. Pre-norm: one more norm after the last layer.",
    case=TransformerCase,
    domain=DOMAIN,
    builds_on=[HISTORY],
)
def states_are_normalised(candidate: Candidate, case: TransformerCase) -> Evidence:
    instance = case.build(candidate)
    state = instance.state()
    # The last projection may have the shape of an embedding, or be one: the logits may grow by the factor, once.
    tables = [n for n in instance.parameters() if state[n].ndim == 2 and state[n].shape[0] == case.vocabulary]
    factor = 1e4
    before = instance.call(case.inputs()).output.abs().max().item()
    instance.load({name: factor * state[name] for name in tables})
    growth = instance.call(case.inputs()).output.abs().max().item() / before
    return holds(
        growth < factor**1.5,
        expected=f"logits at most about {factor:.0e} times as large when embeddings and projection are",
        actual=f"{growth:.0e} times as large",
    )


@check(
    "transformer.gives-logits",
    "the output is scores, not probabilities: the softmax belongs to the loss",
    spec=PYTORCH.says("torch.nn.CrossEntropyLoss", "unnormalized logits for each class"),
    level="convention",
    hint="Return the linear projection: cross entropy applies log-softmax itself, and a second softmax flattens it.",
    case=TransformerCase,
    domain=ANY,
    builds_on=[RUNS_UNEQUAL],
)
def gives_logits(candidate: Candidate, case: TransformerCase) -> Evidence:
    (output,) = answers(candidate, case, case.inputs())
    sums = output.sum(dim=-1)
    return holds(
        not torch.allclose(sums, torch.ones_like(sums)),
        expected="scores that do not all sum to 1",
        actual="each row sums to 1",
    )


@check(
    "transformer.layers-own-parameters",
    "each layer adds the same number of parameters, shares none with another, and registers them all",
    spec=modules.OWN_PARAMETERS,
    level="paper",
    hint="nn.ModuleList([Layer() for _ in range(N)]): [layer] * N repeats one layer, a plain list hides them all.",
    case=TransformerCase,
    domain=DOMAIN,
    unless=["one-layer"],
    builds_on=[RUNS],
)
def layers_own_parameters(candidate: Candidate, case: TransformerCase) -> Evidence:
    return modules.layers_own_parameters(candidate, case)


@check(
    "transformer.layers-start-different",
    "no two weight matrices start with the same numbers",
    spec=modules.OWN_PARAMETERS,
    level="robustness",
    hint="Build every layer anew: copy.deepcopy gives all layers the same start.",
    case=TransformerCase,
    domain=DOMAIN | {"layers": (2,)},
    unless=["one-layer"],
    builds_on=[RUNS, "transformer.layers-own-parameters"],
)
def layers_start_different(candidate: Candidate, case: TransformerCase) -> Evidence:
    return modules.weights_start_different(candidate, case)


@check(
    "transformer.gradients-reach-every-parameter",
    "the logits depend on every parameter of every layer, the encoder's among them",
    spec=VASWANI.says("3.1", "The encoder is composed of a stack of N = 6 identical layers"),
    level="paper",
    hint="Feed each layer with the result of the one before it, and do not detach the memory.",
    case=TransformerCase,
    domain=DOMAIN,
    builds_on=[RUNS_UNEQUAL],
)
def gradients_reach_every_parameter(candidate: Candidate, case: TransformerCase) -> Evidence:
    return modules.gradients_reach_parameters(candidate, case)


@check(
    "transformer.state-is-complete",
    "two models of equal state answer alike: every learned number is registered",
    spec=modules.LEARNED,
    level="paper",
    hint="Make every submodule in __init__ and assign it to self, or to an nn.ModuleList that is.",
    case=TransformerCase,
    domain=DOMAIN,
    builds_on=[RUNS_UNEQUAL],
)
def state_is_complete(candidate: Candidate, case: TransformerCase) -> Evidence:
    return modules.state_is_complete(candidate, case)


@check(
    "transformer.deterministic-in-evaluation",
    "in evaluation the same ids give the same logits",
    spec=modules.EVALUATION,
    level="paper",
    hint="Dropout must follow self.training; layers made in forward start with new weights each time.",
    case=TransformerCase,
    domain=DOMAIN,
    builds_on=[RUNS_UNEQUAL],
)
def deterministic_in_evaluation(candidate: Candidate, case: TransformerCase) -> Evidence:
    return modules.is_deterministic(candidate, case)


@check(
    "transformer.drops-in-training",
    "in training, dropout makes two calls with the same ids differ",
    spec=modules.SUBLAYER_DROPOUT,
    level="convention",
    hint="Apply dropout to the sum of embedding and position, and to what each sublayer returns.",
    case=TransformerCase,
    domain={"batch": (3,), "sources": (7,), "targets": (8,), "heads": (2,), "head_width": (8,)},
    builds_on=[RUNS_UNEQUAL],
)
def drops_in_training(candidate: Candidate, case: TransformerCase) -> Evidence:
    return modules.drops_in_training(candidate, case)


@check(
    "transformer.keeps-its-type",
    "a model of one floating type answers in that type",
    spec=VASWANI.says(
        "3.5",
        "The positional encodings have the same dimension dmodel as the embeddings, so that the two can be summed",
    ),
    level="robustness",
    hint="Cast the positional table to the type of the embeddings: float64 from NumPy spreads or crashes.",
    case=TransformerCase,
    domain=ANY | {"dtype": ("float32", "bfloat16")},
    builds_on=[RUNS_UNEQUAL],
)
def keeps_its_type(candidate: Candidate, case: TransformerCase) -> Evidence:
    return modules.keeps_dtype(candidate, case)


@check(
    "transformer.full-source-mask-equals-no-mask",
    "a mask that marks all source tokens as real gives the logits of no mask",
    spec=MASKING,
    level="convention",
    hint="Without a mask all tokens are real. Check the polarity: True, or 1, marks real tokens.",
    case=TransformerCase,
    domain=ANY,
    unless=["no-mask"],
    builds_on=[RUNS_MASKED],
)
def full_source_mask_equals_no_mask(candidate: Candidate, case: TransformerCase) -> Evidence:
    full = torch.ones(case.batch, case.sources, dtype=torch.bool)
    without, masked = answers(candidate, case, case.inputs(), case.inputs() | {"source_mask": full})
    return equal(masked, without)


@check(
    STEPS,
    "token by token through the cache, the logits are those of one pass over the whole target",
    spec=models.STEP_BY_STEP,
    level="paper",
    hint="Append the new keys and values before attending, and let the position of a step be how many came before.",
    case=TransformerCase,
    domain=DOMAIN,
    needs=["cache"],
    builds_on=[RUNS_UNEQUAL],
    tolerance=modules.FLOAT32_INSIDE,
)
def cached_steps_equal_the_full_pass(candidate: Candidate, case: TransformerCase) -> Evidence:
    return models.cached_equals_full(candidate, case, case.inputs(), [models.one_by_one(case.targets)])


@check(
    "transformer.every-split-equals-the-full-pass",
    "however the target is cut into chunks, its logits are those of one pass",
    spec=UP_TO_ITSELF,
    level="convention",
    hint="The mask of a chunk is (T, P): row t sees the P - T positions before the chunk and the chunk up to t.",
    case=TransformerCase,
    domain=DOMAIN,
    needs=["cache"],
    unless=["single-steps"],
    builds_on=[RUNS_UNEQUAL],
    tolerance=modules.FLOAT32_INSIDE,
)
def every_split_equals_the_full_pass(candidate: Candidate, case: TransformerCase) -> Evidence:
    return models.cached_equals_full(candidate, case, case.inputs(), models.every_split(case.targets))


@check(
    "transformer.cached-steps-respect-the-source-mask",
    "with a source mask, the steps give the logits of one pass with this mask",
    spec=MASKING,
    level="paper",
    hint="Keep the source mask with the keys and values of the memory, and pass it at every step.",
    case=TransformerCase,
    domain=DOMAIN | {"masked": (True,)},
    needs=["cache"],
    unless=["no-mask"],
    builds_on=[STEPS, RUNS_MASKED],
)
def cached_steps_respect_the_source_mask(candidate: Candidate, case: TransformerCase) -> Evidence:
    return models.cached_equals_full(candidate, case, case.inputs(), [models.one_by_one(case.targets)])


@check(
    "transformer.caches-start-afresh",
    "a second source and target get through the cache the logits that they get first",
    spec=VASWANI.says("3.2.3", "the memory keys and values come from the output of the encoder"),
    level="convention",
    hint="Make new caches, and project the new memory, when a new source comes.",
    case=TransformerCase,
    domain=DOMAIN,
    needs=["cache"],
    builds_on=[RUNS_UNEQUAL],
)
def caches_start_afresh(candidate: Candidate, case: TransformerCase) -> Evidence:
    first = case.inputs() | {"chunks": models.one_by_one(case.targets)}
    source, target = (another(ids, case.vocabulary) for ids in (case.source(), case.target()))
    return models.caches_start_afresh(candidate, case, first, first | {"source": source, "target": target})


@check(
    EAGER,
    "the plainly written attention gives the logits of the fused one, to the digits of float32",
    spec=models.EQUIVALENT,
    level="convention",
    hint="Compare scale, causal mask and dropout of the two paths.",
    case=TransformerCase,
    domain=DOMAIN | {"dtype": ("float32",)},
    needs=["eager"],
    builds_on=[RUNS_UNEQUAL],
)
def eager_equals_fused(candidate: Candidate, case: TransformerCase) -> Evidence:
    return models.eager_equals_fused(candidate, case, case.inputs())


@check(
    "transformer.eager-equals-fused-under-a-mask",
    "with a source mask, too, both implementations of attention give the same logits",
    spec=models.EQUIVALENT,
    level="convention",
    hint="Compare polarity, shape and fill value of the mask in the two paths.",
    case=TransformerCase,
    domain=DOMAIN | {"dtype": ("float32",), "masked": (True,)},
    needs=["eager"],
    unless=["no-mask"],
    builds_on=[EAGER, RUNS_MASKED],
)
def eager_equals_fused_under_a_mask(candidate: Candidate, case: TransformerCase) -> Evidence:
    return models.eager_equals_fused(candidate, case, case.inputs())


@check(
    "transformer.tied-weights-are-one-parameter",
    "one matrix embeds source and target and scores the tokens: a new row moves both vectors and logits",
    spec=models.SHARED_MATRIX,
    level="paper",
    hint="output.weight = embedding.weight makes one parameter; a copy of its values drifts away in training.",
    case=TransformerCase,
    domain=ANY,
    needs=["tied"],
    builds_on=[RUNS_UNEQUAL],
)
def tied_weights_are_one_parameter(candidate: Candidate, case: TransformerCase) -> Evidence:
    return models.embedding_is_projection(candidate, case, case.inputs(), "target")


@check(
    LOSS,
    "the loss is the mean of -log softmax(logits)_k over all target positions, k the label there",
    spec=models.COUNTED,
    level="convention",
    hint="Cross entropy of logits and labels, averaged over tokens. Labels are aligned already: shift nothing twice.",
    case=TransformerCase,
    domain=ANY,
    needs=["loss"],
    builds_on=[RUNS_UNEQUAL],
)
def loss_is_mean_negative_log_probability(candidate: Candidate, case: TransformerCase) -> Evidence:
    labels = models.labels(case, case.batch, case.targets)
    return models.loss_is_mean_negative_log_probability(candidate, case, case.inputs(), labels)


@check(
    "transformer.loss-ignores-padding",
    "labels of -100 do not count: the loss is the mean over the others",
    spec=models.COUNTED,
    level="convention",
    hint="ignore_index=-100, and divide by how many labels count, not by B T.",
    case=TransformerCase,
    domain=DOMAIN,
    needs=["loss"],
    builds_on=[LOSS],
)
def loss_ignores_padding(candidate: Candidate, case: TransformerCase) -> Evidence:
    labels = models.labels(case, case.batch, case.targets, some_ignored=True)
    return models.loss_is_mean_negative_log_probability(candidate, case, case.inputs(), labels)


@check(
    "transformer.ignored-labels-have-no-gradient",
    "a target whose last labels are -100 trains every parameter as the target without its end does",
    spec=models.NOT_COUNTED,
    level="convention",
    hint="No term of the loss may see a position whose label does not count, not even one that vanishes on average.",
    case=TransformerCase,
    domain=DOMAIN,
    needs=["loss"],
    builds_on=[CAUSAL, LOSS],
    tolerance=modules.FLOAT32_INSIDE,
)
def ignored_labels_have_no_gradient(candidate: Candidate, case: TransformerCase) -> Evidence:
    counted = int(case.integers("counted", 1, case.targets))
    labels = models.labels(case, case.batch, case.targets)
    labels[:, counted:] = models.IGNORED
    whole = case.inputs() | {"labels": labels}
    part = whole | {"target": case.target()[:, :counted], "labels": labels[:, :counted]}
    return models.ignored_labels_have_no_gradient(candidate, case, whole, part)
