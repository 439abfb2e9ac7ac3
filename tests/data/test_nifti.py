"""NIfTI files: what was read comes back bit for bit, and nibabel and SimpleITK read the same."""
import gzip
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from helpers.scans import from_sitk, grid, scan
from medlearn.data import Volume, crop, read_volume, reorient, to_ras, write_volume
from medlearn.data.volumes import Stored

DTYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def written(path, volume, *, endian="<", kind=nib.Nifti1Image, slope=(1.0, 0.0), qform=1, sform=2):
    """A file by nibabel, with its numbers as they are and a scaling beside them."""
    header = kind.header_class(endianness=endian)
    image = kind(volume.array.astype(volume.array.dtype.newbyteorder(endian)), None, header)
    image.header.set_data_dtype(volume.array.dtype.newbyteorder(endian))
    image.set_sform(volume.grid.affine, sform)
    image.set_qform(volume.grid.affine, qform)
    image.header.set_slope_inter(*slope)
    image.header["descrip"], image.header["cal_max"] = b"a scanner", 400
    nib.save(image, path)
    return path


def content(path):
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.name.endswith(".gz") else raw


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("endian, kind, ending", [("<", nib.Nifti1Image, ".nii.gz"), (">", nib.Nifti1Image, ".nii"),
                                                  ("<", nib.Nifti2Image, ".nii")])
def test_every_type_comes_back_bit_for_bit(tmp_path, dtype, endian, kind, ending):
    source = written(tmp_path / f"a{ending}", scan(dtype, turn=(0.2, 0.1, 0.3), signs=(-1, 1, 1)), endian=endian,
                     kind=kind)
    volume, image = read_volume(source), nib.load(source)
    assert volume.array.dtype == np.dtype(dtype) and np.array_equal(volume.array, np.asanyarray(image.dataobj))
    assert np.array_equal(volume.grid.affine, image.affine)
    write_volume(tmp_path / f"b{ending}", volume)
    assert content(tmp_path / f"b{ending}") == content(source)
    write_volume(tmp_path / f"c{ending}", to_ras(volume), like=volume)
    assert content(tmp_path / f"c{ending}") == content(source)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("slope", [(0.5, 0.0), (1.0, -1024.0), (0.0123, 7.25), (2.0, 1e4), (1e-3, 3e4), (-1.0, 0.0)])
def test_scaled_numbers_come_back_bit_for_bit(tmp_path, dtype, slope):
    source = written(tmp_path / "a.nii", scan(dtype), slope=slope)
    volume = read_volume(source)
    np.testing.assert_allclose(volume.array, nib.load(source).get_fdata(), rtol=1e-6, atol=1e-3)
    assert volume.array.dtype == (np.float64 if dtype == "int32" or slope == (1e-3, 3e4) else np.float32)
    write_volume(tmp_path / "b.nii", reorient(volume, "SLP"), like=volume)
    assert content(tmp_path / "b.nii") == content(source)


def test_labels_lie_on_the_scan_and_have_a_type_of_their_own(tmp_path):
    source = read_volume(written(tmp_path / "a.nii.gz", scan("int16", signs=(-1, -1, 1), turn=(0.1, 0, 0)),
                                 slope=(0.5, 3.0)))
    ras = to_ras(source)
    labels = (ras.array > 0).astype(np.int64) * 300
    write_volume(tmp_path / "b.nii.gz", ras.with_array(labels), like=source)
    image = nib.load(tmp_path / "b.nii.gz")
    assert image.get_data_dtype() == np.uint16 and image.header["cal_max"] == 0
    assert np.array_equal(image.affine, source.grid.affine)
    assert np.array_equal(np.asanyarray(image.dataobj), (source.array > 0) * 300)
    array, affine = from_sitk(SimpleITK.ReadImage(str(tmp_path / "b.nii.gz")))
    assert np.array_equal(array, (source.array > 0) * 300)
    np.testing.assert_allclose(affine, source.grid.affine, atol=1e-5)


def test_changed_values_go_to_the_nearest_step_of_the_files_type_or_are_refused(tmp_path, refused):
    source = read_volume(written(tmp_path / "a.nii", scan("int16"), slope=(0.5, 3.0)))
    write_volume(tmp_path / "b.nii", Volume(source.array + np.float32(0.2), source.grid, source.stored))
    assert np.array_equal(read_volume(tmp_path / "b.nii").array, source.array)
    with refused(f"{tmp_path / 'a.nii'}: expected values that its int16 can hold .slope 0.5, intercept 3"):
        write_volume(tmp_path / "c.nii", Volume(source.array + 1e5, source.grid, source.stored))
    assert not (tmp_path / "c.nii").exists()


def test_another_grid_than_that_of_the_scan_is_refused(tmp_path, refused):
    source = read_volume(written(tmp_path / "a.nii", scan()))
    part = crop(source, (1, 0, 0), shape=(4, 5, 4))
    with refused(r"a.nii: expected a volume on its grid, got shapes .* Resample it there first"):
        write_volume(tmp_path / "b.nii", part, like=source)
    write_volume(tmp_path / "b.nii", part)
    np.testing.assert_allclose(read_volume(tmp_path / "b.nii").grid.affine, part.grid.affine, atol=1e-5)


@pytest.mark.parametrize("dtype, kept",
                         [("bool", "uint8"), ("float16", "float32"), ("int64", "int8"), ("float64", "float64")])
def test_a_new_volume_is_written_in_a_type_that_nifti_has(tmp_path, dtype, kept):
    volume = Volume((np.arange(120).reshape(6, 5, 4) - 60).astype(dtype), grid(turn=(0.3, 0.2, 0.1)))
    write_volume(tmp_path / "a.nii.gz", volume)
    again = read_volume(tmp_path / "a.nii.gz")
    assert again.array.dtype == np.dtype(kept) and np.array_equal(again.array, volume.array)
    np.testing.assert_allclose(again.grid.affine, volume.grid.affine, atol=1e-5)
    array, affine = from_sitk(SimpleITK.ReadImage(str(tmp_path / "a.nii.gz")))
    assert np.array_equal(array, volume.array)
    np.testing.assert_allclose(affine, volume.grid.affine, atol=1e-5)


def test_channels_slices_and_empty_axes(tmp_path):
    volume = scan(channels=3)
    write_volume(tmp_path / "a.nii.gz", volume)
    assert nib.load(tmp_path / "a.nii.gz").shape == (6, 5, 4, 3)
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz", channels=True).array, volume.array)
    flat = Volume(np.arange(6, dtype=np.uint8).reshape(2, 3), grid((2, 3)))
    write_volume(tmp_path / "b.nii", flat)
    again = read_volume(tmp_path / "b.nii")
    assert again.grid.shape == (2, 3) and np.array_equal(again.array, flat.array)
    nib.save(nib.Nifti1Image(scan().array[..., None], scan().grid.affine), tmp_path / "c.nii")
    assert np.array_equal(read_volume(tmp_path / "c.nii").array, scan().array)
    assert read_volume(tmp_path / "c.nii", channels=True).array.shape == (1, 6, 5, 4)


def test_extensions_of_the_header_stay(tmp_path):
    image = nib.Nifti1Image(scan().array, scan().grid.affine)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"where it comes from"))
    nib.save(image, tmp_path / "a.nii")
    write_volume(tmp_path / "b.nii", read_volume(tmp_path / "a.nii"))
    again = nib.load(tmp_path / "b.nii")
    assert again.header.extensions[0].get_content() == b"where it comes from"
    assert np.array_equal(np.asanyarray(again.dataobj), scan().array)


def test_a_file_in_metres_is_converted_and_goes_back(tmp_path):
    image = nib.Nifti1Image(scan().array, np.diag([0.001, 0.001, 0.002, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    with pytest.warns(UserWarning, match="a.nii: its unit is not the millimetre; it is converted"):
        volume = read_volume(tmp_path / "a.nii")
    assert volume.grid.spacing_mm == pytest.approx((1, 1, 2))
    write_volume(tmp_path / "b.nii", volume)
    assert content(tmp_path / "b.nii") == content(tmp_path / "a.nii")


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    write_volume(tmp_path / "a.nii.gz", scan())
    before = (tmp_path / "a.nii.gz").read_bytes()

    def full(*_):
        raise OSError("No space left on device")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "replace", full)
        write_volume(tmp_path / "a.nii.gz", scan(seed=1))
    assert (tmp_path / "a.nii.gz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]
    write_volume(tmp_path / "b.nii.gz", scan())
    assert (tmp_path / "b.nii.gz").read_bytes() == before               # no time, no name in it


def test_stored_says_how_a_file_keeps_its_numbers(tmp_path):
    stored = read_volume(written(tmp_path / "a.nii", scan("int16"), slope=(0.5, 3.0))).stored
    assert isinstance(stored, Stored) and (stored.slope, stored.intercept, stored.dtype) == (0.5, 3.0, np.int16)
    assert stored.path == tmp_path / "a.nii" and stored.grid.shape == (6, 5, 4)
