r"""The pieces that networks are built of, the same in two and in three dimensions."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medlearn.base.validation import check_choice, check_number, check_tensor, check_whole

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
CONVOLVE = {2: F.conv2d, 3: F.conv3d}
NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {2: F.max_pool2d, 3: F.max_pool3d}
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}     # faster, and torch carries it through a network


class ConvBlock(nn.Sequential):
    r"""$\mathrm{ReLU}(\mathrm{BN}(w * x))$ with a kernel of 3 voxels along each axis: it looks at the neighbours.

    Shapes: `(B, in_channels, *S)` to `(B, out_channels, *S)`. There is no bias: the norm brings its own.
    Several maps count as one, their channels side by side, as in `conv_side_by_side`.
    An empty batch gives an empty batch in evaluation; in training the norm refuses it.
    Errors: ValueError for another `dim` than 2 or 3.
    Source: Ioffe and Szegedy 2015, arXiv:1502.03167. Chapter 5.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 2):
        check_dim(dim)
        super().__init__(CONV[dim](in_channels, out_channels, kernel_size=3, padding=1, bias=False),
                         NORM[dim](out_channels), nn.ReLU(inplace=True))

    def forward(self, *maps: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b c *s"]:
        conv, norm, relu = self
        return relu(norm(conv_side_by_side(conv, *maps)))


class DoubleConv(nn.Sequential):
    r"""Two of `ConvBlock` in a row, as a U-Net has on each level: together they see 5 voxels along each axis.

    Shapes: `(B, in_channels, *S)` to `(B, out_channels, *S)`. Several maps, empty batch and errors: as `ConvBlock`.
    Source: Ronneberger et al. 2015, fig. 1, doi:10.1007/978-3-319-24574-4_28. Chapter 5.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 2):
        super().__init__(ConvBlock(in_channels, out_channels, dim=dim), ConvBlock(out_channels, out_channels, dim=dim))

    def forward(self, *maps: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b c *s"]:
        first, second = self
        return second(first(*maps))


class ResidualBlock(nn.Module):
    r"""$\mathrm{ReLU}(x + \mathrm{BN}(w_2 * \mathrm{ReLU}(\mathrm{BN}(w_1 * x))))$: two convolutions say what to change.

    Shapes: `(B, in_channels, *S)` to `(B, out_channels, *S)`; where the channels differ, a kernel of one voxel brings
    $x$ to their number. Several maps, empty batch and errors: as `ConvBlock`.
    Source: He et al. 2016, fig. 2, doi:10.1109/CVPR.2016.90. Chapter 5.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 2):
        super().__init__()
        self.first = ConvBlock(in_channels, out_channels, dim=dim)
        self.second = nn.Sequential(CONV[dim](out_channels, out_channels, kernel_size=3, padding=1, bias=False),
                                    NORM[dim](out_channels))
        self.project = None
        if in_channels != out_channels:
            self.project = CONV[dim](in_channels, out_channels, kernel_size=1, bias=False)

    def forward(self, *maps: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b c *s"]:
        x = torch.cat(maps, dim=1) if self.project is None else conv_side_by_side(self.project, *maps)
        return F.relu(x + self.second(self.first(*maps)), inplace=True)


class Dropout(nn.Dropout):
    r"""$x \cdot z / (1 - p)$, $z \sim \mathrm{Bernoulli}(1 - p)$: torch's, on a CPU with 16 random bits for each value.

    torch may draw them one value after another there, and can take longer for it than for a convolution. For this
    $p$ is rounded, on a CPU, to a multiple of $2^{-16}$; one below half of that is torch's.
    Shapes: any to the same. It acts in training only. Errors: as torch's.
    Source: Srivastava et al. 2014, jmlr.org/papers/v15/srivastava14a.html. Chapter 5.
    """

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        dropped = round(self.p * 2**16)
        if not self.training or x.device.type != "cpu" or not 0 < dropped < 2**16:
            return super().forward(x)
        words = torch.randint(-2**63, 2**63 - 1, ((x.numel() + 3) // 4,))
        strides = torch.empty_like(x, device="meta").stride()           # as x lies in memory
        bits = words.view(torch.int16)[:x.numel()].as_strided(x.shape, strides)
        return x * (bits >= dropped - 2**15).to(x.dtype).mul_(1 / (1 - dropped / 2**16))


def conv_side_by_side(conv: nn.Conv2d | nn.Conv3d, *maps: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b c ..."]:
    r"""`conv(cat(maps))` as $w * [x, y] = w_x * x + w_y * y$: the maps are not copied, which saves memory and time.

    Shapes: maps `(B, C_i, *S)` whose $C_i$ add up to the channels that `conv`, padded with zeros, takes. Chapter 5.
    """
    if len(maps) == 1:
        return conv(*maps)
    weights = conv.weight.split([m.shape[1] for m in maps], dim=1)
    biases = (conv.bias, *[None] * (len(maps) - 1))
    total = None
    for m, w, bias in zip(maps, weights, biases):
        part = CONVOLVE[m.ndim - 2](m, w, bias, conv.stride, conv.padding, conv.dilation)
        total = part if total is None else part.add_(total)         # in place: no gradient asks for the parts
    return total


def halve(x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *half"]:
    """The largest of every two voxels along each axis; the last of an odd number stays alone, so none is lost."""
    with torch.autocast("cpu", enabled=False):          # a CPU's would cast to float32 in 3D, and a maximum is exact
        return POOL[x.ndim - 2](x, kernel_size=2, ceil_mode=True)


def double(x: Float[Tensor, "b c *half"], like: Float[Tensor, "b d *s"]) -> Float[Tensor, "b c *s"]:
    """Each voxel twice along each axis, cut to the size of `like`: the way back from `halve`, for odd sizes too."""
    return cut(F.interpolate(x, scale_factor=2, mode="nearest"), like)


def cut(x: Float[Tensor, "b c ..."], like: Float[Tensor, "b d *s"]) -> Float[Tensor, "b c *s"]:
    """The first voxels along each axis of space, as many as `like` has."""
    return x[(..., *(slice(n) for n in like.shape[2:]))]


def dropout_of_levels(dropout: float | Sequence[float], levels: int) -> nn.ModuleList:
    r"""A dropout for each level, the finest first; one number is the coarsest level's, and the others have 0.

    Errors: ValueError for another number of probabilities than levels, or one outside 0..1; TypeError for anything but
    a number. Chapter 5.
    """
    one = isinstance(dropout, str) or not isinstance(dropout, Sequence)
    probabilities = [0.0] * (levels - 1) + [dropout] if one else list(dropout)
    if len(probabilities) != levels:
        raise ValueError(f"dropout: expected a probability for each of {levels} levels, got {len(probabilities)}")
    return nn.ModuleList(Dropout(check_probability("dropout" if one else f"dropout[{level}]", p))
                         for level, p in enumerate(probabilities))


def check_dim(dim: int) -> int:
    return check_choice("dim", dim, (2, 3))


def check_counts(**counts: int) -> tuple[int, ...]:
    """Numbers of channels, classes and the like, of 1 or more, as plain ones in the order given."""
    return tuple(check_whole(name, count, least=1) for name, count in counts.items())


def check_row(name: str, counts: Sequence[int]) -> tuple[int, ...]:
    """Counts of which there are several, each named by its place."""
    if isinstance(counts, str) or not isinstance(counts, Sequence):
        raise TypeError(f"{name}: expected whole numbers in a row, got {counts!r}")
    return check_counts(**{f"{name}[{i}]": count for i, count in enumerate(counts)})


def check_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """The channels of each level, of which there is one or more."""
    if isinstance(widths, str) or not isinstance(widths, Sequence) or not widths:
        raise ValueError(f"widths: expected at least one number of channels, got {widths!r}")
    return check_row("widths", widths)


def check_probability(name: str, p: float) -> float:
    return check_number(name, p, least=0, most=1)


def check_image(image: Tensor, in_channels: int, dim: int, *, weight: Tensor | None = None,
                name: str = "image") -> None:
    """Refuses anything but a float image `(B, in_channels, *S)` with `dim` axes of space, each of a voxel or more.

    `weight` is one of the network's, whose dtype the image must have.
    """
    check_tensor(name, image, dtype="float")
    if image.ndim != dim + 2 or image.shape[1] != in_channels or 0 in image.shape[2:]:
        raise ValueError(f"{name}: expected (B, {in_channels}, *S) with {dim} axes of space, "
                         f"got shape {tuple(image.shape)}")
    if weight is not None:
        check_dtype(name, image, weight)


def check_dtype(name: str, value: Tensor, weight: Tensor) -> None:
    """Refuses another dtype than the weights', unless autocast brings both to its own; it leaves float64 as it is."""
    if value.dtype != weight.dtype and (torch.float64 in (value.dtype, weight.dtype)
                                        or not torch.is_autocast_enabled(value.device.type)):
        raise TypeError(f"{name}: expected {weight.dtype}, as the network's weights, got {value.dtype}; "
                        f"{name}.to({weight.dtype}) converts it")
