r"""Context at full resolution: dilated convolutions, one after another and side by side (chapter 6)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medlearn.nets.blocks import CONV, NORM, Conv, check_counts, check_dim, check_image, check_row

BASIC = (1, 1, 1, 1, 1, 1, 1)           # channels of each layer, in multiples of the input's
LARGE = (2, 2, 4, 8, 16, 32, 32)
NOISE = 0.01                            # of the identity's weights: tells channels apart that stem from the same one


class ContextModule(nn.Sequential):
    r"""Dilated 3x3 convolutions, each looking further: `C -> C` channels, and untrained it changes nothing.

    ::

        layer       1   2   3   4   5   6   7   8
        kernel      3   3   3   3   3   3   3   1
        rate        1   1   2   4   8  16   1   -
        ReLU        x   x   x   x   x   x   x   -
        sees        3   5   9  17  33  65  67  67      voxels along each axis
        basic       C   C   C   C   C   C   C   C      channels
        large      2C  2C  4C  8C 16C 32C 32C   C

    `rates` are those of the layers with a 3x3 kernel, and `widths` their channels in multiples of C: `BASIC`, which is
    meant when left out, or `LARGE`.
    Weights begin as the identity, $w^{ab}_t = [t = 0][a = b]$ (with noise where channels multiply), so that what is not
    negative comes through as it went in, and the module can be put behind a network that is trained already.
    Shapes: `(B, C, *S)` to the same, C = `channels`, `*S` with `dim` axes; padded with zeros. An empty batch gives an
    empty batch.
    Errors: ValueError for another `dim` than 2 or 3, channels, rates or widths below 1, no rate, or not as many widths
    as rates.
    Source: Yu and Koltun 2016, table 1 and eq. 4 and 5, arXiv:1511.07122. Chapter 6.

    >>> probabilities = torch.rand(1, 3, 20, 20)
    >>> torch.equal(ContextModule(3)(probabilities), probabilities)
    True
    """

    def __init__(self, channels: int, *, rates: Sequence[int] = (1, 1, 2, 4, 8, 16, 1),
                 widths: Sequence[int] | None = None, dim: int = 2):
        check_dim(dim)
        channels, = check_counts(channels=channels)
        rates = check_rates(rates)
        widths = (1,) * len(rates) if widths is None else check_row("widths", widths)
        if len(widths) != len(rates):
            raise ValueError(f"widths: expected one for each of {len(rates)} rates, got {len(widths)}")
        convs = [CONV[dim](channels * above, channels * width, kernel_size=3, padding=rate, dilation=rate)
                 for (above, width), rate in zip(pairwise((1, *widths)), rates)]
        last = CONV[dim](channels * widths[-1], channels, kernel_size=1)
        super().__init__(*(layer for conv in convs for layer in (conv, nn.ReLU())), last)
        for conv in [*convs, last]:
            _identity_(conv, channels, noise=0 if set(widths) == {1} else NOISE)


class ASPP(nn.Module):
    r"""Atrous spatial pyramid pooling: the same features seen at several rates side by side, and as a whole.

    ::

        1x1   3x3, rate 6   3x3, rate 12   3x3, rate 18   mean of the image, 1x1
          \________\______________|______________/________________/
                               concatenate, 1x1

    Every convolution is followed by a norm and a ReLU, and has `out_channels` channels.
    Shapes: features `x (B, in_channels, *S)` to `(B, out_channels, *S)`, `*S` with `dim` axes; padded with zeros.
    The `rates` are made for features at a sixteenth of the image's resolution. At a rate of the image's size or more, a
    3x3 kernel sees nothing but padding around its middle. An empty batch gives an empty batch in evaluation.
    Errors: ValueError for another `dim` than 2 or 3, channels or rates below 1, no rate, an input of another shape,
    and in training for a batch of one image, whose mean alone the norm cannot standardise; TypeError for an input that
    is not float.
    Source: Chen et al. 2017, sec. 3.3, arXiv:1706.05587. Chapter 6.

    >>> ASPP(8, 4, rates=(1, 2))(torch.rand(2, 8, 6, 6)).shape
    torch.Size([2, 4, 6, 6])
    """

    def __init__(self, in_channels: int, out_channels: int = 256, *, rates: Sequence[int] = (6, 12, 18), dim: int = 2):
        super().__init__()
        check_dim(dim)
        in_channels, out_channels = check_counts(in_channels=in_channels, out_channels=out_channels)
        rates = check_rates(rates)
        self.in_channels, self.dim = in_channels, dim

        def block(channels: int, kernel_size: int = 1, rate: int = 1) -> nn.Sequential:
            convolution = CONV[dim](channels, out_channels, kernel_size, dilation=rate, padding="same", bias=False)
            return nn.Sequential(convolution, NORM[dim](out_channels), nn.ReLU(inplace=True))

        self.places = nn.ModuleList([block(in_channels), *(block(in_channels, 3, rate) for rate in rates)])
        self.image = block(in_channels)
        self.join = block(out_channels * (len(rates) + 2))

    def forward(self, x: Float[Tensor, "b c *s"]) -> Float[Tensor, "b d *s"]:
        check_image(x, self.in_channels, self.dim, weight=cast(Conv, self.image[0]).weight, name="x")
        if self.training and len(x) == 1:
            raise ValueError("x: expected two images or more in training, whose means the norm can compare, got one")
        whole = self.image(x.mean(dim=tuple(range(2, x.ndim)), keepdim=True))
        places = [place(x) for place in self.places]
        return self.join(torch.cat([*places, whole.expand(-1, -1, *x.shape[2:])], dim=1))


def leaves_holes(rates: Sequence[int], kernel: int = 3) -> bool:
    r"""Whether a stack of layers at these rates leaves voxels unseen between others that it sees ("gridding").

    The layers have `rates` $r_i$ and a `kernel` of k voxels along each axis.
    In ascending order $r_1 \le r_2 \le \dots$ no hole is left if and only if $r_i \le 1 + (k - 1) \sum_{j<i} r_j$ for
    all i: no step is wider than what the smaller ones see together. (So the smallest is 1.) It is the rule by which
    coins, k - 1 of each, pay every amount. The order of the layers does not matter. Units: voxels.
    Errors: ValueError for a rate below 1, none, or a kernel below 2.
    Source: that equal rates leave holes, Wang et al. 2018, doi:10.1109/WACV.2018.00163; the condition, Brown 1961,
    doi:10.2307/2311150. Chapter 6.

    >>> leaves_holes([2, 2, 2]), leaves_holes([1, 2, 4])
    (True, False)
    """
    rates = check_rates(rates)
    check_counts(kernel=kernel)
    if kernel == 1:
        raise ValueError("kernel: expected 2 or more, got 1, which has no rate")
    seen = 1
    for rate in sorted(rates):
        if rate > seen:
            return True
        seen += (kernel - 1) * rate
    return False


def hdc_distance(rates: Sequence[int]) -> int:
    r"""$M_2$ of hybrid dilated convolution: $M_i = \max(M_{i+1} - 2 r_i,\; 2 r_i - M_{i+1},\; r_i)$, $M_n = r_n$.

    `rates` are the $r_i$, the first layer first. Its authors ask for $M_2 \le k$, kernels of k voxels, in a group of
    layers that begins at rate 1; then no hole is left. It is a bound: there are groups without a hole, as (1, 3, 1),
    that it does not let pass. `leaves_holes` is exact.
    Units: voxels. One rate gives that rate, two the second. Errors: ValueError for a rate below 1, or none.
    Source: Wang et al. 2018, sec. 3.2, doi:10.1109/WACV.2018.00163. Chapter 6.

    >>> hdc_distance([1, 2, 5]), hdc_distance([1, 2, 9])                # to compare with kernels of 3 voxels
    (2, 5)
    """
    rates = check_rates(rates)
    distance = rates[-1]
    for rate in rates[-2:0:-1]:
        distance = max(distance - 2 * rate, 2 * rate - distance, rate)
    return distance


def check_rates(rates: Sequence[int]) -> tuple[int, ...]:
    rates = check_row("rates", rates)
    if not rates:
        raise ValueError("rates: expected at least one, got none")
    return rates


@torch.no_grad()
def _identity_(layer: Conv, channels: int, noise: float) -> None:
    """Each output channel is the mean of the inputs that stem from the same channel of the module's input."""
    width, above, *kernel = layer.weight.shape
    nn.init.normal_(layer.weight, std=noise * channels / width)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    stems_from, to = torch.arange(above) * channels // above, torch.arange(width) * channels // width
    same = to[:, None] == stems_from
    middle = math.prod(kernel) // 2
    layer.weight.view(width, above, -1)[:, :, middle][same] = channels / width
