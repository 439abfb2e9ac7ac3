"""A DICOM series: SimpleITK gets the same voxels in the same places; what its tags and its positions disagree on."""
import builtins

import numpy as np
import pytest
import SimpleITK

from helpers.scans import from_sitk, write_dicom
from medlearn.data import read_volume, to_ras, write_volume

ORIENTATIONS = {"axial": (1, 0, 0, 0, 1, 0), "coronal": (1, 0, 0, 0, 0, -1), "sagittal": (0, 1, 0, 0, 0, -1),
                "oblique": (0.8, 0.6, 0, -0.6, 0.8, 0)}


def by_sitk(folder):
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return from_sitk(reader.Execute())


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_voxels_and_places_are_simpleitks(tmp_path, orientation):
    folder = write_dicom(tmp_path / "series", [0, 2, 4, 6, 8], orientation=orientation)
    volume = read_volume(folder)
    array, affine = by_sitk(folder)
    assert volume.array.dtype == np.float32 and np.array_equal(volume.array, array)
    np.testing.assert_allclose(volume.grid.affine, affine, atol=1e-6)
    assert sorted(volume.grid.spacing_mm) == pytest.approx([0.5, 0.75, 2.0])


def test_the_order_is_that_of_the_positions_not_of_the_names(tmp_path):
    folder = write_dicom(tmp_path / "series", [4, 0, 2])
    assert read_volume(folder).array[0, 0].tolist() == [100 - 1024, 200 - 1024, -1024]
    assert np.array_equal(read_volume(folder).array, by_sitk(folder)[0])


def test_it_is_written_as_nifti_in_its_own_type(tmp_path):
    volume = read_volume(write_dicom(tmp_path / "series"))
    write_volume(tmp_path / "a.nii.gz", to_ras(volume), like=volume)
    again = read_volume(tmp_path / "a.nii.gz")
    assert (again.stored.dtype, again.stored.slope, again.stored.intercept) == (np.uint16, 1, -1024)
    assert np.array_equal(again.array, volume.array) and again.grid.orientation == volume.grid.orientation == "LPS"


def test_slices_with_a_scale_of_their_own(tmp_path):
    def scaled(n, one):
        one.RescaleSlope, one.RescaleIntercept = 0.5 * (n + 1), 10 * n
    volume = read_volume(write_dicom(tmp_path / "series", change=scaled))
    assert volume.array[0, 0].tolist() == [0, 110, 320] and volume.stored.slope == 1


def test_gaps_are_measured_from_positions_and_a_tag_that_differs_is_named(tmp_path):
    def five(n, one):
        one.SpacingBetweenSlices = 5.0
    folder = write_dicom(tmp_path / "series", [0, 7, 14], change=five)
    with pytest.warns(UserWarning, match=f"{folder}: its tags say slices 5 mm apart and its positions 7 mm"):
        assert read_volume(folder).grid.spacing_mm[2] == pytest.approx(7)


def test_a_tilted_gantry_is_read_where_it_lies_with_a_warning(tmp_path):
    def tilted(n, one):
        one.ImagePositionPatient = [-10.0, 20.0 + n, 5.0 + 2 * n]
    with pytest.warns(UserWarning, match="series: its axes are not perpendicular .cosine 0.447"):
        volume = read_volume(write_dicom(tmp_path / "series", change=tilted))
    np.testing.assert_allclose(volume.grid.to_world(np.array([0.0, 0, 2])), [10, -22, 9])


def test_a_blank_sop_class_is_read_with_a_warning(tmp_path):
    def blank(n, one):
        one.SOPClassUID = ""
    with pytest.warns(UserWarning, match="series: the SOP class of 3 of 3 slices is blank"):
        assert read_volume(write_dicom(tmp_path / "series", change=blank)).array.shape == (3, 4, 3)


def test_other_files_are_left_aside(tmp_path):
    folder = write_dicom(tmp_path / "series")
    (folder / "LICENSE").write_text("a text")
    (folder / "empty.dcm").touch()
    (folder / "more").mkdir()
    assert read_volume(folder).grid.shape == (3, 4, 3)


def test_a_missing_pydicom_is_named(tmp_path, monkeypatch):
    folder, imported = write_dicom(tmp_path / "series"), builtins.__import__

    def without(name, *rest):
        if name == "pydicom":
            raise ModuleNotFoundError("No module named 'pydicom'", name="pydicom")
        return imported(name, *rest)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"series: DICOM files are read with pydicom, .* 'medlearn\[dicom\]'"):
        read_volume(folder)
