r"""Chapter 16, from scanner to tensor: which way the axes run, the affine of a part, the gaps of a series."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.checks.engine import Case, Check


def orientation(affine: Float[Tensor, "4 4"]) -> str:
    r"""For each column of the affine the direction of space that it is nearest to: "RAS", "LPS". Chapter 16."""
    letters = ""
    for column in affine[:3, :3].T.tolist():
        axis = max(range(3), key=lambda a: abs(column[a]))
        letters += ("LR", "PA", "IS")[axis][column[axis] > 0]
    return letters


def affine_of_part(affine: Float[Tensor, "4 4"], start: Sequence[int], step: Sequence[int]) -> Float[Tensor, "4 4"]:
    r"""$A \begin{pmatrix} \mathrm{diag}(t) & s \\ 0 & 1 \end{pmatrix}$ for the voxels $s + t\,n$. Chapter 16."""
    part = torch.diag(affine.new_tensor([*step, 1]))
    part[:3, 3] = affine.new_tensor(start)
    return affine @ part


def slice_gaps(positions: Sequence[Sequence[float]], directions: Sequence[float]) -> list[float]:
    r"""Differences of the sorted heights $n \cdot p$ in mm, $n$ the slices' normal; one slice has none. Chapter 16."""
    normal = np.cross(directions[:3], directions[3:])
    heights = sorted(float(np.dot(normal, place)) for place in positions)
    return [above - below for below, above in zip(heights, heights[1:])]


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _affine(*columns: Sequence[float], origin: Sequence[float] = (-90.0, 60.0, -30.0)) -> Tensor:
    """From the steps along each axis of the array, and the place of its first voxel."""
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = torch.tensor(columns, dtype=torch.float64).T
    affine[:3, 3] = torch.tensor(origin, dtype=torch.float64)
    return affine


_RAS = _affine((1, 0, 0), (0, 1, 0), (0, 0, 1))
_LPS = _affine((-0.8, 0, 0), (0, -0.8, 0), (0, 0, 3))
_SAGITTAL = _affine((0, -1, 0), (0, 0, -1), (4, 0, 0))                                    # PIR
_OBLIQUE = _affine((-0.8, -0.4, 0.1), (-0.1, 0.4, 0.8), (1.2, -2.1, 1.2))                 # LSP

# ---------------------------------------------------------------------------------------------------------------------
# Cases

_ORIENTATION = (
    Case("axes along those of space", dict(affine=_RAS), "To the right, the front and the top: RAS."),
    Case("axes that run the other way", dict(affine=_LPS),
         "A negative number leads to the left, the back or the foot: LPS here."),
    Case("a sagittal scan", dict(affine=_SAGITTAL),
         "Here the first axis runs to the back, the second to the foot, the third to the right. One letter a column."),
    Case("oblique axes", dict(affine=_OBLIQUE),
         "Within a column the number that is largest without its sign decides, and its own sign gives the letter."),
    Case("an origin far away", dict(affine=_affine((-2, 0, 0), (0, 2, 0), (0, 0, -2), origin=(400.0, 300.0, 500.0))),
         "The last column is a place and not a direction."),
)


def _part(name: str, affine: Tensor, start: list[int], step: list[int], hint: str) -> Case:
    return Case(name, dict(affine=affine, start=start, step=step), hint)


_PART = (
    _part("a crop", _RAS, [10, 20, 5], [1, 1, 1], "The steps stay; the origin moves to voxel (10, 20, 5)."),
    _part("a crop of larger voxels", _LPS, [10, 20, 5], [1, 1, 1],
          "Starts are counted in voxels: ten voxels are ten steps, and each has its length and its sign."),
    _part("every second voxel", _LPS, [0, 0, 0], [2, 2, 1], "The first voxel stays where it is; steps double."),
    _part("a flip", _LPS, [255, 0, 0], [-1, 1, 1],
          "The axis runs back from its last voxel: its step gets the other sign, the origin is where that voxel was."),
    _part("a start and a step", _RAS, [3, 0, 1], [2, 1, 3],
          "The start is an index of the whole array, and is not multiplied by the step."),
    _part("a margin around", _LPS, [-4, -4, 0], [1, 1, 1], "A negative start lies before the first voxel."),
    _part("axes that are exchanged", _SAGITTAL, [7, 0, 2], [1, 3, -1],
          "The step of an axis belongs to a column of the affine, not to a row."),
    _part("all of it, oblique", _OBLIQUE, [-2, 30, 11], [2, -1, 3],
          "Index n of the part is start + step n of the whole: put that into the affine."),
    _part("a part in single precision", _OBLIQUE.float(), [1, 2, 3], [1, 2, 1], "The answer has the affine's dtype."),
)


def _gaps(name: str, positions: list[list[float]], directions: list[float], hint: str) -> Case:
    return Case(name, dict(positions=positions, directions=directions), hint)


_AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
_ROWS = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]                             # their normal is (-0.6, 0.8, 0)
_GAPS = (
    _gaps("even axial slices", [[-100.0, -90.0, 7.0 * n] for n in range(4)], _AXIAL, "Four slices have three gaps."),
    _gaps("a slice is missing", [[-100.0, -90.0, z] for z in (-30.0, -25.0, -15.0, -10.0)], _AXIAL,
          "Give each gap, not one for all: 5, 10 and 5 mm."),
    _gaps("in any order", [[0.0, 0.0, z] for z in (12.0, -3.0, 4.0, 0.5)], _AXIAL,
          "Files have no order. Sort the heights first."),
    _gaps("sagittal slices", [[x, -120.0, 110.0] for x in (-8.0, -4.0, 0.0, 5.0)], [0.0, 1.0, 0.0, 0.0, 0.0, -1.0],
          "The normal is the cross product of the rows' and the columns' directions. Here it runs along x, backwards."),
    _gaps("oblique slices", [[-0.6 * h, 0.8 * h, 40.0] for h in (0.0, 3.0, 6.5)], _ROWS,
          "Project each position on the normal: the sum of the products of their numbers."),
    _gaps("a tilted gantry", [[-100.0, -90.0 + 2.0 * n, 5.0 * n] for n in range(3)], _AXIAL,
          "The slices are shifted sideways. Gaps are measured along the normal: 5 mm, not from corner to corner."),
    _gaps("two slices at one place", [[0.0, 0.0, z] for z in (2.0, 0.0, 2.0)], _AXIAL, "A gap may be 0: keep it."),
    _gaps("one slice", [[3.0, 2.0, 1.0]], _AXIAL, "One slice has no neighbour: an empty list."),
)

CHECKS = (
    Check("scanner.orientation", orientation, _ORIENTATION),
    Check("scanner.affine_of_part", affine_of_part, _PART),
    Check("scanner.slice_gaps", slice_gaps, _GAPS),
)
