r"""Two folders of files, predictions and truths, met by name: no case is dropped, and no bad file stops the others."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medlearn.base.validation import Number, check_number
from medlearn.data import LabelRegion, Volume, read_volume
from medlearn.evaluate.scores import Scores, score_volume
from medlearn.evaluate.table import NO_FILE, Evaluation, Row

ENDINGS = (".nii.gz", ".nii", ".nrrd")


def evaluate_folders(predictions: str | Path, targets: str | Path, *, labels: Sequence[str],
                     patient: Callable[[str], str] | None = None, tolerance_mm: Number | None = None,
                     lesion_iou: Number = 0.0, miss_mm: Number | None = None,
                     ignore_index: int | None = None, regions: Sequence[LabelRegion] = ()) -> Evaluation:
    r"""`score_volume` of every case in a folder of truths: the files of the two folders that have one name.

    `predictions` and `targets` are folders of NIfTI or NRRD files; `labels[k]` names label k, 0 is the background, as
    in a `Folder`. `patient` gives a patient from the name of a case, so that intervals know whose scans belong
    together. `tolerance_mm`, `lesion_iou`, `miss_mm` and `ignore_index`: as in `score_volume`. With `regions`, which
    may overlap, those are judged in place of the classes, each as one against the rest: label k is the k-th of them.
    A case without a prediction, or with one that cannot be used, is in the table as an answer that found nothing, and
    named under `missing`. (nnU-Net's evaluation leaves it out of its means without a word.) A truth that cannot be used
    is named under `unread`. What stands beside a prediction under its name and a dot, as its maps do, is no case.
    Units: as `score_volume`. A folder without a truth gives a table without rows.
    Errors: FileNotFoundError for a folder that is not there; ValueError for fewer than two labels, a case that is there
    twice, and arguments that `score_volume` refuses. Chapter 17.

    >>> from tempfile import TemporaryDirectory
    >>> from medlearn.base.grid import Grid
    >>> from medlearn.data import write_volume
    >>> truth = Volume(np.ones((4, 4, 4), np.uint8), Grid((4, 4, 4), np.eye(4)))
    >>> with TemporaryDirectory() as root:
    ...     for name in ("said/a", "true/a", "true/b"):
    ...         (Path(root) / name).parent.mkdir(exist_ok=True)
    ...         write_volume(f"{root}/{name}.nii.gz", truth)
    ...     table = evaluate_folders(f"{root}/said", f"{root}/true", labels=("background", "organ"))
    >>> table.summary("Dice", label=1), table.missing
    (0.500 ± 0.707 over 2 cases, {'b': 'no such file'})
    """
    if isinstance(labels, str) or len(labels) < 2:
        raise ValueError(f"labels: expected the names of label 0, the background, and of others, got {labels!r}")
    tolerance_mm, miss_mm = (None if value is None else check_number(name, value, least=0)
                             for name, value in {"tolerance_mm": tolerance_mm, "miss_mm": miss_mm}.items())
    check_number("lesion_iou", lesion_iou, least=0, below=1)

    def score(prediction: Volume, target: Volume) -> dict[int, Scores]:
        asked: dict[str, Any] = dict(tolerance_mm=tolerance_mm, lesion_iou=lesion_iou, miss_mm=miss_mm,
                                     ignore_index=ignore_index)
        if not regions:
            return score_volume(prediction, target, classes=len(labels), **asked)
        for volume in (prediction, target):
            _check_labels(volume, len(labels), ignore_index if volume is target else None)
        return {k: score_volume(_within(prediction, region, ignore_index), _within(target, region, ignore_index),
                                classes=2, **asked)[1] for k, region in enumerate(regions, start=1)}

    said, true = (_cases(Path(folder)) for folder in (predictions, targets))
    rows: list[Row] = []
    missing: dict[str, str] = {}
    unread: dict[str, str] = {}
    for case, reference in true.items():
        prediction, target, why = said.get(case), None, NO_FILE
        try:
            target = read_volume(reference)
            nothing = target.with_array(np.zeros(target.array.shape, np.uint8))
            scores = score(nothing, target)
        except (ValueError, TypeError, OSError, MemoryError) as error:
            unread[case] = str(error)
            continue
        if prediction is not None:
            try:
                scores, why = score(read_volume(prediction), target), ""
            except (ValueError, TypeError, OSError, MemoryError) as error:
                why = str(error)
        if why:
            missing[case] = why
        whose = case if patient is None else patient(case)
        rows += [Row(case, whose, label, found, reference, prediction) for label, found in scores.items()]
    extra = tuple(name for name in said if not any(name == case or name.startswith(f"{case}.") for case in true))
    judged = (labels[0], *(region.name for region in regions)) if regions else tuple(labels)
    return Evaluation(judged, tuple(rows), missing, unread, extra,
                      None if miss_mm is None else float(miss_mm))


def _check_labels(volume: Volume, classes: int, ignore_index: int | None) -> None:
    odd = set(np.unique(volume.array).tolist()) - {*range(classes), ignore_index}
    if odd:
        raise ValueError(f"{volume.name}: expected labels of 0..{classes - 1}, got {min(odd):g}")


def _within(volume: Volume, region: LabelRegion, ignore_index: int | None) -> Volume:
    """1 in a region, 0 elsewhere; what nobody judged stays as it is."""
    inside = np.isin(volume.array, region.labels).astype(np.int64)
    return volume.with_array(inside if ignore_index is None else np.where(volume.array == ignore_index, ignore_index,
                                                                           inside))


def _cases(folder: Path) -> dict[str, Path]:
    """The files of a folder by the name of their case, in order."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder, got none")
    cases: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
        if ending is None or path.name.startswith("."):
            continue
        name = path.name.removesuffix(ending)
        if name in cases:
            raise ValueError(f"{folder}: expected one file for {name}, got {cases[name].name} and {path.name}")
        cases[name] = path
    return cases
