"""How far apart voxels are, in mm."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from medlearn.tasks import kind_of

Spacing = Sequence[float] | np.ndarray | Float[Tensor, "d"]

_SHEAR = 1e-3                   # cosine between two axes up to which they count as perpendicular: rounding in headers


def spacing_from_affine(affine: np.ndarray | Tensor) -> tuple[float, float, float]:
    r"""The voxel's edges, $s_i = |A e_i|$: the lengths of the affine's three columns.

    Shapes: `affine (4, 4)`. Units: mm. Of a 2D slice the first two are the pixel's, the third is the slice's thickness.
    Errors: ValueError for another shape, for what is not finite or has no inverse, and for shear: where the axes are
    not perpendicular, no three numbers say how far apart two voxels are. Chapter 5.
    """
    matrix = affine.detach().cpu().numpy() if isinstance(affine, Tensor) else np.asarray(affine)
    if matrix.shape != (4, 4) or matrix.dtype.kind not in "iuf":
        raise ValueError(f"affine: expected a real 4 x 4 matrix, got shape {matrix.shape} {matrix.dtype}")
    columns = matrix[:3, :3].astype(np.float64)
    spacing = np.linalg.norm(columns, axis=0)
    if not np.isfinite(matrix).all() or not np.linalg.det(columns):
        raise ValueError(f"affine: expected finite values and an inverse, got\n{matrix}")
    cosines = (columns / spacing).T @ (columns / spacing)
    if (shear := abs(cosines - np.eye(3)).max()) > _SHEAR:
        raise ValueError(f"affine: expected perpendicular axes, got a shear (cosine {shear:.3g})")
    return tuple(spacing.tolist())


def check_spacing(spacing_mm: Spacing, axes: int) -> np.ndarray:
    """The spacing as an array, or a refusal of what is not one number above 0 for each axis."""
    if isinstance(spacing_mm, str) or not hasattr(spacing_mm, "__len__"):
        raise TypeError(f"spacing_mm: expected {axes} numbers in mm, got {kind_of(spacing_mm)}")
    spacing = spacing_mm.detach().cpu().numpy() if isinstance(spacing_mm, Tensor) else np.asarray(spacing_mm)
    if spacing.shape != (axes,) or spacing.dtype.kind not in "iuf":
        raise ValueError(f"spacing_mm: expected {axes} numbers, one for each axis, got {spacing_mm!r}")
    if not (np.isfinite(spacing) & (spacing > 0)).all():
        raise ValueError(f"spacing_mm: expected finite numbers above 0, got {spacing.tolist()}")
    return spacing.astype(np.float64)
