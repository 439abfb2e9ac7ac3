"""The ward: files that differ as a scanner's do, labels that lie on them, no truth of the test in what is given out."""
import numpy as np
import pytest

from medlearn.data import read_volume, to_ras
from medlearn.practice import patients, ward
from medlearn.practice.capstone import ORIENTATIONS, PARTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return ward(tmp_path_factory.mktemp("ward"))


def test_the_files_hold_the_patients_each_on_a_grid_of_its_own(folder):
    assert [case.name for case in folder.cases[::24]] == ["calibrate-01", "learn-01"]
    for case, one in zip(folder.test, patients("test")):
        scan = read_volume(case.images[0])
        assert case.name == one.name and np.array_equal(scan.array, one.scan.array)
        assert np.allclose(scan.grid.affine, one.scan.grid.affine, atol=1e-4)
    assert {one.scan.grid.orientation for one in patients("test")} == set(ORIENTATIONS)


def test_the_test_is_handed_out_without_labels(folder):
    assert all(case.label is None for case in folder.test)
    assert not [path for path in folder.root.rglob("*test*") if "images" not in path.parent.name]


def test_labels_and_brain_lie_on_the_scan(folder):
    """A plaque is darker than the brain around it, wherever the file's axes run."""
    for case, one in list(zip(folder.cases[24:], patients("learn")))[:5]:
        scan, label = to_ras(read_volume(case.images[0])).array, to_ras(read_volume(case.label)).array > 0
        if label.any():
            assert scan[label].mean() < 0.9 * np.median(scan[to_ras(one.lesion.with_array(one.brain)).array])
        assert not one.lesion.array[~one.brain].any()


def test_nobody_lies_in_two_parts_and_some_are_healthy():
    scans = [to_ras(one.scan).array for part in PARTS for one in patients(part)]
    assert len({scan.tobytes() for scan in scans}) == len(scans)
    for part in PARTS:
        ill = [one.lesion.array.any() for one in patients(part)]
        assert 0 < sum(ill) < len(ill)


def test_a_part_that_is_none_is_refused(refused):
    with refused("part: expected"):
        patients("train")
    with refused("count: expected a whole number"):
        patients("test", 0)
