r"""How far apart two surfaces are, in mm: measured once, and every metric read from the distances (chapter 7)."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.base.grid import Grid, Spacing, as_spacing
from medlearn.base.validation import Number, check_choice, check_number
from medlearn.metrics._inputs import ROUNDING, Labels, Mask, as_label_maps, as_masks
from medlearn.metrics._surface_elements import element_areas, neighbour_codes

Measure = Literal["voxels", "area"]
Convention = Literal["directed", "pooled"]
Side = tuple[np.ndarray, np.ndarray]

_REACH = 5                      # voxels around an element that are looked at before a tree is built
_FEW = 4096                     # elements up to which the tree alone is faster


@dataclass(frozen=True, eq=False, repr=False)
class SurfaceDistances:
    r"""From every element of one surface to the nearest of the other: $d(a, B) = \min_{b \in B} \lVert a - b \rVert$.

    Shapes: `prediction_to_target_mm` and `prediction_weights (n,)`, `target_to_prediction_mm` and `target_weights
    (m,)`; all are float64 on the CPU. Units: mm; the weights of a side sum to its surface, in voxels or in mm^2 (in 2D
    mm), as `measure` says. A mask without a voxel has no surface: there are no distances from it, and those to it are
    infinite. Chapter 7.

    >>> SurfaceDistances(np.array([0.0, 3.0]), np.array([0.0]), np.ones(2), np.ones(1))
    SurfaceDistances(2 elements of the prediction, 1 of the target, at most 3 mm apart)
    """

    prediction_to_target_mm: np.ndarray
    target_to_prediction_mm: np.ndarray
    prediction_weights: np.ndarray
    target_weights: np.ndarray
    measure: Measure = "voxels"

    @property
    def sides(self) -> list[Side]:
        """Distances and weights from the prediction and from the target; a side without a surface is not among them."""
        both = ((self.prediction_to_target_mm, self.prediction_weights),
                (self.target_to_prediction_mm, self.target_weights))
        return [side for side in both if len(side[0])]

    @property
    def pooled(self) -> Side:
        """Distances and weights of both sides in one row; of none, where neither has a surface."""
        return (np.concatenate([self.prediction_to_target_mm, self.target_to_prediction_mm]),
                np.concatenate([self.prediction_weights, self.target_weights]))

    def __repr__(self) -> str:
        return (f"SurfaceDistances({len(self.prediction_weights)} elements of the prediction, "
                f"{len(self.target_weights)} of the target, at most {hausdorff(self):.3g} mm apart)")


def surface_distances(prediction: Mask, target: Mask, *, spacing_mm: Spacing | Grid,
                      measure: Measure = "voxels", ignored: Mask | None = None) -> SurfaceDistances:
    r"""The distances between the surfaces of two masks, both ways; `hausdorff95`, `assd` and `nsd` are read from them.

    Shapes: `prediction` and `target (*S)` of one image, 2D or 3D, bool tensors or arrays. Units: `spacing_mm` along
    each axis of the array, as a `Grid` or `spacing_from_affine` gives it; slices may be thicker than pixels are wide,
    and of a 2D slice a third number is its thickness, which no distance in it needs.
    `measure="voxels"`: the surface are the voxels of the mask that have a face to the outside, and each counts once: so
    in MONAI and medpy. `measure="area"`: it is what marching cubes draw between the voxels, and each piece weighs its
    area: so in DeepMind's surface-distance. Where voxels are not cubes only the area treats all directions alike.
    What lies beyond the image is outside. Voxels of the mask `ignored (*S)` are in neither mask, and no surface lies
    at a face, or in a cell between voxels, that one of them shares: a border with the unknown is none.
    Runs on the CPU, wherever the masks are.
    A mask without a voxel: as `SurfaceDistances` says; each metric states its own value for it.
    Errors: TypeError for masks that are not bool; ValueError for shapes or devices that do not belong together, a
    spacing that is not one number above 0 for each axis, another measure.
    Source: for the area Nikolov et al. 2021, doi:10.2196/26151. Chapter 7.

    >>> truth = torch.zeros(8, 8, dtype=torch.bool)
    >>> truth[2:5, 2:5] = True
    >>> hausdorff(surface_distances(truth.roll(1, 0), truth, spacing_mm=(0.5, 0.5)))
    0.5
    """
    masks = as_masks(prediction, target, **({} if ignored is None else {"ignored": ignored}))
    spacing = _spacing(spacing_mm, masks[0].ndim)
    check_choice("measure", measure, get_args(Measure))
    if ignored is not None:
        *masks, unknown = masks
        masks = [mask & ~unknown for mask in masks]
    box, offsets = _joint_box(masks), _nearby_offsets(spacing)
    margin = [(n + 1, n + 1) for n in offsets.max(axis=0).tolist()]
    padded = [np.pad(mask[box], margin) for mask in masks]
    aside = None if ignored is None else _with_neighbours(unknown, box, margin)
    here, there = (_voxels_at_the_surface(mask, aside) if measure == "voxels" else
                   _cells_at_the_surface(mask, spacing, aside) for mask in padded)
    to_target, to_prediction = (_to_nearest_mm(*way, spacing, offsets) for way in ((here, there), (there, here)))
    return SurfaceDistances(to_target, to_prediction, here.weights, there.weights, measure)


def hausdorff(distances: SurfaceDistances) -> float:
    r"""$\max\{\max_a d(a, B), \max_b d(b, A)\}$, the Hausdorff distance: of the worst place, even if it is one voxel.

    `distances` as `surface_distances` gives them. Units: mm. One mask empty: inf, a miss is infinitely far. Both empty:
    NaN, there is nothing to measure.
    Source: Huttenlocher et al. 1993, eq. 1, doi:10.1109/34.232073. Chapter 7.

    >>> hausdorff(SurfaceDistances(np.array([0.0, 3.0]), np.array([0.0]), np.ones(2), np.ones(1)))
    3.0
    """
    return max((float(side.max()) for side, _ in distances.sides), default=math.nan)


def hausdorff95(distances: SurfaceDistances, *, convention: Convention = "directed") -> float:
    r"""HD95, the distance that 95 % of the surface does not exceed, $\max\{P_{95}\,d(a, B), P_{95}\,d(b, A)\}$.

    `distances` as `surface_distances` gives them. Units: mm. HD95 has more than one definition, so quote the
    `convention` beside the number:

    - `"directed"`: the larger of the two sides' percentiles. With `measure="voxels"` it is MONAI's, with
      `measure="area"` DeepMind's, where 95 % of the area counts.
    - `"pooled"`: one percentile of both sides together, so that the larger surface counts more; with
      `measure="voxels"` it is medpy's.

    Percentiles of voxels are interpolated linearly, as NumPy's; that of the area is the smallest distance within
    which 95 % of it lie. One mask empty: inf, where MONAI has NaN and leaves the miss out of its mean. Both empty: NaN.
    Errors: ValueError for another convention.
    Source: Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z. Chapter 7.

    >>> distances = SurfaceDistances(np.array([0.0, 3.0]), np.array([0.0]), np.ones(2), np.ones(1))
    >>> round(hausdorff95(distances), 2), round(hausdorff95(distances, convention="pooled"), 2)
    (2.85, 2.7)
    """
    check_choice("convention", convention, get_args(Convention))
    sides = distances.sides
    if convention == "pooled" and sides:
        sides = [distances.pooled]
    return max((_percentile95(*side, distances.measure) for side in sides), default=math.nan)


def assd(distances: SurfaceDistances) -> float:
    r"""The average symmetric surface distance, $(\sum_a w_a d(a, B) + \sum_b w_b d(b, A)) / (\sum_a w_a + \sum_b w_b)$.

    `distances` as `surface_distances` gives them. Units: mm. Both sides are one pool, as in MONAI's symmetric average,
    so the larger surface counts more (medpy's `assd` averages the two means instead). The weights are 1 a voxel, or
    the area. One mask empty: inf. Both empty: NaN.
    Source: Heimann et al. 2009, doi:10.1109/TMI.2009.2013851. Chapter 7.

    >>> assd(SurfaceDistances(np.array([0.0, 3.0]), np.array([0.0]), np.ones(2), np.ones(1)))
    1.0
    """
    values, weights = distances.pooled
    return float(values @ weights / weights.sum()) if len(values) else math.nan


def nsd(distances: SurfaceDistances, tolerance_mm: Number) -> float:
    r"""The normalised surface Dice: the share of both surfaces that lies within the tolerance $\tau$ of the other.

    $(|\{a : d(a, B) \le \tau\}| + |\{b : d(b, A) \le \tau\}|) / (|A| + |B|)$, counted in voxels or in area.
    `distances` as `surface_distances` gives them. Units: none, 0..1; `tolerance_mm` is by how much two experts differ,
    in mm. A distance that equals it, to a millionth of it, is within it: headers hold their spacing in float32.
    One mask empty: 0. Both empty: NaN.
    Errors: TypeError for anything but a number; ValueError for a tolerance that is not finite or below 0.
    Source: Nikolov et al. 2021, doi:10.2196/26151. Chapter 7.

    >>> nsd(SurfaceDistances(np.array([0.0, 3.0]), np.array([0.0, 1.0]), np.ones(2), np.ones(2)), 1.0)
    0.75
    """
    tolerance_mm = check_number("tolerance_mm", tolerance_mm, least=0)
    values, weights = distances.pooled
    within = values <= tolerance_mm * (1 + ROUNDING)
    return float(weights[within].sum() / weights.sum()) if len(values) else math.nan


@dataclass(frozen=True, eq=False)
class SurfaceReport:
    r"""The surface metrics of each image and class, without background. Shapes: `(B, K - 1)`, float64 on the CPU.

    Units: `hausdorff95_mm` and `assd_mm` mm, `nsd` 0..1, NaN where no tolerance was given. Empty cases: as in each
    metric. Chapter 7.

    >>> truth = torch.zeros(1, 8, 8, dtype=torch.int64)
    >>> truth[:, 2:5, 2:5] = 1
    >>> surface_report(truth.roll(1, 1), truth, classes=2, spacing_mm=(0.5, 0.5), tolerance_mm=0.5).nsd
    tensor([[1.]], dtype=torch.float64)
    """

    hausdorff95_mm: Float[Tensor, "b c"]
    assd_mm: Float[Tensor, "b c"]
    nsd: Float[Tensor, "b c"]


def surface_report(prediction: Labels, target: Labels, *, classes: int, spacing_mm: Spacing | Grid,
                   tolerance_mm: Number | None = None, measure: Measure = "voxels",
                   ignore_index: int | None = None) -> SurfaceReport:
    r"""`hausdorff95`, `assd` and `nsd` of every class but 0 in every image, measured once.

    Shapes: `prediction` and `target (B, *S)` with labels 0..K-1, K = `classes`; the report's columns belong to classes
    1..K-1, as those of `confusion_counts(...).foreground()`. A batch of masks is one of two classes.
    Units, `spacing_mm`, `measure`, empty cases and errors: as `surface_distances`, `nsd` and `confusion_counts`.
    Without a `tolerance_mm` there is no surface Dice: `nsd` is NaN. No image gives no rows. Voxels whose target is
    `ignore_index` are the `ignored` ones of `surface_distances`. Chapter 7.

    >>> truth = np.zeros((1, 8, 8), dtype=np.uint8)
    >>> truth[:, 2:5, 2:5] = 1
    >>> surface_report(np.roll(truth, 1, axis=1), truth, classes=2, spacing_mm=(0.5, 0.5)).hausdorff95_mm
    tensor([[0.5000]], dtype=torch.float64)
    """
    prediction, target = as_label_maps(prediction, target, classes, ignore_index)
    found = torch.empty(3, len(prediction), classes - 1, dtype=torch.float64)
    for i, (said, true) in enumerate(zip(prediction, target)):
        ignored = None if ignore_index is None else true == ignore_index
        for c in range(1, classes):
            distances = surface_distances(said == c, true == c, spacing_mm=spacing_mm, measure=measure, ignored=ignored)
            found[:, i, c - 1] = found.new_tensor(
                [hausdorff95(distances), assd(distances),
                 math.nan if tolerance_mm is None else nsd(distances, tolerance_mm)])
    return SurfaceReport(*found)


def _spacing(spacing_mm: Spacing | Grid, dim: int) -> np.ndarray:
    """Of a slice's three numbers, but not of a volume's grid, the first two."""
    return as_spacing(spacing_mm, dim if isinstance(spacing_mm, Grid) else range(dim, 4))[:dim]


class _Surface(NamedTuple):
    """Where in a grid a surface has its elements, as a map and as places in the flattened map, and their weights."""

    grid: np.ndarray
    places: np.ndarray
    weights: np.ndarray

    def points_mm(self, spacing: np.ndarray, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        return np.stack(np.unravel_index(self.places[which], self.grid.shape), axis=-1) * spacing


def _joint_box(masks: list[np.ndarray]) -> tuple[slice, ...]:
    """The smallest box that holds both masks, found axis by axis, each within the box that the last has left."""
    box = [slice(None)] * masks[0].ndim
    for axis in range(len(box)):
        others = tuple(other for other in range(len(box)) if other != axis)
        first, second = (mask[tuple(box)].any(axis=others) for mask in masks)
        inside = np.flatnonzero(first | second)
        box[axis] = slice(inside[0], inside[-1] + 1) if len(inside) else slice(0, 0)
    return tuple(box)


def _with_neighbours(ignored: np.ndarray, box: tuple[slice, ...], margin: list[tuple[int, int]]) -> np.ndarray:
    """What is ignored in a box and a voxel around it, in the frame of what is cut out of the box and padded."""
    wider = tuple(slice(side.start, side.stop + 2) for side in box)
    return np.pad(np.pad(ignored, 1)[wider], [(low - 1, high - 1) for low, high in margin])


def _voxels_at_the_surface(mask: np.ndarray, ignored: np.ndarray | None = None) -> _Surface:
    """The voxels with a neighbour outside, each of weight 1; the mask has a margin, and the map is a voxel narrower."""
    middle = (slice(1, -1),) * mask.ndim
    enclosed = np.ones_like(mask[middle])
    solid = mask if ignored is None else mask | ignored
    for axis in range(mask.ndim):
        for shifted in (slice(None, -2), slice(2, None)):
            enclosed &= solid[middle[:axis] + (shifted,) + middle[axis + 1:]]
    grid = mask[middle] & ~enclosed
    places = np.flatnonzero(grid)
    return _Surface(grid, places, np.ones(len(places)))


def _cells_at_the_surface(mask: np.ndarray, spacing: np.ndarray, ignored: np.ndarray | None = None) -> _Surface:
    """The cells between voxels that are partly inside, each with the area of what passes through it."""
    codes, areas = neighbour_codes(mask), element_areas(spacing)
    grid = (codes != 0) & (codes != len(areas) - 1)
    if ignored is not None:
        grid &= neighbour_codes(ignored) == 0
    places = np.flatnonzero(grid)
    return _Surface(grid, places, areas[codes.ravel()[places]])


def _to_nearest_mm(here: _Surface, there: _Surface, spacing: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The distance from each element here to the nearest there: first among its neighbours, then by a tree."""
    from scipy.spatial import KDTree

    distances = np.full(len(here.places), np.inf)
    if not len(there.places):
        return distances
    if len(here.places) > _FEW:
        _look_around(distances, here, there, spacing, offsets)
    far = np.flatnonzero(np.isinf(distances))
    if len(far):
        # for one batch of queries, building a balanced tree takes longer than it saves
        tree = KDTree(there.points_mm(spacing), leafsize=32, balanced_tree=False, compact_nodes=False)
        distances[far], _ = tree.query(here.points_mm(spacing, far))
    return distances


def _look_around(distances: np.ndarray, here: _Surface, there: _Surface, spacing: np.ndarray,
                 offsets: np.ndarray) -> None:
    """Writes the distances of those elements whose nearest is at one of the offsets, tried from the shortest on."""
    lengths = np.linalg.norm(offsets * spacing, axis=1)
    steps = offsets @ np.cumprod((1, *there.grid.shape[:0:-1]))[::-1]
    grid, left, lowest = there.grid.ravel(), np.arange(len(distances)), steps.min()
    places = here.places + lowest                                   # so that no step is negative
    for step, length in zip(steps - lowest, lengths):
        found = grid[step:].take(places)
        if found.any():
            distances[left[found]] = length
            left, places = left[~found], places[~found]


def _nearby_offsets(spacing: np.ndarray) -> np.ndarray:
    """The steps from a voxel to those around it, the nearest first: a ball of about 5 voxels' radius."""
    reach = _REACH * spacing.prod() ** (1 / len(spacing))
    ranges = [np.arange(-n, n + 1) for n in (reach // spacing).astype(int)]
    offsets = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, len(spacing))
    lengths = np.linalg.norm(offsets * spacing, axis=1)
    return offsets[lengths.argsort(kind="stable")[:np.count_nonzero(lengths <= reach)]]


def _percentile95(values: np.ndarray, weights: np.ndarray, measure: Measure) -> float:
    if np.isinf(values[0]):                                         # then all are
        return math.inf
    if measure == "voxels":
        return float(np.percentile(values, 95))
    order = values.argsort()
    share = weights[order].cumsum() / weights.sum()
    return float(values[order][min(int(np.searchsorted(share, 0.95)), len(values) - 1)])
