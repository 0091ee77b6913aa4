"""Cross-attention fusion: two streams that attend each other; the interface is that of `errata.checks.fusion`.

``layers`` counts the exchanges. Traits: ``one-way``, the image does not attend the text; ``no-self-attention``, a token
attends the other mode alone. Parameters, where the names are known: ``text_self_attention`` and
``image_self_attention``, the attention within each stream's first layer.
"""

import torch

from errata.candidates import Candidate
from errata.checks import fusion, modules
from errata.checks.evidence import Evidence
from errata.checks.fusion import ANY, DOMAIN, FusionCase
from errata.checks.literature import LU, VASWANI
from errata.checks.registry import check

RUNS = "cross_fusion.accepts-valid-input"

EXCHANGED = LU.says(
    "2.2",
    "the keys and values from each modality are passed as input to the other modality’s multi-headed attention block",
)
STREAMS = LU.says("2.2", "two parallel BERT-style models operating over image regions and text segments")
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")


@check(
    RUNS,
    "the answer has one vector for each token of each mode: shape (B, T + P, D)",
    spec=EXCHANGED,
    level="paper",
    hint="Run it once with unequal lengths: the queries are as many as the answers, the keys may be more or fewer.",
    case=FusionCase,
    domain=ANY,
)
def accepts_valid_input(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.has_shape(candidate, case)


@check(
    "cross_fusion.text-padding-has-no-influence",
    "other vectors at the padding of the text move no real token of either mode",
    spec=MASKING,
    level="paper",
    hint="The text's mask belongs to the keys of the image's questions, and to the text's own attention.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def text_padding_has_no_influence(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.padding_has_no_influence(candidate, case, "text")


@check(
    "cross_fusion.image-padding-has-no-influence",
    "other vectors at the padding of the image move no real token of either mode",
    spec=MASKING,
    level="paper",
    hint="The image's mask belongs to the keys of the text's questions, and to the image's own attention.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def image_padding_has_no_influence(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.padding_has_no_influence(candidate, case, "image")


@check(
    "cross_fusion.image-reaches-the-text",
    "another vector at any real token of the image changes every real token of the text",
    spec=EXCHANGED,
    level="paper",
    hint="The text's queries ask the image's keys and values.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def image_reaches_the_text(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.real_tokens_have_influence(candidate, case, "image", "text")


@check(
    "cross_fusion.text-reaches-the-image",
    "another vector at any real token of the text changes every real token of the image",
    spec=EXCHANGED,
    level="paper",
    hint="The image's queries ask the text's keys and values: co-attention goes both ways.",
    case=FusionCase,
    domain=DOMAIN,
    unless=["one-way"],
    builds_on=[RUNS],
)
def text_reaches_the_image(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.real_tokens_have_influence(candidate, case, "text", "image")


@check(
    "cross_fusion.text-reaches-the-text",
    "another vector at any real token of the text changes every real token of the text",
    spec=STREAMS,
    level="convention",
    hint="Each stream keeps its own self-attention beside the exchange.",
    case=FusionCase,
    domain=DOMAIN,
    unless=["no-self-attention"],
    builds_on=[RUNS],
)
def text_reaches_the_text(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.real_tokens_have_influence(candidate, case, "text", "text")


@check(
    "cross_fusion.missing-image-is-finite",
    "a text without an image, all of whose tokens are padding, gives finite vectors and gradients",
    spec=MASKING,
    level="robustness",
    hint="The softmax over no keys is 0 / 0: a query without a key gets 0, so that its residual is left.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def missing_image_is_finite(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.missing_mode_is_finite(candidate, case, "image")


@check(
    "cross_fusion.missing-image-has-no-influence",
    "without an image, what stands in its place changes no token of the text",
    spec=MASKING,
    level="robustness",
    hint="A large negative score in place of minus infinity makes a row without keys uniform, and lets the image in.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def missing_image_has_no_influence(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.missing_mode_has_no_influence(candidate, case, "image")


@check(
    "cross_fusion.missing-text-is-finite",
    "an image without a text, all of whose tokens are padding, gives finite vectors and gradients",
    spec=MASKING,
    level="robustness",
    hint="The softmax over no keys is 0 / 0: a query without a key gets 0, so that its residual is left.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def missing_text_is_finite(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.missing_mode_is_finite(candidate, case, "text")


@check(
    "cross_fusion.examples-are-independent",
    "the last example of a batch gets the same answer alone",
    spec=EXCHANGED,
    level="convention",
    hint="Attend along the tokens, dim=1: batch first, or transposed on the way in and out.",
    case=FusionCase,
    domain=DOMAIN | {"batch": (2, 3)},
    builds_on=[RUNS],
)
def examples_are_independent(candidate: Candidate, case: FusionCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "cross_fusion.gradients-reach-every-parameter",
    "every parameter takes part in the answer",
    spec=modules.LEARNED,
    level="convention",
    hint="Each direction has its own attention and feed-forward network, and both are used.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def gradients_reach_every_parameter(candidate: Candidate, case: FusionCase) -> Evidence:
    return modules.gradients_reach_parameters(candidate, case)


@check(
    "cross_fusion.both-modes-are-read-before-the-exchange",
    "without self-attention in the streams, one exchange lets no token of the image reach another one through the text",
    spec=LU.says("2.2", "Given intermediate visual and linguistic representations"),
    level="paper",
    hint="Keep the old text for the image's question: text, image = f(text, image), g(image, text), at once.",
    case=FusionCase,
    domain=DOMAIN | {"layers": (1,)},
    needs=["weights"],
    unless=["one-way"],
    builds_on=[RUNS],
)
def both_modes_are_read_before_the_exchange(candidate: Candidate, case: FusionCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    inner = ("text_self_attention.", "image_self_attention.")
    modules.silence(instance, frozenset(name for name in instance.parameters() if name.startswith(inner)))
    first = torch.zeros(case.batch, case.image_length, dtype=torch.bool)
    first[:, 0] = True
    outputs = [instance.call(a).output for a in (arguments, case.with_others(arguments, "image", first))]
    before, after = (case.of("image", output) for output in outputs)
    return modules.none_moves(before, after, among=arguments["image_real"] & ~first)
