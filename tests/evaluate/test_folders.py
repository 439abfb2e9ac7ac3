"""Two folders become one table: nnU-Net's summary, JSON and CSV, what is missing, and the worst to look at."""
import csv
import json
import math

import nibabel as nib
import numpy as np
import pytest
from helpers.nnunet import its_own, restated, within

from medlearn.base.grid import Grid
from medlearn.data import LabelRegion, Volume, write_volume
from medlearn.evaluate import METRICS, Evaluation, evaluate_folders, show_worst

LABELS = ("background", "plaque", "mass")
AFFINE = np.diag([-1.0, -1.0, 1.5, 1.0])


def cohort(root, cases=6, shape=(16, 14, 12)):
    """Truths with two classes, the second absent in one case, and answers a voxel off; one answer is empty."""
    for name in ("true", "said"):
        (root / name).mkdir()
    for k in range(cases):
        truth = np.zeros(shape, np.uint8)
        truth[3:8, 4:8, 4 + k % 3:9] = 1
        if k != 4:
            truth[10:13, 10:13, 3:5] = 2
        answer = np.roll(truth, 1, 0) if k != 5 else np.zeros_like(truth)
        for name, labels in (("true", truth), ("said", answer)):
            write_volume(root / name / f"case_{k}.nii.gz", Volume(labels, Grid(shape, AFFINE)))
    return root / "said", root / "true"


def strict(text):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")
    return json.loads(text, parse_constant=refuse)


def test_the_summary_is_nnunets_in_strict_json(tmp_path):
    said, true = cohort(tmp_path)
    table = evaluate_folders(said, true, labels=LABELS, tolerance_mm=1.0)
    table.write_json(tmp_path / "summary.json")
    told = strict((tmp_path / "summary.json").read_text())
    assert within(restated(said, true, labels=(1, 2)), told)
    assert told["mean"]["1"]["HD95_mm"] is None and told["summary"]["1"]["HD95_mm"]["infinite"] == 1
    assert told["summary"]["2"]["Dice"]["undefined"] == 1 and told["missing"] == {}
    low, high = table.interval("Dice", label=1)
    assert told["summary"]["1"]["Dice"]["low"] == low < told["mean"]["1"]["Dice"] < high


def test_the_summary_is_what_nnunet_itself_writes(tmp_path):
    said, true = cohort(tmp_path)
    evaluate_folders(said, true, labels=LABELS).write_json(tmp_path / "ours.json")
    its = its_own(said, true, labels=(1, 2), path=tmp_path / "its.json")
    if its is None:
        pytest.skip("nnU-Net is not installed")
    assert within(its, strict((tmp_path / "ours.json").read_text()))
    assert within(restated(said, true, labels=(1, 2)), its)


def test_a_missing_prediction_is_named_and_counts_as_one_that_found_nothing(tmp_path):
    said, true = cohort(tmp_path)
    (said / "case_3.nii.gz").unlink()
    (said / "case_2.nii.gz").write_bytes((said / "case_2.nii.gz").read_bytes()[:60])
    other = nib.Nifti1Image(np.zeros((16, 14, 12), np.uint8), np.diag([1.0, -1.0, 1.5, 1.0]))
    nib.save(other, said / "case_1.nii.gz")
    table = evaluate_folders(said, true, labels=LABELS)
    assert list(table.missing) == ["case_1", "case_2", "case_3"] and table.missing["case_3"] == "no such file"
    assert "case_2.nii.gz" in table.missing["case_2"] and "expected one grid" in table.missing["case_1"]
    assert table.values("Dice", label=1)[1:4].tolist() == [0, 0, 0] and len(table.values("Dice", label=1)) == 6
    assert "missing: 1\n  case_3: no such file\nnot usable: 2\n  case_1: " in str(table)
    assert table.summary("Dice", label=1).cases == 6


def test_a_bad_truth_a_stray_answer_and_maps_are_told_apart(tmp_path):
    said, true = cohort(tmp_path, cases=3)
    (true / "case_1.nii.gz").write_bytes(b"no image")
    for name in ("case_0.epistemic", "stranger"):
        (said / f"{name}.nii.gz").write_bytes((said / "case_0.nii.gz").read_bytes())
    (said / "report.json").write_text("{}")
    table = evaluate_folders(said, true, labels=LABELS)
    assert list(table.unread) == ["case_1"] and "case_1.nii.gz" in table.unread["case_1"]
    assert table.extra == ("stranger",) and {row.case for row in table.rows} == {"case_0", "case_2"}


def test_a_penalty_makes_the_mean_finite(tmp_path):
    said, true = cohort(tmp_path)
    assert math.isinf(evaluate_folders(said, true, labels=LABELS).summary("HD95_mm", label=1).mean)
    table = evaluate_folders(said, true, labels=LABELS, miss_mm=100.0)
    assert table.miss_mm == 100 and table.summary("HD95_mm", label=1).mean == pytest.approx((5 * 1.0 + 100) / 6)


def test_patients_decide_the_interval(tmp_path):
    said, true = cohort(tmp_path)
    one = evaluate_folders(said, true, labels=LABELS, patient=lambda case: "the same")
    assert len(set(one.interval("Dice", label=1))) == 1 and {row.patient for row in one.rows} == {"the same"}
    low, high = evaluate_folders(said, true, labels=LABELS).interval("Dice", label=1)
    assert low < high


def test_the_csv_has_a_line_for_each_case_and_class(tmp_path):
    said, true = cohort(tmp_path)
    (said / "case_0.nii.gz").unlink()
    evaluate_folders(said, true, labels=LABELS).write_csv(tmp_path / "table.csv")
    lines = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert len(lines) == 12 and set(METRICS) < set(lines[0])
    assert lines[0]["missing"] == "1" and lines[0]["Dice"] == "0.0" and lines[0]["HD95_mm"] == "inf"
    absent = next(line for line in lines if line["case"] == "case_4" and line["name"] == "mass")
    assert absent["Dice"] == "" and absent["n_ref"] == "0"


def test_slices_in_two_dimensions(tmp_path):
    for name in ("true", "said"):
        (tmp_path / name).mkdir()
        write_volume(tmp_path / name / "a.nii.gz",
                     Volume(np.eye(8, dtype=np.uint8), Grid.from_spacing((8, 8), (0.5, 0.5))))
    table = evaluate_folders(tmp_path / "said", tmp_path / "true", labels=("background", "vessel"))
    assert table.summary("Dice", label=1).mean == 1 and len(show_worst(table).axes) == 1


def test_an_empty_folder_gives_a_table_without_rows(tmp_path):
    table = evaluate_folders(tmp_path, tmp_path, labels=LABELS)
    assert table.rows == () and math.isnan(table.summary("Dice", label=1).mean) and "missing: 0" in str(table)
    table.write_json(tmp_path / "summary.json")
    assert strict((tmp_path / "summary.json").read_text())["mean"]["1"]["Dice"] is None


@pytest.mark.parametrize("metric, first", [("Dice", "case_5"), ("HD95_mm", "case_5"), ("PQ", "case_")])
def test_the_picture_shows_the_worst_first(tmp_path, metric, first):
    said, true = cohort(tmp_path)
    table = evaluate_folders(said, true, labels=LABELS)
    figure = show_worst(table, metric=metric)
    titles = [ax.get_title() for ax in figure.axes]
    assert len(titles) == 5 and titles[0].startswith(first) and metric in titles[0]
    figure.savefig(tmp_path / "worst.png")
    assert (tmp_path / "worst.png").stat().st_size > 5000


def test_the_picture_lies_on_the_scans_where_there_are_some(tmp_path, refused):
    said, true = cohort(tmp_path, cases=2)
    (tmp_path / "scans").mkdir()
    bright = np.random.default_rng(0).normal(100, 9, (16, 14, 12)).astype(np.float32)
    write_volume(tmp_path / "scans" / "case_0_0000.nii.gz", Volume(bright, Grid(bright.shape, AFFINE)))
    figure = show_worst(evaluate_folders(said, true, labels=LABELS), count=4, images=tmp_path / "scans")
    brightness = {ax.get_title().split(",")[0]: ax.get_images()[0].get_array().max() for ax in figure.axes}
    assert brightness["case_0"] > 50 and brightness["case_1"] == 0
    write_volume(tmp_path / "scans" / "case_1.nii", Volume(bright[:5], Grid(bright[:5].shape, AFFINE)))
    with refused("case_1.nii: expected the shape"):
        show_worst(evaluate_folders(said, true, labels=LABELS), images=tmp_path / "scans")


def test_what_is_refused(tmp_path, refused):
    table = Evaluation(LABELS)
    for call, match in ((lambda: evaluate_folders(tmp_path / "no", tmp_path, labels=LABELS), "expected a folder"),
                        (lambda: evaluate_folders(tmp_path, tmp_path, labels=("background",)), "labels: expected"),
                        (lambda: evaluate_folders(tmp_path, tmp_path, labels=LABELS, lesion_iou=2),
                         "lesion_iou: expected"),
                        (lambda: evaluate_folders(tmp_path, tmp_path, labels=LABELS, miss_mm=-1), "miss_mm: expected"),
                        (lambda: table.values("dice", label=1), "metric: expected"),
                        (lambda: table.summary("Dice", label=0), "label: expected 1 or 2, got 0"),
                        (lambda: show_worst(table, metric="TP"), "metric: expected"),
                        (lambda: show_worst(table, count=0), "count: expected")):
        try:
            with refused(match):
                call()
        except FileNotFoundError as error:
            assert match in str(error)
    for ending in (".nii", ".nii.gz"):
        write_volume(tmp_path / f"a{ending}", Volume(np.zeros((2, 2, 2), np.uint8), Grid((2, 2, 2), np.eye(4))))
    with refused("expected one file for a, got a.nii and a.nii.gz"):
        evaluate_folders(tmp_path, tmp_path, labels=LABELS)


def test_regions_are_judged_each_for_itself(tmp_path):
    """As one mask against the rest, by a sum of its own; what nobody judged is in none."""
    said, true = cohort(tmp_path, cases=2)
    spoiled = np.asanyarray(nib.load(true / "case_0.nii.gz").dataobj).copy()
    spoiled[:4, :6] = 3
    write_volume(true / "case_0.nii.gz", Volume(spoiled, Grid(spoiled.shape, AFFINE)))
    regions = (LabelRegion("both", (1, 2), 1), LabelRegion("mass", (2,), 2))
    table = evaluate_folders(said, true, labels=LABELS, regions=regions, ignore_index=3)
    assert table.labels == ("background", "both", "mass") and len(table.rows) == 4 and not table.missing
    for row in table.rows:
        t, p = (np.asanyarray(nib.load(path).dataobj) for path in (row.reference_file, row.prediction_file))
        judged = t != 3
        t, p = (np.isin(one, regions[row.label - 1].labels) & judged for one in (t, p))
        assert row.scores["Dice"] == 2 * (t & p).sum() / (t.sum() + p.sum())
        assert row.scores["TN"] == (judged & ~t & ~p).sum()
    write_volume(said / "case_1.nii.gz", Volume(spoiled * 3, Grid(spoiled.shape, AFFINE)))
    table = evaluate_folders(said, true, labels=LABELS, regions=regions, ignore_index=3)
    assert "expected labels of 0..2, got 3" in table.missing["case_1"]
