r"""Pairs of found and true things: every overlap is counted in one pass, then partners are chosen one-to-one."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor

from medlearn.base.validation import check_labels
from medlearn.metrics._inputs import as_ids
from medlearn.tasks import InstanceSet

Things = Integer[Tensor | np.ndarray, "*s"] | InstanceSet

_BLOCK = 1 << 18                # voxels looked at together on the CPU, where they stay in cache
_BLOCK_GPU = 1 << 24
_VOXELS = 1 << 16               # voxels with a thing that are counted together
_TABLE = 1 << 20                # possible pairs that are counted in a table; more are counted by sorting
_MASK_VALUES = 1 << 22          # values of a block of masks
_TIE = 1e-12                    # sums of gains that differ by less are equal: more than rounding, less than is shown


@dataclass(frozen=True, eq=False)
class Overlaps:
    r"""How many voxels each true and each found thing has, and how many each pair that meets shares.

    Shapes: `prediction_voxels (n,)`, `target_voxels (m,)`; for the p pairs that share a voxel and could be partners,
    `prediction_index`, `target_index` and `shared (p,)`. All are int64 on the CPU. Chapter 1.
    """

    prediction_voxels: np.ndarray
    target_voxels: np.ndarray
    prediction_index: np.ndarray
    target_index: np.ndarray
    shared: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        r"""Intersection over union of each pair, $|A \cap B| / (|A| + |B| - |A \cap B|)$."""
        both = self.prediction_voxels[self.prediction_index] + self.target_voxels[self.target_index]
        return self.shared / (both - self.shared)


def overlaps(prediction: Things, target: Things) -> Overlaps:
    r"""The shared voxels of all pairs, $n_{ij} = |A_i \cap B_j|$: the joint histogram of two maps, $A B^\top$ for sets.

    Shapes: each is a map of ids `(*S)`, 0 background, or an `InstanceSet` on that grid. Between two sets a pair needs
    equal classes; a map has none, and beside it the set's classes are ignored.
    No thing on a side gives no pair. Errors: as `panoptic_quality`. Chapter 1.
    """
    prediction, target = as_things(prediction, target)
    if isinstance(prediction, Tensor) and isinstance(target, Tensor):
        return _joint_histogram(prediction.reshape(-1), target.reshape(-1))
    return _products_of_masks(prediction, target)


def match(candidates: tuple[np.ndarray, np.ndarray], gain: np.ndarray) -> np.ndarray:
    r"""The candidate pairs that are kept: one-to-one, with the largest sum of gains, $\max \sum_{ij} g_{ij} x_{ij}$.

    Shapes: two index arrays `(p,)` and the positive gains `(p,)`; returned are places 0..p-1 of the kept pairs.
    Pairs whose things are in no other pair are kept as they are; the others are assigned optimally, among themselves.
    Of equal sums the one of most pairs is kept (0.4 alone, or 0.2 and 0.2), so that the order of the things cannot
    decide how many are found. No candidate gives none.
    Source: Crouse 2016, doi:10.1109/TAES.2016.140952, as in scipy. Chapter 1.
    """
    from scipy.optimize import linear_sum_assignment

    rivals = np.zeros(len(gain), dtype=bool)
    for index in candidates:
        rivals |= np.bincount(index)[index] > 1 if len(index) else False
    row, column = (np.unique(index[rivals], return_inverse=True)[1] for index in candidates)
    table = np.zeros((row.max(initial=-1) + 1, column.max(initial=-1) + 1))
    place = np.full(table.shape, -1)
    table[row, column], place[row, column] = gain[rivals] + _TIE, np.flatnonzero(rivals)
    chosen = place[linear_sum_assignment(table, maximize=True)]
    return np.sort(np.concatenate([np.flatnonzero(~rivals), chosen[chosen >= 0]]))


def as_things(prediction: Things, target: Things) -> list[Tensor | InstanceSet]:
    """Two sets or maps, as tensors; refuses what is neither, and two that do not lie on one grid and device."""
    both = [things if isinstance(things, InstanceSet) else as_ids(name, things)
            for name, things in {"prediction": prediction, "target": target}.items()]
    found, grid = map(_grid, both)
    if found != grid:
        raise ValueError(f"prediction: expected the target's grid {grid[0]} on {grid[1]}, got {found[0]} on {found[1]}")
    return both


def _joint_histogram(prediction: Tensor, target: Tensor) -> Overlaps:
    tallies = [_tally(p, t) for p, t in _inside(prediction, target)]
    prediction_ids, target_ids, counts = (np.concatenate([part.cpu().numpy() for part in parts])
                                          for parts in zip(*tallies))
    (prediction_ids, i), (target_ids, j) = (np.unique(ids, return_inverse=True) for ids in (prediction_ids, target_ids))
    pairs, which = np.unique(i * len(target_ids) + j, return_inverse=True)       # a pair may be in several tallies
    i, j, counts = pairs // max(1, len(target_ids)), pairs % max(1, len(target_ids)), _sums(which, counts, len(pairs))
    found, true = (_sums(index, counts, len(ids))[ids > 0] for ids, index in ((prediction_ids, i), (target_ids, j)))
    both = (prediction_ids[i] > 0) & (target_ids[j] > 0)
    i, j = (index[both] - (ids == 0).any() for ids, index in ((prediction_ids, i), (target_ids, j)))    # 0 is no thing
    return Overlaps(found, true, i, j, counts[both])


def _inside(prediction: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The two ids of every voxel where there is a thing, a chunk of voxels at a time."""
    on_cpu = prediction.device.type == "cpu"
    kept, size = [(prediction[:0], target[:0])], 0
    for start in range(0, prediction.numel(), block := _BLOCK if on_cpu else _BLOCK_GPU):
        p, t = prediction[start:start + block], target[start:start + block]
        inside = (p | t).bool()
        # on mostly empty masks numpy is the faster of the two
        inside = torch.from_numpy(np.flatnonzero(inside.numpy())) if on_cpu else inside.nonzero()[:, 0]
        kept.append((p.index_select(0, inside), t.index_select(0, inside)))
        size += len(inside)
        if size >= _VOXELS:
            yield _joined(kept)
            kept, size = [], 0
    if kept:
        yield _joined(kept)


def _joined(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    prediction, target = zip(*pairs)
    return torch.cat(prediction), torch.cat(target)


def _tally(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs of ids that occur, and how often each does."""
    if not len(prediction):
        return prediction, target, prediction.long()
    check_labels("prediction", prediction)
    check_labels("target", target)
    width = int(target.max()) + 1
    table = (int(prediction.max()) + 1) * width
    if table > torch.iinfo(torch.int64).max:                        # the key of a pair would not fit
        prediction_ids, prediction = prediction.unique(return_inverse=True)
        target_ids, target = target.unique(return_inverse=True)
        i, j, counts = _tally(prediction, target)
        return prediction_ids[i], target_ids[j], counts
    keys = prediction.long() * width + target
    if table > _TABLE:
        keys, counts = keys.unique(return_counts=True)
    else:
        counts = torch.bincount(keys)
        keys = counts.nonzero()[:, 0]
        counts = counts[keys]
    return keys // width, keys % width, counts


def _sums(index: np.ndarray, counts: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(index, counts, n).astype(np.int64)       # through float64, exact below 2^53 voxels


def _products_of_masks(prediction: Tensor | InstanceSet, target: Tensor | InstanceSet) -> Overlaps:
    (n, prediction_rows), (m, target_rows) = _rows("prediction", prediction), _rows("target", target)
    grid, device = _grid(prediction)
    shared = torch.zeros(n, m, dtype=torch.int64, device=device)
    prediction_voxels, target_voxels = shared.new_zeros(n), shared.new_zeros(m)
    size = max(1, _MASK_VALUES // max(1, n + m))                # below 2^24, up to which float32 counts exactly
    with torch.autocast(device.type, enabled=False):
        for start in range(0, math.prod(grid), size):
            p, t = (rows(slice(start, start + size)) for rows in (prediction_rows, target_rows))
            shared += (p.float() @ t.float().T).long()
            prediction_voxels += p.sum(dim=1)
            target_voxels += t.sum(dim=1)
    partners = shared > 0
    if isinstance(prediction, InstanceSet) and isinstance(target, InstanceSet):
        partners &= prediction.classes[:, None] == target.classes
    i, j = partners.nonzero(as_tuple=True)
    return Overlaps(*(part.cpu().numpy() for part in (prediction_voxels, target_voxels, i, j, shared[i, j])))


def _rows(name: str, things: Tensor | InstanceSet) -> tuple[int, Callable[[slice], Tensor]]:
    """How many things there are, and a function that gives their masks over a range of voxels as rows."""
    if isinstance(things, InstanceSet):
        masks = things.masks.flatten(1)
        return len(masks), lambda voxels: masks[:, voxels]
    check_labels(name, things)
    ids_of = things.flatten()
    ids = ids_of[ids_of > 0].unique()
    return len(ids), lambda voxels: ids_of[voxels] == ids[:, None]


def _grid(things: Tensor | InstanceSet) -> tuple[tuple[int, ...], torch.device]:
    if isinstance(things, InstanceSet):
        return tuple(things.masks.shape[1:]), things.masks.device
    return tuple(things.shape), things.device
