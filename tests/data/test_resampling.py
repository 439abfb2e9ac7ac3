"""Resampling: exact where the answer is known, SimpleITK's elsewhere, and labels stay labels."""
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.scans import grid, ramp, scan, sitk_image
from medlearn.base.grid import Grid
from medlearn.data import Volume, resample, resample_labels, resized_grid, respaced_grid, to_ras

TURN = (0.2, -0.3, 0.4)
BIG = dict(shape=(24, 20, 16), spacing=(1.0, 1.5, 2.0))


def inside(volume, target, margin=0.0):
    """Voxels of the new grid between the old ones' centres, so many of them away from the border."""
    index = volume.grid.to_index(target.to_world(np.moveaxis(np.indices(target.shape), 0, -1).astype(float)))
    return ((index >= margin - 1e-9) & (index <= np.array(volume.grid.shape) - 1 - margin + 1e-9)).all(-1)


# Grids ---------------------------------------------------------------------------------------------------------------

@given(shape=st.tuples(*[st.integers(1, 40)] * 3))
def test_boxes_lie_edge_to_edge(shape):
    old = grid(turn=TURN, **BIG)
    new = resized_grid(old, shape)
    for end in ([-0.5] * 3, [n - 0.5 for n in old.shape]):
        corner = np.array([-0.5] * 3) if end[0] < 0 else np.array(shape) - 0.5
        np.testing.assert_allclose(new.to_world(corner), old.to_world(np.array(end)), atol=1e-9)
    np.testing.assert_allclose(np.array(new.spacing_mm) * shape, np.array(old.spacing_mm) * old.shape)


def test_a_spacing_gives_the_nearest_number_of_voxels():
    assert respaced_grid(grid(**BIG), (2.0, 1.5, 0.5)).shape == (12, 20, 64)
    assert respaced_grid(grid(**BIG), (100.0, 7.0, 7.0)).shape == (1, 4, 5)
    flat = respaced_grid(Grid.from_spacing((9, 9), (1.0, 1.0)), (3.0, 0.5))
    assert flat.shape == (3, 18) and flat.spacing_mm == (3.0, 0.5)


@pytest.mark.parametrize("call, says", [
    (lambda: resized_grid(grid(), (3, 3)), "shape: expected 3 numbers"),
    (lambda: resized_grid(grid(), (3, 0, 3)), r"shape\[1\]"),
    (lambda: resized_grid(grid((0, 5, 4)), (3, 3, 3)), "a grid with voxels"),
    (lambda: respaced_grid(grid(), (1.0, 0.0, 1.0)), "spacing_mm: expected finite numbers above 0"),
    (lambda: resample(scan(), Grid.from_spacing((3, 3), (1, 1))), "grid: expected 3 axes"),
    (lambda: resample(scan(), grid(), outside=float("nan")), "outside: expected a finite number"),
    (lambda: resample_labels(scan(np.float32), grid()), "volume: expected labels, whole numbers, got float32"),
    (lambda: resample_labels(scan(channels=2), grid()), "volume: expected labels without channels"),
])
def test_what_cannot_be_is_refused(call, says, refused):
    with refused(says):
        call()


# Images --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype, off", [(np.float64, 1e-9), (np.float32, 2e-4)])
@pytest.mark.parametrize("target", [
    grid((18, 17, 30), (1.0, 1.0, 1.0), (-0.1, 0.2, 0.1), (-10.0, 15.0, 5.0)),
    resized_grid(grid(turn=TURN, **BIG), (48, 60, 33)),
    grid((9, 8, 12), (0.7, 0.9, 1.1), (0.2, 1.4, 0.1), (-8.0, 20.0, 14.0), (-1, 1, -1)), grid(turn=TURN, **BIG)],
    ids=["oblique", "enlarged", "other axes", "the same"])
def test_an_oblique_ramp_is_exact(dtype, off, target):
    volume = ramp(grid(turn=TURN, **BIG))
    answer = resample(Volume(volume.array.astype(dtype), volume.grid), target)
    within = inside(volume, target, margin=3 * any(s > 1.01 for s in np.array(target.spacing_mm)))
    assert answer.array.dtype == dtype and answer.grid is target and within.mean() > 0.05
    np.testing.assert_allclose(answer.array[within], ramp(target).array[within], atol=off)


@pytest.mark.parametrize("factor", [2, 3, 4.7])
def test_a_ramp_stays_exact_when_it_shrinks(factor):
    volume = ramp(grid((60, 56, 52), turn=TURN))
    target = resized_grid(volume.grid, [round(n / factor) for n in volume.grid.shape])
    within = inside(volume, target, margin=10)
    assert within.mean() > 0.1
    np.testing.assert_allclose(resample(volume, target).array[within], ramp(target).array[within], atol=1e-9)


def test_shrinking_leaves_no_pattern_of_what_is_too_fine():
    stripes = np.where(np.arange(60) % 2, 1.0, -1.0)[:, None, None] * np.ones((60, 8, 8))
    volume = Volume(stripes, Grid.from_spacing((60, 8, 8), (1, 1, 1)))
    target = resized_grid(volume.grid, (20, 8, 8))
    assert abs(resample(volume, target).array[3:-3]).max() < 0.02
    assert abs(resample(Volume(stripes, volume.grid), Grid((20, 8, 8), np.diag([1.0, 1, 1, 1]))).array).max() == 1


@pytest.mark.parametrize("target", [
    grid((15, 14, 13), (0.9, 0.8, 0.9), (0.1, 0.2, -0.1)), grid((30, 25, 20), (0.5, 1.0, 1.5)),
    grid((9, 9, 9), (0.8, 0.9, 0.7), TURN, signs=(-1, 1, 1))], ids=["oblique", "straight", "mirrored"])
def test_it_agrees_with_simpleitk(target):
    volume = scan(np.float32, shape=(12, 11, 10), spacing=(1.0, 1.0, 1.0), origin=(-20, 10, 5))
    reference = SimpleITK.Resample(sitk_image(volume), sitk_image(Volume(np.zeros(target.shape, np.float32), target)),
                                   SimpleITK.Transform(), SimpleITK.sitkLinear, -5.0)
    answer, theirs = resample(volume, target, outside=-5.0).array, SimpleITK.GetArrayFromImage(reference).T
    within = inside(volume, target, margin=1 if np.max(target.spacing_mm) > 1 else 0)
    if np.max(target.spacing_mm) <= 1:
        np.testing.assert_allclose(answer[within], theirs[within], atol=1e-4)
    beyond = ~inside(volume, target, margin=-0.51)
    assert (answer[beyond] == -5).all() and (theirs[beyond] == -5).all()


def test_its_own_grid_changes_nothing_and_a_turn_of_axes_loses_nothing():
    volume = scan(np.float32, turn=TURN, channels=2)
    assert np.array_equal(resample(volume, volume.grid).array, volume.array)
    turned = to_ras(scan(np.float32, signs=(-1, -1, 1)))
    assert np.array_equal(resample(scan(np.float32, signs=(-1, -1, 1)), turned.grid).array, turned.array)


def test_the_last_half_voxel_is_the_borders_and_what_lies_beyond_is_outside():
    volume = Volume(np.arange(4.0)[:, None, None] * np.ones((4, 2, 2)), Grid.from_spacing((4, 2, 2), (1, 1, 1)))
    affine = np.diag([0.5, 1, 1, 1])
    affine[0, 3] = -1.0
    line = resample(volume, Grid((12, 2, 2), affine), outside=9).array[:, 0, 0]
    assert line.tolist() == [9, 0, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3, 9, 9]
    far = grid((3, 3, 3), (1, 1, 1), (0.3, 0, 0), origin=(500.0, 0, 0))
    assert (resample(volume, far, outside=9).array == 9).all()


def test_slices_in_their_plane_and_not_in_another(refused):
    volume = Volume(np.arange(12.0).reshape(3, 4), Grid.from_spacing((3, 4), (1, 1)))
    fine = resample(volume, resized_grid(volume.grid, (6, 8)))
    assert fine.array.shape == (6, 8) and fine.array[0, 0] == 0 and fine.array[1, 1] == pytest.approx(0.25 * 4 + 0.25)
    lifted = np.eye(4)
    lifted[2, 3] = 3
    with refused("grid: expected a slice in the same plane, got one 3 slices away"):
        resample(volume, Grid((3, 4), lifted))
    with refused("grid: expected the plane of the slice, RA, got RS"):
        resample(volume, Grid((3, 4), np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])))


# Labels --------------------------------------------------------------------------------------------------------------

def one_by_one(volume, target):
    """Each label's mask resampled as an image over the whole grid, and the largest of them."""
    labels = np.unique(volume.array)
    shares = np.stack([resample(volume.with_array((volume.array == k).astype(np.float32)), target).array
                       for k in labels])
    return np.where(shares.max(0) > 1e-6, labels[(shares > shares.max(0) - 2e-6).argmax(0)], 0), shares


@pytest.mark.parametrize("target", [resized_grid(grid(**BIG), (48, 40, 32)), resized_grid(grid(**BIG), (9, 11, 7)),
                                    grid((20, 18, 30), (1.1, 1.3, 0.9), TURN)], ids=["enlarged", "shrunk", "oblique"])
def test_labels_are_the_largest_of_their_resampled_masks(target):
    index = np.indices(BIG["shape"])
    array = (np.hypot(index[0] - 9, index[1] - 8) < 6).astype(np.uint8) + 4 * (index[2] > 9).astype(np.uint8)
    array[20, 3, 3] = 9
    volume = Volume(array, grid(**BIG))
    answer = resample_labels(volume, target)
    expected, shares = one_by_one(volume, target)
    top = np.sort(shares, axis=0)[-2:]
    clear = (top[1] - top[0] > 1e-4)
    assert answer.array.dtype == np.uint8 and clear.mean() > 0.5
    assert np.array_equal(answer.array[clear], expected[clear])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), factor=st.integers(1, 3))
def test_labels_stay_labels_and_an_enlarged_one_comes_back(seed, factor):
    array = np.random.default_rng(seed).choice([0, 2, 7, 300], (5, 4, 3)).astype(np.int32)
    volume = Volume(array, grid((5, 4, 3), turn=TURN))
    fine = resample_labels(volume, resized_grid(volume.grid, [factor * n for n in array.shape]))
    assert set(np.unique(fine.array)) <= set(np.unique(array)) and fine.array.dtype == np.int32
    if factor % 2:                                          # then the old centres are among the new ones
        assert np.array_equal(fine.array[factor // 2::factor, factor // 2::factor, factor // 2::factor], array)


def test_labels_beyond_the_scan_and_in_a_slice():
    flat = Volume(np.array([[1, 2], [2, 2]]), Grid.from_spacing((2, 2), (1.0, 1.0)))
    assert resample_labels(flat, Grid.from_spacing((4, 2), (1.0, 1.0)), outside=7).array.tolist() == [[1, 2], [2, 2],
                                                                                                      [7, 7], [7, 7]]
    mask = Volume(np.eye(2) > 0, flat.grid)
    assert resample_labels(mask, flat.grid).array.tolist() == [[True, False], [False, True]]
