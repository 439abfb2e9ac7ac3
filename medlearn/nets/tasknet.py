r"""One network, three answers: a diagnosis of the scan, a class of every voxel, and a set of things (chapter 1)."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medlearn.base.validation import kind_of
from medlearn.nets.blocks import (CONV, ConvBlock, check_counts, check_dim, check_image, check_widths, double, halve,
                                  lay_channels_last)


class TaskAnswers(NamedTuple):
    r"""What `TaskNet` says: logits of the scan, logits of each voxel, and two maps that hold a set of things.

    Shapes: `diagnosis (B, D)`, `semantic (B, K, *S)`, `centre (B, 1, *S)`, `offset (B, dim, *S)`.
    Units: `centre` is about 1 at the centre of a thing and 0 far from all; `offset` in voxels, from each voxel to its
    thing's centre, along the axes of the array. Chapter 1.

    >>> answers = TaskNet(widths=(4, 8))(torch.rand(2, 1, 16, 16))
    >>> {name: tuple(answer.shape) for name, answer in answers._asdict().items()}
    {'diagnosis': (2, 3), 'semantic': (2, 6, 16, 16), 'centre': (2, 1, 16, 16), 'offset': (2, 2, 16, 16)}
    """

    diagnosis: Float[Tensor, "b d"]
    semantic: Float[Tensor, "b k *s"]
    centre: Float[Tensor, "b 1 *s"]
    offset: Float[Tensor, "b dim *s"]


class TaskNet(nn.Module):
    r"""A trunk that looks at the image, down to a coarse grid and up again, and four small heads that answer.

    Shapes: `image (B, in_channels, *S)` to `TaskAnswers`, of `diagnoses` diagnoses and `classes` classes; `*S` has
    `dim` axes of any size. An odd axis is halved upwards on the way down and cut on the way up, so nothing is padded.
    `widths`: channels of each level, the finest first. The diagnosis comes from the coarsest level, where the place
    is pooled away by the maximum: a lesion counts wherever it is. The other heads ask at every voxel of the finest.
    They start at zero: an untrained network claims nothing, and no loss begins so large that it drowns the others.
    An empty batch gives empty answers in evaluation.
    Errors: TypeError for an image that is not float, or not of the weights' dtype; ValueError for another number of
    channels or axes, an axis without a voxel, another `dim` than 2 or 3, or numbers of channels or classes below 1.
    Source: trunk, Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28; heads, Cheng et al. 2020,
    doi:10.1109/CVPR42600.2020.01249. Chapter 1.

    >>> answers = TaskNet(dim=3, widths=(4, 8))(torch.rand(2, 1, 4, 16, 16))
    >>> answers.semantic.argmax(1).any().item()                         # untrained it says background everywhere
    False
    """

    def __init__(self, in_channels: int = 1, classes: int = 6, *, diagnoses: int = 3, dim: int = 2,
                 widths: Sequence[int] = (16, 32, 48, 64)):
        super().__init__()
        check_dim(dim)
        in_channels, classes, diagnoses = check_counts(in_channels=in_channels, classes=classes, diagnoses=diagnoses)
        widths = check_widths(widths)
        self.in_channels, self.dim = in_channels, dim

        self.down = nn.ModuleList(nn.Sequential(ConvBlock(above, width, dim=dim), ConvBlock(width, width, dim=dim))
                                  for above, width in pairwise((in_channels, *widths)))
        self.up = nn.ModuleList(ConvBlock(coarse + fine, fine, dim=dim) for coarse, fine in pairwise(widths[::-1]))
        self.diagnosis = nn.Linear(widths[-1], diagnoses)
        self.semantic, self.centre, self.offset = (CONV[dim](widths[0], n, kernel_size=1) for n in (classes, 1, dim))
        for head in (self.semantic, self.centre, self.offset):
            for parameter in head.parameters():
                nn.init.zeros_(parameter)
        if dim == 2:
            lay_channels_last(self, dim)

    def forward(self, image: Float[Tensor, "b c *s"]) -> TaskAnswers:
        check_image(image, self.in_channels, self.dim, weight=self.semantic.weight)
        levels = [self.down[0](image)]
        for block in self.down[1:]:
            levels.append(block(halve(levels[-1])))
        coarsest = x = levels.pop()
        for block in self.up:
            fine = levels.pop()
            x = block(torch.cat([double(x, like=fine), fine], dim=1))
        return TaskAnswers(self.diagnosis(coarsest.flatten(2).amax(dim=2)),
                           self.semantic(x), self.centre(x), self.offset(x))


def check_answers(answers: TaskAnswers) -> None:
    if not isinstance(answers, TaskAnswers):
        raise TypeError(f"answers: expected TaskAnswers, as TaskNet gives them, got {kind_of(answers)}")
