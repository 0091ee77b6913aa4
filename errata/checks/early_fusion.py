"""Early fusion: text and image are one sequence in one encoder; the interface is that of `errata.checks.fusion`."""

from errata.candidates import Candidate
from errata.checks import fusion, modules
from errata.checks.evidence import Evidence, different
from errata.checks.fusion import ANY, DOMAIN, FusionCase
from errata.checks.literature import KIM, VASWANI
from errata.checks.registry import check

RUNS = "early_fusion.accepts-valid-input"

COMBINED = KIM.says("3.1", "then are concatenated into a combined sequence")
MASKING = VASWANI.says("3.2.3", "masking out (setting to −∞) all values in the input of the softmax")


@check(
    RUNS,
    "the answer has one vector for each token of each mode: shape (B, T + P, D)",
    spec=COMBINED,
    level="paper",
    hint="Run it once with unequal lengths. Concatenate along the tokens, dim=1; both modes have the model width.",
    case=FusionCase,
    domain=ANY,
)
def accepts_valid_input(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.has_shape(candidate, case)


@check(
    "early_fusion.text-padding-has-no-influence",
    "other vectors at the padding of the text move no real token of either mode",
    spec=MASKING,
    level="paper",
    hint="Concatenate the masks in the order of the tokens, and give the encoder the joint mask.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def text_padding_has_no_influence(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.padding_has_no_influence(candidate, case, "text")


@check(
    "early_fusion.image-padding-has-no-influence",
    "other vectors at the padding of the image move no real token of either mode",
    spec=MASKING,
    level="paper",
    hint="Concatenate the masks in the order of the tokens, and give the encoder the joint mask.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def image_padding_has_no_influence(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.padding_has_no_influence(candidate, case, "image")


@check(
    "early_fusion.image-reaches-the-text",
    "another vector at any real token of the image changes every real token of the text",
    spec=COMBINED,
    level="paper",
    hint="One encoder sees both modes; its mask lets every real token attend every real token.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def image_reaches_the_text(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.real_tokens_have_influence(candidate, case, "image", "text")


@check(
    "early_fusion.text-reaches-the-image",
    "another vector at any real token of the text changes every real token of the image",
    spec=COMBINED,
    level="paper",
    hint="One encoder sees both modes; its mask lets every real token attend every real token.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def text_reaches_the_image(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.real_tokens_have_influence(candidate, case, "text", "image")


@check(
    "early_fusion.text-reaches-the-text",
    "another vector at any real token of the text changes every real token of the text",
    spec=COMBINED,
    level="paper",
    hint="The mask that joins the modes must not cut the text off from itself.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def text_reaches_the_text(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.real_tokens_have_influence(candidate, case, "text", "text")


@check(
    "early_fusion.missing-image-is-finite",
    "a text without an image, all of whose tokens are padding, gives finite vectors and gradients",
    spec=MASKING,
    level="robustness",
    hint="The tokens of a missing mode are masked as keys; the other mode's tokens are still there to attend.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def missing_image_is_finite(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.missing_mode_is_finite(candidate, case, "image")


@check(
    "early_fusion.missing-image-has-no-influence",
    "without an image, what stands in its place changes no token of the text",
    spec=MASKING,
    level="robustness",
    hint="Mask a missing image like padding: its tokens are keys for nobody.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def missing_image_has_no_influence(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.missing_mode_has_no_influence(candidate, case, "image")


@check(
    "early_fusion.missing-text-is-finite",
    "an image without a text, all of whose tokens are padding, gives finite vectors and gradients",
    spec=MASKING,
    level="robustness",
    hint="The tokens of a missing mode are masked as keys; the other mode's tokens are still there to attend.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def missing_text_is_finite(candidate: Candidate, case: FusionCase) -> Evidence:
    return fusion.missing_mode_is_finite(candidate, case, "text")


@check(
    "early_fusion.examples-are-independent",
    "the last example of a batch gets the same answer alone",
    spec=COMBINED,
    level="convention",
    hint="Concatenate along the tokens, dim=1, not along the batch.",
    case=FusionCase,
    domain=DOMAIN | {"batch": (2, 3)},
    builds_on=[RUNS],
)
def examples_are_independent(candidate: Candidate, case: FusionCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "early_fusion.gradients-reach-every-parameter",
    "every parameter takes part in the answer",
    spec=modules.LEARNED,
    level="convention",
    hint="Use what you build: the vectors of the types, every layer.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def gradients_reach_every_parameter(candidate: Candidate, case: FusionCase) -> Evidence:
    return modules.gradients_reach_parameters(candidate, case)


@check(
    "early_fusion.modes-are-told-apart",
    "the same vectors get another answer as an image than as a text: the modes have type vectors",
    spec=KIM.says("3.1", "summed with their corresponding modal-type embedding vectors"),
    level="paper",
    hint="Add one learned vector to all tokens of the text and another to those of the image, before the encoder.",
    case=FusionCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def modes_are_told_apart(candidate: Candidate, case: FusionCase) -> Evidence:
    instance, arguments = case.build(candidate), case.inputs()
    modules.filled(instance, case)
    text, image = arguments["text"], arguments["image"]
    as_given = instance.call(arguments).output
    exchanged = instance.call(
        {"text": image, "image": text, "text_real": arguments["image_real"], "image_real": arguments["text_real"]}
    ).output
    first = case.of("text", as_given)[arguments["text_real"]]
    second = exchanged[:, case.image_length :][arguments["text_real"]]
    return different(first, second, expected="another answer to the same vectors in the other mode")
