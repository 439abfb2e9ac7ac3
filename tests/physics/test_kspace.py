"""K-space: the transform against NumPy's, and which of its lines are measured."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medlearn.physics.mri import (
    cartesian_mask,
    complex_noise,
    from_kspace,
    sum_of_squares,
    to_kspace,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


SHAPES = st.sampled_from([(1, 1, 8, 8), (2, 3, 7, 10), (2, 1, 5, 6, 7)])


def complex_image(shape, seed=0):
    return torch.view_as_complex(torch.randn(*shape, 2, generator=seeded(seed), dtype=torch.float64))


@settings(max_examples=12, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_the_transform_is_numpys_unitary_and_its_inverse_is_its_adjoint(shape, seed):
    x, y = complex_image(shape, seed), complex_image(shape, seed + 1)
    space = tuple(range(2, len(shape)))
    expected = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x.numpy(), space), axes=space, norm="ortho"), space)
    np.testing.assert_allclose(to_kspace(x).numpy(), expected, atol=1e-12)
    torch.testing.assert_close(from_kspace(to_kspace(x)), x)
    torch.testing.assert_close(torch.vdot(to_kspace(x).flatten(), y.flatten()),
                               torch.vdot(x.flatten(), from_kspace(y).flatten()))


def test_a_constant_image_is_one_point_in_the_middle_of_kspace():
    kspace = to_kspace(torch.ones(1, 1, 6, 9))
    assert kspace.abs().argmax().item() == 3 * 9 + 4 and kspace[0, 0, 3, 4].real.item() == pytest.approx(math.sqrt(54))


@settings(max_examples=25, deadline=None)
@given(lines=st.integers(1, 60), fraction=st.floats(0.1, 1), centre=st.floats(0, 0.1), seed=st.integers(0, 99))
def test_the_mask_measures_as_many_whole_lines_as_asked_for_and_the_centre(lines, fraction, centre, seed):
    mask = cartesian_mask((2, 5, lines), fraction, centre=centre, generator=seeded(seed))
    kept = max(1, round(centre * lines))
    first = lines // 2 - kept // 2
    assert mask.shape == (2, 1, 5, lines) and (mask == mask[:, :, :1]).all()
    assert mask[..., first:first + kept].all()
    assert (mask[:, 0, 0].sum(1) == max(kept, round(float(torch.tensor(fraction)) * lines))).all()


def test_each_image_has_its_own_fraction_and_generator():
    fractions = torch.tensor([0.25, 0.5, 1.0])
    mask = cartesian_mask((3, 8, 9, 64), fractions, generator=[seeded(n) for n in range(3)])
    assert mask.shape == (3, 1, 8, 9, 64)
    assert torch.equal(mask.float().flatten(1).mean(1), fractions)
    assert torch.equal(mask[1:2], cartesian_mask((1, 8, 9, 64), 0.5, generator=[seeded(1)]))
    assert not torch.equal(mask[1:2], cartesian_mask((1, 8, 9, 64), 0.5, generator=seeded(7)))
    assert cartesian_mask((0, 8, 8), 0.5, generator=seeded()).shape == (0, 1, 8, 8)
    assert cartesian_mask((1, 1, 10), 0.7, centre=0.7, generator=seeded()).sum() == 7


def test_all_lines_outside_the_centre_are_as_likely():
    mask = cartesian_mask((4000, 1, 20), 0.4, centre=0.1, generator=seeded())[:, 0, 0]
    counts = mask.sum(0).double().numpy()
    outside = np.delete(counts, [9, 10])
    assert (counts[9:11] == 4000).all()
    # without replacement the counts vary less than chi-square would have it, so a small p-value is telling
    assert stats.chisquare(outside).pvalue > 0.01


def test_what_was_not_measured_takes_its_share_of_the_noise_along():
    mask = cartesian_mask((1, 256, 256), 0.25, generator=seeded())
    noise = from_kspace(mask * complex_noise(torch.zeros(1, 1, 256, 256), 0.2, generator=seeded(1)))
    assert noise.real.std().item() == pytest.approx(0.2 * math.sqrt(0.25), rel=0.02)


@pytest.mark.parametrize("shape, fraction, centre, message", [
    ((1, 8), 0.5, 0.08, "shape: expected"), ((1, 8, 0), 0.5, 0.08, "shape: expected"),
    ((1, 8, 8), 1.5, 0.08, "fraction: expected"), ((1, 8, 8), 0.05, 0.08, "fraction: expected 0.08"),
    ((1, 8, 8), math.nan, 0.08, "fraction: expected"),
    ((1, 8, 8), 0.5, 1.5, "centre: expected"), ((1, 8, 8), 0.5, math.nan, "centre: expected"),
    ((2, 8, 8), torch.full((3,), 0.5), 0.08, "fraction: expected"),
], ids=["one axis", "no line", "above 1", "below the centre", "nan", "centre above 1", "centre nan", "wrong count"])
def test_a_mask_that_cannot_be_is_refused(refused, shape, fraction, centre, message):
    with refused(f"{message}.* got"):
        cartesian_mask(shape, fraction, centre=centre, generator=seeded())


@pytest.mark.parametrize("transform", [to_kspace, from_kspace, sum_of_squares])
def test_only_images_with_space_are_transformed(refused, transform):
    for wrong in (torch.ones(1, 1, 8, dtype=torch.complex64), torch.ones(1, 1, 4, 4, dtype=torch.int64), None,
                  torch.full((1, 1, 4, 4), complex(0, math.nan))):
        with refused("expected .* got"):
            transform(wrong)
    assert transform(torch.zeros(0, 2, 4, 4, dtype=torch.complex64)).shape[0] == 0
