"""The spectrum of noise: its integral is the variance, white is flat, CT's is a ramp, and streaks have a direction."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from medlearn.physics.noise_power import angular_profile, noise_power_spectrum, radial_profile
from medlearn.physics.projection import ParallelBeam


def white(*shape, seed=0, **kind):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), **kind)


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(2, 9), min_size=2, max_size=3), pixel=st.floats(0.1, 5), seed=st.integers(0, 99))
def test_the_spectrums_integral_is_the_variance(shape, pixel, seed):
    noise = white(3, 2, *shape, seed=seed, dtype=torch.float64) + 5
    spectrum = noise_power_spectrum(noise, pixel)
    cell = math.prod(1 / (n * pixel) for n in shape)
    variance = noise.flatten(2).var(-1, unbiased=False).mean()
    assert tuple(spectrum.shape) == tuple(shape) and spectrum.flatten()[0].abs() < 1e-20
    assert (spectrum.sum() * cell).item() == pytest.approx(variance.item(), rel=1e-9)


def test_one_row_has_scipys_periodogram():
    noise = white(4, 1, 1, 64, dtype=torch.float64)
    _, expected = signal.periodogram(noise[:, 0, 0].numpy(), fs=1 / 0.5, return_onesided=False, detrend="constant")
    got = noise_power_spectrum(noise, 0.5)[0] / 0.5                   # the row itself is half a millimetre wide
    np.testing.assert_allclose(got.numpy(), expected.mean(0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("space", [(32, 32), (32, 48), (12, 12, 12)], ids=str)
def test_white_noise_is_flat_at_its_variance_times_the_voxel(space):
    spectrum = noise_power_spectrum(3 * white(200, 1, *space), 0.5)
    at, power = radial_profile(spectrum, 0.5, bins=5)
    assert power.numpy() == pytest.approx(9 * 0.5 ** len(space), rel=0.05)
    np.testing.assert_allclose(at.numpy(), (np.arange(5) + 0.5) / 5, rtol=1e-6)
    if len(space) == 2:
        at, power = angular_profile(spectrum, bins=6)
        assert power.numpy() == pytest.approx(9 * 0.25, rel=0.05)
        np.testing.assert_allclose(at.numpy(), np.arange(6) * 30, atol=1e-4)


def test_a_wave_is_found_at_its_frequency_and_in_its_direction():
    x, y = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for kx, ky, degrees in ((8, 0, 0), (8, -1, 0), (0, 8, 90), (8, 8, 45), (-8, 8, 135)):
        wave = torch.cos(2 * math.pi * (kx * x + ky * y) / 64)[None, None]
        spectrum = noise_power_spectrum(wave, 2.0)
        at, power = angular_profile(spectrum, bins=4)
        assert at[power.argmax()].item() == pytest.approx(degrees)
        at, power = radial_profile(spectrum, 2.0, bins=16)
        assert abs(at[power.argmax()].item() - math.hypot(kx, ky) / 128) <= 1 / 64


def test_reconstructed_noise_is_a_ramp_that_a_window_bends():
    beam = ParallelBeam(64, torch.arange(120) * 1.5)
    noise = white(10, 1, 120, beam.detectors)
    at, ramp = radial_profile(noise_power_spectrum(beam.fbp(noise), 1.0), 1.0, bins=10)
    _, hann = radial_profile(noise_power_spectrum(beam.fbp(noise, "hann"), 1.0), 1.0, bins=10)
    assert (ramp[1:5].diff() > 0).all()
    slope = ramp[1:5] / at[1:5]
    assert (slope / slope.mean() - 1).abs().max() < 0.3
    assert hann.argmax() < ramp.argmax() and (hann < ramp).all()
    _, around = angular_profile(noise_power_spectrum(beam.fbp(noise), 1.0), bins=8)
    assert (around / around.mean() - 1).abs().max() < 0.35


def test_streaks_are_a_peak_across_their_direction():
    beam = ParallelBeam(64, torch.arange(120) * 1.5)
    noise = white(10, 1, 120, beam.detectors)
    angle = torch.tensor(beam.angles_deg)
    for starved in (0.0, 45.0, 90.0, 120.0):
        # rays of a view at this angle run across it; these have a hundred times the variance
        strength = torch.where((angle - starved).abs() < 6, 10.0, 1.0)[:, None]
        at, power = angular_profile(noise_power_spectrum(beam.fbp(noise * strength), 1.0), bins=12)
        assert at[power.argmax()].item() == pytest.approx(starved, abs=1e-3)
        assert power.max() > 5 * power.median()


def test_a_bin_without_a_frequency_has_no_mean():
    _, power = radial_profile(noise_power_spectrum(white(1, 1, 4, 4), 1.0), 1.0, bins=8)
    assert power.isnan().any() and not power.isnan().all()


def test_half_precision_is_computed_in_float32():
    assert noise_power_spectrum(white(1, 1, 8, 8).half(), 1.0).dtype == torch.float32


@pytest.mark.parametrize("noise, pixel, name", [
    (torch.zeros(8, 8), 1.0, "noise"), (torch.zeros(0, 1, 8, 8), 1.0, "noise"),
    (torch.zeros(1, 1, 8, 8).long(), 1.0, "noise"),
    (torch.full((1, 1, 8, 8), math.nan), 1.0, "noise"), (torch.zeros(1, 1, 8, 8), 0.0, "pixel_mm"),
    (torch.zeros(1, 1, 8, 8), math.nan, "pixel_mm"),
], ids=["no batch", "no image", "integer", "nan", "no width", "nan width"])
def test_noise_without_a_spectrum_is_refused(refused, noise, pixel, name):
    with refused(f"{name}: expected .* got"):
        noise_power_spectrum(noise, pixel)


def test_profiles_without_meaning_are_refused(refused):
    spectrum = torch.ones(8, 8)
    for call in (lambda: radial_profile(spectrum, 1.0, bins=0), lambda: angular_profile(spectrum, bins=2.5)):
        with refused("bins: expected .* got"):
            call()
    with refused("pixel_mm: expected .* got"):
        radial_profile(spectrum, -1.0)
    with refused("spectrum: expected .* got"):
        angular_profile(torch.ones(4, 4, 4))
