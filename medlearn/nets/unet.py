r"""The U-Net: down to see far, up to see sharp, and across what was seen on the way (chapter 7)."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from medlearn.nets.blocks import (CONV, Conv, DoubleConv, ResidualBlock, check_counts, check_dim, check_image,
                                  check_widths, double, dropout_of_levels, halve, lay_channels_last)
from medlearn.nets.unet2015 import UNet2015

Levels = list[Float[Tensor, "b _ ..."]]


class UNet(nn.Module):
    r"""Down, $x_i = D_i(\mathrm{halve}(x_{i-1}))$, and up again, $y_i = U_i([x_i, \mathrm{double}(w_i y_{i+1})])$.

    Shapes: `image (B, in_channels, *S)` to logits `(B, classes, *S)`; `*S` has `dim` axes of any size. An odd axis is
    halved upwards on the way down and cut on the way up, so nothing is padded.
    `widths` are the channels of each level, the finest first; $w_i$, a kernel of one voxel, brings those of a coarser
    level to the width of the finer. `forward` is `decode(encode(image))`, and `merge` one step of the way up.
    `skips=False` leaves the $x_i$ out: the decoder sees only what came up from below, and has fewer weights. To compare
    at equal size widen the levels by a sixteenth: (34, 68, 136, 272) without skips has the weights, to 1 %, of
    (32, 64, 128, 256) with them, in 2D and in 3D.
    `residual` makes each block add its input to what it computes, as `ResidualBlock`.
    `deep_supervision` gives each level of the decoder a head; in training the answer is then a tuple of logits, the
    finest first, each at its own level's size, and in evaluation the finest alone.
    `dropout` is the probability that a value on its way up is left out: one number for the coarsest level, or one for
    each level, the finest first. It acts where $y_i$ is read, so `encode` is never random.
    An empty batch gives an empty answer in evaluation.
    For inference `folded(net)` is the same network with its batch norms inside the kernels.
    Errors: TypeError for an image that is not float, or not of the weights' dtype; ValueError for another number of
    channels or axes, an axis without a voxel, another `dim` than 2 or 3, numbers of channels or classes below 1, a
    dropout outside 0..1.
    Source: Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28; here with padding and batch norm. Chapter 7.

    >>> import torch
    >>> net, image = UNet(widths=(4, 8)).eval(), torch.rand(1, 1, 9, 16)
    >>> net(image).shape, [tuple(level.shape) for level in net.encode(image)]
    (torch.Size([1, 2, 9, 16]), [(1, 4, 9, 16), (1, 8, 5, 8)])
    """

    def __init__(self, in_channels: int = 1, classes: int = 2, *, dim: int = 2,
                 widths: Sequence[int] = (32, 64, 128, 256), skips: bool = True, residual: bool = False,
                 deep_supervision: bool = False, dropout: float | Sequence[float] = 0.0):
        super().__init__()
        check_dim(dim)
        in_channels, classes = check_counts(in_channels=in_channels, classes=classes)
        widths = check_widths(widths)
        self.in_channels, self.dim, self.skips, self.deep_supervision = in_channels, dim, skips, deep_supervision
        block = ResidualBlock if residual else DoubleConv
        finer = widths[:-1]

        self.down = nn.ModuleList(block(above, width, dim=dim) for above, width in pairwise((in_channels, *widths)))
        self.narrow = nn.ModuleList(CONV[dim](coarse, fine, kernel_size=1, bias=False)
                                    for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(block(2 * fine if skips else fine, fine, dim=dim) for fine in finer)
        self.dropout = dropout_of_levels(dropout, len(widths))
        self.heads = nn.ModuleList(CONV[dim](width, classes, kernel_size=1)
                                   for width in ((deep_supervision and finer) or widths[:1]))
        lay_channels_last(self, dim)

    def forward(self, image: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *s"] | tuple[Float[Tensor, "b k ..."], ...]:
        return self.decode(self.encode(image))

    def encode(self, image: Float[Tensor, "b c *s"]) -> Levels:
        r"""$x_0 \dots x_{n-1}$, what is seen on the way down: `(B, widths[i], *S_i)`, the finest level first."""
        check_image(image, self.in_channels, self.dim, weight=cast(Conv, self.heads[0]).weight)
        levels = [self.down[0](image)]
        for block in self.down[1:]:
            levels.append(block(halve(levels[-1])))
        return levels

    def merge(self, levels: Levels) -> Levels:
        r"""One step up: the two coarsest maps, $x_i$ and $y_{i+1}$, become one, $y_i$."""
        self._check(levels, at_least=2)
        *finer, x, y = levels
        i = len(finer)
        y = double(self.narrow[i](self.dropout[i + 1](y)), like=x)
        return [*finer, self.up[i](x, y) if self.skips else self.up[i](y)]

    def decode(self, levels: Levels) -> Float[Tensor, "b k *s"] | tuple[Float[Tensor, "b k ..."], ...]:
        r"""From the levels of `encode`, or what `merge` left of them, up to the logits of each voxel."""
        self._check(levels, at_least=1)
        heads = self.heads if self.training else self.heads[:1]
        while len(levels) > len(heads):
            levels = self.merge(levels)
        answers = [self._answer(levels)]
        while len(levels) > 1:
            levels = self.merge(levels)
            answers.insert(0, self._answer(levels))
        return tuple(answers) if self.training and self.deep_supervision else answers[0]

    @staticmethod
    def ronneberger2015(in_channels: int = 1, classes: int = 2) -> UNet2015:
        """The network of the paper, to the last of its 31,030,658 parameters: `UNet2015`."""
        return UNet2015(in_channels, classes)

    def _answer(self, levels: Levels) -> Float[Tensor, "b k *s"]:
        i = len(levels) - 1
        return self.heads[i](self.dropout[i](levels[-1]))

    def _check(self, levels: Levels, at_least: int) -> None:
        if not at_least <= len(levels) <= len(self.down):
            raise ValueError(f"levels: expected {at_least} to {len(self.down)} maps, got {len(levels)}")
