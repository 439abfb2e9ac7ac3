"""A batch of scans: its parts belong together; and what a network is given of it."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_a_scan_moves_as_a_whole():
    moved = scan().to("meta")
    assert {getattr(moved, part).device.type for part in ("image", "tissue", "lesion", "instance", "affine")} == {"meta"}


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


def test_a_constant_image_becomes_zeros_and_no_image_none():
    assert torch.equal(standardise(torch.full((1, 1, 4, 4), 0.5)), torch.zeros(1, 1, 4, 4))
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
    with refused(r"image: expected a float \(B, C, \*S\).* got"):
        standardise(image)


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
