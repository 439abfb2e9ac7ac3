r"""Scans and labels on another grid. The rule: a grid is a box of voxels, and boxes are laid edge to edge."""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medlearn.base.grid import Grid, Spacing, as_spacing
from medlearn.base.validation import check_number, check_whole
from medlearn.data.volumes import Volume, nearest_ras, reorient
from medlearn.physics.despeckle import gaussian_kernel

FWHM = math.sqrt(8 * math.log(2))           # of a Gaussian, in its standard deviations
EDGE = 1e-3                                 # of a voxel, by which rounding in a header may miss


def resized_grid(grid: Grid, shape: Sequence[int]) -> Grid:
    r"""A grid of another `shape` over the same box, edge to edge: $A' = A\,\mathrm{diag}(s)$, shifted by $(s-1)/2$.

    $s = N / N'$ is the ratio of the numbers of voxels along each axis of the `grid`; the outer edges of the first and
    of the last voxel stay where they are, the centres do not. Shapes: `shape` has one number, 1 or more, for each axis.
    Units: mm. Errors: ValueError for another number of axes, or an empty grid. Chapter 16.

    >>> half = resized_grid(Grid.from_spacing((4, 4, 4), (1.0, 1.0, 1.0)), (2, 2, 2))
    >>> half.spacing_mm, half.to_world([0, 0, 0]).tolist()
    ((2.0, 2.0, 2.0), [0.5, 0.5, 0.5])
    """
    if len(shape) != grid.dim or 0 in grid.shape:
        raise ValueError(f"shape: expected {grid.dim} numbers for a grid with voxels, got {tuple(shape)} and "
                         f"{grid.shape}")
    size = tuple(check_whole(f"shape[{i}]", n, least=1) for i, n in enumerate(shape))
    ratio = np.array(grid.shape) / size
    affine = grid.affine.copy()
    affine[:3, :grid.dim] *= ratio
    affine[:3, 3] = grid.to_world((ratio - 1) / 2)
    return Grid(size, affine)


def respaced_grid(grid: Grid, spacing_mm: Spacing) -> Grid:
    r"""The grid over the same box whose voxels come nearest to `spacing_mm`: as many as fit it, $N' = [N s / s']$.

    Shapes: one number for each axis of the `grid`. Units: mm; the spacing is met where it divides the box, and else
    missed by at most half a voxel over the whole length. Errors: as `resized_grid`; ValueError for a sheared grid.
    Chapter 16.

    >>> respaced_grid(Grid.from_spacing((10, 10, 4), (1.0, 1.0, 5.0)), (2.0, 2.0, 2.0)).shape
    (5, 5, 10)
    """
    wanted = as_spacing(spacing_mm, grid.dim)
    return resized_grid(grid, [max(1, int(n * s / w + 0.5)) for n, s, w in zip(grid.shape, grid.spacing_mm, wanted)])


def resample(volume: Volume, grid: Grid, *, outside: float = 0.0) -> Volume:
    r"""An image on another `grid`, interpolated linearly at its voxels' places in mm: exact on a ramp, however it lies.

    Where the new voxels are r > 1 times as long as the old ones along one of their axes, the image is first blurred
    along it by a Gaussian with $\sigma = \sqrt{(r^2 - 1) / 8 \ln 2}$ old voxels, so that what is too fine for the new
    grid leaves no pattern; within the blur's reach of the border a ramp is exact no more.
    Shapes: `(*S)` or `(C, *S)` as the `volume`, `*S` of the grid. Units: as the volume, in
    float32 (float64 stays). Within the outermost half voxel the border's value is repeated; beyond the scan it is
    `outside`. Errors: ValueError for a grid with other axes, or a slice in another plane.
    Source: Cardoso et al. 2015, doi:10.1007/978-3-319-24571-3_81. Chapter 16.

    >>> grid = Grid.from_spacing((4, 4, 4), (2.0, 2.0, 2.0))
    >>> ramp = Volume(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))[..., 0], grid)
    >>> resample(ramp, resized_grid(grid, (8, 4, 4))).array[:, 0, 0].tolist()
    [0.0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.0]
    """
    outside = check_number("outside", outside)
    source = _turned_towards(volume, grid)
    dtype = np.float64 if volume.array.dtype == np.float64 else np.float32
    values = torch.from_numpy(np.array(source.array, dtype=dtype, order="C"))
    channels = values if source.has_channels else values[None]
    map_ = _index_map(source.grid, grid)
    lifted, shape = _in_3d(channels, grid)
    new = _interpolated(_blurred(lifted, map_), map_, shape, outside)
    answer = new.reshape(len(channels), *grid.shape).numpy()
    return Volume(answer if source.has_channels else answer[0], grid)


def resample_labels(volume: Volume, grid: Grid, *, outside: int = 0) -> Volume:
    r"""Labels on another `grid`: in each voxel the label whose own mask, resampled as an image is, is largest there.

    Shapes: `(*S)` as the `volume`, without channels, `*S` of the grid. Units: labels, in the volume's own type; where
    two are equally large it is the lower. Beyond the scan it is `outside`. No label comes in that was not there.
    Errors: TypeError for an array that holds no whole numbers; ValueError as `resample`, and for channels. Chapter 16.

    >>> labels = Volume(np.array([[0, 3], [3, 3]]), Grid.from_spacing((2, 2), (1.0, 1.0)))
    >>> resample_labels(labels, resized_grid(labels.grid, (4, 2))).array.tolist()
    [[0, 3], [0, 3], [3, 3], [3, 3]]
    """
    if volume.array.dtype.kind not in "biu":
        raise TypeError(f"volume: expected labels, whole numbers, got {volume.array.dtype}")
    if volume.has_channels:
        raise ValueError(f"volume: expected labels without channels, got shape {volume.array.shape}")
    source = _turned_towards(volume, grid)
    map_ = _index_map(source.grid, grid)
    labels, shape = _in_3d(torch.from_numpy(np.ascontiguousarray(source.array).astype(np.int64))[None], grid)
    answer = torch.full(shape, int(outside))
    best = torch.zeros(shape)
    for label in labels.unique().tolist():                  # each within its own box alone
        mask = labels == label
        old, new = _boxes(mask[0], map_, shape)
        if any(part.start >= part.stop for part in new):
            continue
        moved = map_ @ _shift([part.start for part in new])
        moved[:3, 3] -= [part.start for part in old]
        part = mask[(slice(None), *old)].float()
        share = _interpolated(_blurred(part, map_), moved, tuple(p.stop - p.start for p in new), 0.0)[0]
        larger = share > best[new] + 1e-6
        best[new] = torch.where(larger, share, best[new])
        answer[new] = torch.where(larger, label, answer[new])
    return Volume(answer.reshape(grid.shape).numpy().astype(volume.array.dtype), grid)


def _turned_towards(volume: Volume, grid: Grid) -> Volume:
    """The volume with its axes in the new grid's order, so that grids without a turn between them stay separable."""
    if volume.grid.dim != grid.dim or 0 in volume.grid.shape:
        raise ValueError(f"grid: expected {volume.grid.dim} axes for a volume with voxels, got {grid.shape} for "
                         f"{volume.grid.shape}")
    if nearest_ras(volume.grid) != nearest_ras(grid):
        raise ValueError(f"grid: expected the plane of the slice, {volume.grid.orientation}, got {grid.orientation}")
    return reorient(volume, grid.orientation)


def _index_map(source: Grid, target: Grid) -> np.ndarray:
    """Indices of the new grid to those of the old one, `(4, 4)`; a slice must lie in the other's plane."""
    map_ = np.linalg.inv(source.affine) @ target.affine
    if source.dim == 2:
        far = abs(map_[2, :2]) @ np.array(target.shape) + abs(map_[2, 3])
        if far > 0.5:
            raise ValueError(f"grid: expected a slice in the same plane, got one {far:.3g} slices away")
        map_[2] = map_[:, 2] = 0
        map_[2, 2] = 1
    return map_


def _in_3d(channels: Tensor, grid: Grid) -> tuple[Tensor, tuple[int, int, int]]:
    """A slice is a volume of one slice."""
    x, y, *z = grid.shape
    return (channels if z else channels[..., None]), (x, y, z[0] if z else 1)


def _sigmas(map_: np.ndarray) -> list[float]:
    """How far to blur along each old axis, in old voxels, by how long the new voxels are along it."""
    ratio = np.linalg.norm(map_[:3, :3], axis=1)
    return [math.sqrt(r * r - 1) / FWHM if r > 1 + EDGE else 0.0 for r in ratio]


def _blurred(values: Tensor, map_: np.ndarray) -> Tensor:
    for axis, sigma in enumerate(_sigmas(map_), start=1):
        kernel = gaussian_kernel(sigma)
        if len(kernel) == 1 or values.shape[axis] == 1:
            continue
        n, reach = values.shape[axis], len(kernel) // 2
        border = torch.arange(-reach, n + reach).clamp(0, n - 1)
        padded = values.index_select(axis, border)
        values = sum((weight * padded.narrow(axis, k, n) for k, weight in enumerate(kernel)), torch.zeros_like(values))
    return values


def _interpolated(values: Tensor, map_: np.ndarray, shape: tuple[int, int, int], outside: float) -> Tensor:
    turned = abs(map_[:3, :3] - np.diag(np.diag(map_[:3, :3])))
    if turned.max() * max(shape) <= EDGE:
        return _along_axes(values, map_, shape, outside)
    return _oblique(values, map_, shape, outside)


def _along_axes(values: Tensor, map_: np.ndarray, shape: tuple[int, int, int], outside: float) -> Tensor:
    """One axis after the other: two neighbours and their weights."""
    beyond = []
    for axis in range(3):
        n = values.shape[axis + 1]
        at = torch.from_numpy(map_[axis, axis] * np.arange(shape[axis]) + map_[axis, 3])
        beyond.append((at < -0.5 - EDGE) | (at > n - 0.5 + EDGE))
        at = at.clamp(0, n - 1)
        if torch.equal(at, torch.arange(n, dtype=at.dtype)):
            continue
        low = at.floor().long()
        weight = (at - low).to(values.dtype).reshape(-1, *[1] * (2 - axis))
        first = values.index_select(axis + 1, low)
        second = values.index_select(axis + 1, (low + 1).clamp(max=n - 1))
        values = first * (1 - weight) + second * weight
    for axis, missed in enumerate(beyond):
        if missed.any():
            values = values.masked_fill(missed.reshape(-1, *[1] * (2 - axis)), outside)
    return values


def _oblique(values: Tensor, map_: np.ndarray, shape: tuple[int, int, int], outside: float) -> Tensor:
    """All axes at once."""
    from scipy.ndimage import affine_transform

    beyond = np.zeros(shape, dtype=bool)
    for row, n in zip(map_, values.shape[1:]):
        x, y, z = ((turn * np.arange(size)).astype(np.float32) for turn, size in zip(row, shape))
        at = x[:, None, None] + (y[:, None] + z + np.float32(row[3]))
        beyond |= (at < -0.5 - EDGE) | (at > n - 0.5 + EDGE)
    channels = [affine_transform(channel, map_[:3, :3], map_[:3, 3], shape, order=1, mode="nearest")
                for channel in values.numpy()]
    return torch.from_numpy(np.stack(channels)).masked_fill(torch.from_numpy(beyond), outside)


def _boxes(mask: Tensor, map_: np.ndarray, shape: tuple[int, int, int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a label can be: its box in the old volume with what blurring reaches, and what this becomes in the new."""
    reach = [len(gaussian_kernel(sigma)) // 2 + 2 for sigma in _sigmas(map_)]
    old = []
    for axis, margin in enumerate(reach):
        others = tuple(a for a in range(3) if a != axis)
        places = mask.any(dim=others).nonzero()
        old.append(slice(max(int(places[0]) - margin, 0), min(int(places[-1]) + margin + 1, mask.shape[axis])))
    ends = np.array([[part.start - 0.5, part.stop - 0.5] for part in old])
    corners = np.stack(np.meshgrid(*ends, indexing="ij")).reshape(3, 8)
    there = np.linalg.inv(map_)[:3] @ np.concatenate([corners, np.ones((1, 8))])
    new = tuple(slice(max(int(np.floor(low)), 0), min(int(np.ceil(high)) + 1, n))
                for low, high, n in zip(there.min(1), there.max(1), shape))
    return tuple(old), new


def _shift(start: Sequence[int]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = start
    return matrix
