"""NRRD files: SimpleITK, which writes them and reads them, gets the same voxels in the same places."""
import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from helpers.scans import from_sitk, scan, sitk_image
from medlearn.data import read_volume, write_volume

REAL = Path(__file__).parent / "scans" / "brain1_label.nrrd"


@pytest.mark.parametrize("dtype",
                         ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
@pytest.mark.parametrize("compressed", [True, False])
def test_what_simpleitk_writes_is_read(tmp_path, dtype, compressed):
    volume = scan(dtype, turn=(0.3, -0.2, 0.1), signs=(-1, 1, 1))
    SimpleITK.WriteImage(sitk_image(volume), str(tmp_path / "a.nrrd"), useCompression=compressed)
    again = read_volume(tmp_path / "a.nrrd")
    assert again.array.dtype == np.dtype(dtype) and np.array_equal(again.array, volume.array)
    np.testing.assert_allclose(again.grid.affine, volume.grid.affine, atol=1e-9)


def test_a_real_file_is_read_as_simpleitk_does_and_becomes_nifti(tmp_path):
    volume = read_volume(REAL)
    array, affine = from_sitk(SimpleITK.ReadImage(str(REAL)))
    assert volume.array.dtype == np.int32 and np.array_equal(volume.array, array) and volume.array.any()
    np.testing.assert_allclose(volume.grid.affine, affine, atol=1e-9)
    assert volume.grid.orientation == "LAS" and volume.grid.spacing_mm == pytest.approx((0.78125, 0.78125, 6.5))
    write_volume(tmp_path / "a.nii.gz", volume)
    again = read_volume(tmp_path / "a.nii.gz")
    assert again.array.dtype == np.int32 and np.array_equal(again.array, volume.array)


HEADER = """NRRD0005
# by hand
type: {type}
dimension: {dimension}
space: {space}
sizes: {sizes}
space directions: {directions}
endian: {endian}
encoding: {encoding}
space origin: (1,2,3)

"""
DIRECTIONS = "(2,0,0) (0,3,0) (0,0,4)"


def by_hand(path, values, **said):
    said = dict(type="short", dimension=3, space="RAS", sizes="2 3 4", directions=DIRECTIONS, endian="little",
                encoding="raw") | said
    path.write_bytes(HEADER.format(**said).encode() + values)
    return path


@pytest.mark.parametrize("endian, dtype", [("little", "<i2"), ("big", ">i2")])
@pytest.mark.parametrize("space, signs",
                         [("RAS", (1, 1, 1)), ("left-posterior-superior", (-1, -1, 1)), ("LAS", (-1, 1, 1))])
def test_other_spaces_and_byte_orders(tmp_path, endian, dtype, space, signs):
    values = np.arange(24).reshape(2, 3, 4)
    path = by_hand(tmp_path / "a.nrrd", values.astype(dtype).tobytes(order="F"), endian=endian, space=space)
    volume = read_volume(path)
    assert np.array_equal(volume.array, values)
    assert np.array_equal(volume.grid.affine,
                          np.diag([*signs, 1]) @ np.array([[2, 0, 0, 1], [0, 3, 0, 2], [0, 0, 4, 3], [0, 0, 0, 1]]))


def test_an_axis_of_channels(tmp_path, refused):
    values = np.arange(48, dtype="<i2").reshape(2, 2, 3, 4)
    said = dict(dimension=4, sizes="2 2 3 4", directions=f"none {DIRECTIONS}", encoding="gzip")
    path = by_hand(tmp_path / "a.nrrd", gzip.compress(values.tobytes(order="F")), **said)
    assert np.array_equal(read_volume(path, channels=True).array, values)
    with refused("a.nrrd: expected three axes, got .* channels=True"):
        read_volume(path)
