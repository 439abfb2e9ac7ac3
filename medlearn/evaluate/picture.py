r"""The worst answers, to look at: a mean says how often a model fails, and a picture why."""
from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medlearn.base.validation import check_choice, check_whole
from medlearn.data import Volume, read_volume, to_ras
from medlearn.evaluate.folders import ENDINGS
from medlearn.evaluate.scores import DISTANCES
from medlearn.evaluate.table import Evaluation, Row
from medlearn.viz import show_slice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JUDGED = ("Dice", "IoU", "NSD", "lesion_F1", "PQ", *DISTANCES)
NAMES = ("neither", "both", "missed", "false")


def show_worst(evaluation: Evaluation, *, count: int = 5, metric: str = "Dice",
               images: str | Path | None = None) -> "Figure":
    r"""A picture of the rows of an `evaluation` with the worst `metric`, at most `count`, the worst first.

    Each is the slice with the most wrong voxels, seen as a radiologist does: what both sides mark, what was missed and
    what is false. `images` is a folder of the scans, by the names of the cases (or `NAME_0000`, nnU-Net's first
    channel); without it the ground is black. A case whose prediction is missing has missed everything.
    Units: voxels. Rows whose metric is undefined are not among them; without a row the figure is empty.
    Errors: ValueError for less than one, another metric. Chapter 17.

    >>> show_worst(Evaluation(("background", "tumour"))).axes
    []
    """
    from matplotlib.figure import Figure

    count = check_whole("count", count, least=1)
    check_choice("metric", metric, JUDGED)
    sign = -1 if metric in DISTANCES else 1
    defined = [row for row in evaluation.rows if not math.isnan(row.scores.get(metric, math.nan))]
    worst = sorted(defined, key=lambda row: sign * row.scores[metric])[:count]
    figure = Figure(figsize=(3 * max(len(worst), 1), 3.6), layout="constrained")
    for ax, row in zip(np.atleast_1d(figure.subplots(1, len(worst))) if worst else (), worst):
        picture, marks, spacing = _slice(row, row.case in evaluation.missing, images)
        show_slice(ax, picture, labels=marks, names=NAMES, affine=np.diag([*spacing, 1.0, 1.0]),
                   legend=row is worst[0])
        ax.set_title(f"{row.case}, {evaluation.labels[row.label]}\n{metric} {row.scores[metric]:.3g}")
    return figure


def _slice(row: Row, missing: bool, images: str | Path | None) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """A slice of the scan, what is right and wrong in it as 0..3, and its spacing."""
    volume = to_ras(read_volume(row.reference_file))
    true = volume.array == row.label
    said = np.zeros_like(true)
    if row.prediction_file is not None and not missing:
        said = to_ras(read_volume(row.prediction_file)).array == row.label
    marks = np.select([true & said, true, said], [1, 2, 3])
    scan = _scan(row.case, images, volume)
    if marks.ndim == 3:
        wrong = (true ^ said).sum((0, 1))
        at = int((wrong if wrong.any() else true.sum((0, 1))).argmax())
        scan, marks = scan[..., at], marks[..., at]
    return scan, marks, volume.grid.spacing_mm[:2]


def _scan(case: str, images: str | Path | None, like: Volume) -> np.ndarray:
    names = [f"{case}{part}{ending}" for part in ("", "_0000") for ending in ENDINGS]
    path = None if images is None else next(filter(Path.exists, (Path(images) / name for name in names)), None)
    if path is None:
        return np.zeros(like.array.shape)
    scan = to_ras(read_volume(path))
    if scan.array.shape != like.array.shape:
        raise ValueError(f"{path}: expected the shape {like.array.shape} of the labels, got {scan.array.shape}")
    return scan.array.astype(float)
