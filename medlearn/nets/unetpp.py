r"""UNet++: a U-Net of every depth in one, nested, its skips filled with nodes (chapter 8)."""
from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medlearn.nets.blocks import (CONV, Conv, DoubleConv, check_counts, check_dim, check_image, check_widths,
                                  conv_side_by_side, cut, double, dropout_of_levels, halve, lay_channels_last)

Place = tuple[int, int]
UP_CONV: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class UNetPlusPlus(nn.Module):
    r"""$x_{i,0}=H(\mathrm{halve}(x_{i-1,0}))$, $x_{i,j} = H([x_{i,0}, \dots, x_{i,j-1}, U(x_{i+1,j-1})])$, $i+j \le n$.

    Shapes: `image (B, in_channels, *S)` to logits `(B, classes, *S)`; `*S` has `dim` axes of any size, odd ones too.
    `widths` are the channels of the rows $i = 0 \dots n$, the finest first: n + 1 of them give a network of depth n.
    `nodes["i_j"]` computes $x_{i,j}$, `up["i_j"]` is its $U$, and `graph[i, j]` are the places whose maps it takes.
    $U$ is a kernel of one voxel that brings the channels to those of the finer row, then a doubling.
    A head on $x_{0,d}$ makes the answer of depth d: that of a whole U-Net, which is part of this one. With
    `deep_supervision` every depth has one. In training the answer is then a tuple of logits, the deepest first, all of
    the image's size, for `medlearn.train.deep_supervision`; in evaluation it is the logits of their mean probability,
    in float32 or better: the paper's accurate mode. Without it, the deepest alone has a head. `prune` is the fast mode.
    `dropout` is the probability that a value on its way up is left out: one number for the coarsest row, or one for
    each row, the finest first. It acts where a $U$ reads the map of its row, and in row 0 where a head does, so that
    $x_{i,0}$ are never random.
    An empty batch gives an empty answer in evaluation.
    For inference `folded(net)` is the same network with its batch norms inside the kernels.
    Errors: TypeError for an image that is not float; ValueError for another number of channels or axes, an axis
    without a voxel, another `dim` than 2 or 3, numbers of channels or classes below 1, fewer than two widths, a
    dropout outside 0..1.
    Source: Zhou et al. 2018, eq. 1, doi:10.1007/978-3-030-00889-5_1; 2020, doi:10.1109/TMI.2019.2959609; here with
    batch norm. Chapter 8.

    >>> net, image = UNetPlusPlus(widths=(4, 8, 8)), torch.rand(2, 1, 16, 16)
    >>> [tuple(logits.shape) for logits in net(image)]                  # in training an answer of each depth
    [(2, 2, 16, 16), (2, 2, 16, 16)]
    >>> net.eval()(image).shape, net.prune(1)(image).shape
    (torch.Size([2, 2, 16, 16]), torch.Size([2, 2, 16, 16]))
    """

    def __init__(self, in_channels: int = 1, classes: int = 2, *, dim: int = 2,
                 widths: Sequence[int] = (32, 64, 128, 256), deep_supervision: bool = True,
                 dropout: float | Sequence[float] = 0.0):
        super().__init__()
        check_dim(dim)
        in_channels, classes = check_counts(in_channels=in_channels, classes=classes)
        widths = check_widths(widths)
        if len(widths) < 2:
            raise ValueError(f"widths: expected two or more, to have something to nest, got {widths!r}")
        self.in_channels, self.dim, self.deep_supervision = in_channels, dim, deep_supervision
        depth = len(widths) - 1

        self.graph = nested_graph(depth)
        self.nodes, self.up, self.heads = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for i, j in self.graph:
            taken = (j + 1) * widths[i] if j else (in_channels, *widths)[i]
            self.nodes[_name(i, j)] = self._node(taken, widths[i])
            if j:
                self.up[_name(i, j)] = self._riser(widths[i + 1], widths[i])
        for d in range(1 if deep_supervision else depth, depth + 1):
            self.heads[str(d)] = CONV[dim](widths[0], classes, kernel_size=1)
        self.dropout = dropout_of_levels(dropout, len(widths))
        lay_channels_last(self, dim)

    def forward(self, image: Float[Tensor, "b c *s"]) -> Float[Tensor, "b k *s"] | tuple[Float[Tensor, "b k *s"], ...]:
        answers = list(self.answers(image).values())
        if self.training and self.deep_supervision:
            return tuple(reversed(answers))
        return answers[0] if len(answers) == 1 else _mean_answer(answers)

    def answers(self, image: Float[Tensor, "b c *s"]) -> dict[int, Float[Tensor, "b k *s"]]:
        r"""The logits of each head by its depth, the shallowest first: `(B, classes, *S)` each."""
        x = self.features(image)
        return {int(d): head(self.dropout[0](x[0, int(d)])) for d, head in self.heads.items()}

    def features(self, image: Float[Tensor, "b c *s"]) -> dict[Place, Float[Tensor, "b _ ..."]]:
        r"""Every $x_{i,j}$: `(B, widths[i], *S_i)`, with `*S_i` halved, upwards, i times."""
        check_image(image, self.in_channels, self.dim, weight=cast(Conv, next(iter(self.heads.values()))).weight)
        x: dict[Place, Tensor] = {}
        for (i, j), places in self.graph.items():
            *left, other = [x[place] for place in places] or [image]
            if j:
                other = self.up[_name(i, j)](self.dropout[i + 1](other), like=left[0])
            elif i:
                other = halve(other)
            x[i, j] = self.nodes[_name(i, j)](*left, other)
        return x

    def prune(self, depth: int) -> UNetPlusPlus:
        r"""The network of depth d that is inside this one: its answer is that of head d, bit for bit.

        A module of its own, with copied weights; what head d does not need is not in it. At the full depth it is this
        network with its last head alone. Errors: ValueError for a depth that has no head.
        """
        if isinstance(depth, bool) or str(depth) not in self.heads:
            raise ValueError(f"depth: expected one that has a head, {', '.join(self.heads)}, got {depth!r}")
        small = copy.copy(self)
        small._modules = self._modules.copy()               # or what is set below would be set in this one, too
        small.deep_supervision, small.graph = False, nested_graph(depth)
        for part in ("nodes", "up"):
            inside = {_name(*place) for place in small.graph}
            setattr(small, part, nn.ModuleDict({k: m for k, m in getattr(self, part).items() if k in inside}))
        small.heads = nn.ModuleDict({str(depth): self.heads[str(depth)]})
        small.dropout = self.dropout[:depth + 1]
        return copy.deepcopy(small)

    @staticmethod
    def zhou2018(in_channels: int = 1, classes: int = 1, *, dim: int = 2,
                 deep_supervision: bool = False) -> UNetPlusPlus:
        r"""The network of the paper: widths 32 to 512, convolutions with biases and no norm, up-convolutions.

        In 2D, with one channel, one class and one head, 9,041,601 parameters; pruned to depth 1, 2, 3 they are
        100,961, 511,105, 2,204,961. A single class is one logit, for a sigmoid.
        """
        return _UNetPlusPlus2018(in_channels, classes, dim=dim, widths=(32, 64, 128, 256, 512),
                                 deep_supervision=deep_supervision)

    def _node(self, in_channels: int, out_channels: int) -> nn.Module:
        return DoubleConv(in_channels, out_channels, dim=self.dim)

    def _riser(self, coarse: int, fine: int) -> nn.Module:
        return _NarrowAndDouble(CONV[self.dim](coarse, fine, kernel_size=1, bias=False))


class _UNetPlusPlus2018(UNetPlusPlus):
    def _node(self, in_channels: int, out_channels: int) -> nn.Module:
        return _PlainDoubleConv(*(CONV[self.dim](a, b, kernel_size=3, padding=1)
                                  for a, b in pairwise((in_channels, out_channels, out_channels))))

    def _riser(self, coarse: int, fine: int) -> nn.Module:
        return _UpConv(UP_CONV[self.dim](coarse, fine, kernel_size=2, stride=2))


def nested_graph(depth: int) -> dict[Place, tuple[Place, ...]]:
    r"""The places $(i, j)$ with $i + j \le n$ in an order of computation, and for each those whose maps it takes.

    $(i, 0)$ takes $(i - 1, 0)$, and $(i, j)$ takes $(i, 0), \dots, (i, j - 1)$ and, last, $(i + 1, j - 1)$.
    n is the `depth`. Errors: ValueError for a depth below 1.
    Source: Zhou et al. 2018, fig. 1, doi:10.1007/978-3-030-00889-5_1. Chapter 8.

    >>> nested_graph(1)
    {(0, 0): (), (1, 0): ((0, 0),), (0, 1): ((0, 0), (1, 0))}
    """
    depth, = check_counts(depth=depth)
    graph: dict[Place, tuple[Place, ...]] = {}
    for column in range(depth + 1):                         # by diagonals: after each, a U-Net is complete
        graph[column, 0] = ((column - 1, 0),) if column else ()
        for j in range(1, column + 1):
            i = column - j
            graph[i, j] = (*((i, k) for k in range(j)), (i + 1, j - 1))
    return graph


class _NarrowAndDouble(nn.Sequential):
    def forward(self, x: Float[Tensor, "b c *half"],                    # type: ignore[override]  # one map more
                like: Float[Tensor, "b d *s"]) -> Float[Tensor, "b d *s"]:
        return double(self[0](x), like=like)


class _UpConv(nn.Sequential):
    def forward(self, x: Float[Tensor, "b c *half"],                    # type: ignore[override]  # one map more
                like: Float[Tensor, "b d *s"]) -> Float[Tensor, "b d *s"]:
        return cut(self[0](x), like=like)


class _PlainDoubleConv(nn.Sequential):
    def forward(self, *maps: Float[Tensor, "b _ *s"]) -> Float[Tensor, "b c *s"]:
        first, second = self
        return second(conv_side_by_side(cast(Conv, first), *maps).relu_()).relu_()


def _mean_answer(answers: Sequence[Float[Tensor, "b k *s"]]) -> Float[Tensor, "b k *s"]:
    r"""Logits of the mean of the probabilities; a single logit stands against a second one of 0, as in a sigmoid."""
    z = torch.stack(list(answers))
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    if single := z.shape[2] == 1:
        z = torch.cat([torch.zeros_like(z), z], dim=2)
    mean = z.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(answers))
    return mean[:, 1:] - mean[:, :1] if single else mean


def _name(i: int, j: int) -> str:
    return f"{i}_{j}"
