r"""How good a set of things is: panoptic quality, and detection lesion by lesion."""
from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from medlearn.base.validation import Number, check_labels, check_number, check_same, kind_of
from medlearn.metrics._inputs import ROUNDING, Mask, as_mask
from medlearn.metrics.matching import Things, as_things, match, overlaps
from medlearn.tasks import InstanceSet, region_measures

Pairs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, repr=False)
class Detection:
    r"""Counts of things, found, false and missed, with $F_1 = TP / (TP + \frac12 FP + \frac12 FN)$.

    `tp` are the pairs of a found and a true thing, `fp` the found things without a partner, `fn` the true ones.
    `a + b` and `sum(list)` pool images: the counts add up, and the ratio is taken once. A mean of ratios would give an
    image with one lesion the weight of an image with fifty.
    Nothing to find and nothing found: `f1` is NaN, no answer is right or wrong, and such an image adds nothing to a
    pool. As soon as anything is missed or falsely found, `f1` is a number below 1, so that no mean can drop a miss.
    `recall` is NaN without a true thing, `precision` without a found one. Chapter 1.

    >>> Detection(tp=1, fp=0, fn=1) + Detection(tp=50, fp=2, fn=0)
    F1 0.971, precision 0.962, recall 0.981 (51 found, 2 false, 1 missed)
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return _ratio(self.tp, self.tp + (self.fp + self.fn) / 2)

    def __add__(self, other: object):
        if type(other) is not type(self):
            return NotImplemented
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def __radd__(self, other: object):
        return self if isinstance(other, int) and other == 0 else NotImplemented       # where sum() begins

    def __repr__(self) -> str:
        return f"F1 {self.f1:.3f}, precision {self.precision:.3f}, recall {self.recall:.3f} ({self._counts()})"

    def _counts(self) -> str:
        if not self.tp + self.fp + self.fn:
            return "nothing to find, nothing found"
        return f"{self.tp} found, {self.fp} false, {self.fn} missed"


@dataclass(frozen=True, repr=False)
class PanopticQuality(Detection):
    r"""$PQ = SQ \times RQ$, with $SQ = \sum_{TP} IoU / TP$, how well the pairs are outlined, and $RQ = F_1$.

    `tp`, `fp` and `fn` as in `Detection`; `iou_sum` is the sum of IoU over the pairs. Pools by `+` and `sum`.
    Nothing to find and nothing found: `pq`, `sq` and `rq` are NaN. No pair, but something missed or falsely found: all
    three are 0.
    Source: Kirillov et al. 2019, eqs. 1 and 2, doi:10.1109/CVPR.2019.00963. Chapter 1.

    >>> PanopticQuality(tp=2, fp=0, fn=1, iou_sum=1.5)
    PQ 0.600 = SQ 0.750 x RQ 0.800 (2 found, 0 false, 1 missed)
    """

    iou_sum: float = 0.0

    @property
    def pq(self) -> float:
        return _ratio(self.iou_sum, self.tp + (self.fp + self.fn) / 2)

    @property
    def sq(self) -> float:
        return self.iou_sum / self.tp if self.tp else self.f1

    @property
    def rq(self) -> float:
        return self.f1

    def __repr__(self) -> str:
        return f"PQ {self.pq:.3f} = SQ {self.sq:.3f} x RQ {self.rq:.3f} ({self._counts()})"


def panoptic_quality(prediction: Things, target: Things, *, iou: Number = 0.5,
                     ignored: Mask | None = None) -> PanopticQuality:
    r"""$PQ = \sum_{TP} IoU / (TP + \frac12 FP + \frac12 FN)$, where a pair (TP) has an IoU above `iou`.

    Shapes: `prediction` and `target` are each a map of ids `(*S)`, 0 background, a tensor or an array of integers, or
    an `InstanceSet`, of one image.
    Between two sets a pair needs equal classes, masks may overlap, and the counts of all classes are pooled; where
    one side is a map, which has no classes, the set's classes are ignored.
    With `iou` of 0.5 or more the pairs are unique where things do not overlap: a pair shares more than half of its
    union, so more than half of each thing, and no thing has two such halves. With less, or where the things of a set
    overlap, pairs are chosen one-to-one for the largest sum of IoU; since the denominator is half the number of
    things on both sides, whatever the pairs, that is the best PQ there is. Of equal sums the one of most pairs
    counts, so that SQ and RQ, too, do not depend on the order of the things.
    Voxels of the mask `ignored (*S)` belong to no thing; a found thing without a partner, more than half of which is
    ignored, is no false one.
    Neither side has a thing: NaN, which says so, and adds nothing to a pool. One side has none: 0.
    Errors: TypeError for float or bool maps; ValueError for negative ids, other grids or devices, `iou` outside
    [0, 1). Source: Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963. Chapter 1.

    >>> truth, answer = np.array([[1, 1, 1, 1, 0, 2, 2]]), np.array([[5, 5, 5, 0, 0, 0, 0]])
    >>> panoptic_quality(answer, truth)                 # the IoU of the pair is 3 / 4
    PQ 0.500 = SQ 0.750 x RQ 0.667 (1 found, 0 false, 1 missed)
    """
    prediction, target, unknown = _judged(prediction, target, ignored)
    n, m, pairs, quality = _overlapping(prediction, target, iou)
    kept = match(pairs, quality)
    return PanopticQuality(len(kept), _false(n, pairs[0][kept], unknown), m - len(kept), math.fsum(quality[kept]))


def panoptic_quality_per_class(prediction: InstanceSet, target: InstanceSet, *,
                               iou: Number = 0.5, ignored: Mask | None = None) -> dict[int, PanopticQuality]:
    r"""`panoptic_quality` of each class that is present on either side; a class that neither has is left out.

    `prediction`, `target`, `iou` and `ignored` as in `panoptic_quality`, but both sides are sets: maps have no classes.
    Kirillov's PQ of a cohort is the mean over classes of the pooled value of each. Two empty sets give `{}`.
    Errors: TypeError for anything but an `InstanceSet`, else as `panoptic_quality`. Chapter 1.

    >>> import torch
    >>> truth = InstanceSet.from_semantic(torch.tensor([[1, 1, 0, 2]]))
    >>> {c: score.pq for c, score in panoptic_quality_per_class(truth[truth.classes == 1], truth).items()}
    {1: 1.0, 2: 0.0}
    """
    for name, things in {"prediction": prediction, "target": target}.items():
        if not isinstance(things, InstanceSet):
            raise TypeError(f"{name}: expected an InstanceSet, which has classes, got {kind_of(things)}")
    as_things(prediction, target)
    classes = sorted({*prediction.classes.tolist(), *target.classes.tolist()})
    return {c: panoptic_quality(prediction[prediction.classes == c], target[target.classes == c], iou=iou,
                                ignored=ignored)
            for c in classes}


def detection_f1(prediction: Things, target: Things, *, iou: Number | None = None,
                 distance_mm: Number | None = None, affine: np.ndarray | Tensor | None = None,
                 ignored: Mask | None = None) -> Detection:
    r"""$F_1 = TP / (TP + \frac12 FP + \frac12 FN)$ over things that pair by overlap or by distance.

    A pair is a found thing with an IoU above `iou` (0: any shared voxel), or with a centroid at most `distance_mm`
    away (to a millionth of it), measured through the `affine` `(4, 4)`; one of the two has to be chosen. Pairs are
    one-to-one, and as many as possible, so two answers for one lesion are one hit and one false alarm.
    Shapes and classes: `prediction`, `target` and `ignored` as in `panoptic_quality`. Units: mm.
    Empty cases: as in `Detection`.
    Errors: as `panoptic_quality` and `region_measures`; ValueError for no criterion or both, a negative distance, a
    distance without an affine, an affine without a distance. Chapter 1.

    >>> truth, answer = np.array([[1, 0, 0, 0, 2]]), np.array([[0, 1, 0, 0, 0]])
    >>> detection_f1(answer, truth, distance_mm=2.0, affine=np.eye(4))          # no voxel is shared, but 1 mm is near
    F1 0.667, precision 1.000, recall 0.500 (1 found, 0 false, 1 missed)
    """
    if (iou is None) == (distance_mm is None):
        raise ValueError(f"expected iou= or distance_mm=, one of the two, got iou={iou}, distance_mm={distance_mm}")
    if (distance_mm is None) != (affine is None):
        raise ValueError("affine: expected one with distance_mm=, and none with iou=")
    prediction, target, unknown = _judged(prediction, target, ignored)
    if iou is not None:
        n, m, pairs, _ = _overlapping(prediction, target, iou)
    else:
        assert distance_mm is not None and affine is not None       # the two checks above leave nothing else
        n, m, pairs = _near(prediction, target, distance_mm, affine)
    kept = match(pairs, np.ones(len(pairs[0])))
    return Detection(len(kept), _false(n, pairs[0][kept], unknown), m - len(kept))


def _judged(prediction: Things, target: Things, ignored: Mask | None) -> tuple[Things, Things, np.ndarray | None]:
    """Both sides without what is ignored, and which found things are mostly ignored, in their order."""
    if ignored is None:
        return prediction, target, None
    found, true = as_things(prediction, target)
    grid = found.scores.new_empty(()).expand(found.masks.shape[1:]) if isinstance(found, InstanceSet) else found
    mask = check_same("ignored", as_mask("ignored", ignored), like=grid, whose="the things")
    (found, before, after), (true, _, _) = (_without(things, mask) for things in (found, true))
    return found, true, 2 * after < before


def _without(things: Tensor | InstanceSet, ignored: Tensor) -> tuple[Tensor | InstanceSet, np.ndarray, np.ndarray]:
    """Things without the ignored voxels; of those that are left, how many voxels they had and have."""
    if isinstance(things, InstanceSet):
        masks = things.masks & ~ignored
        before, after = (m.flatten(1).sum(1) for m in (things.masks, masks))
        left = after > 0
        return (InstanceSet(masks[left], things.classes[left], things.scores[left]), before[left].cpu().numpy(),
                after[left].cpu().numpy())
    kept = things.masked_fill(ignored, 0)
    (ids, before), (left, after) = (map_[map_ > 0].unique(return_counts=True) for map_ in (things, kept))
    return kept, before[torch.isin(ids, left)].cpu().numpy(), after.cpu().numpy()


def _false(found: int, partnered: np.ndarray, unknown: np.ndarray | None) -> int:
    """How many found things have no partner, but for those that are mostly ignored."""
    alone = np.ones(found, dtype=bool) if unknown is None else ~unknown
    alone[partnered] = False
    return int(alone.sum())


def _overlapping(prediction: Things, target: Things, iou: Number) -> tuple[int, int, Pairs, np.ndarray]:
    """How many things each side has, the pairs above the threshold, and their IoU."""
    iou = check_number("iou", iou, least=0, below=1)
    counts = overlaps(prediction, target)
    above = counts.iou > iou
    pairs = counts.prediction_index[above], counts.target_index[above]
    return len(counts.prediction_voxels), len(counts.target_voxels), pairs, counts.iou[above]


def _near(prediction: Things, target: Things, distance_mm: Number,
          affine: np.ndarray | Tensor) -> tuple[int, int, Pairs]:
    """How many things each side has, and the pairs of centroids within the distance."""
    distance_mm = check_number("distance_mm", distance_mm, least=0)
    prediction, target = as_things(prediction, target)
    for name, things in {"prediction": prediction, "target": target}.items():
        if isinstance(things, Tensor):
            check_labels(name, things)
    here, there = _centroids_mm(prediction, affine), _centroids_mm(target, affine)
    near = np.linalg.norm(here[:, None] - there, axis=-1) <= distance_mm * (1 + ROUNDING)
    if isinstance(prediction, InstanceSet) and isinstance(target, InstanceSet):
        near &= (prediction.classes[:, None] == target.classes).cpu().numpy()
    return len(here), len(there), near.nonzero()


def _centroids_mm(things: Tensor | InstanceSet, affine: np.ndarray | Tensor) -> np.ndarray:
    maps = [things] if isinstance(things, Tensor) else things.masks.byte()          # masks may overlap
    regions = [region for map_ in maps for region in region_measures(map_, affine).values()]
    return np.array([region.centroid_mm for region in regions]).reshape(-1, 3)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
