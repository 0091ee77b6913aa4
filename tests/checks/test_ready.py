"""The adapters that ship ready fail what they are expected to fail, and nothing else."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from errata import checks
from errata.checks import Adapter, LanguageModel
from errata.checks.ready import huggingface, pytorch, x_transformers
from errata.errors import ErrataError

CONSTANTS = [
    (adapter, module.EXPECTED) for module in (pytorch, x_transformers) for adapter in vars(module).values()
    if isinstance(adapter, Adapter)
]  # fmt: skip
LLAMA = transformers.LlamaConfig(num_key_value_heads=8)
CONFIGURED = [
    huggingface.text_encoder(transformers.RobertaConfig()),
    huggingface.language_model(LLAMA),
    # Its weights start so small, with no norm before them, that the order of tokens shows in the twelfth digit only.
    huggingface.language_model(transformers.OpenAIGPTConfig()),
    huggingface.sequence_to_sequence(transformers.BartConfig()),
]
READY = CONSTANTS + [(adapter, huggingface.EXPECTED) for adapter in CONFIGURED]
FEW = 2


@pytest.mark.parametrize(("adapter", "expected"), [pytest.param(*pair, id=pair[0].name) for pair in READY])
def test_a_ready_adapter_fails_exactly_what_is_expected(
    adapter: Adapter, expected: Mapping[str, Mapping[str, str]]
) -> None:
    own = expected.get(adapter.name, {})
    report = checks.run(adapter, expected_failures=own, effort=FEW)
    report.raise_if_failed()
    assert report.totals["expected-failure"] == len(own)
    assert report.totals["passed"] >= 4
    assert not [id for id in own if checks.get(id).level == "paper"]


@pytest.mark.parametrize("module", [pytorch, x_transformers])
def test_what_is_expected_is_said_of_an_adapter_that_is_there(module: Any) -> None:
    assert module.EXPECTED.keys() <= {value.name for value in vars(module).values() if isinstance(value, Adapter)}


def test_what_is_expected_of_hugging_face_happens() -> None:
    adapter = huggingface.language_model(transformers.Gemma2Config())
    report = checks.run(
        adapter, expected_failures=huggingface.EXPECTED[adapter.name], levels={"robustness"}, effort=FEW
    )
    report.raise_if_failed()
    assert report.totals["expected-failure"] == 1


def test_names_are_unique() -> None:
    names = [adapter.name for adapter, _ in READY]
    assert len(set(names)) == len(names)


def unshifted_loss(model: Any, ids: Tensor, mask: Tensor | None, labels: Tensor) -> Tensor:
    return model(input_ids=ids, labels=labels).loss


def without_positions(model: Any, ids: Tensor, mask: Tensor | None) -> Tensor:
    return model(input_ids=ids, attention_mask=mask if mask is None else mask.long()).logits


def forgetful(model: Any, ids: Tensor, mask: Tensor | None, chunks: list[int]) -> Tensor:
    return torch.cat([model(input_ids=piece).logits for piece in ids.split(chunks, dim=1)], dim=1)


WRONG: list[tuple[str, Callable[[LanguageModel], Adapter], str]] = [
    ("loss", lambda right: replace(right, loss=unshifted_loss), "loss-is-mean-negative-log-probability"),
    ("cache", lambda right: replace(right, cached=forgetful), "cached-steps-equal-the-full-pass"),
    ("mask", lambda right: replace(right, mask="true-is-masked"), "right-padding-changes-nothing"),
]


@pytest.mark.parametrize(("wrong", "id"), [pytest.param(wrong, id_, id=name) for name, wrong, id_ in WRONG])
def test_an_adapter_of_the_wrong_convention_would_be_seen(wrong: Callable[[Any], Adapter], id: str) -> None:
    right = huggingface.language_model(LLAMA)
    found = {outcome.check.id for outcome in checks.run(wrong(right), effort=FEW).failures}
    assert f"language_model.{id}" in found


def test_positions_count_real_tokens() -> None:
    right = huggingface.language_model(transformers.GPT2Config())
    found = {outcome.check.id for outcome in checks.run(replace(right, call=without_positions), effort=FEW).failures}
    assert "language_model.left-padding-changes-nothing" in found


def test_masks_of_the_other_polarity_would_be_seen() -> None:
    report = checks.run(replace(pytorch.MULTI_HEAD_ATTENTION, mask="true-is-attend"), effort=FEW)
    assert "multi_head_attention.masked-keys-have-no-influence" in {outcome.check.id for outcome in report.failures}


def test_the_checks_choose_the_sizes_and_the_configuration_all_else() -> None:
    small = huggingface.resized(LLAMA, 11, 12, 3, 23, 2)
    sizes = small.vocab_size, small.hidden_size, small.num_attention_heads, small.intermediate_size
    assert (*sizes, small.num_hidden_layers) == (11, 12, 3, 23, 2)
    assert (small.num_key_value_heads, small.head_dim, small.rms_norm_eps) == (1, 4, LLAMA.rms_norm_eps)
    assert (LLAMA.vocab_size, LLAMA.num_key_value_heads) == (32000, 8)
    assert huggingface.resized(transformers.LlamaConfig(), 11, 12, 3, 23, 2).num_key_value_heads == 3
    assert len(huggingface.resized(transformers.Gemma2Config(), 11, 12, 3, 23, 3).layer_types) == 3


def test_a_rotated_part_is_a_whole_number_of_pairs() -> None:
    half = transformers.PhiConfig().rope_parameters["partial_rotary_factor"]
    assert half == 0.5
    assert (
        huggingface.resized(transformers.PhiConfig(), 11, 8, 2, 23, 1).rope_parameters["partial_rotary_factor"] == 0.5
    )
    odd = huggingface.resized(transformers.PhiConfig(), 11, 12, 2, 23, 1)
    assert odd.rope_parameters["partial_rotary_factor"] * 6 in (2, 4)


def test_a_softmax_in_float32_is_no_mistake() -> None:
    sizes = {"vocabulary": 7, "batch": 2, "length": 3, "heads": 2, "head_width": 6, "hidden": 23}
    adapter = huggingface.language_model(transformers.MptConfig())
    checks.replay(adapter, "language_model.cached-steps-equal-the-full-pass", **sizes)


def test_traits_follow_from_the_configuration() -> None:
    tied, untied = (
        huggingface.language_model(transformers.LlamaConfig(tie_word_embeddings=tied)) for tied in (True, False)
    )
    assert "tied" in tied.traits - untied.traits
    assert huggingface.text_encoder(transformers.AlbertConfig()).traits == {"one-layer"}
    assert huggingface.text_encoder(transformers.ModernBertConfig()).traits == {"relative-positions"}
    assert huggingface.language_model(transformers.BloomConfig()).traits >= {"right-padding-only"}


@pytest.mark.parametrize(
    ("module", "make", "package"),
    [
        ("transformers", lambda: huggingface.text_encoder(transformers.BertConfig()), "transformers"),
        ("x_transformers", lambda: checks.run(x_transformers.LANGUAGE_MODEL), "x-transformers"),
    ],
)
def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, make: Callable[[], object], package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ErrataError, match=f"{module} cannot be imported .*pip install {package}$"):
        make()


def test_the_checks_import_neither_the_ready_adapters_nor_their_libraries() -> None:
    listing = "import sys, errata.checks; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.startswith(("errata.checks.ready", "transformers", "x_transformers"))]
