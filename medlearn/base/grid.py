r"""Where the voxels of an image lie: how far apart, how large, which way round, and from index to mm and back."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from medlearn.base.validation import as_tensor, check_whole, kind_of

SHEAR = 1e-3                    # cosine between two axes up to which they count as perpendicular: rounding in headers
_DIRECTIONS = (("L", "R"), ("P", "A"), ("I", "S"))

Spacing = Sequence[float] | np.ndarray | Tensor


@dataclass(frozen=True, eq=False)
class Grid:
    r"""The grid of one image: the place of voxel index $i$ is $A\,(i, 1)$.

    Shapes: `shape (*S)`, two or three axes; `affine (4, 4)`. Units: mm, in RAS: to the patient's right, front and top.
    Of a slice `(x, y)` the affine's third column is its normal, as long as the slice is thick, so that pixels have a
    volume. A grid without a voxel is one. Wherever a spacing is asked for, a grid will do.
    Errors: TypeError and ValueError for a shape or an affine that cannot be. Source: the NIfTI-1 sform. Chapter 7.

    >>> grid = Grid((64, 64, 20), np.diag([2.0, 2.0, 5.0, 1.0]))
    >>> grid.spacing_mm, round(grid.voxel_ml, 3), grid.orientation
    ((2.0, 2.0, 5.0), 0.02, 'RAS')
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    def __post_init__(self):
        if isinstance(self.shape, (str, int)) or len(shape := tuple(self.shape)) not in (2, 3):
            raise ValueError(f"shape: expected 2 or 3 numbers of voxels, got {self.shape!r}")
        object.__setattr__(self, "shape", tuple(check_whole(f"shape[{i}]", n) for i, n in enumerate(shape)))
        object.__setattr__(self, "affine", as_affine(self.affine))

    @classmethod
    def from_spacing(cls, shape: Sequence[int], spacing_mm: Spacing) -> Grid:
        r"""A grid that begins at (0, 0, 0), its axes along those of space; a slice without a thickness is 1 mm thick.

        >>> Grid.from_spacing((10, 10), (0.5, 0.5)).voxel_ml
        0.00025
        """
        spacing = as_spacing(spacing_mm, (len(shape), 3))
        return cls(tuple(shape), np.diag([*spacing, *[1.0] * (4 - len(spacing))]))

    @property
    def dim(self) -> int:
        """2 for a slice, 3 for a volume."""
        return len(self.shape)

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        r"""How far apart voxels are along each axis of the array, $|A e_i|$, in mm.

        Errors: ValueError for shear: where axes are not perpendicular, no such numbers say how far apart voxels are.
        """
        return _perpendicular(self.affine)[:self.dim]

    @property
    def voxel_ml(self) -> float:
        r"""The volume of a voxel, $|\det A| / 1000$, in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def orientation(self) -> str:
        """Where each axis of the array points: "RAS" is to the patient's right, front (anterior) and top (superior)."""
        columns = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        letters, free = [""] * 3, {0, 1, 2}
        for column in np.argsort(-abs(columns).max(axis=0)):        # the clearest first, each axis of space once
            row = max(free, key=lambda r: abs(columns[r, column]))
            free.remove(row)
            letters[column] = _DIRECTIONS[row][int(columns[row, column] > 0)]
        return "".join(letters[:self.dim])

    def to_world(self, index: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n 3"]:
        """Indices, whole or not, to places in mm."""
        index = np.asarray(index, dtype=np.float64)
        if index.shape[-1:] != (self.dim,):
            raise ValueError(f"index: expected {self.dim} numbers along the last axis, got shape {index.shape}")
        return index @ self.affine[:3, :self.dim].T + self.affine[:3, 3]

    def to_index(self, place_mm: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n d"]:
        """Places in mm to indices, whole or not; of a slice, those of the nearest place on it."""
        place = np.asarray(place_mm, dtype=np.float64)
        if place.shape[-1:] != (3,):
            raise ValueError(f"place_mm: expected 3 numbers along the last axis, got shape {place.shape}")
        inverse = np.linalg.inv(self.affine[:3, :3])
        return ((place - self.affine[:3, 3]) @ inverse.T)[..., :self.dim]


def as_affine(affine: np.ndarray | Tensor | Sequence) -> np.ndarray:
    r"""A `(4, 4)` matrix in float64: indices to mm. Errors: ValueError for what is not finite or has no inverse."""
    matrix = _as_array("affine", affine)
    if matrix.shape != (4, 4) or matrix.dtype.kind not in "iuf":
        raise ValueError(f"affine: expected a real 4 x 4 matrix, got shape {matrix.shape} {matrix.dtype}")
    matrix = matrix.astype(np.float64)
    finite = np.isfinite(matrix).all()
    if not finite or not np.array_equal(matrix[3], [0, 0, 0, 1]) or not np.linalg.det(matrix[:3, :3]):
        raise ValueError(f"affine: expected finite values, an inverse and a last row of 0, 0, 0, 1, got "
                         f"{in_a_line(matrix)}")
    return matrix


def as_spacing(spacing_mm: Spacing | Grid, axes: int | Sequence[int]) -> np.ndarray:
    """One number above 0 for each axis, in mm, in float64; `axes` are how many there may be. A grid has its own."""
    allowed = (axes,) if isinstance(axes, int) else tuple(axes)
    wanted = " or ".join(map(str, dict.fromkeys(allowed)))
    if isinstance(spacing_mm, Grid):
        spacing_mm = _perpendicular(spacing_mm.affine)[:spacing_mm.dim if spacing_mm.dim in allowed else 3]
    if isinstance(spacing_mm, str) or not hasattr(spacing_mm, "__len__"):
        raise TypeError(f"spacing_mm: expected {wanted} numbers in mm, or a Grid, got {kind_of(spacing_mm)}")
    spacing = _as_array("spacing_mm", spacing_mm)
    if spacing.ndim != 1 or len(spacing) not in allowed or spacing.dtype.kind not in "iuf":
        raise ValueError(f"spacing_mm: expected {wanted} numbers, one for each axis, or a Grid, got {spacing_mm!r}")
    if not (np.isfinite(spacing) & (spacing > 0)).all():
        raise ValueError(f"spacing_mm: expected finite numbers above 0, got {spacing.tolist()}")
    return spacing.astype(np.float64)


def spacing_from_affine(affine: np.ndarray | Tensor) -> tuple[float, float, float]:
    r"""The voxel's edges, $s_i = |A e_i|$: the lengths of the affine's three columns.

    Shapes: `affine (4, 4)`. Units: mm. Of a 2D slice the first two are the pixel's, the third is the slice's thickness.
    Errors: ValueError for another shape, for what is not finite or has no inverse, and for shear. Chapter 7.

    >>> spacing_from_affine(np.diag([2.0, 2.0, 5.0, 1.0]))
    (2.0, 2.0, 5.0)
    """
    return _perpendicular(as_affine(affine))


def _as_array(name: str, value: np.ndarray | Tensor | Sequence) -> np.ndarray:
    return as_tensor(name, value).detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _perpendicular(affine: np.ndarray) -> tuple[float, float, float]:
    columns = affine[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    cosines = (columns / spacing).T @ (columns / spacing)
    if (shear := abs(cosines - np.eye(3)).max()) > SHEAR:
        raise ValueError(f"affine: expected perpendicular axes, got a shear (cosine {shear:.3g})")
    return tuple(spacing.tolist())


def in_a_line(matrix: np.ndarray) -> str:
    r"""A matrix as an error message says it: row after row.

    >>> in_a_line(np.diag([2.0, 0.5]))
    '[2 0; 0 0.5]'
    """
    return f"[{'; '.join(' '.join(f'{number:.6g}' for number in row) for row in matrix)}]"
