"""The template: real geometry, labels that follow from its maps, and the grid it shares with the cohort."""
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from medlearn.data.brain import TISSUES, load_mni152, most_probable, sample
from medlearn.data.scan import grid_axes


@pytest.fixture(scope="module")
def brain():
    return load_mni152()


def test_the_brain_has_the_size_of_a_brain(brain):
    ml = torch.bincount(brain.labels.flatten(), minlength=4) / 1000
    assert [round(v) for v in ml[1:].tolist()] == [160, 1091, 636]
    assert 1700 < ml[1:].sum() < 2000
    assert brain.t1.shape == (197, 233, 189) == tuple(brain.labels.shape)


def test_the_origin_lies_in_the_brain_and_x_runs_to_the_right(brain):
    i, j, k = (np.linalg.inv(brain.affine) @ [0, 0, 0, 1])[:3].astype(int)
    assert brain.labels[i, j, k] > 0                                    # the anterior commissure is at 0, 0, 0
    assert np.array_equal(brain.affine[:3, :3], np.eye(3))
    cerebellum = (np.linalg.inv(brain.affine) @ [0, -65, -30, 1])[:3].astype(int)
    assert brain.labels[tuple(cerebellum)] > 0                          # behind and below, so y to the front, z up


def test_probabilities_are_probabilities(brain):
    total = brain.probabilities.sum(0)
    assert brain.probabilities.min() >= 0 and total.max() <= 1 + 1e-6
    assert torch.all(total[brain.t1 > 0] > 1 - 1e-6)                    # CSF is what is neither grey nor white
    assert torch.equal(brain.csf[brain.t1 == 0], torch.zeros_like(brain.csf[brain.t1 == 0]))


def test_tissues_stand_apart_in_the_image(brain):
    mean = [brain.t1[brain.labels == k].mean().item() for k in range(len(TISSUES))]
    assert mean == sorted(mean) and mean[0] == 0
    assert brain.t1[brain.white > 0.95].mean().item() == pytest.approx(brain.white_level)


def test_the_brain_is_read_once():
    assert load_mni152() is load_mni152()


def test_the_most_probable_tissue_is_the_argmax():
    p = torch.rand(3, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    p = p / p.sum(1, keepdim=True)
    assert torch.equal(most_probable(p[:, 1:]), p.argmax(1))
    assert torch.equal(most_probable(torch.zeros(1, 3, 2, 2)), torch.zeros(1, 2, 2, dtype=torch.int64))
    assert most_probable(torch.zeros(0, 3, 2, 2)).shape == (0, 2, 2)


def test_sampling_agrees_with_scipy(brain):
    rng = np.random.default_rng(0)
    points = rng.uniform(-90, 70, (2, 3, 50)).astype(np.float32)
    values = sample(brain.t1[None], brain.affine, torch.from_numpy(points))
    voxels = points - brain.affine[:3, 3, None]
    for b in range(2):
        expected = map_coordinates(brain.t1.numpy(), voxels[b], order=1)
        np.testing.assert_allclose(values[b, 0], expected, atol=0.02)


def test_sampling_at_a_voxel_gives_the_voxel_and_outside_gives_nothing(brain):
    at = lambda *mm: sample(brain.t1[None], brain.affine, torch.tensor(mm, dtype=torch.float32).reshape(1, 3, 1)).item()
    assert at(-98 + 60, -134 + 100, -72 + 80) == pytest.approx(brain.t1[60, 100, 80].item(), abs=0.01)
    assert at(500, 0, 0) == 0
    assert sample(brain.t1[None], brain.affine, torch.zeros(0, 3, 4, 4)).shape == (0, 1, 4, 4)


@pytest.mark.parametrize("z_mm", [-20.0, 0.0, 30.0])
def test_a_slice_of_the_grid_is_a_slice_of_the_brain(brain, z_mm):
    scan = brain.on_grid(64, dim=2, z_mm=z_mm)
    x, y, _ = grid_axes(64, 2, z_mm)
    where = np.stack(np.meshgrid(x, y, [z_mm], indexing="ij")).reshape(3, -1) - brain.affine[:3, 3, None]
    expected = map_coordinates(brain.t1.numpy() / brain.white_level, where, order=1).reshape(64, 64)
    np.testing.assert_allclose(scan.image[0, 0], expected, atol=1e-4)
    assert scan.diagnosis.item() == 0 and scan.instance.max() == 0
    assert scan.affine[0, 2, 3] == z_mm


def test_a_voxel_index_of_the_grid_leads_through_its_affine_to_the_brain(brain):
    scan = brain.on_grid(96, dim=3)
    index = torch.tensor([40.0, 30.0, 60.0, 1.0], dtype=torch.float64)
    mm = (scan.affine[0] @ index)[:3].float()
    there = sample(brain.t1[None] / brain.white_level, brain.affine, mm.reshape(1, 3, 1)).item()
    assert scan.image[0, 0, 40, 30, 60].item() == pytest.approx(there, abs=1e-4)


def test_the_grid_holds_the_whole_head_and_keeps_its_volume(brain):
    scan = brain.on_grid(96, dim=3)
    inside = scan.tissue[0] > 0
    for d in range(3):
        assert not inside.select(d, 0).any() and not inside.select(d, -1).any()
    voxel_ml = torch.linalg.det(scan.affine[0]).item() / 1000
    assert inside.sum().item() * voxel_ml == pytest.approx((brain.labels > 0).sum().item() / 1000, rel=0.01)


def test_several_heights_are_a_batch_and_none_is_an_empty_one(brain):
    scan = brain.on_grid(32, dim=2, z_mm=[0.0, 10.0, 20.0])
    assert scan.image.shape == (3, 1, 32, 32)
    assert torch.equal(scan.image[1:2], brain.on_grid(32, dim=2).image)     # 10 mm is where one looks by default
    assert brain.on_grid(32, dim=2, z_mm=[]).image.shape == (0, 1, 32, 32)


@pytest.mark.parametrize("arguments", [(31, 2), (64, 4), (64, 1), (64.0, 2), (True, 2), (64, True)])
def test_a_grid_that_cannot_be_is_refused(brain, refused, arguments):
    size, dim = arguments
    with refused("expected .* got"):
        brain.on_grid(size, dim=dim)


@pytest.mark.parametrize("z_mm", [float("nan"), float("inf"), [[1.0]], "10", True], ids=str)
def test_a_height_that_is_none_is_refused(brain, refused, z_mm):
    with refused("z_mm: expected .* got"):
        brain.on_grid(64, dim=2, z_mm=z_mm)


def test_a_volume_has_no_height(brain, refused):
    with refused("z_mm: expected none in 3D"):
        brain.on_grid(32, dim=3, z_mm=5.0)
