"""The layouts of nnU-Net and of the Decathlon, read and written; patients are not torn apart."""
import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from helpers.scans import scan
from medlearn.data import Case, LabelRegion, folds_by_patient, read_folder, read_volume, write_folder

LABELS = ["background", "plaque", "mass"]


def made(count=3, channels=2, test=1):
    for n in range(count + test):
        image = scan(np.int16, seed=n, channels=channels, signs=(-1, 1, 1))
        label = image.with_array((image.array[0] > 0).astype(np.uint8) * 2)
        yield f"case_{n:03d}", image, label if n < count else None


@pytest.mark.parametrize("layout", ["nnunet", "decathlon"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read(tmp_path, layout, channels):
    names = ["T1", "FLAIR", "T2"][:channels]
    folder = write_folder(tmp_path / "set", made(channels=channels), channels=names, labels=LABELS, layout=layout)
    assert folder == read_folder(tmp_path / "set")
    assert folder.labels == tuple(LABELS) and folder.channels == tuple(names) and folder.classes == 3
    assert [case.name for case in folder.cases] == ["case_000", "case_001", "case_002"]
    assert [case.name for case in folder.test] == ["case_003"] and folder.test[0].label is None
    for (_, image, label), case in zip(made(channels=channels), folder.cases):
        parts = [read_volume(path, channels=True).array for path in case.images]
        assert len(parts) == (channels if layout == "nnunet" else 1)
        assert np.array_equal(np.concatenate(parts), image.array)
        assert np.array_equal(read_volume(case.label).array, label.array)


def test_nnunets_layout_by_its_own_rules(tmp_path):
    write_folder(tmp_path, made(), channels=["T1", "FLAIR"], labels=LABELS)
    told = json.loads((tmp_path / "dataset.json").read_text())
    assert told["channel_names"] == {"0": "T1", "1": "FLAIR"} and told["labels"] == {"background": 0, "plaque": 1,
                                                                                     "mass": 2}
    assert told["numTraining"] == 3 and told["file_ending"] == ".nii.gz"
    assert sorted(path.name for path in (tmp_path / "imagesTr").iterdir())[:2] == ["case_000_0000.nii.gz",
                                                                                   "case_000_0001.nii.gz"]
    assert nib.load(tmp_path / "imagesTr/case_000_0001.nii.gz").shape == (6, 5, 4)


def test_the_decathlons_layout_by_its_own_rules(tmp_path):
    write_folder(tmp_path, made(), channels=["T1", "FLAIR"], labels=LABELS, layout="decathlon")
    told = json.loads((tmp_path / "dataset.json").read_text())
    assert told["modality"] == {"0": "T1", "1": "FLAIR"} and told["labels"]["2"] == "mass"
    assert told["training"][0] == {"image": "./imagesTr/case_000.nii.gz", "label": "./labelsTr/case_000.nii.gz"}
    assert told["test"] == ["./imagesTs/case_003.nii.gz"]
    assert nib.load(tmp_path / "imagesTr/case_000.nii.gz").shape == (6, 5, 4, 2)


def test_monai_reads_what_is_written(tmp_path):
    from monai.data import load_decathlon_datalist

    write_folder(tmp_path, made(), channels=["T1", "FLAIR"], labels=LABELS, layout="decathlon")
    listed = load_decathlon_datalist(str(tmp_path / "dataset.json"), is_segmentation=True, data_list_key="training")
    folder = read_folder(tmp_path)
    assert [one["image"] for one in listed] == [str(case.images[0]) for case in folder.cases]
    assert [one["label"] for one in listed] == [str(case.label) for case in folder.cases]


def rewritten(root, **changes):
    told = json.loads((root / "dataset.json").read_text())
    told = {key: value for key, value in (told | changes).items() if value is not None}
    (root / "dataset.json").write_text(json.dumps(told))
    return root


def test_the_label_of_nobody_is_ignored(tmp_path):
    write_folder(tmp_path, made(), channels=["T1", "FLAIR"], labels=LABELS)
    folder = read_folder(rewritten(tmp_path, labels={"background": 0, "plaque": 1, "ignore": 2}))
    assert folder.labels == ("background", "plaque") and folder.ignore_index == 2


@pytest.mark.parametrize("changes, says", [
    ({"labels": {"background": 0, "plaque": 2}}, r"expected the numbers 0, 1, 2, ..., got \[0, 2\]"),
    ({"labels": None}, "expected an object that names its labels"),
    ({"labels": [0, 1]}, "expected an object that names"),
    ({"channel_names": None}, "expected channel_names .nnU-Net. or modality and training"),
])
def test_a_description_that_cannot_be_is_refused(tmp_path, changes, says, refused):
    write_folder(tmp_path, made(), channels=["T1", "FLAIR"], labels=LABELS)
    with refused(f"dataset.json: {says}"):
        read_folder(rewritten(tmp_path, **changes))


def test_no_description_and_no_json_are_named(tmp_path, refused):
    with pytest.raises(FileNotFoundError, match="dataset.json"):
        read_folder(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with refused("dataset.json: expected JSON"):
        read_folder(tmp_path)


def test_what_is_missing_is_named(tmp_path):
    write_folder(tmp_path, made(), channels=["T1", "FLAIR"], labels=LABELS)
    (tmp_path / "labelsTr" / "._case_000.nii.gz").touch()
    (tmp_path / "labelsTr" / "case_001.nii.gz").unlink()
    with pytest.warns(UserWarning) as caught:
        folder = read_folder(tmp_path)
    said = [str(one.message) for one in caught]
    assert any("1 images have no label and are left out: case_001" in one for one in said)
    assert any("says 3 cases, and 2 are there" in one for one in said)
    assert [case.name for case in folder.cases] == ["case_000", "case_002"]


def test_what_cannot_be_written_is_refused(tmp_path, refused):
    with refused("case_000: expected 1 channels, CT, got 2"):
        write_folder(tmp_path, made(), channels=["CT"], labels=LABELS)
    with refused('layout: expected "nnunet" or "decathlon"'):
        write_folder(tmp_path, made(), channels=["a", "b"], labels=LABELS, layout="bids")
    with refused("expected one grid, got LAS and RAS"):
        write_folder(tmp_path, [("a", scan(signs=(-1, 1, 1)), scan(np.uint8))], channels=["CT"], labels=LABELS)
    assert not (tmp_path / "dataset.json").exists()


# Folds ---------------------------------------------------------------------------------------------------------------

CASES = [Case(f"p{n % 7}_{n}", (), patient=f"p{n % 7}") for n in range(23)]


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_each_case_is_validated_once_and_no_patient_is_on_both_sides(folds):
    split = folds_by_patient(CASES, folds)
    assert len(split) == folds
    assert sorted(case.name for _, validation in split for case in validation) == sorted(case.name for case in CASES)
    for train, validation in split:
        assert not {case.patient for case in train} & {case.patient for case in validation}
        assert len(train) + len(validation) == len(CASES)
        assert 7 // folds <= len({case.patient for case in validation}) <= 7 // folds + 1


def test_folds_are_the_same_on_every_machine_and_others_for_another_seed():
    order = [case.patient for _,
             validation in folds_by_patient([Case(p, ()) for p in "abcdefg"], 7) for case in validation]
    code = ("from medlearn.data import Case, folds_by_patient\n"
            "print([v[0].patient for _, v in folds_by_patient([Case(p, ()) for p in 'gfedcba'], 7)])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == str(order)
    assert order != [v[0].patient for _, v in folds_by_patient([Case(p, ()) for p in "abcdefg"], 7, seed=1)]


def test_folds_that_cannot_be_are_refused(refused):
    with refused("cases: expected at least 8 patients for as many folds, got 7"):
        folds_by_patient(CASES, 8)
    with refused("folds: expected a whole number, 2 or more"):
        folds_by_patient(CASES, 1)


def test_patients_are_read_from_names(tmp_path):
    write_folder(tmp_path, made(), channels=["T1", "FLAIR"], labels=LABELS)
    folder = read_folder(tmp_path, patient=lambda name: name[:4])
    assert {case.patient for case in folder.cases} == {"case"}


# Regions -------------------------------------------------------------------------------------------------------------

BRATS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}


def regional(root, labels=BRATS, order=(1, 2, 3)):
    write_folder(root, made(), channels=["T1", "FLAIR"], labels=LABELS)
    return rewritten(root, labels=labels, regions_class_order=list(order) if order else None)


def test_regions_are_read_as_nnunet_means_them(tmp_path):
    folder = read_folder(regional(tmp_path))
    assert folder.regions == (LabelRegion("whole", (1, 2, 3), 1), LabelRegion("core", (2, 3), 2),
                              LabelRegion("enhancing", (3,), 3))
    assert folder.classes == 4 and folder.answers == 3 and folder.judged == ("whole", "core", "enhancing")
    assert folder.labels == ("background", "label 1", "label 2", "enhancing") and folder.ignore_index is None


def test_regions_leave_room_for_what_nobody_judged(tmp_path):
    folder = read_folder(regional(tmp_path, labels=BRATS | {"ignore": 4}, order=(3, 1, 2)))
    assert folder.ignore_index == 4 and [region.written for region in folder.regions] == [3, 1, 2]
    assert folder.classes == 4


def test_a_row_of_one_number_is_a_label(tmp_path):
    folder = read_folder(regional(tmp_path, labels={"background": 0, "plaque": [1], "mass": 2}, order=None))
    assert folder.regions == () and folder.labels == tuple(LABELS) and folder.answers == folder.classes == 3


@pytest.mark.parametrize("order", [None, (1, 2), (1, "2", 3), (1, -2, 3)])
def test_regions_without_an_order_are_refused(tmp_path, order, refused):
    with refused("dataset.json: expected a regions_class_order with a whole number for each of whole, core, enhancing"):
        read_folder(regional(tmp_path, order=order))


@pytest.mark.parametrize("value", [[], [1, "2"], "1", 1.5, None])
def test_a_label_that_is_no_number_is_refused(tmp_path, value, refused):
    with refused("dataset.json: expected a whole number, or several, for the label whole"):
        read_folder(regional(tmp_path, labels=BRATS | {"whole": value}))
