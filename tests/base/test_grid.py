"""Geometry as a type: against nibabel, and against itself there and back."""
import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medlearn.base.grid import Grid, as_affine, as_spacing, spacing_from_affine

seeds = st.integers(0, 10_000)


def any_affine(seed, perpendicular=True):
    """A turned, flipped and moved grid with voxels of 0.3 to 6 mm."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.standard_normal((3, 3)))[0] if perpendicular else rng.standard_normal((3, 3))
    affine = np.eye(4)
    affine[:3, :3] = turned * rng.uniform(0.3, 6, 3)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return affine


@given(seeds)
def test_spacing_volume_and_orientation_are_nibabels(seed):
    affine = any_affine(seed)
    grid = Grid((4, 5, 6), affine)
    np.testing.assert_allclose(grid.spacing_mm, nib.affines.voxel_sizes(affine))
    assert grid.voxel_ml == pytest.approx(nib.affines.voxel_sizes(affine).prod() / 1000)
    assert spacing_from_affine(torch.from_numpy(affine)) == grid.spacing_mm


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SAL", "IPL"])
def test_orientation_is_said_as_nibabel_says_it(codes):
    flips = nib.orientations.axcodes2ornt(tuple(codes))
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (row, sign) in enumerate(flips):
        affine[int(row), axis] = 2 * sign
    tilt = np.eye(4)
    tilt[:3, :3] = np.linalg.qr(np.eye(3) + 0.1 * np.random.default_rng(0).standard_normal((3, 3)))[0]
    tilt[:3, :3] *= np.sign(np.diag(tilt[:3, :3]))
    for matrix in (affine, tilt @ affine):
        assert Grid((3, 3, 3), matrix).orientation == "".join(nib.aff2axcodes(matrix)) == codes


@given(seeds, arrays(np.float64, (3, 3), elements=st.floats(-50, 50)))
def test_to_the_world_and_back(seed, index):
    grid = Grid((7, 8, 9), any_affine(seed))
    np.testing.assert_allclose(grid.to_world(index), nib.affines.apply_affine(grid.affine, index))
    np.testing.assert_allclose(grid.to_index(grid.to_world(index)), index, atol=1e-6)


def test_a_slice_has_two_spacings_a_thickness_and_places_in_space():
    affine = any_affine(3)
    grid = Grid((20, 30), affine)
    assert grid.dim == 2 and grid.spacing_mm == spacing_from_affine(affine)[:2] and len(grid.orientation) == 2
    assert grid.voxel_ml == pytest.approx(np.prod(spacing_from_affine(affine)) / 1000)
    index = np.array([[3.0, 4.5], [0, 0]])
    place = grid.to_world(index)
    above = place + 7 * affine[:3, 2] / np.linalg.norm(affine[:3, 2])           # off the slice, along its normal
    np.testing.assert_allclose(grid.to_index(place), index, atol=1e-9)
    np.testing.assert_allclose(grid.to_index(above), index, atol=1e-9)


def test_a_grid_will_do_where_a_spacing_is_asked_for():
    slice_, volume = Grid.from_spacing((8, 8), (0.5, 0.75)), Grid.from_spacing((8, 8, 4), (1, 2, 3))
    assert as_spacing(slice_, 2).tolist() == [0.5, 0.75] and as_spacing(slice_, 3).tolist() == [0.5, 0.75, 1.0]
    assert as_spacing(volume, 3).tolist() == [1, 2, 3]
    for spacing in ((1, 2, 3), np.array([1, 2, 3]), torch.tensor([1, 2, 3])):
        assert as_spacing(spacing, 3).tolist() == [1, 2, 3] and as_spacing(spacing, 3).dtype == np.float64


def test_a_sheared_grid_has_a_volume_and_no_spacing(refused):
    grid = Grid((4, 4, 4), any_affine(1, perpendicular=False))
    assert grid.voxel_ml > 0
    with refused("affine: expected perpendicular axes, got a shear"):
        assert grid.spacing_mm
    with refused("affine: expected perpendicular axes, got a shear"):
        as_spacing(grid, 3)


@pytest.mark.parametrize("shape, message", [
    ((4,), "shape: expected 2 or 3 numbers of voxels"), (8, "shape: expected 2 or 3 numbers"),
    ((4, -1), r"shape\[1\]: expected a whole number, 0 or more, got -1"),
    ((4, 2.5), r"shape\[1\]: expected a whole number"),
])
def test_a_shape_that_cannot_be_is_refused(shape, message, refused):
    with refused(message):
        Grid(shape, np.eye(4))


@pytest.mark.parametrize("affine", [np.eye(3), np.full((4, 4), np.nan), np.zeros((4, 4)), np.diag([1, 1, 1, 2.0]),
                                    np.eye(4).astype(complex), np.diag([1, 1, 0, 1.0])], ids=range(6))
def test_an_affine_that_cannot_be_is_refused(affine, refused):
    with refused("affine: expected"):
        as_affine(affine)


@pytest.mark.parametrize("spacing",
                         [(1, 1), (1, 1, 0), (1, 1, np.nan), (1, 1, -1), 2.0, "123", [[1, 1, 1]], (1, 1, True + 0j)])
def test_a_spacing_that_cannot_be_is_refused(spacing, refused):
    with refused("spacing_mm: expected"):
        as_spacing(spacing, 3)


def test_places_of_another_dimension_are_refused(refused):
    grid = Grid.from_spacing((4, 4), (1, 1))
    with refused("index: expected 2 numbers along the last axis"):
        grid.to_world(np.zeros((5, 3)))
    with refused("place_mm: expected 3 numbers along the last axis"):
        grid.to_index(np.zeros((5, 2)))
