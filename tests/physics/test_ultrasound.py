"""Speckle against closed theory, and what it and its filters refuse."""
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, ndimage, signal, special, stats

from medlearn.physics.despeckle import gaussian_filter, homomorphic_filter, lee_filter, median_filter
from medlearn.physics.ultrasound import (
    RAYLEIGH_SNR,
    Pulse,
    compound,
    envelope,
    k_logpdf,
    k_point_snr,
    log_compress,
    point_snr,
    radio_frequency,
    rayleigh_logpdf,
    speckle_noise,
)

PULSE, SPACING = Pulse(), (0.04, 0.1)
SHAPES = st.sampled_from([(1, 1, 9, 12), (2, 3, 8, 8), (2, 1, 6, 7, 8)])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tissue(shape=(1, 1, 600, 400), seed=0, density=None):
    """Scatterers of unit power in every voxel, or in a share of them."""
    amplitudes = torch.randn(shape, generator=seeded(seed))
    if density is not None:
        amplitudes *= (torch.rand(shape, generator=seeded(seed + 100)) < density) / math.sqrt(density)
    return amplitudes


def speckle(**how):
    """An envelope away from the borders, where scatterers are missing."""
    return envelope(radio_frequency(tissue(**how), PULSE, spacing_mm=SPACING))[..., 20:-20, 15:-15]


def independent(image):
    """Voxels further apart than the pulse is long and wide."""
    return image[..., ::12, ::12].flatten().double().numpy()


# ---------------------------------------------------------------------------------------------------------------------
# From scatterers to B-mode

def test_one_scatterer_sends_the_pulse():
    point = torch.zeros(1, 1, 101, 61)
    point[0, 0, 50, 30] = 2
    echo = radio_frequency(point, PULSE, spacing_mm=SPACING)[0, 0].double()
    z, x = torch.meshgrid(0.04 * (torch.arange(101.0) - 50), 0.1 * (torch.arange(61.0) - 30), indexing="ij")
    width = math.sqrt(8 * math.log(2))
    pulse = torch.exp(-((z * width / 0.3) ** 2 + (x * width / 0.6) ** 2) / 2) * torch.cos(4 * math.pi * 5 * z / 1.54)
    # what lies beyond four standard deviations was cut off
    torch.testing.assert_close(echo, (2 * pulse / pulse.square().sum().sqrt()).double(), atol=2e-4, rtol=0)
    amplitude = envelope(echo[None, None].float())[0, 0]
    half = amplitude > amplitude.max() / 2
    assert half.any(1).sum().item() * 0.04 == pytest.approx(0.3, abs=0.05)
    assert half.any(0).sum().item() * 0.1 == pytest.approx(0.6, abs=0.11)


@settings(max_examples=10, deadline=None)
@given(shape=st.sampled_from([(2, 1, 40, 30), (1, 1, 33, 25), (1, 1, 30, 20, 12)]), angle=st.floats(-20, 20))
def test_the_echo_is_scipys_convolution(shape, angle):
    spacing = (0.04, 0.08, 0.3)[:len(shape) - 2]
    scatterers, kernel = tissue(shape), PULSE.on_grid(spacing, angle)
    got = radio_frequency(scatterers, PULSE, spacing_mm=spacing, angles_deg=[angle])
    for one, echo in zip(scatterers[:, 0].numpy(), got[:, 0].numpy()):
        np.testing.assert_allclose(echo, signal.fftconvolve(one, kernel.numpy(), mode="full")[tuple(
            slice(k // 2, k // 2 + n) for k, n in zip(kernel.shape, one.shape))], atol=1e-4)
    assert kernel.square().sum().item() == pytest.approx(1)


def test_a_steered_pulse_is_the_pulse_turned():
    straight, turned = PULSE.on_grid((0.02, 0.02)), PULSE.on_grid((0.02, 0.02), 30.0)
    rotated = ndimage.rotate(straight.numpy(), 30.0, reshape=True)
    size = [min(a, b) // 2 * 2 - 1 for a, b in zip(rotated.shape, turned.shape)]
    middle = lambda k: k[tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(k.shape, size))]
    match = [np.corrcoef(middle(kernel).ravel(), middle(rotated).ravel())[0, 1]
             for kernel in (turned.numpy(), PULSE.on_grid((0.02, 0.02), -30.0).numpy())]
    assert max(match) > 0.9 and min(match) < 0.5


@settings(max_examples=12, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_the_envelope_is_that_of_scipys_hilbert_transform(shape, seed):
    rf = torch.randn(shape, generator=seeded(seed), dtype=torch.float64)
    np.testing.assert_allclose(envelope(rf).numpy(), np.abs(signal.hilbert(rf.numpy(), axis=2)), atol=1e-12)


@pytest.mark.parametrize("mean", [1.0, 40.0])
def test_speckle_is_rayleighs_whatever_its_mean(mean):
    image = mean * speckle(shape=(2, 1, 1200, 600), seed=1)
    values = independent(image)
    assert stats.kstest(values, stats.rayleigh(scale=mean).cdf).pvalue > 0.01
    assert stats.kstest(values, stats.rayleigh(scale=1.1 * mean).cdf).pvalue < 1e-6      # and it would tell
    torch.testing.assert_close(point_snr(image), torch.full((2, 1), RAYLEIGH_SNR), rtol=0.02, atol=0)
    assert RAYLEIGH_SNR == pytest.approx(stats.rayleigh.mean() / stats.rayleigh.std()) == pytest.approx(1.913, abs=5e-4)


def test_speckle_is_rayleighs_in_a_volume_too():
    echo = radio_frequency(tissue((1, 1, 80, 60, 30)), PULSE, spacing_mm=(0.045, 0.2, 0.4))
    assert point_snr(envelope(echo)[..., 15:-15, 8:-8, 5:-5]).item() == pytest.approx(RAYLEIGH_SNR, rel=0.05)


@pytest.mark.parametrize("mean", [1.0, 40.0])
def test_the_logarithms_spread_does_not_depend_on_the_mean(mean):
    log = (mean * speckle(shape=(2, 1, 1200, 600), seed=2)).log()
    assert log.std().item() == pytest.approx(math.pi / math.sqrt(24), rel=0.02)


def test_few_scatterers_are_brighter_than_rayleigh_and_k_fits_them_better():
    sparse = speckle(shape=(4, 1, 600, 400), density=0.01)
    assert (point_snr(sparse) < 0.9 * RAYLEIGH_SNR).all()
    a = torch.from_numpy(independent(sparse)).clamp_min(1e-9)
    sigma = (a.square().mean() / 2).sqrt().item()
    rayleigh = rayleigh_logpdf(a, sigma).mean()
    k = torch.stack([k_logpdf(a, alpha, sigma).mean() for alpha in (0.5, 1.0, 2.0, 4.0)]).max()
    assert k > rayleigh + 0.02


def test_compounding_raises_the_point_snr_as_theory_says():
    frames = torch.cat([speckle(seed=n) for n in range(4)], dim=1)
    assert point_snr(compound(frames)).item() == pytest.approx(2 * RAYLEIGH_SNR, rel=0.04)
    same = radio_frequency(tissue(), PULSE, spacing_mm=SPACING, angles_deg=(-12, 0, 12))
    steered = point_snr(compound(envelope(same))[..., 20:-20, 15:-15]).item()
    assert 1.4 * RAYLEIGH_SNR < steered <= 1.04 * math.sqrt(3) * RAYLEIGH_SNR
    still = radio_frequency(tissue(), PULSE, spacing_mm=SPACING, angles_deg=(0, 0, 0))
    assert point_snr(compound(envelope(still))[..., 20:-20, 15:-15]).item() == pytest.approx(RAYLEIGH_SNR, rel=0.04)


@settings(max_examples=20, deadline=None)
@given(shape=SHAPES, dynamic_range=st.floats(10, 120), seed=st.integers(0, 99))
def test_compression_is_decibels_below_the_images_maximum(shape, dynamic_range, seed):
    a = torch.rand(shape, generator=seeded(seed)) ** 4
    db = log_compress(a, dynamic_range)
    assert torch.equal(db.flatten(1).amax(1), torch.zeros(len(a))) and db.min() >= -dynamic_range
    peak = a.flatten(1).amax(1).reshape(-1, *[1] * (len(shape) - 1))
    torch.testing.assert_close(db, (20 * (a / peak).log10()).clamp_min(-dynamic_range), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(log_compress(1000 * a, dynamic_range), db, atol=1e-4, rtol=1e-4)


def test_black_stays_black_and_passes_gradients():
    a = torch.zeros(2, 1, 4, 4)
    a[1, 0, 0, 0] = 1
    a.requires_grad_()
    db = log_compress(a, 40.0)
    db.sum().backward()
    assert (db[0] == -40).all() and db[1].max() == 0 and a.grad.isfinite().all()


# ---------------------------------------------------------------------------------------------------------------------
# Statistics

@settings(max_examples=30, deadline=None)
@given(a=st.floats(1e-3, 50), sigma=st.floats(0.05, 20))
def test_the_rayleigh_density_is_scipys(a, sigma):
    got = rayleigh_logpdf(torch.tensor(a, dtype=torch.float64), sigma).item()
    assert got == pytest.approx(stats.rayleigh.logpdf(a, scale=sigma), rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(a=st.floats(1e-4, 12), alpha=st.floats(0.05, 100), sigma=st.floats(0.1, 10))
def test_the_k_density_is_bessels(a, alpha, sigma):
    b = math.sqrt(2 * alpha) / sigma
    x = b * a * sigma
    bessel = special.kve(alpha - 1, x)
    assume(bessel < 1e300)                                   # where scipy's overflows there is nothing to compare with
    expected = math.log(2 * b) - special.gammaln(alpha) + alpha * math.log(x / 2) + math.log(bessel) - x
    got = k_logpdf(torch.tensor(a * sigma, dtype=torch.float64), alpha, sigma).item()
    assert got == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 3.0, 100.0])
def test_the_k_density_is_rayleighs_with_a_power_that_varies(alpha):
    random = np.random.default_rng(int(10 * alpha))
    draws = np.sqrt(random.gamma(alpha, 1 / alpha, 40_000)) * random.rayleigh(1.5, 40_000)
    grid = np.concatenate([[0], np.geomspace(1e-5, 60, 4000)])
    density = np.concatenate([[0], k_logpdf(torch.from_numpy(grid[1:]), alpha, 1.5).exp().numpy()])
    cdf = integrate.cumulative_trapezoid(density, grid, initial=0)
    assert cdf[-1] == pytest.approx(1, abs=1e-3)
    assert stats.kstest(draws, lambda a: np.interp(a, grid, cdf)).pvalue > 0.01
    assert k_point_snr(alpha).item() == pytest.approx(draws.mean() / draws.std(), rel=0.02)


def test_many_scatterers_are_rayleigh_and_half_of_one_is_exponential():
    assert k_point_snr(0.5).item() == pytest.approx(1, rel=1e-5)
    assert k_point_snr(torch.tensor([1.0, 10.0, 100.0])).diff().min() > 0
    assert k_point_snr(100.0).item() == pytest.approx(RAYLEIGH_SNR, rel=0.01)
    a = torch.linspace(0.1, 3, 30)
    torch.testing.assert_close(k_logpdf(a, 100.0, 1.0), rayleigh_logpdf(a, 1.0), atol=0.06, rtol=0)


def test_the_densities_have_gradients():
    a, alpha, sigma = (torch.tensor(v, dtype=torch.float64, requires_grad=True)
                       for v in ([1e-6, 0.3, 2.0, 30.0], [0.1, 1.0, 2.5, 80.0], [1.0, 0.5, 2.0, 10.0]))
    assert torch.autograd.gradcheck(k_logpdf, (a[1:], alpha[1:], sigma[1:]), eps=1e-5, atol=1e-5)
    assert torch.autograd.gradcheck(rayleigh_logpdf, (a[1:], sigma[1:]))
    for density, inputs in ((k_logpdf, (a, alpha, sigma)), (rayleigh_logpdf, (a, sigma))):
        assert all(g.isfinite().all() for g in torch.autograd.grad(density(*inputs).sum(), inputs))


# ---------------------------------------------------------------------------------------------------------------------
# Augmentation

@pytest.mark.parametrize("shape", [(2, 1, 128, 128), (2, 1, 40, 40, 32)], ids=["2d", "3d"])
@pytest.mark.parametrize("width", [0.0, 1.5])
def test_speckle_multiplies_and_keeps_the_power(shape, width):
    level = torch.tensor([1.0, 30.0]).reshape(-1, *[1] * (len(shape) - 1))
    noisy = speckle_noise(level.expand(shape), 1.0, width_voxels=width, generator=seeded(3))
    power = (noisy / level).square().flatten(1).mean(1)
    torch.testing.assert_close(power, torch.ones(2), rtol=0.02 + 0.06 * width, atol=0)
    torch.testing.assert_close(point_snr(noisy), torch.full((2, 1), RAYLEIGH_SNR), rtol=0.02 + 0.03 * width, atol=0)
    if width == 0:
        scaled = (noisy / level).flatten()[:30_000].double().numpy()
        assert stats.kstest(scaled, stats.rayleigh(scale=math.sqrt(0.5)).cdf).pvalue > 0.01


def test_a_part_of_speckle_is_rices():
    noisy = speckle_noise(torch.ones(1, 1, 150, 150), 0.6, generator=seeded()).flatten().double().numpy()
    scale = 0.6 * math.sqrt(0.5)
    assert stats.kstest(noisy, stats.rice(0.8 / scale, scale=scale).cdf).pvalue > 0.01


def test_speckle_has_the_width_asked_for_up_to_the_border():
    noisy = speckle_noise(torch.ones(400, 1, 24, 24), 1.0, width_voxels=2.0, generator=seeded()).square()
    # the intensity's correlation is the field's squared: exp(-d^2 / 4 w^2)^2
    flat = noisy - 1
    for place in (0, 12):
        for d in (1, 2, 4):
            found = (flat[..., place] * flat[..., place + d]).mean() / flat.square().mean()
            assert found.item() == pytest.approx(math.exp(-d ** 2 / 8), abs=0.1)
    assert noisy[..., 0].mean().item() == pytest.approx(1, abs=0.05)


def test_each_image_has_its_own_strength_and_generator():
    a = torch.rand(3, 2, 10, 10, generator=seeded())
    noisy = speckle_noise(a, torch.tensor([0.0, 0.5, 1.0]), width_voxels=1.0, generator=[seeded(n) for n in range(3)])
    torch.testing.assert_close(noisy[0], a[0])
    assert torch.equal(noisy[2:], speckle_noise(a[2:], 1.0, width_voxels=1.0, generator=[seeded(2)]))
    assert not torch.equal(noisy[2:], speckle_noise(a[2:], 1.0, width_voxels=1.0, generator=[seeded(3)]))
    assert speckle_noise(a.half(), 0.5, generator=seeded()).dtype == torch.float16


# ---------------------------------------------------------------------------------------------------------------------
# All of them

FILTERS = {"gaussian": lambda a: gaussian_filter(a, 1.5), "homomorphic": lambda a: homomorphic_filter(a, 1.5),
           "lee": lambda a: lee_filter(a, 3), "median": lambda a: median_filter(a, 3), "compress": log_compress,
           "speckle": lambda a: speckle_noise(a, 1.0, width_voxels=1.0, generator=seeded()), "compound": compound,
           "envelope": envelope, "snr": point_snr, "rf": lambda a: radio_frequency(a, PULSE, spacing_mm=0.04)}


@pytest.mark.parametrize("name", FILTERS)
def test_autocast_changes_nothing_and_no_image_gives_none(name):
    a = torch.rand(2, 1, 12, 12, generator=seeded())
    expected = FILTERS[name](a)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(FILTERS[name](a), expected)
    assert FILTERS[name](a[:0]).shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("name", FILTERS)
def test_all_have_finite_gradients(name):
    a = torch.rand(1, 1, 12, 12, generator=seeded())
    a[..., 3:6, 3:6] = 0
    a.requires_grad_()
    FILTERS[name](a).sum().backward()
    assert a.grad.isfinite().all()


# ---------------------------------------------------------------------------------------------------------------------
# Refusals

@pytest.mark.parametrize("name", FILTERS)
def test_an_image_that_is_none_is_refused(refused, name):
    wrong = [torch.full((1, 1, 8, 8), math.nan), torch.full((1, 1, 8, 8), math.inf), torch.ones(1, 8, 8), None,
             torch.ones(1, 1, 8, 8, dtype=torch.uint8)]
    for image in wrong:
        with refused("expected .* got"):
            FILTERS[name](image)


@pytest.mark.parametrize("name", ["homomorphic", "lee", "compress", "speckle", "compound", "snr"])
def test_an_image_in_decibels_is_told_what_it_is(refused, name):
    with refused(r"amplitude: expected 0 or more, got .* image in dB .* 10 \*\* \(db / 20\)"):
        FILTERS[name](log_compress(torch.rand(1, 1, 8, 8, generator=seeded())))


@pytest.mark.parametrize("wrong, message", [
    (dict(frequency_mhz=5e6), "frequency_mhz: expected 0.5..100 MHz, got 5000000"), (dict(axial_mm=0.0), "axial_mm"),
    (dict(lateral_mm=-1.0), "lateral_mm"), (dict(elevation_mm=math.nan), "elevation_mm"),
    (dict(axial_mm=300.0), "axial_mm"), (dict(frequency_mhz="5"), "frequency_mhz"),
], ids=["Hz", "no length", "negative", "nan", "micrometres", "text"])
def test_a_pulse_that_no_transducer_sends_is_refused(refused, wrong, message):
    with refused(f"{message}.*"):
        Pulse(**wrong)


def test_an_echo_that_cannot_be_is_refused(refused):
    points = tissue((1, 1, 40, 40))
    for spacing in (0.5, (0.04, 0.5), 4e-5 * 1e3 * 2, 0.0, -0.04, math.nan, (0.04, math.nan), True, "0.04", None):
        with refused("spacing_mm: expected .* got"):
            radio_frequency(points, PULSE, spacing_mm=spacing)
    with refused("spacing_mm: expected 2 numbers, one for each axis, or a Grid, got"):
        radio_frequency(points, PULSE, spacing_mm=(0.04, 0.04, 0.04))
    with refused("pulse: expected a Pulse, got NoneType"):
        radio_frequency(points, None, spacing_mm=SPACING)
    for angles in (5.0, "20", [True], ["20"]):
        with refused("angles_deg: expected .* got"):
            radio_frequency(points, PULSE, spacing_mm=SPACING, angles_deg=angles)
    with refused("angles_deg: expected at least one"):
        radio_frequency(points, PULSE, spacing_mm=SPACING, angles_deg=[])
    with refused("angles_deg: expected -45..45 degrees, got 60"):
        radio_frequency(points, PULSE, spacing_mm=SPACING, angles_deg=[0, 60])
    with refused("spacing_mm"):                              # a steered wave also runs across
        radio_frequency(points, PULSE, spacing_mm=(0.04, 0.2), angles_deg=[20])
    with refused(r"scatterers: expected \(B, 1"):
        radio_frequency(points.expand(1, 2, 40, 40), PULSE, spacing_mm=SPACING)


@pytest.mark.parametrize("call", [
    lambda a: log_compress(a, 0.0), lambda a: log_compress(a, math.nan), lambda a: log_compress(a, 6000.0),
    lambda a: speckle_noise(a, 1.5, generator=seeded()), lambda a: speckle_noise(a, -0.1, generator=seeded()),
    lambda a: speckle_noise(a, 1.0, width_voxels=-1.0, generator=seeded()),
    lambda a: speckle_noise(a, 1.0, generator=None),
    lambda a: speckle_noise(a, torch.ones(3), generator=seeded()), lambda a: gaussian_filter(a, -1.0),
    lambda a: homomorphic_filter(a, math.nan), lambda a: homomorphic_filter(a, 1.0, floor_db=3.0),
    lambda a: lee_filter(a, 4), lambda a: lee_filter(a, 3, variation=-1.0), lambda a: median_filter(a, 0),
    lambda a: median_filter(a, 3.0), lambda a: compound(a[:, :0]), lambda a: point_snr(a[..., :1, :1]),
    lambda a: rayleigh_logpdf(a, 0.0), lambda a: rayleigh_logpdf(-a, 1.0), lambda a: k_logpdf(a, 1.0, math.nan),
    lambda a: k_logpdf(0 * a, 1.0, 1.0), lambda a: k_logpdf(a, 0.0, 1.0), lambda a: k_point_snr(-1.0),
], ids=[f"case {n}" for n in range(23)])
def test_numbers_without_meaning_are_refused(refused, call):
    with refused("expected .* got"):
        call(torch.ones(1, 1, 8, 8))


@pytest.mark.gpu
@pytest.mark.parametrize("name", FILTERS)
def test_all_run_where_their_image_is(name):
    a = torch.rand(2, 1, 12, 12, generator=seeded())
    torch.testing.assert_close(FILTERS[name](a.cuda()).cpu(), FILTERS[name](a), rtol=1e-4, atol=1e-4)
