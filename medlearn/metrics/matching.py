r"""Which found thing is which true thing: every overlap counted in one pass, then one-to-one pairs."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from medlearn.tasks import InstanceSet, check_labels, check_map

Things = Integer[Tensor, "*s"] | InstanceSet

_BLOCK = 1 << 18                # voxels looked at together on the CPU, where they stay in cache
_BLOCK_GPU = 1 << 24
_VOXELS = 1 << 16               # voxels with a thing that are counted together
_TABLE = 1 << 20                # possible pairs that are counted in a table; more are counted by sorting
_MASK_VALUES = 1 << 22          # values of a block of masks
_TIE = 1e-12                    # sums of gains closer than this are equal: more than rounding, and less than any score shows


@dataclass(frozen=True, eq=False)
class Overlaps:
    r"""How many voxels each true and each found thing has, and how many each pair that meets shares.

    Shapes: `truth_voxels (n,)`, `answer_voxels (m,)`; for the p pairs that share a voxel and could be partners,
    `truth_index`, `answer_index` and `shared (p,)`. All are int64 on the CPU. Chapter 1.
    """

    truth_voxels: np.ndarray
    answer_voxels: np.ndarray
    truth_index: np.ndarray
    answer_index: np.ndarray
    shared: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        r"""Intersection over union of each pair, $|A \cap B| / (|A| + |B| - |A \cap B|)$."""
        return self.shared / (self.truth_voxels[self.truth_index] + self.answer_voxels[self.answer_index] - self.shared)


def overlaps(truth: Things, answer: Things) -> Overlaps:
    r"""The shared voxels of all pairs, $n_{ij} = |A_i \cap B_j|$: the joint histogram of two maps, $A B^\top$ for sets.

    Shapes: each is a map of ids `(*S)`, 0 background, or an `InstanceSet` on that grid. Between two sets a pair needs
    equal classes; a map has none, and beside it the set's classes play no part.
    No thing on a side gives no pair. Errors: as `panoptic_quality`. Chapter 1.
    """
    check_same_grid(truth, answer)
    if isinstance(truth, Tensor) and isinstance(answer, Tensor):
        return _joint_histogram(truth.reshape(-1), answer.reshape(-1))
    return _products_of_masks(truth, answer)


def match(candidates: tuple[np.ndarray, np.ndarray], gain: np.ndarray) -> np.ndarray:
    r"""The candidate pairs that are kept: one-to-one, with the largest sum of gains, $\max \sum_{ij} g_{ij} x_{ij}$.

    Shapes: two index arrays `(p,)` and the positive gains `(p,)`; returned are places 0..p-1 of the kept pairs.
    Pairs that meet no rival are kept as they are; the others are assigned optimally, in a table of those alone.
    Of equal sums the one of most pairs is kept (0.4 alone, or 0.2 and 0.2), so that the order of the things cannot
    decide how many are found. No candidate gives none. Source: Crouse 2016, doi:10.1109/TAES.2016.140952, as in scipy. Chapter 1.
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


def check_same_grid(truth: Things, answer: Things) -> None:
    """Refuses what is neither map nor set, and two that do not lie on one grid and device."""
    grid, other = _grid("truth", truth), _grid("answer", answer)
    if grid != other:
        raise ValueError(f"answer: expected the truth's grid {grid[0]} on {grid[1]}, got {other[0]} on {other[1]}")


def _joint_histogram(truth: Tensor, answer: Tensor) -> Overlaps:
    tallies = [_tally(t, a) for t, a in _inside(truth, answer)]
    truth_ids, answer_ids, counts = (np.concatenate([part.cpu().numpy() for part in parts]) for parts in zip(*tallies))
    (truth_ids, i), (answer_ids, j) = (np.unique(ids, return_inverse=True) for ids in (truth_ids, answer_ids))
    pairs, which = np.unique(i * len(answer_ids) + j, return_inverse=True)       # a pair may be in several tallies
    i, j, counts = pairs // max(1, len(answer_ids)), pairs % max(1, len(answer_ids)), _sums(which, counts, len(pairs))
    voxels = [_sums(index, counts, len(ids))[ids > 0] for ids, index in ((truth_ids, i), (answer_ids, j))]
    both = (truth_ids[i] > 0) & (answer_ids[j] > 0)
    i, j = (index[both] - (ids == 0).any() for ids, index in ((truth_ids, i), (answer_ids, j)))    # 0 is no thing
    return Overlaps(*voxels, i, j, counts[both])


def _inside(truth: Tensor, answer: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The two ids of every voxel where there is a thing, a chunk of voxels at a time."""
    on_cpu = truth.device.type == "cpu"
    kept, size = [(truth[:0], answer[:0])], 0
    for start in range(0, truth.numel(), block := _BLOCK if on_cpu else _BLOCK_GPU):
        t, a = truth[start:start + block], answer[start:start + block]
        inside = (t | a).bool()
        # numpy leaps over the empty stretches of a mask, which are most of a scan
        inside = torch.from_numpy(np.flatnonzero(inside.numpy())) if on_cpu else inside.nonzero()[:, 0]
        kept.append((t.index_select(0, inside), a.index_select(0, inside)))
        size += len(inside)
        if size >= _VOXELS:
            yield tuple(map(torch.cat, zip(*kept)))
            kept, size = [], 0
    if kept:
        yield tuple(map(torch.cat, zip(*kept)))


def _tally(truth: Tensor, answer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs of ids that occur, and how often each does."""
    if not len(truth):
        return truth, answer, truth.long()
    check_labels("truth", truth)
    check_labels("answer", answer)
    width = int(answer.max()) + 1
    table = (int(truth.max()) + 1) * width
    if table > torch.iinfo(torch.int64).max:                        # the key of a pair would not fit
        (truth_ids, truth), (answer_ids, answer) = (ids.unique(return_inverse=True) for ids in (truth, answer))
        i, j, counts = _tally(truth, answer)
        return truth_ids[i], answer_ids[j], counts
    keys = truth.long() * width + answer
    if table > _TABLE:
        keys, counts = keys.unique(return_counts=True)
    else:
        counts = torch.bincount(keys)
        keys = counts.nonzero()[:, 0]
        counts = counts[keys]
    return keys // width, keys % width, counts


def _sums(index: np.ndarray, counts: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(index, counts, n).astype(np.int64)       # through float64, exact below 2^53 voxels


def _products_of_masks(truth: Things, answer: Things) -> Overlaps:
    (n, truth_rows), (m, answer_rows) = _rows("truth", truth), _rows("answer", answer)
    grid, device = _grid("truth", truth)
    shared = torch.zeros(n, m, dtype=torch.int64, device=device)
    truth_voxels, answer_voxels = shared.new_zeros(n), shared.new_zeros(m)
    size = max(1, _MASK_VALUES // max(1, n + m))                # below 2^24, up to which float32 counts exactly
    with torch.autocast(device.type, enabled=False):
        for start in range(0, math.prod(grid), size):
            t, a = (rows(slice(start, start + size)) for rows in (truth_rows, answer_rows))
            shared += (t.float() @ a.float().T).long()
            truth_voxels += t.sum(dim=1)
            answer_voxels += a.sum(dim=1)
    partners = shared > 0
    if isinstance(truth, InstanceSet) and isinstance(answer, InstanceSet):
        partners &= truth.classes[:, None] == answer.classes
    i, j = partners.nonzero(as_tuple=True)
    return Overlaps(*(part.cpu().numpy() for part in (truth_voxels, answer_voxels, i, j, shared[i, j])))


def _rows(name: str, things: Things) -> tuple[int, Callable[[slice], Tensor]]:
    """How many things there are, and what gives their masks over a stretch of voxels as rows."""
    if isinstance(things, InstanceSet):
        masks = things.masks.flatten(1)
        return len(masks), lambda voxels: masks[:, voxels]
    check_labels(name, things)
    ids_of = things.flatten()
    ids = ids_of[ids_of > 0].unique()
    return len(ids), lambda voxels: ids_of[voxels] == ids[:, None]


def _grid(name: str, things: Things) -> tuple[tuple[int, ...], torch.device]:
    if isinstance(things, InstanceSet):
        return tuple(things.masks.shape[1:]), things.masks.device
    check_map(name, things)
    return tuple(things.shape), things.device
