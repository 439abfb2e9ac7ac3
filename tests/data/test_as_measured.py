"""The pieces of real scans: what they say is what such scans say, and their files are those of the notice."""
import hashlib
from importlib.resources import files

import numpy as np
import pytest

from medlearn.data.as_measured import MEASURED, load_measured

FOLDER = files("medlearn.data") / "measured"


@pytest.mark.parametrize("name", MEASURED)
def test_the_files_are_those_of_the_notice(name):
    found = hashlib.sha256((FOLDER / f"{name}.nii.gz").read_bytes()).hexdigest()
    assert f"{found}  {name}.nii.gz" in (FOLDER / "NOTICE.txt").read_text()


def test_the_ct_is_in_hounsfield_units_and_its_slices_are_4_mm_apart():
    scan = load_measured("ct_abdomen")
    np.testing.assert_allclose(scan.grid.spacing_mm, (0.9765625, 0.9765625, 4))
    outside = scan.array[:60, 200:]
    assert -1024 <= outside.mean() < -950                           # in front of an arm is air
    assert 1000 < scan.array.max() < 3072 and np.percentile(scan.array[60:430, 60:180], 75) > 0


def test_the_organs_lie_where_they_do_in_a_person_and_are_as_large():
    organs = load_measured("ct_organs")
    ml = 0.027 * np.bincount(organs.array.ravel())[1:]
    for found, (low, high) in zip(ml, [(50, 600), (80, 250), (20, 120), (10, 60), (10, 120), (2, 8)], strict=True):
        assert low < found < high
    bladder, kidney, duodenum, gallbladder, pancreas, adrenal = (
        organs.grid.affine[:3, :3] @ np.argwhere(organs.array == n).mean(0) for n in range(1, 7))
    assert bladder[2] < min(place[2] for place in (kidney, duodenum, gallbladder, pancreas, adrenal))
    assert adrenal[2] > kidney[2] and gallbladder[1] > kidney[1] and kidney[0] > pancreas[0]      # above, before, right


@pytest.mark.parametrize("name", ["mr_head_1", "mr_head_2"])
def test_the_mr_have_air_that_was_not_cut_away(name):
    scan = load_measured(name)
    assert scan.grid.orientation == "RAS" and scan.array.min() == 0
    corner = scan.array[16:40, 216:232]                             # inside the edge that the scanner set to 0
    assert 0 < np.median(corner) < 0.1 * np.percentile(scan.array, 90)


def test_the_tumour_is_where_the_scan_is_and_brighter_than_what_is_around_it():
    head, label = load_measured("mr_tumour"), load_measured("mr_tumour_label").array > 0
    assert label.any(axis=(0, 1)).all()
    assert head.array[label].mean() > 1.1 * head.array[head.array > 100].mean()


def test_colin_lies_in_mni_space():
    head = load_measured("mr_colin27")
    assert head.grid.affine[2].tolist() == [0, 0, 10, 0]
    middle = np.average(np.arange(181), weights=head.array.sum(axis=(1, 2)))
    assert abs(head.grid.affine[0, 0] * middle + head.grid.affine[0, 3]) < 3           # mm from the mid-plane


def test_each_licence_comes_with_its_scans():
    for name, word in {"ct": "Apache License", "mr": "Harvard Medical School", "colin27": "Louis Collins"}.items():
        assert word in (FOLDER / f"LICENSE-{name}.txt").read_text()


def test_another_name_is_refused(refused):
    with refused("name: expected .*ct_abdomen.* got 'liver'"):
        load_measured("liver")
