"""One door for all files, and the report of a folder."""
from itertools import permutations

import nibabel as nib
import numpy as np
import pytest

from helpers.scans import scan, write_dicom
from medlearn.data import Report, Volume, read_channels, read_volume, write_volume


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


def kept_as(path, dtype, slope=None, intercept=None):
    """A file with numbers of its own type and scaling."""
    rng, at = np.random.default_rng(len(path.name)), scan().grid
    numbers = rng.normal(size=at.shape) if np.dtype(dtype).kind == "f" else rng.integers(0, 100, at.shape)
    image = nib.Nifti1Image(numbers.astype(dtype), at.affine)
    image.header.set_slope_inter(slope, intercept)
    image.to_filename(path)
    return path


def test_channels_of_unlike_files_come_back_as_they_were_read(tmp_path):
    files = [kept_as(tmp_path / "a.nii.gz", np.int16), kept_as(tmp_path / "bb.nii.gz", np.float32),
             kept_as(tmp_path / "ccc.nii.gz", np.int16, 0.37, -5.0), kept_as(tmp_path / "dddd.nii.gz", np.uint8)]
    for some in [*permutations(files, 2), files, files[::-1]]:
        channels = read_channels(some)
        for like in (None, channels):
            write_volume(tmp_path / "out.nii.gz", channels, like=like)
            again = read_volume(tmp_path / "out.nii.gz", channels=True)
            assert again.array.dtype == channels.array.dtype and np.array_equal(again.array, channels.array)
        for channel, path in zip(channels.array, some):
            assert np.array_equal(channel, read_volume(path).array)


def test_channels_of_files_that_agree_keep_their_type_and_scaling(tmp_path):
    channels = read_channels([kept_as(tmp_path / name, np.int16, 0.5, 3.0) for name in ("a.nii", "bb.nii")])
    write_volume(tmp_path / "out.nii", channels)
    kept = nib.load(tmp_path / "out.nii").dataobj
    assert kept.dtype == np.int16 and (kept.slope, kept.inter) == (0.5, 3.0)


def test_one_path_is_no_row_of_paths_and_an_array_no_volume(tmp_path, refused):
    path = kept_as(tmp_path / "a.nii.gz", np.int16)
    for one in (path, str(path), None):
        with refused("paths: expected several paths"):
            read_channels(one)
    with refused("paths: expected at least one file"):
        read_channels([])
    with refused("volume: expected a Volume, got ndarray"):
        write_volume(tmp_path / "b.nii.gz", scan().array)
    with refused("like: expected a Volume, got str"):
        write_volume(tmp_path / "b.nii.gz", scan(), like="a.nii.gz")
