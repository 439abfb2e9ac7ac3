"""Noise in both channels, of several coils and of the magnitude, against the laws of SciPy."""
import math

import numpy as np
import pytest
import torch
from scipy import stats

from medlearn.physics.mri import (
    complex_noise,
    from_kspace,
    magnitude,
    rician_noise,
    sum_of_squares,
    to_kspace,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.float64, torch.float16], ids=str)
def test_complex_noise_is_gaussian_in_both_channels_and_in_kspace_too(dtype):
    shape = (1, 1, 200, 200)
    noise = complex_noise(torch.zeros(shape, dtype=dtype), 0.3, generator=seeded(8))
    assert noise.dtype == (torch.complex128 if dtype == torch.float64 else torch.complex64)
    for one in (noise, to_kspace(noise)):
        for channel in (one.real, one.imag):
            assert stats.kstest(channel.flatten().numpy(), stats.norm(0, 0.3).cdf).pvalue > 0.01
        assert abs(np.corrcoef(one.real.flatten(), one.imag.flatten())[0, 1]) < 4 / 200


def test_the_magnitude_of_complex_noise_is_rician_noise():
    image, sigma = torch.rand(3, 1, 8, 9, generator=seeded()), torch.tensor([0.0, 0.1, 0.5])
    noisy = magnitude(complex_noise(image, sigma, generator=[seeded(n) for n in range(3)]))
    torch.testing.assert_close(noisy, rician_noise(image, sigma, generator=[seeded(n) for n in range(3)]))
    phase = torch.polar(torch.ones_like(image), 3 * image)
    turned = magnitude(complex_noise(image * phase.conj(), 0.1, generator=seeded()))
    torch.testing.assert_close(complex_noise(phase.conj(), 0.0, generator=seeded()), phase.conj())
    assert stats.kstest(turned.flatten(), rician_noise(image, 0.1, generator=seeded(1)).flatten()).pvalue > 0.01


@pytest.mark.parametrize("coils", [1, 4, 8])
def test_the_sum_of_squares_is_non_central_chi(coils):
    signals = torch.linspace(1, 0.2, coils).reshape(1, coils, 1, 1).expand(1, coils, 150, 150)
    image = sum_of_squares(complex_noise(signals, 0.5, generator=seeded(coils)))
    assert image.shape == (1, 1, 150, 150)
    centre = signals[0, :, 0, 0].square().sum().item() / 0.25
    values = (image / 0.5).square().flatten().double().numpy()
    assert stats.kstest(values, stats.ncx2(2 * coils, centre).cdf).pvalue > 0.01
    assert stats.kstest(values, stats.ncx2(2 * coils, 1.2 * centre).cdf).pvalue < 1e-6


def test_one_coil_is_the_magnitude_and_both_have_gradients_at_0():
    signal = torch.zeros(1, 1, 3, 3, dtype=torch.complex64, requires_grad=True)
    (magnitude(signal).sum() + sum_of_squares(signal).sum()).backward()
    assert torch.equal(signal.grad, torch.zeros_like(signal))
    image = torch.randn(2, 1, 4, 5, dtype=torch.complex128, generator=seeded())
    torch.testing.assert_close(sum_of_squares(image), magnitude(image))


@pytest.mark.parametrize("signal, sigma", [
    (torch.full((1, 4), math.nan), 0.1), (torch.full((1, 4), complex(0, math.inf)), 0.1), (torch.ones(1, 4), -0.1),
    (torch.ones(1, 4), math.nan), (torch.ones(2, 4), torch.ones(3)), (torch.ones(1, 4, dtype=torch.int64), 0.1),
    (torch.tensor(1.0), 0.1), (None, 0.1),
], ids=["nan", "inf", "negative sigma", "nan sigma", "wrong count", "integer", "no batch", "none"])
def test_complex_noise_without_meaning_is_refused(refused, signal, sigma):
    with refused("expected .* got"):
        complex_noise(signal, sigma, generator=seeded())


def test_a_magnitude_of_no_complex_signal_and_a_sum_of_no_coil_are_refused(refused):
    with refused("signal: expected a complex tensor, got torch.float32"):
        magnitude(torch.ones(1, 4))
    with refused("coils: expected at least one"):
        sum_of_squares(torch.ones(1, 0, 4, 4))
    assert complex_noise(torch.zeros(0, 1, 4, 4), 0.1, generator=seeded()).shape == (0, 1, 4, 4)


def test_the_scanner_works_under_autocast():
    image = torch.rand(1, 1, 8, 8, generator=seeded())
    scan = lambda: sum_of_squares(from_kspace(complex_noise(to_kspace(image), 0.1, generator=seeded())))
    with torch.autocast("cpu", torch.bfloat16):
        low = scan()
    assert low.dtype == torch.float32 and torch.equal(low, scan())


@pytest.mark.gpu
def test_a_cpu_generator_gives_the_same_noise_on_a_gpu():
    image = torch.rand(2, 1, 8, 8)
    for noise in (rician_noise, complex_noise):
        here, there = (noise(image.to(d), 0.1, generator=seeded()) for d in ("cpu", "cuda"))
        torch.testing.assert_close(there.cpu(), here)
    on_gpu = complex_noise(image.cuda(), 0.1, generator=torch.Generator("cuda").manual_seed(0))
    assert on_gpu.device.type == "cuda" and magnitude(on_gpu).device.type == "cuda"


@pytest.mark.parametrize("signal, sigma", [(0.0, 0.1), (0.2, 0.1), (1.0, 0.05)])
def test_the_noise_is_rices(signal, sigma):
    values = rician_noise(torch.full((1, 200, 200), signal), sigma, generator=seeded(1)).flatten().double().numpy()
    assert stats.kstest(values, stats.rice(signal / sigma, scale=sigma).cdf).pvalue > 0.01
    assert stats.kstest(values, stats.rice(signal / sigma, scale=1.05 * sigma).cdf).pvalue < 1e-6   # and it would tell


def test_air_is_rayleighs_and_its_mean_is_not_zero():
    values = rician_noise(torch.zeros(1, 300, 300), 0.1, generator=seeded())
    assert values.mean().item() == pytest.approx(0.1 * math.sqrt(math.pi / 2), rel=0.01)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 1, 5, 6, 7)])
def test_no_noise_leaves_the_image_and_no_image_none(shape):
    image = torch.rand(shape)
    torch.testing.assert_close(rician_noise(image, 0.0, generator=seeded()), image)
    assert rician_noise(image[:0], 0.1, generator=seeded()).shape == (0, *shape[1:])
    assert rician_noise(image, 0.1, generator=seeded()).min() >= 0


def test_each_image_has_its_own_sigma_and_generator():
    image = torch.ones(3, 1, 64, 64)
    together = rician_noise(image, torch.tensor([0.0, 0.02, 0.1]), generator=[seeded(n) for n in range(3)])
    assert torch.equal(together[0], image[0])
    assert [round(v, 2) for v in together.flatten(1).std(1).tolist()] == [0.0, 0.02, 0.1]
    assert torch.equal(together[2:], rician_noise(image[2:], 0.1, generator=[seeded(2)]))


def test_noise_keeps_the_images_precision_and_passes_gradients():
    assert rician_noise(torch.ones(1, 4, 4, dtype=torch.float16), 0.1, generator=seeded()).dtype == torch.float16
    image = torch.ones(1, 4, 4, requires_grad=True)
    rician_noise(image, 0.1, generator=seeded()).sum().backward()
    assert image.grad.isfinite().all() and (image.grad > 0).all()


@pytest.mark.parametrize("level", [1e-4, 1.0, 1000.0, 60000.0])
def test_half_precision_has_room_for_the_squares(level):
    image = torch.full((1, 1, 64, 64), level).half()
    noisy = rician_noise(image, level / 100, generator=seeded())
    assert noisy.dtype == torch.float16
    torch.testing.assert_close(noisy.float(), rician_noise(image.float(), level / 100, generator=seeded()),
                               rtol=1e-3, atol=1e-7)


def test_noise_is_refused_to_a_standardised_image(refused):
    with refused("standardised .* is not a magnitude"):
        rician_noise(torch.randn(1, 8, 8, generator=seeded()), 0.1, generator=seeded())


@pytest.mark.parametrize("image, sigma", [
    (torch.full((1, 4, 4), math.nan), 0.1), (torch.full((1, 4, 4), math.inf), 0.1), (torch.ones(1, 4, 4), -0.1),
    (torch.ones(1, 4, 4), math.nan), (torch.ones(1, 4, 4), math.inf), (torch.ones(2, 4, 4), torch.ones(3)),
    (torch.ones(1, 4, 4, dtype=torch.int64), 0.1), (torch.tensor(1.0), 0.1),
], ids=["nan", "inf", "negative sigma", "nan sigma", "inf sigma", "wrong count", "integer", "no batch"])
def test_noise_without_meaning_is_refused(refused, image, sigma):
    with refused("expected .* got"):
        rician_noise(image, sigma, generator=seeded())


@pytest.mark.parametrize("generator", [None, 0, [0], "seed"], ids=repr)
def test_randomness_must_be_given(refused, generator):
    with refused("generator: expected a torch.Generator .* got"):
        rician_noise(torch.ones(1, 4, 4), 0.1, generator=generator)


def test_a_wrong_number_of_generators_is_refused(refused):
    with refused("generator: expected one, or one for each of 3 images, got 2"):
        rician_noise(torch.ones(3, 4, 4), 0.1, generator=[seeded(), seeded()])
