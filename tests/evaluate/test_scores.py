"""One case: every number against the metrics' function, nnU-Net's counts and MONAI; empty classes; ignored voxels."""
import math

import numpy as np
import pytest
import torch
from monai.metrics import (compute_average_surface_distance, compute_dice, compute_hausdorff_distance,
                           compute_surface_dice)

from medlearn.base.grid import Grid
from medlearn.data import Volume, reorient
from medlearn.evaluate import METRICS, score_volume
from medlearn.metrics import detection_f1, panoptic_quality, surface_report
from medlearn.tasks import connected_components


def blobs(*shape, seed=0, classes=4):
    """Labels with several things a class, and an answer that is alike."""
    random = np.random.default_rng(seed)
    truth, answer = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for _ in range(8):
        corner, size = random.integers(0, np.array(shape) - 4), random.integers(2, 5, len(shape))
        label = random.integers(1, classes)
        for labels, shift in ((truth, 0), (answer, random.integers(-1, 2))):
            labels[tuple(slice(max(c + shift, 0), c + shift + n) for c, n in zip(corner, size))] = label
    return answer, truth


def volumes(*arrays, spacing=(1.5, 1.0, 2.0)):
    grid = Grid.from_spacing(arrays[0].shape, spacing[:arrays[0].ndim])
    return [Volume(array, grid) for array in arrays]


def nnunet(prediction, target, label, ignore=None):
    """nnU-Net's compute_metrics: masks, counts, and Dice as it writes it; NaN where it has none."""
    use = np.ones_like(target, bool) if ignore is None else target != ignore
    ref, pred = target == label, prediction == label
    tp, fp, fn, tn = (int((mask & use).sum()) for mask in (ref & pred, ~ref & pred, ref & ~pred, ~ref & ~pred))
    whole = tp + fp + fn
    return {"Dice": 2 * tp / (2 * tp + fp + fn) if whole else math.nan, "IoU": tp / whole if whole else math.nan,
            "TP": tp, "FP": fp, "FN": fn, "TN": tn, "n_pred": fp + tp, "n_ref": fn + tp}


@pytest.mark.parametrize("shape", [(16, 14), (14, 12, 10)], ids=["2D", "3D"])
@pytest.mark.parametrize("ignore_index", [None, 255])
def test_counts_are_nnunets(shape, ignore_index):
    for seed in range(4):
        answer, truth = blobs(*shape, seed=seed)
        if ignore_index is not None:
            truth[:6] = ignore_index
        scores = score_volume(*volumes(answer, truth), classes=5, ignore_index=ignore_index)
        assert list(scores) == [1, 2, 3, 4] and all(tuple(row) == METRICS for row in scores.values())
        for label, row in scores.items():
            expected = nnunet(answer, truth, label, ignore_index)
            assert {name: row[name] for name in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("shape", [(20, 18), (16, 14, 12)], ids=["2D", "3D"])
def test_a_classes_own_box_changes_no_number(shape):
    for seed in range(3):
        answer, truth = blobs(*shape, seed=seed)
        pair = volumes(answer, truth)
        scores = score_volume(*pair, classes=4, tolerance_mm=1.0, lesion_iou=0.2)
        report = surface_report(answer[None], truth[None], classes=4, spacing_mm=pair[0].grid.spacing_mm,
                                tolerance_mm=1.0)
        for label, row in scores.items():
            things = [connected_components(torch.from_numpy(labels == label)) for labels in (answer, truth)]
            expected = {"HD95_mm": report.hausdorff95_mm[0, label - 1], "ASSD_mm": report.assd_mm[0, label - 1],
                        "NSD": report.nsd[0, label - 1], "lesion_F1": detection_f1(*things, iou=0.2).f1,
                        "PQ": panoptic_quality(*things).pq, "volume_ml": row["n_pred"] * pair[0].grid.voxel_ml,
                        "reference_ml": row["n_ref"] * pair[0].grid.voxel_ml}
            numbers = {name: float(value) for name, value in expected.items()}
            assert {name: row[name] for name in expected} == pytest.approx(numbers, nan_ok=True)


def test_the_numbers_are_monais():
    answer, truth = blobs(16, 14, 12, seed=1)
    scores = score_volume(*volumes(answer, truth), classes=4, tolerance_mm=1.0)
    one_hot = [torch.stack([torch.from_numpy(labels == k) for k in range(4)])[None].float()
               for labels in (answer, truth)]
    options = dict(include_background=False, spacing=(1.5, 1.0, 2.0))
    peer = {"Dice": compute_dice(*one_hot, include_background=False),
            "HD95_mm": compute_hausdorff_distance(*one_hot, percentile=95, **options),
            "ASSD_mm": compute_average_surface_distance(*one_hot, symmetric=True, **options),
            "NSD": compute_surface_dice(*one_hot, [1.0] * 3, **options)}
    for label, row in scores.items():
        for name, values in peer.items():
            assert row[name] == pytest.approx(float(values[0, label - 1]), rel=1e-5)


def test_orientation_means_nothing_and_place_does(refused):
    answer, truth = volumes(*blobs(12, 10, 8))
    expected = score_volume(answer, truth, classes=4)
    assert repr(score_volume(reorient(answer, "PLI"), truth, classes=4)) == repr(expected)
    with refused("expected one grid, got corners that are 16.5 mm apart"):
        moved = Volume(answer.array, Grid(answer.grid.shape, np.diag([-1.5, 1.0, 2.0, 1.0])))
        score_volume(moved, truth, classes=4)


def test_a_miss_a_false_alarm_and_nothing():
    answer, truth = np.zeros((9, 9, 9), np.uint8), np.zeros((9, 9, 9), np.uint8)
    truth[1:3, 1:3, 1:3], answer[5:7, 5:7, 5:7] = 1, 2
    scores = score_volume(*volumes(answer, truth), classes=4, tolerance_mm=1)
    for label in (1, 2):
        assert all(scores[label][name] == 0 for name in ("Dice", "IoU", "NSD", "lesion_F1", "PQ"))
        assert scores[label]["HD95_mm"] == scores[label]["ASSD_mm"] == math.inf
    assert all(math.isnan(scores[3][name]) for name in ("Dice", "IoU", "NSD", "lesion_F1", "PQ", "HD95_mm", "ASSD_mm"))
    assert scores[3]["TN"] == 729 and scores[3]["volume_ml"] == 0
    punished = score_volume(*volumes(answer, truth), classes=4, miss_mm=374.0)
    assert punished[1]["HD95_mm"] == punished[2]["ASSD_mm"] == 374.0 and math.isnan(punished[3]["HD95_mm"])


def test_what_nobody_judged_is_in_no_number():
    """A lesion right, and beside it, where the truth is unknown, anything at all."""
    answer, truth = np.zeros((16, 8, 8), np.uint8), np.zeros((16, 8, 8), np.uint8)
    truth[2:5, 2:5, 2:5] = answer[2:5, 2:5, 2:5] = 1
    truth[8:], answer[7:13, 2:5, 2:5] = 9, 1                        # a thing that begins in the unknown and reaches out
    plain = score_volume(*volumes(answer, np.where(truth == 9, 0, truth)), classes=2)[1]
    scores = score_volume(*volumes(answer, truth), classes=2, ignore_index=9)[1]
    assert plain["lesion_F1"] == pytest.approx(2 / 3) and scores["lesion_F1"] == scores["PQ"] == 1
    assert scores["n_pred"] == 27 + 9 and scores["reference_ml"] == pytest.approx(27 * 0.003)
    answer[8:] = 200
    assert score_volume(*volumes(answer, truth), classes=2, ignore_index=9)[1]["FP"] == 9


@pytest.mark.parametrize("arguments, options, match", [
    ((np.zeros((4, 4)), None), {}, "prediction: expected a Volume, got ndarray"),
    ((None, None), dict(classes=1), "classes: expected a whole number, 2 or more"),
    ((None, None), dict(tolerance_mm=-1), "tolerance_mm: expected"),
    ((None, None), dict(miss_mm=math.inf), "miss_mm: expected"),
    ((None, None), dict(lesion_iou=1.0), "iou: expected"),
    ((volumes(np.full((4, 4, 4), 7))[0], None), {}, "prediction: expected labels of 0..1"),
    ((volumes(np.full((4, 4, 4), 0.5))[0], None), {}, "prediction: expected labels, whole numbers"),
    ((volumes(np.zeros((4, 4, 5), int))[0], None), {}, "expected one grid, got shapes"),
    ((Volume(np.zeros((1, 4, 4, 4), int), Grid((4, 4, 4), np.eye(4))), None), {}, "without channels"),
])
def test_what_is_refused(refused, arguments, options, match):
    nothing = volumes(np.zeros((4, 4, 4), np.uint8))[0]
    with refused(match):
        score_volume(*(nothing if volume is None else volume for volume in arguments), **{"classes": 2} | options)


def test_labels_that_a_file_keeps_as_floats_are_labels():
    answer, truth = blobs(8, 8, 8, seed=2)
    floats = volumes(answer.astype(np.float32), truth.astype(np.float64))
    assert repr(score_volume(*floats, classes=4)) == repr(score_volume(*volumes(answer, truth), classes=4))


def test_a_border_with_the_unknown_is_none_in_the_classes_own_box_either():
    """Both sides end where the unknown begins, so that nothing of either lies in it."""
    answer, truth = np.zeros((12, 12, 12), np.uint8), np.zeros((12, 12, 12), np.uint8)
    truth[2:8, 2:7, 2:8], answer[2:8, 3:7, 2:8], truth[:, 7:] = 1, 1, 255
    pair = volumes(answer, truth)
    report = surface_report(answer[None], truth[None], classes=2, spacing_mm=pair[0].grid.spacing_mm, ignore_index=255)
    assert score_volume(*pair, classes=2, ignore_index=255)[1]["ASSD_mm"] == pytest.approx(report.assd_mm.item())
