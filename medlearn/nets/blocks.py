r"""The pieces that networks are built of, the same in two and in three dimensions."""
from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {2: F.max_pool2d, 3: F.max_pool3d}


class ConvBlock(nn.Sequential):
    r"""$\mathrm{ReLU}(\mathrm{BN}(w * x))$ with a kernel of 3 voxels along each axis: it looks at the neighbours.

    Shapes: `(B, in_channels, *S)` to `(B, out_channels, *S)`. There is no bias: the norm brings its own.
    An empty batch gives an empty batch in evaluation; in training the norm refuses it.
    Errors: ValueError for another `dim` than 2 or 3.
    Source: Ioffe and Szegedy 2015, arXiv:1502.03167. Chapter 5.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 2):
        check_dim(dim)
        super().__init__(CONV[dim](in_channels, out_channels, kernel_size=3, padding=1, bias=False),
                         NORM[dim](out_channels), nn.ReLU(inplace=True))


def halve(x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *half"]:
    """The largest of every two voxels along each axis; the last of an odd number stays alone, so none is lost."""
    return POOL[x.ndim - 2](x, kernel_size=2, ceil_mode=True)


def double(x: Float[Tensor, "b c *half"], like: Float[Tensor, "b d *s"]) -> Float[Tensor, "b c *s"]:
    """Each voxel twice along each axis, cut to the size of `like`: the way back from `halve`, for odd sizes too."""
    return F.interpolate(x, scale_factor=2, mode="nearest")[(..., *(slice(n) for n in like.shape[2:]))]


def check_dim(dim: int) -> None:
    if isinstance(dim, bool) or dim not in CONV:
        raise ValueError(f"dim: expected 2 or 3, got {dim!r}")
