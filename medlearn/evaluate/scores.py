r"""Every number of one case: overlap, borders, volumes and lesions of each class, counted in the class's box."""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from medlearn.base.validation import Number, check_number, check_whole
from medlearn.data import Volume, check_same_grid, to_ras
from medlearn.metrics import assd, confusion_counts, detection_f1, hausdorff95, nsd, panoptic_quality, surface_distances
from medlearn.metrics.overlap import ConfusionCounts
from medlearn.tasks import connected_components

COUNTS = ("TP", "FP", "FN", "TN", "n_pred", "n_ref")        # as nnU-Net names them
DISTANCES = ("HD95_mm", "ASSD_mm")
METRICS = ("Dice", "IoU", *COUNTS, *DISTANCES, "NSD", "volume_ml", "reference_ml", "lesion_F1", "PQ")
Scores = dict[str, float]
Box = tuple[slice, ...]


def score_volume(prediction: Volume, target: Volume, *, classes: int, tolerance_mm: Number | None = None,
                 lesion_iou: Number = 0.0, miss_mm: Number | None = None,
                 ignore_index: int | None = None) -> dict[int, Scores]:
    r"""What `METRICS` names, of every class 1..K-1 of one case, K = `classes`: Dice $2\,tp/(2\,tp + fp + fn)$ first.

    Shapes: `prediction` and `target (*S)` hold whole numbers on one grid, in any orientation. Units: counts in voxels,
    HD95 and ASSD in mm, between surfaces of voxels, volumes in ml; NSD at `tolerance_mm`, without one NaN. A lesion is
    a connected component; for `lesion_F1` two are a pair that have an IoU above `lesion_iou` (0: any shared voxel), for
    PQ above 0.5. Voxels whose truth is `ignore_index` are in no number.
    Neither side has the class: ratios and distances are NaN. One side has it: overlap 0, distances infinite, or
    `miss_mm` where one is given, a finite penalty that no real distance should exceed.
    Errors: TypeError and ValueError for volumes on two grids, channels, labels outside 0..K-1, other arguments.
    Source: Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z. Chapter 17.

    >>> from medlearn.base.grid import Grid
    >>> truth = np.zeros((8, 8, 8), np.uint8)
    >>> truth[2:6, 2:6, 2:6] = 1
    >>> grid = Grid.from_spacing(truth.shape, (1.0, 1.0, 2.0))
    >>> scores = score_volume(Volume(np.roll(truth, 1, 2), grid), Volume(truth, grid), classes=2)[1]
    >>> scores["Dice"], scores["HD95_mm"], scores["reference_ml"], scores["lesion_F1"]
    (0.75, 2.0, 0.128, 1.0)
    """
    check_whole("classes", classes, least=2)
    tolerance_mm, miss_mm = (None if value is None else check_number(name, value, least=0)
                             for name, value in {"tolerance_mm": tolerance_mm, "miss_mm": miss_mm}.items())
    said, true = (_labels(name, volume) for name, volume in {"prediction": prediction, "target": target}.items())
    check_same_grid(said, true)
    counts = confusion_counts(said.array[None], true.array[None], classes=classes, ignore_index=ignore_index)
    ignored = np.zeros(true.array.shape, bool) if ignore_index is None else true.array == ignore_index
    found = [np.where(ignored, 0, volume.array) if ignored.any() else volume.array for volume in (said, true)]
    # what is said of the unknown is looked at as well: a lesion may begin there
    boxes = [_boxes(array, classes) for array in (said.array, found[1])]
    scores = {}
    for k in range(1, classes):
        box = _union([own[k] for own in boxes], true.array.shape)
        masks = [torch.from_numpy(array[box] == k) for array in found]
        aside = torch.from_numpy(ignored[box]) if ignored.any() else None
        scores[k] = {**_overlap(counts, k, true.grid.voxel_ml),
                     **_surface(masks, true.grid.spacing_mm, tolerance_mm, aside, miss_mm),
                     **_lesions(masks, said.array[box] == k, lesion_iou, aside)}
        scores[k] = {name: scores[k][name] for name in METRICS}
    return scores


def _labels(name: str, volume: Volume) -> Volume:
    if not isinstance(volume, Volume):
        raise TypeError(f"{name}: expected a Volume, got {type(volume).__name__}")
    if volume.has_channels or volume.array.dtype.kind not in "biu" and not _is_whole(volume.array):
        raise ValueError(f"{volume.name if volume.stored else name}: expected labels, whole numbers without channels, "
                         f"got {volume.array.dtype} of shape {volume.array.shape}")
    volume = to_ras(volume)
    return Volume(np.ascontiguousarray(volume.array.astype(np.int64, copy=False)), volume.grid, volume.stored)


def _is_whole(array: np.ndarray) -> bool:
    """Labels of a file that keeps them as floats."""
    return bool((array == np.round(array)).all())


def _overlap(counts: ConfusionCounts, k: int, voxel_ml: float) -> Scores:
    tp, fp, fn, tn = (int(count[0, k]) for count in (counts.tp, counts.fp, counts.fn, counts.tn))
    return {"Dice": counts.dice[0, k].item(), "IoU": counts.iou[0, k].item(), "TP": tp, "FP": fp, "FN": fn, "TN": tn,
            "n_pred": tp + fp, "n_ref": tp + fn, "volume_ml": (tp + fp) * voxel_ml,
            "reference_ml": (tp + fn) * voxel_ml}


def _surface(masks: list[Tensor], spacing_mm: Sequence[float], tolerance_mm: float | None, ignored: Tensor | None,
             miss_mm: float | None) -> Scores:
    distances = surface_distances(*masks, spacing_mm=spacing_mm, ignored=ignored)
    values = {"HD95_mm": hausdorff95(distances), "ASSD_mm": assd(distances)}
    if miss_mm is not None:
        values = {name: miss_mm if math.isinf(value) else value for name, value in values.items()}
    return values | {"NSD": math.nan if tolerance_mm is None else nsd(distances, tolerance_mm)}


def _lesions(masks: list[Tensor], said: np.ndarray, iou: Number, ignored: Tensor | None) -> Scores:
    found = connected_components(torch.from_numpy(said)), connected_components(masks[1])
    return {"lesion_F1": detection_f1(*found, iou=iou, ignored=ignored).f1,
            "PQ": panoptic_quality(*found, ignored=ignored).pq}


def _boxes(labels: np.ndarray, classes: int) -> dict[int, Box | None]:
    from scipy.ndimage import find_objects

    return dict(enumerate(find_objects(labels, max_label=classes - 1), start=1))


def _union(boxes: list[Box | None], shape: tuple[int, ...]) -> Box:
    """The box of both sides with a voxel around it, in which ignored neighbours may lie; empty without a side."""
    own = [box for box in boxes if box is not None]
    if not own:
        return (slice(0, 0),) * len(shape)
    return tuple(slice(max(min(s.start for s in sides) - 1, 0), min(max(s.stop for s in sides) + 1, n))
                 for sides, n in zip(zip(*own), shape))
