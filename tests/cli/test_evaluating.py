"""The table of two folders, and where the names of the labels come from."""
import csv
import json

import numpy as np
import pytest
from helpers.scans import scan
from helpers.tiny_folder import LABELS

from medlearn.cli import main
from medlearn.cli.evaluating import evaluate
from medlearn.data import write_volume


@pytest.mark.parametrize("truths", ["labelsTr", ""])
def test_labels_come_from_the_dataset_and_a_truth_is_perfect(own, tmp_path, truths, capsys):
    data = own / "data"
    assert evaluate(data / "labelsTr", data / truths, out=tmp_path / "table") == 0
    assert "missing: 0" in capsys.readouterr().out
    table = json.loads((tmp_path / "table" / "summary.json").read_text())
    assert list(table["labels"].values()) == LABELS and table["foreground_mean"]["Dice"] == 1
    with open(tmp_path / "table" / "summary.csv") as file:
        assert [row["Dice"] for row in csv.DictReader(file)] == ["1.0"] * 12


def test_a_missing_prediction_is_named_and_has_an_exit_code(own, capsys):
    data = own / "data"
    (data / "labelsTs" / "p04_scan.nii.gz").rename(data / "labelsTs" / "other.nii.gz")
    assert evaluate(data / "labelsTs", data / "labelsTr") == 3
    assert "missing: 4\n  p00_scan: no such file" in capsys.readouterr().out
    told = json.loads((data / "labelsTs" / "summary.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert set(told["missing"]) == {f"p0{i}_scan" for i in range(4)}


def test_an_answer_on_another_grid_is_not_called_missing(own, capsys):
    data = own / "data"
    write_volume(data / "labelsTs" / "p00_scan.nii.gz", scan(np.uint8))
    assert main(["evaluate", str(data / "labelsTs"), str(data / "labelsTr")]) == 3
    said = capsys.readouterr()
    assert "missing: 3\n" in said.out and "not usable: 1\n  p00_scan: " in said.out and said.err == ""


def test_beside_a_dataset_only_its_names_are_asked_for(own, capsys):
    data = own / "data"
    (data / "labelsTr" / "p00_scan.nii.gz").unlink()        # an image without a label, and a case less than is said
    assert main(["evaluate", str(data / "labelsTs"), str(data / "labelsTs")]) == 0
    assert capsys.readouterr().err == ""
    assert main(["evaluate", str(data / "labelsTr"), str(data)]) == 0
    assert [line[:19] for line in capsys.readouterr().err.splitlines()] == ["medlearn evaluate: "] * 2


def test_names_options_and_a_penalty_are_handed_on(own, capsys):
    data = own / "data"
    (data / "labelsTs" / "p05_scan.nii.gz").unlink()
    (data / "labelsTs" / "p04_scan.nii.gz").rename(data / "labelsTs" / "p00_scan.nii.gz")      # another's
    assert main(["evaluate", str(data / "labelsTs"), str(data / "labelsTr"), "--labels", "none", "a", "b", "c",
                 "--miss-mm", "50", "--tolerance-mm", "4", "--patient", "(p)", "--out", str(own / "out")]) == 3
    told = json.loads((own / "out" / "summary.json").read_text())
    assert told["miss_mm"] == 50 and list(told["labels"].values()) == ["none", "a", "b", "c"]
    assert {case["patient"] for case in told["metric_per_case"]} == {"p"}
    assert [case["metrics"]["1"]["HD95_mm"] == 50 for case in told["metric_per_case"]] == [False, True, True, True]
    assert all(case["metrics"]["1"]["NSD"] is not None for case in told["metric_per_case"])


def test_groups_of_patients_and_a_picture_on_request(own, capsys):
    data = own / "data"
    (own / "patients.csv").write_text("patient,sex\np00,F\np01,M\np02,F\np03,M\n")
    assert main(["evaluate", str(data / "labelsTr"), str(data / "labelsTr"), "--patient", r"^(p\d+)",
                 "--out", str(own / "out"),
                 "--patients", str(own / "patients.csv"), "--picture", str(data / "imagesTr")]) == 0
    assert "by sex: F (2), M (2)\n" in capsys.readouterr().out
    with open(own / "out" / "subgroups.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "Dice"]
    assert [(row["group"], row["name"], row["mean"]) for row in rows] == [
        (group, name, "1.0") for group in "FM" for name in LABELS[1:]]
    assert (own / "out" / "worst.png").read_bytes().startswith(b"\x89PNG")
    assert not [path for path in (own / "out").iterdir() if path.name.startswith(".")]


def test_without_names_it_refuses(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="labels: expected their names, or a dataset.json"):
        evaluate(tmp_path / "a", tmp_path / "b")
