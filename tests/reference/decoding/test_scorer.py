from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reference import Transformer, padding_mask
from reference.cache import DecodingState
from reference.decoding import CachedTransformer


def test_scores_are_the_last_logits_of_the_forward_pass(small: Callable[..., Transformer], source: Tensor) -> None:
    model, target = small(), torch.randint(1, 13, (3, 6))
    scorer, full = CachedTransformer(model, source), model(source, target)
    for t in range(6):
        torch.testing.assert_close(scorer(target[:, t]), full[:, t], rtol=0, atol=1e-12)


def test_selected_hypotheses_go_on(small: Callable[..., Transformer], source: Tensor) -> None:
    model = small()
    scorer = CachedTransformer(model, source, beams=2)
    first, second = torch.tensor([3, 4, 5, 6, 7, 8]), torch.tensor([8, 7, 6, 5, 4, 3])
    rows = torch.tensor([1, 1, 2, 3, 5, 4])
    scorer(first)
    scorer.select(rows)
    expected = model(source.repeat_interleave(2, dim=0), torch.stack([first[rows], second], dim=1))
    torch.testing.assert_close(scorer(second), expected[:, -1], rtol=0, atol=1e-12)


def test_a_given_mask_is_used(small: Callable[..., Transformer], source: Tensor) -> None:
    model, mask = small(), padding_mask(torch.tensor([3, 4, 1]), 5)
    ids = torch.tensor([[2], [3], [4]])
    expected = model(source, ids, mask)[:, -1]
    torch.testing.assert_close(CachedTransformer(model, source, mask)(ids[:, 0]), expected, rtol=0, atol=1e-12)


def test_bad_arguments(small: Callable[..., Transformer], source: Tensor) -> None:
    with pytest.raises(ValueError, match="beams must be at least 1, got 0"):
        CachedTransformer(small(), source, beams=0)
    with pytest.raises(ValueError, match=r"model is in training, where it drops at random: call model\.eval\(\) first"):
        CachedTransformer(small().train(), source)


def test_the_hypotheses_begin_on_the_device_of_the_sources(
    small: Callable[..., Transformer], source: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    monkeypatch.setattr(DecodingState, "select", lambda self, rows: seen.append(rows))
    CachedTransformer(small().to("meta"), source.to("meta"), beams=2)
    assert [rows.device.type for rows in seen] == ["meta"]
