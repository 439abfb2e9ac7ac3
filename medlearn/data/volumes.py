r"""A scan with the place of its voxels: an array and a grid, turned, cropped and padded together."""
from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.base.grid import SHEAR, Grid, in_a_line
from medlearn.base.validation import as_tensor, check_whole, kind_of

SAME_PLACE = 0.01               # of a voxel's edge, up to which two grids are one: headers hold float32
NEARLY_FLAT = 1e-6              # sine between axes of voxels below which a header's affine is singular
_ALONG = {"L": 0, "R": 0, "P": 1, "A": 1, "I": 2, "S": 2}


@dataclass(frozen=True, eq=False)
class Stored:
    r"""How a file keeps its numbers, so that they can be written back as they were: value = slope x number + intercept.

    `path` is the file, `dtype` the type of its numbers; `slope` and `intercept` have the values' unit. `header` is a
    NIfTI file's own, `grid` that of the axes as they lie in the file.

    >>> Stored(Path("ct.nii.gz"), np.dtype("int16"), Grid.from_spacing((2, 2, 2), (1, 1, 1))).slope
    1.0
    """

    path: Path
    dtype: np.dtype
    grid: Grid
    slope: float = 1.0
    intercept: float = 0.0
    header: Any = None


@dataclass(frozen=True, eq=False)
class Volume:
    r"""A scan, or its labels, with the place of every voxel.

    Shapes: `array (*S)` or `(C, *S)` in NumPy, of numbers of any type; `grid` has the shape `*S`. Units: of the array
    any, of the grid mm. `stored` is how its file keeps it, where it comes from one. A volume without a voxel is one.
    Errors: TypeError for anything but an array of numbers, ValueError for shapes that do not go together. Chapter 16.

    >>> volume = Volume(np.zeros((4, 4, 2), np.int16), Grid.from_spacing((4, 4, 2), (1.0, 1.0, 5.0)))
    >>> volume.grid.spacing_mm, volume.tensor().shape
    ((1.0, 1.0, 5.0), torch.Size([1, 4, 4, 2]))
    """

    array: np.ndarray
    grid: Grid
    stored: Stored | None = None

    def __post_init__(self):
        if not isinstance(self.array, np.ndarray) or self.array.dtype.kind not in "biuf":
            raise TypeError("array: expected an array of numbers, got "
                            f"{getattr(self.array, 'dtype', kind_of(self.array))}")
        if not isinstance(self.grid, Grid):
            raise TypeError(f"grid: expected a Grid, got {kind_of(self.grid)}")
        if self.array.shape[-self.grid.dim:] != self.grid.shape or self.array.ndim - self.grid.dim not in (0, 1):
            raise ValueError(f"array: expected shape {self.grid.shape} of the grid, with channels before it or none, "
                             f"got {self.array.shape}")

    @property
    def has_channels(self) -> bool:
        """Whether the array's first axis is one of channels."""
        return self.array.ndim > self.grid.dim

    @property
    def name(self) -> str:
        """The file's path, where it comes from one."""
        return str(self.stored.path) if self.stored else "volume"

    def tensor(self) -> Float[Tensor, "c *s"]:
        """What a network reads, `(C, *S)` in float32."""
        values = as_tensor("array", self.array).to(torch.float32)
        return values if self.has_channels else values[None]

    def with_array(self, array: np.ndarray | Tensor) -> Volume:
        """Another `array` on the same grid, as labels of this scan; a file's type of numbers is not meant for it."""
        return Volume(array.detach().cpu().numpy() if isinstance(array, Tensor) else array, self.grid)


# Which way round -----------------------------------------------------------------------------------------------------

def reorient(volume: Volume, orientation: str = "RAS") -> Volume:
    r"""The same voxels in another order of axes: `orientation` says where each axis points. No value is computed.

    Shapes: as the `volume`, axes exchanged; a slice has the two letters of its own plane. Units: as the volume.
    Turned there and back it is the same, bit for bit. A volume without a voxel is turned as well.
    Errors: ValueError for letters that are no orientation, or another plane's. Source: the NIfTI-1 sform. Chapter 16.

    >>> las = Volume(np.arange(8).reshape(2, 2, 2), Grid((2, 2, 2), np.diag([-1.0, 1.0, 1.0, 1.0])))
    >>> reorient(las).array[:, 0, 0].tolist(), las.grid.orientation
    ([4, 0], 'LAS')
    """
    here = volume.grid.orientation
    axes = [_ALONG[letter] for letter in here]
    wanted = [_ALONG.get(letter, -1) for letter in orientation] if isinstance(orientation, str) else []
    if sorted(axes) != sorted(wanted):
        raise ValueError(f"orientation: expected one of the axes of {here}, as {nearest_ras(volume.grid)}, "
                         f"got {orientation!r}")
    old = [axes.index(axis) for axis in wanted]             # of each new axis, the old one
    flipped = [here[axis] != letter for axis, letter in zip(old, orientation)]
    lead = volume.array.ndim - volume.grid.dim
    array = volume.array.transpose(*range(lead), *(lead + axis for axis in old))
    array = np.flip(array, tuple(lead + axis for axis, flip in enumerate(flipped) if flip))
    turn = np.eye(4)
    turn[:, :len(old)] = 0
    for new, (axis, flip) in enumerate(zip(old, flipped)):
        turn[axis, new] = -1 if flip else 1
        turn[axis, 3] = volume.grid.shape[axis] - 1 if flip else 0
    return replace(volume, array=array, grid=Grid(array.shape[lead:], volume.grid.affine @ turn))


def to_ras(volume: Volume) -> Volume:
    r"""The `volume` with its axes to the patient's right, front and top, as nearly as they can be without resampling.

    Shapes: as `reorient`; a slice gets the first two of them that it has. Units: as the volume. Errors: none.
    Chapter 16.

    >>> grid = Grid((4, 3, 2), np.diag([-1.0, -1.0, 1.0, 1.0]))
    >>> to_ras(Volume(np.zeros((4, 3, 2)), grid)).grid.affine[:3, 3].tolist()
    [-3.0, -2.0, 0.0]
    """
    return reorient(volume, nearest_ras(volume.grid))


def nearest_ras(grid: Grid) -> str:
    """ "RAS", or of a slice those two of its letters that its plane has."""
    present = {_ALONG[letter] for letter in grid.orientation}
    return "".join("RAS"[axis] for axis in sorted(present))


# Which part ----------------------------------------------------------------------------------------------------------

def crop(volume: Volume, start: Sequence[int], *, shape: Sequence[int], outside: float = 0) -> Volume:
    r"""The box of `shape` voxels of a `volume` that begins at index `start`; beyond it lies `outside`.

    Shapes: `start` and `shape` have one number for each axis; a start may be negative. Units: voxels.
    Every voxel keeps its place in mm. A box beside the scan holds `outside` alone.
    Errors: ValueError for other numbers, or an `outside` that the array's type does not hold. Chapter 16.

    >>> volume = Volume(np.arange(4.0)[:, None].repeat(4, 1), Grid.from_spacing((4, 4), (2.0, 2.0)))
    >>> part = crop(volume, (-1, 2), shape=(3, 1), outside=-1)
    >>> part.array[:, 0].tolist(), part.grid.to_world([1, 0]).tolist()
    ([-1.0, 0.0, 1.0], [0.0, 4.0, 0.0])
    """
    dim = volume.grid.dim
    if len(start) != dim or len(shape) != dim:
        raise ValueError(f"start, shape: expected {dim} numbers each, got {tuple(start)} and {tuple(shape)}")
    first = [check_whole(f"start[{i}]", n, least=-2 ** 31) for i, n in enumerate(start)]
    size = [check_whole(f"shape[{i}]", n) for i, n in enumerate(shape)]
    filling = np.array(outside).astype(volume.array.dtype)
    if filling != outside:
        raise ValueError(f"outside: expected a number that {volume.array.dtype} holds, got {outside!r}")
    inside = [slice(min(max(a, 0), n), max(min(a + s, n), 0)) for a, s, n in zip(first, size, volume.grid.shape)]
    part = volume.array[tuple([slice(None)] * (volume.array.ndim - dim) + inside)]
    margins = [(min(max(-a, 0), s), s - min(max(-a, 0), s) - n)
               for a, s, n in zip(first, size, part.shape[-dim:])]
    if any(before or after for before, after in margins):
        part = np.pad(part, [(0, 0)] * (part.ndim - dim) + margins, constant_values=filling)
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_world(np.array(first, dtype=float))
    return replace(volume, array=part, grid=Grid(tuple(size), affine))


def pad(volume: Volume, before: Sequence[int], *, after: Sequence[int] | None = None, outside: float = 0) -> Volume:
    r"""The volume with so many voxels more `before` and `after` it on each axis, of the value `outside`; see `crop`.

    Shapes: `before` and `after` have one number for each axis; left out, `after` is `before`. Units: voxels.
    Negative numbers take voxels away. Errors: as `crop`. Chapter 16.

    >>> volume = Volume(np.ones((2, 2)), Grid.from_spacing((2, 2), (2.0, 2.0)))
    >>> pad(volume, (1, 0)).array.tolist()
    [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
    """
    after = before if after is None else after
    if not len(before) == len(after) == volume.grid.dim:
        raise ValueError(f"before, after: expected {volume.grid.dim} numbers each, got {tuple(before)} and "
                         f"{tuple(after)}")
    shape = [n + a + b for n, a, b in zip(volume.grid.shape, before, after)]
    return crop(volume, [-n for n in before], shape=shape, outside=outside)


# Which place ---------------------------------------------------------------------------------------------------------

def check_same_grid(first: Volume, second: Volume) -> None:
    r"""Refuses two volumes whose voxels do not lie in the same places, as those of a scan and of its labels must.

    Shapes: the grids of `first` and `second` have one shape. Units: corners may be a hundredth of a voxel apart.
    Errors: ValueError with both names, and what differs. Chapter 16.

    >>> grid, moved = (Grid((2, 2, 2), np.diag([x, 1.0, 1.0, 1.0])) for x in (1, -1))
    >>> try: check_same_grid(Volume(np.zeros((2, 2, 2)), grid), Volume(np.zeros((2, 2, 2)), moved))
    ... except ValueError as error: print(error)
    volume and volume: expected one grid, got RAS and LAS
    """
    if difference := grid_difference(first.grid, second.grid):
        raise ValueError(f"{first.name} and {second.name}: expected one grid, got {difference}")


def grid_difference(first: Grid, second: Grid) -> str:
    """In words what two grids differ in; empty where they are one up to rounding."""
    if first.shape != second.shape:
        return f"shapes {first.shape} and {second.shape}"
    corners = np.array(list(product(*((0, max(n - 1, 0)) for n in first.shape))), dtype=float)
    apart = np.linalg.norm(first.to_world(corners) - second.to_world(corners), axis=-1).max()
    edge = np.linalg.norm(first.affine[:3, :first.dim], axis=0).min()
    if apart <= SAME_PLACE * edge:
        return ""
    if first.orientation != second.orientation:
        return f"{first.orientation} and {second.orientation}"
    return f"corners that are {apart:.4g} mm apart where a voxel is {edge:.4g} mm"


# What files may hold -------------------------------------------------------------------------------------------------

@contextmanager
def named(path: Path) -> Iterator[None]:
    """Whatever a reader or a library says of a damaged file becomes one ValueError that begins with the file's name."""
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise                                               # they name it themselves
    except EOFError as error:
        raise ValueError(f"{path}: expected the end of its gzip stream: it is cut short. Copy it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected a sound gzip file: {error}. Copy it again") from error
    except Exception as error:                              # half a dozen kinds, and another in each version
        said = str(error)
        if isinstance(error, ValueError) and said.startswith(str(path)):
            raise
        raise ValueError(f"{path}: {said or type(error).__name__}") from error


def volume_of_file(array: np.ndarray, affine: np.ndarray, *, path: Path, nan: float | None, slope: float = 1.0,
                   intercept: float = 0.0, header: Any = None) -> Volume:
    """A file's numbers as a volume, after a look at what makes a scan useless: no place, no volume, no number."""
    if not np.isfinite(affine).all():
        raise ValueError(f"{path}: expected an affine of finite numbers, got {in_a_line(affine)}")
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if not edges.all() or abs(np.linalg.det(affine[:3, :3] / edges)) < NEARLY_FLAT:
        raise ValueError(f"{path}: expected axes that span space, got a singular affine {in_a_line(affine)}")
    space = array.shape[-3:] if array.ndim > 3 else array.shape
    if 0 in array.shape or len(space) not in (2, 3):
        raise ValueError(f"{path}: expected a slice or a volume, got shape {array.shape}")
    directions = affine[:3, :3] / edges
    if (shear := abs(directions.T @ directions - np.eye(3)).max()) > SHEAR:
        warnings.warn(f"{path}: its axes are not perpendicular (cosine {shear:.3g}): a tilted gantry, or a wrong "
                      "affine. Resample it onto a grid whose axes are", stacklevel=4)
    native = array.dtype.newbyteorder("=")
    values = _scaled(array.astype(native, copy=False).view(native), slope, intercept)
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        wrong = values.size - int(finite.sum())
        if nan is None:
            raise ValueError(f"{path}: expected finite numbers, got {wrong} that are not, of {values.size}. "
                             "In Python, read_volume(path, nan=0) reads each as 0")
        values = np.where(finite, values, values.dtype.type(nan))
    grid = Grid(space, affine)
    return Volume(values, grid, Stored(path, array.dtype, grid, slope, intercept, header))


def _scaled(array: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """slope x number + intercept, in float32 where this can be undone without loss, else in float64."""
    if (slope, intercept) == (1, 0):
        return array
    exact = array.dtype.kind in "iu" and array.dtype.itemsize <= 2 and abs(intercept / slope) < 2 ** 21
    return (array * np.float64(slope) + intercept).astype(np.float32 if exact else np.float64)


def unscaled(volume: Volume) -> np.ndarray:
    """The numbers that the volume's file keeps, whole ones to the nearest. Errors: ValueError beyond its type."""
    stored = volume.stored
    if stored is None:
        return volume.array
    kept = stored.dtype.newbyteorder("=")
    if (stored.slope, stored.intercept) == (1, 0) and volume.array.dtype == kept:
        return volume.array
    numbers = (volume.array.astype(np.float64) - stored.intercept) / stored.slope
    if kept.kind in "iu":
        numbers, bounds = np.rint(numbers), np.iinfo(kept)
        if numbers.size and not (bounds.min <= numbers.min() and numbers.max() <= bounds.max):
            raise ValueError(f"{stored.path}: expected values that its {kept} can hold (slope {stored.slope:g}, "
                             f"intercept {stored.intercept:g}), got {volume.array.min():g}..{volume.array.max():g}. "
                             "volume.with_array(values) is written in a type of its own")
    return numbers.astype(kept)
