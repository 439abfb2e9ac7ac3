r"""The ResNet under TransUNet: standardised weights, group norm, three stages of bottlenecks (chapter 10)."""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medlearn.base.validation import check_choice
from medlearn.nets.blocks import check_counts, check_image, check_row
from medlearn.nets.checkpointing import run_in_turn

Convention = Literal["pytorch", "jax"]
EPS = 1e-5                  # of weight standardisation
GROUP_EPS = 1e-6            # of group norm


class StdConv2d(nn.Conv2d):
    r"""A convolution with $\hat w = (w - \mu) / \sqrt{\sigma^2 + \epsilon}$, $\mu$ and $\sigma$ of each output channel.

    Shapes: `(B, in_channels, H, W)` to `(B, out_channels, H / stride, W / stride)`; there is no bias.
    `convention="pytorch"` is that formula with equal padding on all sides. "jax" divides by $\sigma + \epsilon$ and
    pads "SAME": where an odd number of zeros is needed, the last one stands at the far end. They are different
    networks: with a stride the grids lie half a pixel apart. $\epsilon = 10^{-5}$; computed in float32 or better.
    An empty batch gives an empty batch. Errors: ValueError for another convention.
    Source: Qiao et al. 2019, eq. 5, arXiv:1903.10520. Chapter 10.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1,
                 convention: Convention = "pytorch"):
        check_convention(convention)
        same = max(kernel_size - stride, 0)                     # zeros in all, for sizes that the stride divides
        border = kernel_size // 2 if convention == "pytorch" else same // 2
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, padding=border, bias=False)
        self.convention, self.border = convention, border
        self.beyond = same % 2 if convention == "jax" else 0    # zeros more at the far end

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d *s"]:
        x = F.pad(x, (0, self.beyond, 0, self.beyond)) if self.beyond else x
        return F.conv2d(x, self.standardised(), stride=self.stride, padding=self.padding)

    def standardised(self) -> Float[Tensor, "d c k k"]:
        r"""The kernel that is used, $\hat w$."""
        w = self.weight if self.weight.dtype == torch.float64 else self.weight.float()
        centred = w - w.mean((1, 2, 3), keepdim=True)
        variance = centred.square().mean((1, 2, 3), keepdim=True)           # torch.var takes three times as long
        deviation = (variance + EPS).sqrt() if self.convention == "pytorch" else variance.sqrt() + EPS
        return (centred / deviation).to(self.weight.dtype)

    def plain(self) -> nn.Module:
        r"""The same convolution, with its kernel as a plain weight."""
        conv = nn.Conv2d(self.in_channels, self.out_channels, self.kernel_size[0], stride=self.stride[0],
                         padding=self.border, bias=False, device="meta")
        conv.weight = nn.Parameter(self.standardised().detach())
        return nn.Sequential(nn.ZeroPad2d((0, self.beyond, 0, self.beyond)), conv) if self.beyond else conv


class GroupNorm(nn.GroupNorm):
    r"""`nn.GroupNorm`, which also takes a group of a single value, as small images have it: that is its own mean."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class Bottleneck(nn.Module):
    r"""$\mathrm{ReLU}(x' + F(x))$: down to few channels, a look at the neighbours, and up to four times as many.

    Shapes: `(B, in_channels, H, W)` to `(B, 4 * channels, H / stride, W / stride)`. $x'$ is x, or its projection where
    the size or the channels change: in group norm with `groups` groups ("jax") or one group a channel ("pytorch").
    An empty batch gives an empty batch. Source: He et al. 2016, fig. 5, doi:10.1109/CVPR.2016.90. Chapter 10.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, groups: int = 32,
                 convention: Convention = "pytorch"):
        super().__init__()
        conv, norm, out = partial(StdConv2d, convention=convention), partial(GroupNorm, eps=GROUP_EPS), 4 * channels
        self.conv1, self.gn1 = conv(in_channels, channels, 1), norm(groups, channels)
        self.conv2, self.gn2 = conv(channels, channels, 3, stride=stride), norm(groups, channels)
        self.conv3, self.gn3 = conv(channels, out, 1), norm(groups, out)
        self.projects = stride != 1 or in_channels != out
        if self.projects:
            self.conv_proj = conv(in_channels, out, 1, stride=stride)
            self.gn_proj = GroupNorm(out, out) if convention == "pytorch" else norm(groups, out)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d *s"]:
        y = F.relu(self.gn1(self.conv1(x)), inplace=True)
        y = F.relu(self.gn2(self.conv2(y)), inplace=True)
        y = self.gn3(self.conv3(y))
        return F.relu(y + (self.gn_proj(self.conv_proj(x)) if self.projects else x), inplace=True)


class ResNetV2(nn.Module):
    r"""An image as maps at 1/2, 1/4, 1/8, 1/16 of its size: a root, then stages, each of them a row of `Bottleneck`.

    Shapes: `image (B, in_channels, H, W)`, where three channels also take a grey image `(B, 1, H, W)`, shown to each,
    to a list of maps, the finest first: `(B, width, H / 2, W / 2)`, then a map for each stage s = 1, 2, ... with
    `width * 2**(s + 1)` channels at 1 / 2**(s + 1); `channels` lists them. `stride`, 16 for three
    stages, must divide H and W. `units`: how many bottlenecks each stage has. `groups` must divide `width`.
    `convention` is one of

    - "pytorch": as TransUNet's authors run it. The root's pool has no padding, so that the first stage's map is short
      by a row and a column: zeros stand there in the list, and nothing in what the second stage sees.
    - "jax": as the network was trained first: pool and convolutions are padded "SAME".

    The other differences are those of `StdConv2d` and `Bottleneck`; both have the same parameters.
    `checkpointing` forgets what is inside each bottleneck and computes it again on the way back, see `run_in_turn`.
    An empty batch gives empty maps.
    Errors: ValueError for fewer than two stages, counts below 1, groups that do not divide the width, another
    convention, an image of another shape; TypeError for one that is not float.
    Source: Kolesnikov et al. 2020, arXiv:1912.11370; Chen et al. 2021, arXiv:2102.04306. Chapter 10.
    """

    def __init__(self, width: int = 64, units: Sequence[int] = (3, 4, 9), *, in_channels: int = 3, groups: int = 32,
                 convention: Convention = "pytorch", checkpointing: bool = False):
        super().__init__()
        width, in_channels, groups = check_counts(width=width, in_channels=in_channels, groups=groups)
        units = check_row("units", units)
        if len(units) < 2:
            raise ValueError(f"units: expected two stages or more, got {len(units)}")
        if width % groups:
            raise ValueError(f"groups: expected a number that divides the width of {width}, got {groups}")
        self.in_channels, self.convention, self.checkpointing = in_channels, convention, checkpointing
        self.channels = (width, *(4 * width * 2**s for s in range(len(units))))
        self.stride = 2 ** (len(units) + 1)

        self.conv_root = StdConv2d(in_channels, width, 7, stride=2, convention=convention)
        self.gn_root = GroupNorm(groups, width, eps=GROUP_EPS)
        unit = partial(Bottleneck, groups=groups, convention=convention)
        self.stages = nn.ModuleList()
        for s, count in enumerate(units):
            inner, outer = width * 2**s, self.channels[s + 1]
            first = unit(self.channels[s], inner, stride=1 if s == 0 else 2)
            self.stages.append(nn.Sequential(first, *(unit(outer, inner) for _ in range(count - 1))))

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _c _h _w"]]:
        grey = self.in_channels == 3 and isinstance(image, Tensor) and image.shape[1:2] == (1,)
        check_image(image, 1 if grey else self.in_channels, dim=2, weight=self.gn_root.weight)
        check_sides(image, self.stride)
        x = F.relu(self.gn_root(self.conv_root(image.expand(-1, self.in_channels, -1, -1))), inplace=True)
        maps = [x]
        x = F.max_pool2d(x, kernel_size=3, stride=2, ceil_mode=self.convention == "jax")    # ceil: as SAME
        for stage in self.stages:
            x = run_in_turn(stage.children(), x, self.checkpointing)
            maps.append(x)
        if self.convention == "pytorch":
            maps[1] = F.pad(maps[1], (0, 1, 0, 1))          # the pool before it left out the last row and column
        return maps


def check_convention(convention: str) -> None:
    check_choice("convention", convention, ("pytorch", "jax"))


def check_sides(image: Tensor, stride: int) -> None:
    """Refuses an image with a side that the stride does not divide."""
    if any(n % stride for n in image.shape[2:]):
        raise ValueError(f"image: expected sides that {stride} divides, got shape {tuple(image.shape)}")
