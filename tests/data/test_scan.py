"""A batch of scans: its parts belong together; and what a network is given of it."""
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from medlearn.base.grid import Grid
from medlearn.data import BrainCohort, LesionSpec, Protocol, load_mni152, shepp_logan
from medlearn.data.scan import FIELD_OF_VIEW_MM, Scan, grid_affine, grid_axes, standardise


def scan(batch=4, space=(5, 6), **parts):
    zeros = lambda: torch.zeros(batch, *space, dtype=torch.int64)
    defaults = dict(image=torch.rand(batch, 1, *space), tissue=zeros(), lesion=zeros(), instance=zeros(),
                    affine=torch.eye(4, dtype=torch.float64).repeat(batch, 1, 1))
    return Scan(**(defaults | parts))


@pytest.mark.parametrize("space", [(5, 6), (4, 5, 6)])
def test_a_part_of_a_batch_is_a_batch(space):
    whole = scan(space=space)
    assert len(whole) == 4
    assert torch.equal(whole[2].image, whole.image[2:3]) and len(whole[2]) == 1
    assert torch.equal(whole[-1].image, whole.image[3:])
    assert torch.equal(whole[1:3].image, whole.image[1:3])
    for index in ([3, 0], (3, 0), torch.tensor([3, 0])):
        assert torch.equal(whole[index].image, whole.image[[3, 0]])
    assert torch.equal(whole[range(2)].affine, whole.affine[:2])
    for index in (torch.tensor(2), np.int64(2), np.array([2]), np.array([False, False, True, False])):
        assert torch.equal(whole[index].image, whole.image[2:3])
    assert len(whole[[]]) == len(whole[4:]) == 0
    assert torch.equal(whole[torch.tensor([True, False, False, True])].image, whole.image[[0, 3]])


def test_an_image_beyond_the_batch_is_refused():
    with pytest.raises(IndexError):
        scan()[4]
    with pytest.raises(TypeError):
        scan()["first"]


def test_the_diagnosis_is_the_gravest_lesion():
    lesion = torch.zeros(4, 5, 6, dtype=torch.int64)
    lesion[1, 2, 2], lesion[2, 0, 0], lesion[3, 4, 5], lesion[3, 0, 0] = 1, 2, 1, 2
    assert scan(lesion=lesion).diagnosis.tolist() == [0, 1, 2, 2]
    assert scan(batch=0).diagnosis.shape == (0,)


@pytest.mark.parametrize("part", ["image", "tissue", "lesion", "instance", "affine"])
def test_a_part_of_another_shape_is_refused(refused, part):
    whole = scan()
    wrong = getattr(whole, part)[:, None]
    with refused("expected shape .* got"):
        scan(**{part: wrong})


@pytest.mark.parametrize("parts, name", [
    (dict(image=torch.zeros(4, 1, 5, 6).long()), "image"), (dict(image=np.zeros((4, 1, 5, 6))), "image"),
    (dict(image=torch.zeros(4, 6)), "image"), (dict(tissue=torch.zeros(4, 5, 6)), "tissue"),
    (dict(lesion=None), "lesion"),
    (dict(affine=torch.eye(4).long().repeat(4, 1, 1)), "affine"),
], ids=["integer image", "array", "no space", "float labels", "none", "integer affine"])
def test_a_part_of_another_kind_is_refused(refused, parts, name):
    with refused(f"{name}: expected .* got"):
        scan(**parts)


@pytest.mark.parametrize("dim, shape, spacing, orientation, ml", [
    (2, (64, 64), (3.25, 3.25), "RA", 3.25 ** 2 / 1000), (3, (32, 32, 32), (6.5, 6.5, 6.5), "RAS", 6.5 ** 3 / 1000)])
def test_each_image_has_its_grid(dim, shape, spacing, orientation, ml):
    scans = BrainCohort(size=shape[0], dim=dim).batch([0, 1])
    for one, grid in zip(scans.affine, scans.grids, strict=True):
        assert isinstance(grid, Grid) and grid.shape == shape and grid.orientation == orientation
        assert grid.spacing_mm == pytest.approx(spacing) and grid.voxel_ml == pytest.approx(ml)
        assert np.array_equal(grid.affine, one.numpy())
    assert scans[:0].grids == []


@pytest.mark.parametrize("original", [
    BrainCohort(size=32).batch([0]), BrainCohort(size=32), LesionSpec(), Protocol(), shepp_logan(), load_mni152(),
], ids=lambda value: type(value).__name__)
def test_what_the_data_are_made_of_travels(original):
    again = pickle.loads(pickle.dumps(original))
    for name, value in vars(original).items():
        equal = torch.equal if isinstance(value, torch.Tensor) else np.array_equal
        assert equal(getattr(again, name), value)


# ---------------------------------------------------------------------------------------------------------------------
# What a network is trained on

@pytest.mark.parametrize("target", ["tissue", "lesion", "instance", "diagnosis"])
@pytest.mark.parametrize("dim", [2, 3])
def test_samples_are_the_standardised_images_with_their_labels(target, dim):
    scans = BrainCohort(size=32, dim=dim).batch(range(3))
    samples = scans.samples(target)
    assert len(samples) == 3
    for i in range(3):
        image, labels = samples[i]
        assert torch.equal(image, standardise(scans.image)[i])
        assert torch.equal(labels, getattr(scans, target)[i])
    images, labels = next(iter(DataLoader(samples, batch_size=3)))
    assert torch.equal(images, standardise(scans.image)) and torch.equal(labels, getattr(scans, target))
    with pytest.raises(IndexError):
        samples[3]


def test_fit_trains_on_samples():
    from medlearn.train import Recipe, fit

    torch.manual_seed(0)
    net = torch.nn.Conv2d(1, 4, 1)
    before = net.weight.detach().clone()
    fit(net, BrainCohort(size=32).batch(range(4)).samples(), loss=torch.nn.functional.cross_entropy,
        recipe=Recipe(steps=2, batch_size=2))
    assert not torch.equal(net.weight.cpu(), before)
    assert len(BrainCohort(size=32).batch([]).samples("lesion")) == 0


def test_other_targets_are_refused(refused):
    for wrong in ("image", "Tissue", None, 1):
        with refused("target: expected \"tissue\", .* or \"diagnosis\", got"):
            scan().samples(wrong)


def test_a_scan_moves_as_a_whole():
    moved = scan().to("meta")
    assert {getattr(moved, part).device.type
            for part in ("image", "tissue", "lesion", "instance", "affine")} == {"meta"}


# ---------------------------------------------------------------------------------------------------------------------
# Standardised images

@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3), shift=st.floats(-1e2, 1e2),
       space=st.sampled_from([(7, 9), (4, 5, 6)]), channels=st.integers(1, 3))
def test_a_standardised_image_has_mean_0_and_deviation_1(seed, scale, shift, space, channels):
    x = torch.randn(2, channels, *space, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y = standardise(x * scale + shift)
    axes = tuple(range(2, y.ndim))
    torch.testing.assert_close(y.mean(axes), torch.zeros_like(y.mean(axes)), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.std(axes, unbiased=False), torch.ones_like(y.mean(axes)), atol=1e-6, rtol=0)
    torch.testing.assert_close(y, standardise(x), atol=1e-5, rtol=1e-5)     # the scanner's scale is gone


def test_standardising_agrees_with_numpy():
    x = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(1)) * 4 - 1
    a = x.numpy()
    expected = (a - a.mean((2, 3), keepdims=True)) / a.std((2, 3), keepdims=True)
    np.testing.assert_allclose(standardise(x), expected, atol=1e-5)


def test_each_channel_of_each_image_stands_for_itself():
    x = torch.rand(3, 2, 8, 8)
    assert torch.equal(standardise(x)[1:2], standardise(x[1:2]))
    torch.testing.assert_close(standardise(x)[:, 1:], standardise(x[:, 1:]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.5, 100.1, 1000.7, -3e4])
def test_a_constant_channel_becomes_zeros_and_leaves_the_others(value, dtype):
    for shape in ((63, 63), (224, 224), (20, 21, 22)):
        x = torch.rand(2, 2, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        x[0, 1] = value
        y = standardise(x)
        assert torch.equal(y[0, 1], torch.zeros(shape, dtype=dtype)) and torch.equal(y[1:], standardise(x[1:]))
        assert torch.equal(y[:1, :1], standardise(x[:1, :1])) and y[0, 0].std() > 0.99


def test_no_image_gives_none_and_a_constant_one_has_a_finite_gradient():
    x = torch.full((1, 1, 5, 5), 0.1, requires_grad=True)
    standardise(x).square().sum().backward()
    assert x.grad.isfinite().all()
    assert standardise(torch.zeros(0, 1, 4, 4)).shape == (0, 1, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    x = (torch.rand(1, 1, 300, 300, generator=torch.Generator().manual_seed(0)) + 5).to(dtype)
    y = standardise(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), standardise(x.float()), atol=0.02, rtol=0.01)


@pytest.mark.parametrize("image", [torch.zeros(4, 4), torch.zeros(1, 4, 4), torch.zeros(1, 1, 2, 2, 2, 2),
                                   torch.zeros(1, 1, 4, 4, dtype=torch.int64)], ids=["2d", "3d", "6d", "integer"])
def test_what_is_no_batch_of_images_is_refused(refused, image):
    with refused(r"image: expected .*\(B, C, \*S\).* got"):
        standardise(image)


@pytest.mark.parametrize("value, message", [
    (float("nan"), "finite numbers"), (float("inf"), "finite numbers"), (-float("inf"), "finite numbers"),
    (1e30, r"a constant, or values that are 1e-15..1e\+15 apart"), (-1e30, "a constant, or values"),
], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_one_voxel_that_is_no_intensity_is_refused(refused, value, message, dtype):
    x = torch.rand(2, 3, 16, 16).to(dtype)
    x[1, 2, 3, 4] = value
    with refused(f"image: expected {message}.* got"):
        standardise(x)
    with refused("image: expected a constant, or values"):
        standardise(torch.rand(1, 1, 16, 16) * 1e-25)


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e6, 1e12])
def test_the_unit_of_an_image_does_not_matter(scale):
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(standardise(scale * x), standardise(x), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# The grid

@pytest.mark.parametrize("size, dim", [(32, 2), (64, 2), (33, 3)])
def test_the_affine_leads_to_the_axes(size, dim):
    z_mm = 12.5 if dim == 2 else None
    axes, affine = grid_axes(size, dim, z_mm), grid_affine(size, dim, z_mm)
    last = [len(axis) - 1 for axis in axes]
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], [*(axis[0] for axis in axes), 1])
    np.testing.assert_allclose(affine @ [*last, 1], [*(axis[-1] for axis in axes), 1])
    assert np.linalg.det(affine) == pytest.approx((FIELD_OF_VIEW_MM / size) ** dim)


def test_a_slice_without_a_height_is_refused(refused):
    with refused("z_mm: expected the height of the slice in mm, got None"):
        grid_axes(32, 2)
