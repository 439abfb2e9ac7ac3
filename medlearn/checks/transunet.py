r"""Chapter 10, TransUNet: an image as a row of patches, and positions for another size of image."""
from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from medlearn.checks.engine import Case, Check


def patches(image: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b n d"]:
    r"""Each square of side x side pixels as one row of C * side * side numbers, row by row of squares. Chapter 10."""
    b, c, h, w = image.shape
    squares = image.view(b, c, h // side, side, w // side, side)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(b, (h // side) * (w // side), c * side * side)


def resize_positions(positions: Float[Tensor, "1 n c"], grid: tuple[int, int], size: tuple[int, int]
                     ) -> Float[Tensor, "1 m c"]:
    r"""The positions of a grid read at another: linear between them, the corners staying on the corners. Chapter 10."""
    map_ = positions.mT.unflatten(2, grid)
    return F.interpolate(map_, size, mode="bilinear", align_corners=True).flatten(2).mT


# ---------------------------------------------------------------------------------------------------------------------
# Inputs and cases

def _image(*shape: int) -> Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).view(shape)


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


_PATCHES = (
    Case("one patch", dict(image=_image(1, 1, 2, 2), side=2),
         "An image of 2 x 2 pixels is a single token of four numbers: shape (1, 1, 4)."),
    Case("a row of two patches", dict(image=_image(1, 1, 2, 4), side=2),
         "The first token holds pixels 0, 1, 4, 5: a square, not a stretch of memory. A view alone does not give "
         "squares."),
    Case("more rows than columns", dict(image=_image(1, 1, 6, 4), side=2),
         "The squares are counted along a row of squares first, then down."),
    Case("three channels", dict(image=_image(1, 3, 4, 4), side=2),
         "Within a token the channels come first, each with its pixels, as in the weights of a convolution."),
    Case("patches of one pixel", dict(image=_image(1, 2, 2, 3), side=1),
         "With a side of 1 every pixel is a token: the map's own flattening."),
    Case("a batch", dict(image=_random(3, 2, 6, 9, seed=0), side=3), "No token may mix two images of the batch."),
    Case("no image", dict(image=torch.zeros(0, 1, 4, 4), side=2), "An empty batch has tokens of shape (0, 4, 4)."),
)

_POSITIONS = (
    Case("the same grid", dict(positions=_random(1, 6, 4, seed=1), grid=(2, 3), size=(2, 3)),
         "For its own grid the answer is the positions themselves."),
    Case("one more in the middle", dict(positions=_image(1, 4, 1), grid=(2, 2), size=(3, 3)),
         "The corners stay, and what comes between is their mean: 0, 0.5, 1 in the first row."),
    Case("a finer grid", dict(positions=_random(1, 4, 3, seed=2), grid=(2, 2), size=(4, 5)),
         "Linear between the known places, which are 1 / (n - 1) apart. Is align_corners on?"),
    Case("a coarser grid", dict(positions=_random(1, 16, 2, seed=3), grid=(4, 4), size=(3, 2)),
         "A smaller grid is read off at its places; nothing is averaged over an area."),
    Case("an oblong grid", dict(positions=_random(1, 15, 2, seed=4), grid=(3, 5), size=(6, 4)),
         "The tokens run along the second axis of the grid first."),
    Case("224 to 512 pixels", dict(positions=_random(1, 196, 8, seed=5), grid=(14, 14), size=(32, 32)),
         "As for the official weights: 14 x 14 places to 32 x 32."),
)

CHECKS = (
    Check("transunet.patches", patches, _PATCHES),
    Check("transunet.resize_positions", resize_positions, _POSITIONS),
)
