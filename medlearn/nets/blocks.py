r"""The pieces that networks are built of, the same in two and in three dimensions."""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medlearn.base.validation import check_choice, check_number, check_tensor, check_whole

Conv = nn.Conv2d | nn.Conv3d
CONV: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
CONVOLVE = {2: F.conv2d, 3: F.conv3d}
Norm = nn.BatchNorm2d | nn.BatchNorm3d
NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {2: F.max_pool2d, 3: F.max_pool3d}
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


class ConvBlock(nn.Sequential):
    r"""$\mathrm{ReLU}(\mathrm{BN}(w * x))$ with a kernel of 3 voxels along each axis: it looks at the neighbours.

    Shapes: `(B, in_channels, *S)` to `(B, out_channels, *S)`; `*S` has `dim` axes, which a border of zeros keeps at
    their size. There is no bias: the norm brings its own.
    Several `maps` count as one, their channels side by side, as in `conv_side_by_side`.
    An empty batch gives an empty batch in evaluation; in training the norm refuses it.
    Errors: ValueError for another `dim` than 2 or 3.
    Source: Ioffe and Szegedy 2015, arXiv:1502.03167. Chapter 7.

    >>> x, y = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    >>> ConvBlock(4, 16)(x, y).shape                                    # 3 + 1 channels
    torch.Size([2, 16, 8, 8])
    """

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 2):
        check_dim(dim)
        super().__init__(CONV[dim](in_channels, out_channels, kernel_size=3, padding=1, bias=False),
                         NORM[dim](out_channels), nn.ReLU(inplace=True))

    def forward(self, *maps: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b c *s"]:
        conv, norm, relu = self
        return relu(norm(conv_side_by_side(cast(Conv, conv), *maps)))


class DoubleConv(nn.Sequential):
    r"""Two of `ConvBlock` in a row, as a U-Net has on each level: together they see 5 voxels along each axis.

    Shapes: `(B, in_channels, *S)` to `(B, out_channels, *S)`. Several `maps`, `dim`, empty batch and errors: as in
    `ConvBlock`. Source: Ronneberger et al. 2015, fig. 1, doi:10.1007/978-3-319-24574-4_28. Chapter 7.

    >>> DoubleConv(1, 16, dim=3)(torch.rand(2, 1, 4, 8, 8)).shape
    torch.Size([2, 16, 4, 8, 8])
    """

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 2):
        super().__init__(ConvBlock(in_channels, out_channels, dim=dim), ConvBlock(out_channels, out_channels, dim=dim))

    def forward(self, *maps: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b c *s"]:
        first, second = self
        return second(first(*maps))


class ResidualBlock(nn.Module):
    r"""$\mathrm{ReLU}(x + \mathrm{BN}(w_2 * \mathrm{ReLU}(\mathrm{BN}(w_1 * x))))$: two convolutions compute a change.

    Shapes: `(B, in_channels, *S)` to `(B, out_channels, *S)`; where the channels differ, a kernel of one voxel brings
    $x$ to their number. Several `maps`, `dim`, empty batch and errors: as in `ConvBlock`.
    Source: He et al. 2016, fig. 2, doi:10.1109/CVPR.2016.90. Chapter 7.

    >>> block, x = ResidualBlock(4, 4), torch.rand(2, 4, 8, 8)
    >>> _ = nn.init.zeros_(block.second[1].weight)                      # of the norm behind w_2
    >>> torch.equal(block(x), x)
    True
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
    r"""$x \cdot z / (1 - p)$, $z \sim \mathrm{Bernoulli}(1 - p)$: `nn.Dropout`, made faster on a CPU.

    `nn.Dropout` may draw its random numbers one after another there, and take longer for it than for a convolution.
    Here 16 random bits decide on each value, all drawn at once: on a CPU `p`, the probability that a value is left out,
    is rounded to a multiple of $2^{-16}$. Where that gives 0 or 1, and on a GPU, it is `nn.Dropout` itself.
    Shapes: any to the same. It acts in training only; `inplace`, as in `nn.Dropout`, has no effect on a CPU.
    Errors: as `nn.Dropout`. Source: Srivastava et al. 2014, jmlr.org/papers/v15/srivastava14a.html. Chapter 7.

    >>> drop, x = Dropout(0.5), torch.ones(100)
    >>> drop(x).unique(), torch.equal(drop.eval()(x), x)
    (tensor([0., 2.]), True)
    """

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        dropped = round(self.p * 2**16)
        if not self.training or x.device.type != "cpu" or not 0 < dropped < 2**16:
            return super().forward(x)
        words = torch.randint(-2**63, 2**63 - 1, ((x.numel() + 3) // 4,))
        strides = torch.empty_like(x, device="meta").stride()           # as x lies in memory
        low = dropped - 2**15
        kept = words.view(torch.int16).clamp(low - 1, low).sub_(low - 1)   # 1 or 0; bool would be slower
        kept = kept[:x.numel()].as_strided(x.shape, strides).to(x.dtype)
        return x * kept.mul_(1 / (1 - dropped / 2**16))


def conv_side_by_side(conv: Conv, *maps: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b c ..."]:
    r"""`conv(cat(maps))` as $w * [x, y] = w_x * x + w_y * y$: the maps are not copied, which saves memory and time.

    Shapes: maps `(B, C_i, *S)` whose $C_i$ add up to the channels that `conv`, padded with zeros, takes. Chapter 7.
    """
    if len(maps) == 1:
        return conv(*maps)
    weights = conv.weight.split([m.shape[1] for m in maps], dim=1)
    convolve = partial(CONVOLVE[maps[0].ndim - 2], stride=conv.stride, padding=conv.padding, dilation=conv.dilation)
    total = convolve(maps[0], weights[0], conv.bias)
    for m, w in zip(maps[1:], weights[1:]):
        total = convolve(m, w).add_(total)                          # in place: no gradient asks for the parts
    return total


def halve(x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *half"]:
    r"""The largest of every two voxels along each axis; the last of an odd number stays alone, so none is lost.

    Shapes: `x (B, C, *S)` to `(B, C, *half)`, each axis of n voxels to n / 2, rounded up. Chapter 7.

    >>> halve(torch.tensor([[[[1., 2., 3.], [5., 4., 0.]]]]))
    tensor([[[[5., 3.]]]])
    """
    with torch.autocast("cpu", enabled=False):          # a CPU's would cast to float32 in 3D, and a maximum is exact
        return POOL[x.ndim - 2](x, kernel_size=2, ceil_mode=True)


def double(x: Float[Tensor, "b c *half"], like: Float[Tensor, "b d *s"]) -> Float[Tensor, "b c *s"]:
    r"""Each voxel twice along each axis, cut to the size of `like`: the way back from `halve`, for odd sizes too.

    Shapes: `x (B, C, *half)` to `(B, C, *S)`; `like (B, D, *S)` gives its size and nothing else. Chapter 7.

    >>> double(torch.tensor([[[[5., 3.]]]]), like=torch.zeros(1, 1, 2, 3))
    tensor([[[[5., 5., 3.],
              [5., 5., 3.]]]])
    """
    return cut(F.interpolate(x, scale_factor=2, mode="nearest"), like)


def cut(x: Float[Tensor, "b c ..."], like: Float[Tensor, "b d *s"]) -> Float[Tensor, "b c *s"]:
    """The first voxels along each axis of space, as many as `like` has."""
    if not torch.compiler.is_compiling() and x.shape[2:] == like.shape[2:]:
        return x                                    # even a cut of nothing costs its gradient a copy
    for axis in range(2, x.ndim):
        x = x.narrow(axis, 0, like.shape[axis])     # not a slice: an older exporter of ONNX does not know its size
    return x


def dropout_of_levels(dropout: float | Sequence[float], levels: int) -> nn.ModuleList:
    r"""A dropout for each level, the finest first; one number is the coarsest level's, and the others have 0.

    Errors: ValueError for another number of probabilities than levels, or one outside 0..1; TypeError for anything but
    a number. Chapter 7.
    """
    if isinstance(dropout, str) or not isinstance(dropout, Sequence):
        probabilities = [0.0] * (levels - 1) + [check_probability("dropout", dropout)]
    else:
        probabilities = [check_probability(f"dropout[{level}]", p) for level, p in enumerate(dropout)]
    if len(probabilities) != levels:
        raise ValueError(f"dropout: expected a probability for each of {levels} levels, got {len(probabilities)}")
    return nn.ModuleList(Dropout(p) for p in probabilities)


def lay_channels_last(net: nn.Module, dim: int) -> None:
    """Its weights in the order of memory that is faster, `(B, *S, C)`; torch carries it from layer to layer."""
    for kernel in net.parameters():
        if kernel.dim() == dim + 2:                 # a network may have others, too
            kernel.data = kernel.data.to(kernel.dtype, memory_format=CHANNELS_LAST[dim])


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
