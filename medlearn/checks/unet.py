r"""Chapter 7, the U-Net: the rung, and the sizes that fit."""
from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.checks.engine import Case, Check


def merge(fine: Float[Tensor, "b c *s"], coarse: Float[Tensor, "b d *half"]) -> Float[Tensor, "b e *s"]:
    r"""$[x, \mathrm{double}(y)]$: the coarse map, each voxel twice along each axis and cut to size, after the fine one.

    Chapter 7.
    """
    for axis, n in zip(range(2, fine.ndim), fine.shape[2:]):
        coarse = coarse.repeat_interleave(2, dim=axis).narrow(axis, 0, n)
    return torch.cat([fine, coarse], dim=1)


def output_size(size: int, levels: int) -> int | None:
    r"""What comes out of a U-Net that pads nothing, along one axis; None where a pooling does not fit. Chapter 7."""
    for _ in range(levels):
        size -= 4
        if size < 2 or size % 2:
            return None
        size //= 2
    size -= 4
    for _ in range(levels):
        size = 2 * size - 4
    return size if size > 0 else None


# ---------------------------------------------------------------------------------------------------------------------
# Cases

def _map(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


_MERGE = (
    Case("one channel each", dict(fine=torch.zeros(1, 1, 2, 4), coarse=torch.tensor([[[[1.0, 2.0]]]])),
         "Each voxel of the coarse map becomes a block of 2 x 2, and `fine` comes first along the channels."),
    Case("several images and channels", dict(fine=_map(2, 3, 4, 6), coarse=_map(2, 5, 2, 3, seed=1)),
         "The result has the channels of both: (B, C + D, *S)."),
    Case("odd sizes", dict(fine=_map(2, 1, 7, 5), coarse=_map(2, 2, 4, 3, seed=2)),
         "A size of 7 was halved upwards to 4. Doubled they are 8: cut the last one."),
    Case("odd along one axis", dict(fine=_map(1, 2, 6, 5), coarse=_map(1, 2, 3, 3, seed=3)),
         "Each axis is cut to its own size."),
    Case("a volume", dict(fine=_map(2, 2, 4, 3, 6), coarse=_map(2, 3, 2, 2, 3, seed=4)),
         "In 3D a voxel becomes a block of 2 x 2 x 2."),
    Case("no image", dict(fine=_map(0, 2, 4, 4), coarse=_map(0, 3, 2, 2, seed=5)),
         "An empty batch gives an empty result, of shape (0, C + D, *S)."),
    Case("the gradient", dict(fine=_map(1, 2, 5, 4).double(), coarse=_map(1, 3, 3, 2, seed=6).double()),
         "Both paths learn: the gradient has to reach both maps.", gradient=("fine", "coarse")),
)

_SIZE = (
    Case("the paper's network", dict(size=572, levels=4), "There 572 x 572 voxels go in and 388 x 388 come out."),
    Case("no pooling at all", dict(size=20, levels=0),
         "Then there is only the bottom: two convolutions take 4 voxels."),
    Case("one pooling", dict(size=24, levels=1),
         "Of 24 stay 20; 10, then 6; 12, then 8: every level has two convolutions, on both arms."),
    Case("an odd number before a pooling", dict(size=573, levels=4), "Of 573 stay 569, which cannot be halved: None."),
    Case("an odd number further down", dict(size=574, levels=4),
         "The second pooling meets 281 voxels: look before each of them."),
    Case("the smallest that fits", dict(size=188, levels=4), "It leaves 4 voxels of 188."),
    Case("nothing is left", dict(size=140, levels=4),
         "All poolings fit, and the way up takes all that was left: None."),
    Case("smaller than its rim", dict(size=3, levels=1), "A negative number of voxels is none: None."),
)

CHECKS = (
    Check("unet.merge", merge, _MERGE),
    Check("unet.output_size", output_size, _SIZE),
)
