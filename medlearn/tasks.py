r"""The three answers to a scan, as types: a point of the simplex, a map of classes, a set of things (chapter 1)."""
from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64, Integer
from torch import Tensor

from medlearn.base import validation
from medlearn.base.grid import as_affine
from medlearn.base.validation import check_finite, check_same, check_shape, check_tensor, check_whole, kind_of

_TABLE = 1 << 20                # ids up to here are counted in a table, larger ones by sorting


def check_simplex(p: Float[Tensor, "..."], dim: int = 1) -> None:
    r"""Refuses anything but a point of the probability simplex: $p_c \ge 0$ and $\sum_c p_c = 1$ along `dim`.

    Shapes: `p` any; `dim` is the axis of the classes, 1 in `(B, C, *S)`.
    The sum may miss 1 by $4 \epsilon \sqrt{C}$, with the $\epsilon$ of the dtype, which allows for rounding
    (8e-7 for three classes in float32, 0.05 in bfloat16). A batch of no points passes.
    Errors: TypeError when `p` is no float tensor; ValueError for NaN, a negative value, another sum, no class at all.
    Chapter 1.

    >>> check_simplex(torch.tensor([[0.2, 0.5, 0.3]]))
    >>> check_simplex(torch.tensor([[2.0, -1.0]]))
    Traceback (most recent call last):
    ValueError: p: expected 0 or more, got -1
    """
    check_tensor("p", p, dtype="float")
    dim = check_whole("dim", dim, least=-p.ndim, most=p.ndim - 1)
    if p.shape[dim] == 0:
        raise ValueError(f"p: expected at least one class along axis {dim}, got shape {tuple(p.shape)}")
    if p.numel() == 0:
        return
    check_finite("p", p, least=0)
    total = p.sum(dim, dtype=torch.float32 if p.dtype in (torch.float16, torch.bfloat16) else p.dtype)
    miss = (total - 1).abs()
    if not miss.max() <= 4 * torch.finfo(p.dtype).eps * p.shape[dim] ** 0.5:
        raise ValueError(f"p: expected sums of 1 along axis {dim}, got {total.flatten()[miss.argmax()].item():.7g}")


@dataclass(frozen=True, eq=False, repr=False, init=False)
class InstanceSet:
    r"""A set of things, $\{(m_i, c_i, s_i)\}_{i=1}^n$: a mask, a class and a score each, and n is not known beforehand.

    Shapes: `masks (n, *S)` bool, `classes (n,)` int64, `scores (n,)` float, ones when left out. Masks may overlap.
    Units: classes count from 1, 0 is background; scores 0..1.
    It is a set, and its order means nothing: `==` compares the things and how often each occurs, in any order, and no
    result depends on the order. It cannot be hashed, since tensors can be written to.
    `len(things)` is n; `things[2]`, `things[[0, 3]]` and `things[things.scores > 0.5]` are smaller sets, and a loop
    gives sets of one. The empty set still has a grid: its masks are `(0, *S)`.
    Errors: TypeError for other dtypes; ValueError for shapes or devices that do not belong together, a mask without a
    voxel, a class below 1, a score that is NaN or outside 0..1. Chapter 1.

    >>> things = InstanceSet(torch.tensor([[[True, False]], [[False, True]]]), torch.tensor([1, 2]))
    >>> things, things.to_semantic()
    (InstanceSet(1 of class 1, 1 of class 2, grid (1, 2)), tensor([[1, 2]]))
    """

    masks: Bool[Tensor, "n *s"]
    classes: Int64[Tensor, "n"]
    scores: Float[Tensor, "n"]

    def __init__(self, masks: Bool[Tensor, "n *s"], classes: Int64[Tensor, "n"],
                 scores: Float[Tensor, "n"] | None = None) -> None:
        check_tensor("masks", masks, dtype="bool", shape="(n, *S)")
        check_tensor("classes", classes, dtype="int64", shape="(n,)")
        scores = torch.ones(len(masks), device=masks.device) if scores is None else scores
        check_tensor("scores", scores, dtype="float", shape="(n,)")
        for name, value in {"classes": classes, "scores": scores}.items():
            check_shape(name, value, masks.shape[:1], because="to go with the masks")
            if value.device != masks.device:
                raise ValueError(f"{name}: expected them on {masks.device}, where the masks are, got {value.device}")
        voxels = masks.flatten(1).any(dim=1)
        if not voxels.all():
            raise ValueError(f"masks: expected at least one voxel in each, got none in mask {voxels.int().argmin()}")
        check_finite("classes", classes, least=1, hint="0 is background")
        check_finite("scores", scores, least=0, most=1)
        for name, value in {"masks": masks, "classes": classes, "scores": scores}.items():
            object.__setattr__(self, name, value)           # a frozen dataclass has no other way

    @classmethod
    def from_semantic(cls, labels: Integer[Tensor, "*s"]) -> InstanceSet:
        r"""A thing for each connected component of each class: a map of classes cannot tell touching ones apart.

        Shapes: `labels (*S)` of one image; a batch `(B, H, W)` looks like a volume and would be taken for one.
        Voxels of a class that share a face, an edge or a corner are one thing.
        No class but 0 gives the empty set. Errors: as `connected_components`. Chapter 1.

        >>> InstanceSet.from_semantic(torch.tensor([[1, 0, 1, 2]]))
        InstanceSet(2 of class 1, 1 of class 2, grid (1, 4))
        """
        _check_map("labels", labels)                    # a mask has no classes
        return cls.from_map(connected_components(labels), labels)

    @classmethod
    def from_map(cls, instances: Integer[Tensor, "*s"], semantic: Integer[Tensor, "*s"]) -> InstanceSet:
        r"""A thing for each id of a map, with its class from the other map, $m_i = [\mathrm{instances} = i]$.

        Shapes: `instances` (the ids) and `semantic` (the classes) `(*S)`, of one image; a batch `(B, H, W)` looks like
        a volume and would be taken for one. Ids may have gaps; the things come in the order of their ids.
        Voxels with a class and no id belong to no thing and are left out ("stuff"). No id gives the empty set.
        Errors: ValueError for maps that do not belong together, a negative value, an id of two classes or of class 0.
        Chapter 1.

        >>> InstanceSet.from_map(torch.tensor([[1, 1, 2, 0]]), torch.tensor([[1, 1, 1, 0]]))    # two touch
        InstanceSet(2 of class 1, grid (1, 4))
        """
        for name, map_ in {"instances": instances, "semantic": semantic}.items():
            _check_map(name, map_)
        check_same("semantic", semantic, like=instances, whose="instances")
        inside = instances > 0
        ids, which = instances[inside].unique(return_inverse=True)
        found = semantic[inside].long()
        low, high = (found.new_zeros(len(ids)).scatter_reduce(0, which, found, how, include_self=False)
                     for how in ("amin", "amax"))
        if (low != high).any():
            i = (low != high).int().argmax()
            raise ValueError(f"instances: expected one class for each id, "
                             f"got classes {low[i]} and {high[i]} for {ids[i]}")
        if (low == 0).any():
            raise ValueError(f"semantic: expected a class of 1 or more for each id, got 0 for {ids[low == 0][0]}")
        masks = inside.new_zeros(len(ids), *instances.shape)
        for mask, i in zip(masks, ids):
            torch.eq(instances, i, out=mask)
        return cls(masks, low)

    def to_semantic(self) -> Int64[Tensor, "*s"]:
        r"""The map of classes, 0 where there is no thing; which thing a voxel belonged to is lost.

        Shapes: `(*S)`. Where things overlap, the higher score is on top; of equal ones the smaller thing, then the
        lower class, so that the order of the set does not matter. The empty set gives zeros. Chapter 1.
        """
        return self._paint(self.classes)

    def to_map(self) -> Int64[Tensor, "*s"]:
        r"""The map of ids: thing `i` of the set becomes `i + 1`, and 0 is background.

        Shapes: `(*S)`. Overlaps as in `to_semantic`; a thing that lies wholly under others has no voxel left, and its
        id is missing from the map. The empty set gives zeros. Chapter 1.
        """
        return self._paint(torch.arange(1, len(self) + 1, device=self.masks.device))

    def _paint(self, values: Tensor) -> Tensor:
        scores, classes, sizes = self.scores.tolist(), self.classes.tolist(), self.masks.flatten(1).sum(1).tolist()
        canvas = self.classes.new_zeros(self.masks.shape[1:])
        for i in sorted(range(len(self)), key=lambda i: (scores[i], -sizes[i], -classes[i])):     # from below
            canvas.masked_fill_(self.masks[i], values[i])
        return canvas

    def to(self, device: torch.device | str) -> InstanceSet:
        """The same things on another `device`, such as "cuda". Chapter 1."""
        return InstanceSet(self.masks.to(device), self.classes.to(device), self.scores.to(device))

    def __len__(self) -> int:
        return self.masks.shape[0]

    def __getitem__(self, index: int | np.integer | slice | Sequence[int] | np.ndarray | Tensor) -> InstanceSet:
        if isinstance(index, Sequence) or isinstance(index, np.ndarray) and index.ndim:
            index = torch.as_tensor(list(index), dtype=None if len(index) else torch.int64)
        elif not isinstance(index, slice) and not (isinstance(index, Tensor) and index.ndim):
            i = operator.index(index)
            if not -len(self) <= i < len(self):
                raise IndexError(f"expected an index into {len(self)} things, got {i}")
            index = [i]
        return InstanceSet(self.masks[index], self.classes[index], self.scores[index])

    def __iter__(self) -> Iterator[InstanceSet]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InstanceSet):
            return NotImplemented
        return self.masks.shape == other.masks.shape and self._things() == other._things()

    def _things(self) -> Counter:
        packed = np.packbits(self.masks.cpu().numpy().reshape(len(self), self.masks.shape[1:].numel()), axis=1)
        return Counter(zip(map(bytes, packed), self.classes.tolist(), self.scores.tolist()))

    def __repr__(self) -> str:
        classes = ", ".join(f"{n} of class {c}" for c, n in sorted(Counter(self.classes.tolist()).items()))
        return f"InstanceSet({classes or 'no thing'}, grid {tuple(self.masks.shape[1:])})"


def connected_components(labels: Integer[Tensor, "*s"] | Bool[Tensor, "*s"]) -> Int[Tensor, "*s"]:
    r"""A map of things: voxels of one class that touch get one id of 1..n, and 0 stays 0.

    Shapes: `labels (*S)` of one image, classes or a mask; a batch `(B, H, W)` looks like a volume and would be taken
    for one, with things that reach from image to image. The map is on the labels' device (it is computed on the
    CPU), in int16 where the ids surely fit and else in int32, which takes a quarter of int64's memory, and of the time
    to read it. Make it `.long()` before calculating with ids.
    Voxels touch that share a face, an edge or a corner: 8 neighbours in 2D, 26 in 3D.
    No class but 0 gives zeros. Errors: TypeError for a float map or one of uint16; ValueError for another number of
    axes or a negative label.
    Source: the package connected-components-3d; Wu et al. 2005, doi:10.1117/12.596105. Chapter 1.

    >>> connected_components(torch.tensor([[1, 1, 0, 1], [0, 0, 0, 2]]))
    tensor([[1, 1, 0, 2],
            [0, 0, 0, 3]], dtype=torch.int16)
    """
    import cc3d

    if isinstance(labels, Tensor) and labels.dtype == torch.bool:
        check_tensor("labels", labels, dtype="bool", shape="(*S)")
    else:
        _check_map("labels", labels)
    if labels.numel() == 0:
        return torch.zeros_like(labels, dtype=torch.int16)
    voxels = labels.cpu().contiguous()
    if voxels.dtype == torch.bool:
        voxels = voxels.view(torch.uint8)       # cc3d's own code for bool is wrong in some small 2D images
    things, n = cc3d.connected_components(voxels.numpy(), connectivity=3 ** labels.ndim - 1, return_N=True)
    if things.dtype == np.uint16 and n > np.iinfo(np.int16).max:
        things = things.astype(np.uint32)
    return torch.from_numpy(things.view(f"i{things.itemsize}")).to(labels.device)


@dataclass(frozen=True)
class Region:
    r"""The voxels of one label, measured in millimetres through the affine.

    Units: `voxels` are counted, `volume_ml` is in ml, `centroid_mm` in the affine's space, `extent_mm` along the
    array's axes from edge to edge, `equivalent_diameter_mm` of the ball (in 2D the disc) of the same volume (area).
    `box` has a slice for each axis, and `labels[region.box]` is the smallest block with the whole region. Chapter 1.

    >>> region = region_measures(torch.tensor([[0, 3], [0, 3]]), np.diag([2.0, 1.0, 5.0, 1.0]))[3]
    >>> region.voxels, round(region.volume_ml, 3), region.box
    (2, 0.02, (slice(0, 2, None), slice(1, 2, None)))
    """

    voxels: int
    volume_ml: float
    centroid_mm: tuple[float, float, float]
    equivalent_diameter_mm: float
    extent_mm: tuple[float, ...]
    box: tuple[slice, ...]


def region_measures(labels: Integer[Tensor, "*s"], affine: np.ndarray | Tensor) -> dict[int, Region]:
    r"""Volume and place of every label: $V = n \, |\det A|$ and $\bar x = A \bar\imath + t$, with the affine $(A, t)$.

    Shapes: `labels (*S)` of one image, 0 is background; a batch `(B, H, W)` looks like a volume and would be taken for
    one. `affine (4, 4)`; in 2D its first two columns are the image's axes, and its third is the slice's normal, as long
    as the slice is thick.
    Units: the affine takes voxel indices to mm. No label above 0 gives `{}`.
    Errors: TypeError for a float map; ValueError for a negative label, another number of axes, or an affine that is
    not 4 x 4, not finite, without inverse, or whose last row is not 0, 0, 0, 1. Chapter 1.

    >>> region_measures(torch.tensor([[0, 3], [0, 3]]), np.diag([2.0, 1.0, 5.0, 1.0]))[3].extent_mm
    (4.0, 1.0)
    """
    _check_map("labels", labels)
    linear, offset = _affine_parts(affine)
    place = labels.nonzero()
    ids, which = _ids(labels[tuple(place.T)])
    voxels = torch.bincount(which, minlength=len(ids))
    total = place.new_zeros(len(ids), labels.ndim).index_add_(0, which, place)      # of whole numbers, so exact
    first, last = (place.new_zeros(len(ids), labels.ndim).scatter_reduce(
        0, which[:, None].expand_as(place), place, how, include_self=False).tolist() for how in ("amin", "amax"))

    columns = linear[:, :labels.ndim]
    voxel_mm3 = float(abs(np.linalg.det(linear)))
    cell = math.sqrt(np.linalg.det(columns.T @ columns))            # mm^3 of a voxel, or mm^2 of a pixel
    spacing_mm = np.linalg.norm(columns, axis=0)
    centroid_mm = total.cpu().numpy() / voxels.cpu().numpy()[:, None] @ columns.T + offset
    return {label: Region(voxels=n, volume_ml=n * voxel_mm3 / 1000, centroid_mm=tuple(centroid),
                          equivalent_diameter_mm=_round_diameter(n * cell, labels.ndim),
                          extent_mm=tuple((h - l + 1) * s for l, h, s in zip(low, high, spacing_mm.tolist())),
                          box=tuple(slice(l, h + 1) for l, h in zip(low, high)))
            for label, n, centroid, low, high in zip(ids.tolist(), voxels.tolist(), centroid_mm.tolist(), first, last)}


def _check_map(name: str, map_: Tensor) -> None:
    """Refuses anything but a map of whole numbers of 0 or more, of one image `(*S)`."""
    if isinstance(map_, Tensor) and map_.dtype in validation.STORED_ONLY:
        raise TypeError(f"{name}: expected integers that torch computes with, got {kind_of(map_)}; give {name}.long()")
    check_tensor(name, map_, dtype="integer", shape="(*S)")
    validation.check_labels(name, map_)


def _round_diameter(size: float, dim: int) -> float:
    return 2 * math.sqrt(size / math.pi) if dim == 2 else (6 * size / math.pi) ** (1 / 3)


def _ids(values: Tensor) -> tuple[Tensor, Tensor]:
    """The different values, rising, and the place of each value among them."""
    if values.numel() == 0 or values.max() > _TABLE:
        return values.unique(return_inverse=True)
    ids = torch.bincount(values).nonzero()[:, 0]
    rank = ids.new_zeros(int(ids[-1]) + 1)
    rank[ids] = torch.arange(len(ids), device=ids.device)
    return ids, rank[values.long()]


def _affine_parts(affine: np.ndarray | Tensor) -> tuple[np.ndarray, np.ndarray]:
    matrix = as_affine(affine)
    return matrix[:3, :3], matrix[:3, 3]
