"""One door for all files, and the report of a folder."""
import numpy as np
import pytest

from helpers.scans import scan, write_dicom
from medlearn.data import Report, Volume, read_volume, write_volume


def test_the_ending_says_how_a_file_is_read(tmp_path):
    volume = scan()
    for name in ("a.nii", "a.nii.gz"):
        write_volume(tmp_path / name, volume)
        assert np.array_equal(read_volume(str(tmp_path / name)).array, volume.array)
    assert (tmp_path / "a.nii").stat().st_size == 352 + volume.array.nbytes
    assert read_volume(write_dicom(tmp_path / "series")).grid.shape == (3, 4, 3)


def test_of_two_files_of_one_name_the_one_that_was_asked_for_is_read(tmp_path):
    write_volume(tmp_path / "s.nii", scan(seed=1))
    write_volume(tmp_path / "s.nii.gz", scan(seed=2))
    assert np.array_equal(read_volume(tmp_path / "s.nii").array, scan(seed=1).array)
    assert np.array_equal(read_volume(tmp_path / "s.nii.gz").array, scan(seed=2).array)


def test_a_report_goes_on_after_what_is_refused_and_stops_at_what_is_a_mistake():
    report = Report()

    def read(n):
        if n == 1:
            raise ValueError("one: no scan")
        if n == 2:
            raise OSError("the disk")
        return n * n
    assert list(report.over(range(5), read)) == [(0, 0), (3, 9), (4, 16)]
    assert report.done == 3 and report.refused == {"1": "1: one: no scan", "2": "2: the disk"}
    with pytest.raises(ZeroDivisionError):
        list(Report().over([0], lambda n: 1 / n))
    assert list(Report().over([], read)) == [] and str(Report()) == "0 read, 0 refused, 0 with a warning"


def test_nan_must_be_a_number(tmp_path, refused):
    write_volume(tmp_path / "a.nii", Volume(scan(np.float32).array, scan().grid))
    with refused("nan: expected a number"):
        read_volume(tmp_path / "a.nii", nan="0")
