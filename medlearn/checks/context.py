r"""Chapter 6, how far a network sees: the dilated kernel, the reach of a stack, the holes of a stack."""
from __future__ import annotations

from itertools import accumulate
from operator import mul

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.checks.engine import Case, Check


def dilate(weight: Float[Tensor, "o i *k"], rate: int) -> Float[Tensor, "o i *wide"]:
    r"""The kernel $w_{t / r}$ where all of $t$ is divisible by $r$ and 0 elsewhere, $k + (k - 1)(r - 1)$ wide.

    Chapter 6.
    """
    wide = weight.new_zeros(*weight.shape[:2], *(rate * (k - 1) + 1 for k in weight.shape[2:]))
    wide[(slice(None), slice(None), *[slice(None, None, rate)] * (weight.ndim - 2))] = weight
    return wide


def reach(layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    r"""Size $1 + \sum_i (k_i - 1) \, r_i \prod_{j<i} s_j$ and jump $\prod_i s_i$ of layers $(k_i, r_i, s_i)$, or 1, 1.

    Chapter 6.
    """
    jumps = list(accumulate((stride for _, _, stride in layers), mul, initial=1))
    return 1 + sum((kernel - 1) * rate * jump for (kernel, rate, _), jump in zip(layers, jumps)), jumps[-1]


def seen(rates: list[int], kernel: int) -> Bool[Tensor, "n"]:
    r"""Which voxels, first to last along an axis, a stack of kernels at these rates sees: sums of one tap each.

    Chapter 6.
    """
    offsets = torch.zeros(1, dtype=torch.int64)
    for rate in rates:
        offsets = (offsets[:, None] + rate * torch.arange(kernel)).unique()
    return torch.zeros(int(offsets[-1]) + 1, dtype=torch.bool).index_fill(0, offsets, True)


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _weight(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Cases

_DILATE = (
    Case("three taps at rate 2", dict(weight=torch.tensor([[[1.0, 2.0, 3.0]]]), rate=2),
         "Between two taps stand r - 1 zeros, and none before the first or after the last: 1 0 2 0 3."),
    Case("a kernel of two axes at rate 3", dict(weight=_weight(1, 1, 3, 3), rate=3),
         "Along both axes: nine weights in a square of 7 x 7."),
    Case("rate 1", dict(weight=_weight(1, 1, 3, 3, seed=1), rate=1), "At rate 1 nothing changes."),
    Case("many channels", dict(weight=_weight(4, 3, 3, 3, seed=2), rate=2),
         "The first two axes are channels, out and in. They stay as they are."),
    Case("five taps by two", dict(weight=_weight(2, 1, 5, 2, seed=3), rate=2),
         "The axes may have different numbers of taps: each becomes k + (k - 1)(r - 1)."),
    Case("a volume", dict(weight=_weight(2, 2, 3, 3, 3, seed=4), rate=2),
         "A kernel may have three axes of space, or one. How many has this one?"),
    Case("a kernel of zeros", dict(weight=torch.zeros(1, 1, 3), rate=4),
         "The width does not depend on the weights: a kernel of zeros becomes a wider kernel of zeros."),
    Case("double precision", dict(weight=_weight(1, 2, 3, seed=5, dtype=torch.float64), rate=2),
         "The weight's own dtype, on its own device: `weight.new_zeros(...)` makes zeros of the kind."),
    Case("the gradient", dict(weight=_weight(2, 1, 3, 3, seed=6), rate=2),
         "The weights have to learn: copy them by indexing, which a gradient can pass through.", gradient=("weight",)),
)

_REACH = (
    Case("one layer", dict(layers=[(3, 1, 1)]), "A layer alone sees its own kernel, and moves by its stride."),
    Case("one dilated layer", dict(layers=[(3, 3, 1)]), "Dilated, it is k + (k - 1)(r - 1) wide."),
    Case("layer upon layer", dict(layers=[(3, 1, 1), (3, 2, 1), (5, 4, 1)]),
         "Each layer adds what it sees beyond one voxel, (k - 1) r; the widths themselves do not add up."),
    Case("a stride", dict(layers=[(3, 1, 2), (3, 1, 1)]),
         "Behind a stride neighbours are further apart: their distance, measured in the input, is the jump so far."),
    Case("the stride of the last layer", dict(layers=[(3, 1, 1), (2, 1, 2)]),
         "A layer's own stride moves what comes after it. Which jump counts for its own kernel?"),
    Case("the encoder of U-Net", dict(layers=[(3, 1, 1), (3, 1, 1), (2, 1, 2)] * 4 + [(3, 1, 1)] * 2),
         "Jumps multiply: 2, 4, 8, 16. The result is known: 140 and 16."),
    Case("one by one", dict(layers=[(1, 5, 1), (1, 1, 3)]), "A kernel of one voxel sees one voxel, at any rate."),
    Case("no layers", dict(layers=[]), "Without a layer a voxel sees itself: size 1, jump 1."),
)

_SEEN = (
    Case("one layer", dict(rates=[1], kernel=3), "Three neighbours, all seen: three times True."),
    Case("one dilated layer", dict(rates=[3], kernel=3),
         "Seven voxels from the first tap to the last, and three of them seen."),
    Case("equal rates", dict(rates=[2, 2, 2], kernel=3),
         "Sums of even numbers are even: every other voxel, however many layers there are."),
    Case("mixed rates", dict(rates=[1, 2, 5], kernel=3),
         "A path goes through one tap of each layer. Which sums are there?"),
    Case("holes further out", dict(rates=[1, 2, 9], kernel=3),
         "Holes need not lie on a lattice. Take the sums themselves, not a rule."),
    Case("the largest rate first", dict(rates=[9, 1, 3], kernel=3),
         "The order of the layers does not matter to a sum."),
    Case("no small rate", dict(rates=[2, 3], kernel=3),
         "Two rates without a common factor see nearly everything. What is missing, and where?"),
    Case("larger kernels", dict(rates=[1, 5], kernel=5), "The k taps stand at 0, r, 2r, up to (k - 1) r."),
    Case("no layers", dict(rates=[], kernel=3), "Without a layer a voxel sees itself: a single True."),
    Case("the context module", dict(rates=[1, 1, 2, 4, 8, 16, 1], kernel=3),
         "Seven layers have 2187 paths and 67 voxels to end at. Many paths end at the same voxel."),
)

CHECKS = (
    Check("context.dilate", dilate, _DILATE),
    Check("context.reach", reach, _REACH),
    Check("context.seen", seen, _SEEN),
)
