import pytest
import torch

from reference import LayerNorm, ResidualSublayer


def test_post_norm_is_the_norm_of_the_sum() -> None:
    module = ResidualSublayer(4)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(module(x, torch.sin), LayerNorm(4)(x + x.sin()))


def test_pre_norm_leaves_the_path_of_x_alone() -> None:
    module = ResidualSublayer(4, pre_norm=True)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(module(x, torch.sin), x + LayerNorm(4)(x).sin())
    assert torch.equal(module(x, torch.zeros_like), x)


@pytest.mark.parametrize("pre", [False, True])
def test_dropout_acts_on_the_output_of_the_sublayer_alone(pre: bool) -> None:
    """With everything dropped the branch is gone and x remains."""
    module = ResidualSublayer(4, 1.0, pre_norm=pre)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(module(x, torch.exp), x if pre else LayerNorm(4)(x))
    module.eval()
    assert (module(x, torch.exp) != (x if pre else LayerNorm(4)(x))).any()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        ResidualSublayer(0)
    with pytest.raises(ValueError, match=r"dropout must be a probability between 0 and 1, got 7\.0"):
        ResidualSublayer(4, 7.0)
