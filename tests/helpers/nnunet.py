"""nnU-Net's evaluation: its definitions, restated, and itself where it is installed. To compare with, never to use."""
import importlib.util
import json
import math
import warnings

import nibabel as nib
import numpy as np
import pytest


def restated(said, true, *, labels):
    """Its compute_metrics_on_folder: counts of each case, nanmean over cases, mean over classes."""
    cases = []
    for path in sorted(true.iterdir()):
        ref, pred = (np.asanyarray(nib.load(folder / path.name).dataobj) for folder in (true, said))
        metrics = {}
        for k in labels:
            r, p = ref == k, pred == k
            tp, fp, fn, tn = (int(mask.sum()) for mask in (r & p, ~r & p, r & ~p, ~r & ~p))
            whole = tp + fp + fn
            metrics[str(k)] = {"Dice": 2 * tp / (2 * tp + fp + fn) if whole else math.nan,
                               "IoU": tp / whole if whole else math.nan, "FP": fp, "TP": tp, "FN": fn, "TN": tn,
                               "n_pred": fp + tp, "n_ref": fn + tp}
        cases.append({"reference_file": str(path), "prediction_file": str(said / path.name), "metrics": metrics})
    mean = {str(k): {m: float(np.nanmean([c["metrics"][str(k)][m] for c in cases])) for m in cases[0]["metrics"]["1"]}
            for k in labels}
    foreground = {m: float(np.mean([mean[str(k)][m] for k in labels])) for m in mean["1"]}
    return {"metric_per_case": cases, "mean": mean, "foreground_mean": foreground}


def its_own(said, true, *, labels, path):
    """What nnU-Net itself writes at a path; None, and a warning, where it is not installed."""
    if importlib.util.find_spec("nnunetv2") is None:
        warnings.warn("nnU-Net's own evaluation was NOT asked, only its definitions. It is missing: "
                      "pip install nnunetv2", stacklevel=2)
        return None
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    compute_metrics_on_folder(str(true), str(said), str(path), SimpleITKIO(), ".nii.gz", list(labels), num_processes=1)
    return json.loads(path.read_text(), parse_constant=lambda name: None)           # NaN


def within(expected, found):
    """Everything that is expected is found, equal; NaN there is null here; more may be found beside it."""
    if isinstance(expected, dict):
        return all(within(value, found[key]) for key, value in expected.items())
    if isinstance(expected, list):
        return len(expected) == len(found) and all(map(within, expected, found))
    if isinstance(expected, float) and math.isnan(expected):
        return found is None
    return found == pytest.approx(expected, rel=1e-12) if isinstance(expected, float) else found == expected
