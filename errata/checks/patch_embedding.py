"""Images as sequences of patch embeddings: ``build(height, breadth, patch, channels, width)``, ``call(images)``.

Shapes: images ``(B, C, height, breadth)``, output ``(B, P, D)`` with one vector for each patch, positions included,
and no class token. Parameters, where the names are known: ``projection`` (``weight (D, C, patch, patch)``, ``bias``)
and ``positions (P, D)``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from errata.candidates import Candidate
from errata.candidates.candidate import Scalar
from errata.checks import modules, oracles
from errata.checks.evidence import Evidence, different, equal, refuses
from errata.checks.literature import DOSOVITSKIY
from errata.checks.modules import ModuleCase, answers, given
from errata.checks.registry import check


@dataclass(frozen=True, kw_only=True)
class PatchCase(ModuleCase):
    """Sizes of the grid of patches, of a patch, and of a batch."""

    batch: int = 1
    rows: int = 1
    columns: int = 1
    patch: int = 1
    channels: int = 1
    width: int = 1

    def config(self) -> dict[str, Scalar]:
        """See `ModuleCase.config`."""
        return {
            "height": self.rows * self.patch,
            "breadth": self.columns * self.patch,
            "patch": self.patch,
            "channels": self.channels,
            "width": self.width,
        }

    def inputs(self) -> dict[str, Tensor]:
        """See `ModuleCase.inputs`."""
        return {"images": self.images("images")}

    def images(self, name: str) -> Tensor:
        """A batch of them."""
        return self.normal(name, self.batch, self.channels, self.rows * self.patch, self.columns * self.patch)


ANY = {
    "batch": (1, 2),
    "rows": (1, 2, 3),
    "columns": (1, 2, 4),
    "patch": (1, 2, 3),
    "channels": (1, 2, 3),
    "width": (1, 5, 6),
}
DOMAIN = ANY | {"rows": (2, 3), "columns": (3, 4), "width": (5, 7)}

RUNS = "patch_embedding.accepts-valid-input"
ORDER = "patch_embedding.patches-follow-row-by-row"

FLATTENED = DOSOVITSKIY.says("3.1", "we flatten the patches and map to D dimensions with a trainable linear projection")
RASTER = DOSOVITSKIY.says("D.4", "Considering the inputs as a sequence of patches in the raster order")
PATCHES = DOSOVITSKIY.says("3.1", "into a sequence of flattened 2D patches")
POSITIONS = DOSOVITSKIY.says(
    "3.1", "Position embeddings are added to the patch embeddings to retain positional information"
)


@check(
    RUNS,
    "an image of R x K patches becomes R K vectors: shape (B, P, D)",
    spec=PATCHES,
    level="paper",
    hint="Run it once with unequal sides. A convolution gives (B, D, R, K): flatten(2), then transpose(1, 2).",
    case=PatchCase,
    domain=ANY,
)
def accepts_valid_input(candidate: Candidate, case: PatchCase) -> Evidence:
    return modules.has_shape(candidate, case, case.batch, case.rows * case.columns, case.width)


@check(
    "patch_embedding.matches-equation-1",
    "output[n] = flatten(patch n) E + b + position[n]",
    spec=FLATTENED,
    level="paper",
    hint="A convolution with kernel = stride = patch, no padding, and nothing between it and the positions.",
    case=PatchCase,
    domain=ANY,
    needs=["weights"],
    builds_on=[RUNS],
)
def matches_equation_1(candidate: Candidate, case: PatchCase) -> Evidence:
    instance = case.build(candidate)
    state = modules.filled(instance, case)
    images, size = oracles.array(case.images("images")), case.patch
    weight = oracles.array(state["projection.weight"]).reshape(case.width, -1)
    expected = np.empty((case.batch, case.rows * case.columns, case.width))
    for row in range(case.rows):
        for column in range(case.columns):
            patch = images[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size]
            expected[:, row * case.columns + column] = patch.reshape(case.batch, -1) @ weight.T
    expected += oracles.array(state["projection.bias"]) + oracles.array(state["positions"])
    output = instance.call(case.inputs()).output
    return equal(output, torch.from_numpy(expected), scale=float(np.abs(images).max() * np.abs(weight).sum(1).max()))


@check(
    ORDER,
    "patch (r, k) is token r K + k, and every other token is left alone when its pixels change",
    spec=RASTER,
    level="paper",
    hint="Rows first: flatten(2) of (B, D, R, K). Patches do not overlap, and reshape must not mix rows with columns.",
    case=PatchCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def patches_follow_row_by_row(candidate: Candidate, case: PatchCase) -> Evidence:
    row, column = (int(case.integers(name, 0, high)) for name, high in (("row", case.rows), ("column", case.columns)))
    images = case.images("images")
    changed = images.clone()
    top, left = row * case.patch, column * case.patch
    changed[:, :, top : top + case.patch, left : left + case.patch] += 1.0
    before, after = answers(candidate, case, {"images": images}, {"images": changed})
    others = torch.arange(case.rows * case.columns).ne(row * case.columns + column).expand(case.batch, -1)
    return modules.none_moves(before, after, among=others)


@check(
    "patch_embedding.every-pixel-has-influence",
    "another value of one pixel, in one channel, changes the vector of its patch",
    spec=PATCHES,
    level="paper",
    hint="A patch has C x patch x patch numbers: give the projection all, with a kernel as large as its stride.",
    case=PatchCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def every_pixel_has_influence(candidate: Candidate, case: PatchCase) -> Evidence:
    images = case.images("images")
    sizes = {"channel": case.channels, "pixel row": case.rows * case.patch, "pixel column": case.columns * case.patch}
    channel, y, x = (int(case.integers(name, 0, high)) for name, high in sizes.items())
    changed = images.clone()
    changed[:, channel, y, x] += 1.0
    before, after = answers(candidate, case, {"images": images}, {"images": changed})
    own = torch.arange(case.rows * case.columns).eq(y // case.patch * case.columns + x // case.patch)
    return modules.all_move(
        before,
        after,
        expected=f"pixel ({y}, {x}) of channel {channel} changes the vector of its patch",
        among=own.expand(case.batch, -1),
    )


@check(
    "patch_embedding.one-projection-for-all-patches",
    "the same pixels in two patches add the same to both: output - output(blank image) does not depend on the place",
    spec=FLATTENED,
    level="paper",
    hint="One projection serves all patches; only the positions differ.",
    case=PatchCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def one_projection_for_all_patches(candidate: Candidate, case: PatchCase) -> Evidence:
    patch = case.normal("patch", case.batch, case.channels, case.patch, case.patch)
    images = patch.repeat(1, 1, case.rows, case.columns)
    tiled, blank = answers(candidate, case, {"images": images}, {"images": torch.zeros_like(images)})
    added = tiled - blank
    return equal(added, added[:, :1].expand_as(added), scale=float(tiled.abs().max()))


@check(
    "patch_embedding.linear-in-the-image",
    "output(x + y) - output(blank) is the sum of the same for x and for y",
    spec=FLATTENED,
    level="paper",
    hint="No activation and no norm stands between the pixels and the sum with the positions.",
    case=PatchCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def linear_in_the_image(candidate: Candidate, case: PatchCase) -> Evidence:
    x, y = case.images("images"), case.images("other images")
    images = (x + y, x, y, torch.zeros_like(x))
    both, first, second, blank = answers(candidate, case, *({"images": image} for image in images))
    return equal(both - blank, (first - blank) + (second - blank), scale=float(both.abs().max() + blank.abs().max()))


@check(
    "patch_embedding.positions-are-added",
    "equal patches at different places get different vectors, once the positions are trained",
    spec=POSITIONS,
    level="paper",
    hint="Add one vector for each place, (1, P, D). One vector for all places says nothing about order.",
    case=PatchCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def positions_are_added(candidate: Candidate, case: PatchCase) -> Evidence:
    instance = case.build(candidate)
    modules.filled(instance, case)
    vectors = instance.call({"images": torch.zeros_like(given(case.inputs(), "images"))}).output
    gaps = (vectors - vectors.roll(1, dims=1)).abs().amax(dim=-1)
    return different(gaps.amin(), torch.zeros(()), expected="different vectors at different places")


@check(
    "patch_embedding.images-are-independent",
    "the last image of a batch gets the same answer alone",
    spec=PATCHES,
    level="convention",
    hint="Keep the batch axis first: positions have an axis of patches, not of images.",
    case=PatchCase,
    domain=DOMAIN | {"batch": (2, 3)},
    builds_on=[RUNS],
)
def images_are_independent(candidate: Candidate, case: PatchCase) -> Evidence:
    return modules.sequences_are_independent(candidate, case)


@check(
    "patch_embedding.state-is-complete",
    "a module that is given another one's state answers as the other does",
    spec=DOSOVITSKIY.says("3.1", "We use standard learnable 1D position embeddings"),
    level="convention",
    hint="Register projection and positions: nn.Parameter, not a tensor or a list.",
    case=PatchCase,
    domain=DOMAIN,
    builds_on=[RUNS],
)
def state_is_complete(candidate: Candidate, case: PatchCase) -> Evidence:
    return modules.state_is_complete(candidate, case)


@check(
    "patch_embedding.uneven-image-is-refused",
    "an image whose sides are no multiples of the patch is refused, not cropped in silence",
    spec=DOSOVITSKIY.says("3.1", "is the resulting number of patches"),
    level="robustness",
    hint="A convolution drops the pixels that fill no patch: compare the image's size with that of the grid first.",
    case=PatchCase,
    domain=DOMAIN | {"patch": (2, 3)},
    builds_on=[RUNS],
)
def uneven_image_is_refused(candidate: Candidate, case: PatchCase) -> Evidence:
    images = case.images("images")
    uneven = torch.cat((images, images[..., -1:]), dim=-1)
    return refuses(
        lambda: case.build(candidate).call({"images": uneven}), expected="an error for an image one pixel too broad"
    )
