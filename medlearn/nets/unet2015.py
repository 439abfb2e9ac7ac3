r"""The U-Net of 2015 as its figure has it: nothing is padded, so each convolution takes a rim away (chapter 7)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medlearn.nets.blocks import check_counts, check_image, check_probability, check_widths, lay_channels_last


class UNet2015(nn.Module):
    r"""Ronneberger's network: convolutions without padding, up-convolutions, crop and concatenate; 2D.

    Shapes: `image (B, in_channels, H, W)` to logits `(B, classes, H - 184, W - 184)`, those of the image's middle;
    572 x 572 gives 388 x 388. A pooling halves an even size only, so H and W are $188 + 16 m$; to label the whole
    of an image mirror its border by 92 pixels, and what is missing to such a size: `F.pad(..., mode="reflect")`.
    `widths` are the channels of each level, the finest first. One channel in and two classes out make 31,030,658
    parameters. Weights start normal with deviation $\sqrt{2 / N}$, N the values that one output sums over; biases
    start at 0.
    `dropout` acts, in training, where the paper has it, at the end of the contracting path: on the maps of the two
    coarsest levels, by 0.5, both as in the network that its authors gave out.
    An empty batch gives an empty answer.
    Errors: TypeError for an image that is not float; ValueError for another number of channels or axes, a size that
    is not one of the above (it names the nearest), numbers of channels or classes below 1, a dropout outside 0..1.
    Source: Ronneberger et al. 2015, fig. 1 and sec. 3, doi:10.1007/978-3-319-24574-4_28. Chapter 7.

    >>> UNet2015(widths=(2, 2, 2, 2, 2))(torch.rand(1, 1, 188, 204)).shape
    torch.Size([1, 2, 4, 20])
    """

    def __init__(self, in_channels: int = 1, classes: int = 2, *, widths: Sequence[int] = (64, 128, 256, 512, 1024),
                 dropout: float = 0.5):
        super().__init__()
        in_channels, classes = check_counts(in_channels=in_channels, classes=classes)
        widths = check_widths(widths)
        dropout = check_probability("dropout", dropout)
        self.in_channels, self.step = in_channels, 2 ** (len(widths) - 1)
        self.rim = 12 * self.step - 8                                   # what the convolutions take away of each axis
        self.down = nn.ModuleList(_two_convs(above, width) for above, width in pairwise((in_channels, *widths)))
        self.up_convs = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, kernel_size=2, stride=2)
                                      for coarse, fine in pairwise(widths[::-1]))
        self.up = nn.ModuleList(_two_convs(2 * fine, fine) for fine in widths[-2::-1])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)
        self.apply(_start)
        lay_channels_last(self, dim=2)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k _ _"]:
        levels = self.encode(image)
        x = levels.pop()
        for up_conv, block in zip(self.up_convs, self.up):
            x = up_conv(x)
            x = block(torch.cat([_crop(levels.pop(), like=x), x], dim=1))
        return self.head(x)

    def encode(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        r"""The maps of the contracting path, the finest first; a value of the last looks at 140 x 140 pixels."""
        self._check(image)
        levels = [self.down[0](image)]
        for block in self.down[1:]:
            levels.append(block(F.max_pool2d(levels[-1], kernel_size=2)))
        return [*levels[:-2], *map(self.dropout, levels[-2:])]

    def _check(self, image: Tensor) -> None:
        check_image(image, self.in_channels, dim=2, weight=self.head.weight)
        least = self.rim + (4 % self.step or self.step)
        for axis, n in zip("HW", image.shape[2:]):
            if n < least or (n - least) % self.step:
                below = least + max(0, n - least) // self.step * self.step
                nearest = f"{below} or {below + self.step}" if n > least else f"{least}"
                raise ValueError(f"image: expected {axis} of {least} + {self.step} m pixels, so that every pooling "
                                 f"halves an even size, got {n}; nearest: {nearest}")


def _two_convs(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size=3), nn.ReLU(inplace=True),
                         nn.Conv2d(out_channels, out_channels, kernel_size=3), nn.ReLU(inplace=True))


def _crop(x: Float[Tensor, "b c _ _"], like: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h w"]:
    """The middle of `x`, of the size of `like`: the rim was lost below."""
    (h, w), (rows, columns) = x.shape[2:], like.shape[2:]
    top, left = (h - rows) // 2, (w - columns) // 2
    return x[:, :, top:top + rows, left:left + columns]


def _start(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        overlap = isinstance(module, nn.Conv2d)                     # the windows of an up-convolution do not
        taps = math.prod(module.kernel_size) if overlap else 1
        nn.init.normal_(module.weight, std=math.sqrt(2 / (taps * module.in_channels)))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
