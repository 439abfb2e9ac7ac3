"""Filters against scipy's and against their own equations."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medlearn.physics.despeckle import gaussian_filter, homomorphic_filter, lee_filter, median_filter
from medlearn.physics.ultrasound import RAYLEIGH_SNR, Pulse, envelope, point_snr, radio_frequency, speckle_noise

SHAPES = st.sampled_from([(1, 1, 9, 12), (2, 3, 8, 8), (2, 1, 6, 7, 8)])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=20, deadline=None)
@given(shape=SHAPES, width=st.floats(0, 3), window=st.sampled_from([1, 3, 5]), seed=st.integers(0, 99))
def test_gaussian_and_median_are_scipys(shape, width, window, seed):
    image = torch.randn(shape, generator=seeded(seed))
    space = (0, 0, *[1] * (len(shape) - 2))
    expected = ndimage.gaussian_filter(image.numpy(), [width * s for s in space], mode="nearest")
    np.testing.assert_allclose(gaussian_filter(image, width).numpy(), expected, atol=1e-5)
    expected = ndimage.median_filter(image.numpy(), [max(1, window * s) for s in space], mode="nearest")
    np.testing.assert_array_equal(median_filter(image, window).numpy(), expected)


@settings(max_examples=15, deadline=None)
@given(shape=SHAPES, width=st.floats(0, 3), seed=st.integers(0, 99))
def test_the_homomorphic_filter_is_a_geometric_mean(shape, width, seed):
    a = torch.rand(shape, generator=seeded(seed)) + 0.01
    expected = gaussian_filter(a.log(), width).exp()
    torch.testing.assert_close(homomorphic_filter(a, width), expected)
    torch.testing.assert_close(homomorphic_filter(50 * a, width), 50 * expected)
    assert (homomorphic_filter(a, width) <= gaussian_filter(a, width) * 1.0001).all()


def test_on_speckle_the_homomorphic_filter_lies_below_the_mean_by_a_constant():
    for mean in (1.0, 20.0):
        image = mean * envelope(radio_frequency(torch.randn(1, 1, 900, 600, generator=seeded()), Pulse(),
                                                spacing_mm=(0.04, 0.1)))[..., 20:-20, 15:-15]
        share = homomorphic_filter(image, 8.0).mean() / image.mean()
        expected = math.exp((math.log(2) - np.euler_gamma) / 2) * math.sqrt(2 / math.pi)
        assert share.item() == pytest.approx(expected, rel=0.03)


def test_zeros_have_a_floor():
    a = torch.ones(1, 1, 9, 9)
    a[..., 4, 4] = 0
    weight = gaussian_filter(1 - a, 1.0)[0, 0, 4, 4].item()
    for floor in (-100.0, -20.0):
        lifted = homomorphic_filter(a, 1.0, floor_db=floor)[0, 0, 4, 4].item()
        assert lifted == pytest.approx(10 ** (floor / 20 * weight), rel=1e-4)
    assert torch.equal(homomorphic_filter(torch.zeros(1, 1, 4, 4), 1.0), torch.zeros(1, 1, 4, 4))


@settings(max_examples=15, deadline=None)
@given(shape=SHAPES, window=st.sampled_from([3, 5]), variation=st.floats(0.1, 1), seed=st.integers(0, 99))
def test_lee_is_his_equation(shape, window, variation, seed):
    z = torch.rand(shape, generator=seeded(seed), dtype=torch.float64) * 3
    size = (1, 1, *[window] * (len(shape) - 2))
    mean = ndimage.uniform_filter(z.numpy(), size, mode="nearest")
    var_z = ndimage.uniform_filter(z.numpy() ** 2, size, mode="nearest") - mean ** 2
    var_x = np.maximum(0, (var_z + mean ** 2) / (1 + variation ** 2) - mean ** 2)
    expected = mean + var_x / (mean ** 2 * variation ** 2 + var_x) * (z.numpy() - mean)
    np.testing.assert_allclose(lee_filter(z, window, variation=variation).numpy(), expected, atol=1e-9)


def test_lee_averages_speckle_and_keeps_an_edge():
    image = speckle_noise(torch.ones(1, 1, 128, 128), 1.0, generator=seeded())
    flat = lee_filter(image, 7)
    assert point_snr(flat).item() > 3 * RAYLEIGH_SNR
    edge = torch.ones(1, 1, 32, 32)
    edge[..., 16:] = 100
    lee, linear = lee_filter(edge, 7), gaussian_filter(edge, 2.0)
    assert lee[0, 0, 16, 16] - lee[0, 0, 16, 15] > 2 * (linear[0, 0, 16, 16] - linear[0, 0, 16, 15])
    constant = torch.full((1, 1, 8, 8), 3.0)
    torch.testing.assert_close(lee_filter(constant, 3), constant)
    assert torch.equal(lee_filter(torch.zeros(1, 1, 8, 8), 3), torch.zeros(1, 1, 8, 8))


def test_the_median_commutes_with_the_logarithm_and_a_linear_filter_does_not():
    a = torch.rand(1, 1, 12, 12, generator=seeded()) + 0.1
    torch.testing.assert_close(median_filter(a.log(), 3), median_filter(a, 3).log())
    assert (gaussian_filter(a.log(), 1.0) - gaussian_filter(a, 1.0).log()).abs().max() > 0.05
