r"""`medlearn evaluate`: a folder of predictions beside one of truths, as a table in three forms."""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from medlearn.base.atomic import written_whole
from medlearn.cli.settings import patient_from
from medlearn.data import LabelRegion, read_folder
from medlearn.evaluate import evaluate_folders, read_patients, show_worst, subgroups, write_subgroups


def evaluate(predictions: str | Path, truths: str | Path, *, labels: Sequence[str] | None = None,
             patient: str | None = None, tolerance_mm: float | None = None, lesion_iou: float = 0.0,
             miss_mm: float | None = None, patients: str | Path | None = None, picture: str | Path | None = None,
             out: str | Path | None = None) -> int:
    r"""Prints the table of `evaluate_folders`, and writes summary.csv and summary.json. Returned is the exit code.

    `truths` is a folder of label files, or one with a `dataset.json`, whose labelsTr is meant; the names of the
    `labels`, 0 the background, stand in a `dataset.json` there or beside it where they are not given. `patient`: as in
    `patient_from`. The files go to the folder `out`, that of the `predictions` when left out. `tolerance_mm`,
    `lesion_iou`, `miss_mm`: as in `score_volume`. With `patients`, a CSV file as `read_patients` takes it, there is a
    table for each of its columns, and subgroups.csv; with `picture`, a folder of scans, worst.png, as `show_worst`
    draws it. Where the `dataset.json` names regions, those are judged.
    Errors: ValueError and FileNotFoundError where no label is known, or a folder is none.
    """
    truths, ignore_index = Path(truths), None
    regions: tuple[LabelRegion, ...] = ()
    known = None if patients is None else read_patients(patients)
    root = next((place for place in (truths, truths.parent) if (place / "dataset.json").exists()), None)
    if root is not None:
        with warnings.catch_warnings():
            if root != truths:
                warnings.simplefilter("ignore")             # of its scans, of which nothing is asked
            folder = read_folder(root)
        labels, ignore_index, regions = labels or folder.labels, folder.ignore_index, folder.regions
    if not labels:
        raise ValueError(f"labels: expected their names, or a dataset.json in {truths} or beside it, got neither")
    if root == truths:
        truths = root / "labelsTr"
    table = evaluate_folders(predictions, truths, labels=labels, patient=patient_from(patient),
                             tolerance_mm=tolerance_mm, lesion_iou=lesion_iou, miss_mm=miss_mm,
                             ignore_index=ignore_index, regions=regions)
    print(table)
    out = Path(predictions if out is None else out)
    out.mkdir(parents=True, exist_ok=True)
    table.write_csv(out / "summary.csv")
    table.write_json(out / "summary.json")
    written = ["summary.csv", "summary.json"]
    if known is not None:
        parts = subgroups(table, known)
        print(*parts, sep="\n")
        write_subgroups(out / "subgroups.csv", parts)
        written.append("subgroups.csv")
    if picture is not None:
        with written_whole(out / "worst.png") as aside:
            show_worst(table, images=picture).savefig(aside, format="png", dpi=150)
        written.append("worst.png")
    print("written:", ", ".join(str(out / name) for name in written))
    return 3 if table.missing or table.unread else 0
