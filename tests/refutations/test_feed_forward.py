import torch

from errata.refutations import feed_forward


def test_the_lines_in_the_images_are_of_both_kinds() -> None:
    images, level = feed_forward.images(50, seed=0)
    bare = images - 0.3 * feed_forward.normal(50, 1, feed_forward.SIDE, feed_forward.SIDE, seed=0)
    torch.testing.assert_close(bare.sum(dim=(1, 2, 3)), torch.full((50,), 3.0, dtype=torch.float64))
    torch.testing.assert_close(bare[:, 0].amax(dim=2).sum(dim=1) == 1, level.bool())


def test_the_layer_feature_by_feature_is_the_layer() -> None:
    x = feed_forward.normal(1, 8)
    torch.testing.assert_close(feed_forward.feature_by_feature(8)(x), feed_forward.fully_connected(8)(x))
    torch.testing.assert_close(feed_forward.unit_by_unit(8)(x)[:, 0], feed_forward.fully_connected(8)(x)[0])
