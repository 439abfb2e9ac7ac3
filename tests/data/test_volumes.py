"""An array and its grid stay together, whatever is done to them."""
import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes, axcodes2ornt, io_orientation, ornt_transform

from helpers.scans import grid, scan
from medlearn.base.grid import Grid
from medlearn.data import Volume, check_same_grid, crop, pad, reorient, to_ras

ORIENTATIONS = st.permutations(["RL", "AP", "SI"]).flatmap(
    lambda axes: st.tuples(*map(st.sampled_from, axes)).map("".join))


def places(volume):
    """Each value with its place in mm, in an order that no turn changes."""
    index = np.moveaxis(np.indices(volume.grid.shape), 0, -1).reshape(-1, volume.grid.dim).astype(float)
    rows = np.column_stack([volume.grid.to_world(index).round(6) + 0.0, volume.array.reshape(-1)])
    return rows[np.lexsort(rows.T)]


@given(there=ORIENTATIONS, turn=st.tuples(*[st.floats(-0.4, 0.4)] * 3))
def test_a_turn_moves_no_voxel_and_back_is_the_same_to_the_bit(there, turn):
    volume = scan(turn=turn)
    turned = reorient(volume, there)
    assert turned.grid.orientation == there and turned.grid.shape == turned.array.shape
    np.testing.assert_allclose(places(turned), places(volume), atol=1e-5)
    back = reorient(turned, volume.grid.orientation)
    assert np.array_equal(back.array, volume.array) and back.array.dtype == volume.array.dtype
    np.testing.assert_allclose(back.grid.affine, volume.grid.affine, atol=1e-12)


@pytest.mark.parametrize("signs", [(-1, 1, 1), (-1, -1, 1), (1, -1, -1), (1, 1, 1)])
@pytest.mark.parametrize("turn", [(0, 0, 0), (0.3, -0.2, 0.1), (0, 1.5, 0)])
def test_ras_is_nibabels_canonical(signs, turn):
    volume = scan(signs=signs, turn=turn)
    ours, theirs = to_ras(volume), nib.as_closest_canonical(nib.Nifti1Image(volume.array, volume.grid.affine))
    assert ours.grid.orientation == "RAS"
    assert np.array_equal(ours.array, theirs.get_fdata()) and np.allclose(ours.grid.affine, theirs.affine)


def test_any_orientation_is_nibabels():
    volume = scan(turn=(0.2, 0.1, -0.3))
    ours = reorient(volume, "PIL")
    image = nib.Nifti1Image(volume.array, volume.grid.affine)
    theirs = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt("PIL")))
    assert aff2axcodes(theirs.affine) == ("P", "I", "L")
    assert np.array_equal(ours.array, theirs.get_fdata()) and np.allclose(ours.grid.affine, theirs.affine)


def test_channels_and_slices_turn_too():
    two = scan(channels=2, signs=(-1, 1, 1))
    for channel in range(2):
        alone = to_ras(Volume(two.array[channel], two.grid))
        assert np.array_equal(to_ras(two).array[channel], alone.array)
    sagittal = Volume(np.arange(6).reshape(2, 3),
                      Grid((2, 3), np.array([[0, 0, 1, 0], [-1, 0, 0, 5], [0, 2, 0, 0], [0, 0, 0, 1.0]])))
    turned = to_ras(sagittal)
    assert turned.grid.orientation == "AS" and turned.array.tolist() == [[3, 4, 5], [0, 1, 2]]
    np.testing.assert_array_equal(places(turned), places(sagittal))


@pytest.mark.parametrize("wrong", ["RAR", "RA", "ras", "", "LAX", None, "RSAX"])
def test_no_orientation_is_refused(wrong, refused):
    with refused("orientation: expected one of the axes of RAS, as RAS, got"):
        reorient(scan(), wrong)


@given(start=st.tuples(*[st.integers(-9, 9)] * 3), shape=st.tuples(*[st.integers(0, 8)] * 3))
def test_a_crop_leaves_every_voxel_in_its_place(start, shape):
    volume = scan(turn=(0.3, 0.2, 0.1))
    part = crop(volume, start, shape=shape, outside=-31000)
    assert part.array.shape == shape and part.array.dtype == volume.array.dtype
    for index in np.ndindex(*shape):
        old = tuple(np.add(index, start))
        inside = all(0 <= i < n for i, n in zip(old, volume.grid.shape))
        assert part.array[index] == (volume.array[old] if inside else -31000)
    np.testing.assert_allclose(part.grid.to_world(np.zeros(3)), volume.grid.to_world(np.array(start, float)), atol=1e-9)


def test_padding_and_cropping_undo_each_other():
    volume = scan(channels=2)
    wide = pad(volume, (1, 2, 0), after=(3, 0, 4), outside=5)
    assert wide.array.shape == (2, 10, 7, 8) and (wide.array[:, 0] == 5).all()
    back = pad(wide, (-1, -2, 0), after=(-3, 0, -4))
    assert np.array_equal(back.array, volume.array) and np.allclose(back.grid.affine, volume.grid.affine)


@pytest.mark.parametrize("call, says", [
    (lambda v: crop(v, (0, 0), shape=(1, 1, 1)), "start, shape: expected 3 numbers each"),
    (lambda v: crop(v, (0, 0, 0), shape=(1, -1, 1)), r"shape\[1\]: expected a whole number, 0 or more, got -1"),
    (lambda v: crop(v, (0, 0.5, 0), shape=(1, 1, 1)), r"start\[1\]: expected a whole number"),
    (lambda v: crop(v, (0, 0, 0), shape=(9, 1, 1), outside=0.5),
     "outside: expected a number that int16 holds, got 0.5"),
    (lambda v: pad(v, (1, 1)), "before, after: expected 3 numbers each"),
])
def test_boxes_that_cannot_be_are_refused(call, says, refused):
    with refused(says):
        call(scan())


@pytest.mark.parametrize("array, says", [
    ([1, 2], "array: expected an array of numbers, got list"),
    (np.zeros((6, 5, 4), complex), "array: expected an array of numbers"),
    (np.zeros((6, 5, 5)), r"array: expected shape \(6, 5, 4\) of the grid"),
    (np.zeros((5, 4)), "array: expected shape"),
    (np.zeros((1, 1, 6, 5, 4)), "array: expected shape"), (torch.zeros(6, 5, 4), "array: expected an array of numbers"),
])
def test_what_is_no_scan_is_refused(array, says, refused):
    with refused(says):
        Volume(array, grid())
    with refused("grid: expected a Grid"):
        Volume(np.zeros((2, 2)), np.eye(4))


@pytest.mark.parametrize("other, says", [
    (dict(shape=(6, 5, 3)), r"shapes \(6, 5, 4\) and \(6, 5, 3\)"), (dict(signs=(-1, 1, 1)), "RAS and LAS"),
    (dict(origin=(-20, 10, 5.1)), "corners that are 0.1 mm apart"),
    (dict(spacing=(1.0, 1.5, 3.1)), "corners that are 0.3 mm apart"),
    (dict(turn=(0, 0, 0.05)), "corners that are"),
])
def test_two_grids_are_told_apart_and_rounding_is_not(other, says, refused):
    with refused(f"volume and volume: expected one grid, got {says}"):
        check_same_grid(scan(), scan(**other))
    check_same_grid(scan(), scan(origin=(-20, 10, 5.001), dtype=np.uint8))


def test_a_network_reads_float32_with_channels():
    for dtype in (np.uint16, np.int32, np.float64, ">i2"):
        volume = Volume(scan(np.int16).array.clip(0).astype(dtype), grid())
        assert volume.tensor().dtype == torch.float32 and volume.tensor().shape == (1, 6, 5, 4)
    assert scan(channels=3).tensor().shape == (3, 6, 5, 4)
    labels = scan().with_array(torch.ones(6, 5, 4).long())
    assert labels.array.dtype == np.int64 and labels.stored is None
