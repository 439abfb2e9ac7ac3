r"""`medlearn evaluate`: a folder of predictions beside one of truths, as a table in three forms."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medlearn.cli.settings import patient_from
from medlearn.data import read_folder
from medlearn.evaluate import evaluate_folders


def evaluate(predictions: str | Path, truths: str | Path, *, labels: Sequence[str] | None = None,
             patient: str | None = None, tolerance_mm: float | None = None, lesion_iou: float = 0.0,
             miss_mm: float | None = None, out: str | Path | None = None) -> int:
    r"""Prints the table of `evaluate_folders`, and writes summary.csv and summary.json. Returned is the exit code.

    `truths` is a folder of label files, or one with a `dataset.json`, whose labelsTr is meant; the names of the
    `labels`, 0 the background, stand in a `dataset.json` there or beside it where they are not given. `patient`: as in
    `patient_from`. The files go to the folder `out`, that of the `predictions` when left out. `tolerance_mm`,
    `lesion_iou`, `miss_mm`: as in `score_volume`.
    Errors: ValueError and FileNotFoundError where no label is known, or a folder is none.
    """
    truths, ignore_index = Path(truths), None
    root = next((place for place in (truths, truths.parent) if (place / "dataset.json").exists()), None)
    if root is not None:
        folder = read_folder(root)
        labels, ignore_index = labels or folder.labels, folder.ignore_index
    if not labels:
        raise ValueError(f"labels: expected their names, or a dataset.json in {truths} or beside it, got neither")
    if root == truths:
        truths = root / "labelsTr"
    table = evaluate_folders(predictions, truths, labels=labels, patient=patient_from(patient),
                             tolerance_mm=tolerance_mm, lesion_iou=lesion_iou, miss_mm=miss_mm,
                             ignore_index=ignore_index)
    print(table)
    out = Path(predictions if out is None else out)
    out.mkdir(parents=True, exist_ok=True)
    table.write_csv(out / "summary.csv")
    table.write_json(out / "summary.json")
    print(f"written: {out / 'summary.csv'}, {out / 'summary.json'}")
    return 3 if table.missing or table.unread else 0
