r"""Chapter 1, the language of seeing: millilitres, overlaps and arrows of things."""
from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from medlearn.checks.engine import Case, Check


def volume_ml(mask: Bool[Tensor, "x y z"], affine: Float[Tensor, "4 4"]) -> float:
    r"""The volume $n \, |\det A| / 1000$ of a mask of $n$ voxels in millilitres; 0 for an empty mask. Chapter 1."""
    return (mask.sum() * torch.linalg.det(affine[:3, :3]).abs() / 1000).item()


def iou_matrix(prediction: Int64[Tensor, "*s"], target: Int64[Tensor, "*s"]) -> Float[Tensor, "n m"]:
    r"""$|P_i \cap T_j| / |P_i \cup T_j|$ for things $1..N$ and $1..M$ of two maps, from one joint histogram.

    Empty sides give `(0, M)` and `(N, 0)`. Chapter 1.
    """
    n, m = (int(things.max()) + 1 for things in (prediction, target))
    joint = torch.bincount((prediction * m + target).flatten(), minlength=n * m).view(n, m).double()
    union = joint.sum(1, keepdim=True) + joint.sum(0, keepdim=True) - joint
    return (joint / union)[1:, 1:].float()


def offsets(things: Int64[Tensor, "*s"]) -> Float[Tensor, "dim *s"]:
    r"""At each voxel $x$ of a thing the arrow $c - x$ to its centre of mass $c$, in voxels; zero outside. Chapter 1."""
    index = torch.stack(torch.meshgrid(*(torch.arange(n, device=things.device) for n in things.shape), indexing="ij"))
    where, n = things.flatten(), int(things.max()) + 1
    voxels = torch.bincount(where, minlength=n).clamp_min(1)
    sums = torch.stack([torch.bincount(where, weights=axis.flatten().double(), minlength=n) for axis in index])
    arrows = (sums / voxels)[:, where].view_as(index) - index
    return (arrows * (things > 0)).float()


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _affine(*rows: list[float | int]) -> Tensor:
    return torch.tensor([*rows, [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)


def _box(shape: tuple[int, ...], *boxes: tuple[slice, ...]) -> Tensor:
    """A map of things: box i is filled with i, later ones over earlier ones."""
    things = torch.zeros(shape, dtype=torch.int64)
    for i, box in enumerate(boxes, 1):
        things[box] = i
    return things


def _random(high: int, shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def _square(y: int, x: int, side: int = 3) -> tuple[slice, slice]:
    return slice(y, y + side), slice(x, x + side)


_ONE = _box((2, 2, 2), (slice(0, 1), slice(1, 2), slice(0, 1))).bool()
_UNIT = _affine([1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0])
_SOME = _random(2, (5, 6, 7), seed=0).bool()
_NOTHING = torch.zeros(3, 4, dtype=torch.int64)
_TWO = _box((4, 6), _square(0, 0), _square(0, 3))
_CROSSED = _box((4, 6), (slice(0, 2), slice(4, 6)), (slice(1, 4), slice(0, 2)), (slice(0, 1), slice(1, 4)))

# ---------------------------------------------------------------------------------------------------------------------
# Cases

_VOLUME = (
    Case("one voxel of 1 mm", dict(mask=_ONE, affine=_UNIT),
         "The affine is in millimetres, and one millilitre is 1000 cubic millimetres."),
    Case("voxels of 0.5 x 0.5 x 2 mm",
         dict(mask=_ONE, affine=_affine([0.5, 0, 0, -10], [0, 0.5, 0, -20], [0, 0, 2.0, 5])),
         "Not every voxel is a cube of 1 mm. How many cubic millimetres does this one hold?"),
    Case("many voxels", dict(mask=_SOME, affine=_affine([1.5, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 1.5, 0])),
         "Every voxel of the mask counts once, and none outside it."),
    Case("a mirrored grid", dict(mask=_ONE, affine=_affine([-2.0, 0, 0, 90], [0, 2.0, 0, -126], [0, 0, 2.0, -72])),
         "A determinant is negative where the grid is mirrored. A volume has no sign."),
    Case("a turned grid", dict(mask=_SOME, affine=_affine([0, -0.8, 0, 4], [0.6, 0, -1.6, 0], [0.8, 0, 1.2, 9])),
         "In a turned grid the spacings are not on the diagonal. Which number of a matrix tells how it stretches "
         "volumes?"),
    Case("a sheared grid", dict(mask=_SOME, affine=_affine([1.0, 0, 0.5, 0], [0, 1.0, 0.5, 0], [0, 0, 3.0, 0])),
         "With a tilted gantry the axes are not at right angles: the lengths of the columns do not multiply to the "
         "volume."),
    Case("slices in another order", dict(mask=_ONE, affine=_affine([0, 0, 3.0, 1], [0.5, 0, 0, 2], [0, 0.5, 0, 3])),
         "An array's axes may come in any order, as in a sagittal scan. The diagonal may then be zero."),
    Case("an empty mask", dict(mask=torch.zeros_like(_ONE), affine=_UNIT),
         "No voxels take up no space: 0 ml, a number and not NaN."),
)

_IOU = (
    Case("one thing, partly found", dict(prediction=_box((3, 6), _square(0, 0)), target=_box((3, 6), _square(0, 1))),
         "The union is the truth plus the answer, minus what they share, which would be counted twice."),
    Case("two found things, three true", dict(prediction=_TWO, target=_CROSSED),
         "Rows are the found things in the order of their numbers, columns the true ones. Thing i stands in row i - "
         "1."),
    Case("a false alarm", dict(prediction=_TWO, target=_box((4, 6), _square(0, 0))),
         "A thing that overlaps nothing keeps its row, of zeros. Does the table have a row for each found thing?"),
    Case("a perfect answer", dict(prediction=_TWO, target=_TWO), "A thing's IoU with itself is 1."),
    Case("nothing to find", dict(prediction=_TWO, target=torch.zeros_like(_TWO)),
         "Two found things and no true one make a table of shape (2, 0)."),
    Case("nothing found", dict(prediction=torch.zeros_like(_TWO), target=_CROSSED),
         "No found thing and three true ones make a table of shape (0, 3)."),
    Case("nothing on either side", dict(prediction=_NOTHING, target=_NOTHING),
         "The table is empty then, of shape (0, 0)."),
    Case("many things in 3D", dict(prediction=_random(9, (5, 6, 7), 1), target=_random(14, (5, 6, 7), 2)),
         "Can two different pairs get the same number in your joint histogram? And does it take any number of axes?"),
)

_OFFSETS = (
    Case("one square", dict(things=_box((4, 5), _square(0, 1))),
         "The arrow leads from the voxel to the centre: centre minus place, the row's part first, then the column's."),
    Case("a crooked thing", dict(things=torch.tensor([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 0]])),
         "The centre of mass is the mean place of a thing's voxels. It may lie between voxels, and even outside the "
         "thing."),
    Case("two things that touch", dict(things=_TWO), "Each thing has its own centre, whatever lies beside it."),
    Case("three things in 3D", dict(things=_box((4, 3, 5), (slice(0, 2), slice(0, 2), slice(0, 2)),
                                                (slice(3, 4), slice(0, 3), slice(0, 1)),
                                                (slice(0, 4), slice(1, 3), slice(3, 5)))),
         "In a volume an arrow has three parts: the first axis of the result has as many entries as the map has axes."),
    Case("a thing of one voxel", dict(things=_box((3, 4), (slice(2, 3), slice(3, 4)))),
         "A single voxel is its own centre: the arrow is zero, not NaN."),
    Case("no things", dict(things=_NOTHING), "Without things all arrows are zero, and the shape is the same: (2, *S)."),
    Case("many things", dict(things=_random(20, (24, 30), 7)),
         "Are the arrows right far from the corner, for every thing?"),
)

CHECKS = (
    Check("tasks.volume", volume_ml, _VOLUME),
    Check("tasks.iou_matrix", iou_matrix, _IOU, same_dtype=False),
    Check("tasks.offsets", offsets, _OFFSETS),
)
