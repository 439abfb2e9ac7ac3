"""Rice's distribution against scipy and mpmath: the likelihood at its edges, the moments, and their inverse."""
import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medlearn.physics.mri import complex_noise, rician_noise, sum_of_squares
from medlearn.physics.rician import (
    background_sigma,
    background_snr,
    koay_basser,
    koay_factor,
    rice_logpdf,
    rice_mean,
    rice_variance,
    rician_nll,
)

POSITIVE = st.floats(0.01, 100)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def double(*values):
    return [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]


def exact_factor(theta):
    with mpmath.workdps(60):
        theta = mpmath.mpf(theta)
        return 2 + theta ** 2 - mpmath.pi / 2 * mpmath.hyp1f1(-mpmath.mpf(1) / 2, 1, -theta ** 2 / 2) ** 2


# ---------------------------------------------------------------------------------------------------------------------
# Likelihood

@settings(max_examples=60, deadline=None)
@given(m=POSITIVE, nu=st.floats(0, 100), sigma=st.floats(0.1, 10))
def test_the_density_is_scipys(m, nu, sigma):
    got = rice_logpdf(*double(m, nu, sigma)).item()
    expected = stats.rice.logpdf(m, nu / sigma, scale=sigma)
    if expected > -600:                                       # scipy takes the logarithm of a density that underflows
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("nu, sigma", [(0.0, 1.0), (0.5, 0.2), (30.0, 1.0)])
def test_the_density_integrates_to_1(nu, sigma):
    m = torch.linspace(1e-9, nu + 12 * sigma, 20001, dtype=torch.float64)
    assert torch.trapezoid(rice_logpdf(m, nu, sigma).exp(), m).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("snr", [0.0, 1.0, 1e3, 1e6])
def test_it_holds_in_float32_from_no_signal_to_any_snr(snr):
    got = rice_logpdf(torch.tensor(snr + 1.0), snr, 1.0).item()
    with mpmath.workdps(50):
        m, nu = mpmath.mpf(snr + 1), mpmath.mpf(snr)
        bessel = mpmath.besseli(0, m * nu) if snr < 1e4 else mpmath.exp(m * nu) / mpmath.sqrt(2 * mpmath.pi * m * nu)
        expected = float(mpmath.log(m) - (m ** 2 + nu ** 2) / 2 + mpmath.log(bessel))
    assert got == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("m, nu, sigma", [(1.0, 0.0, 0.5), (0.3, 0.2, 0.1), (40.0, 38.0, 1.0), (1e-6, 1e-6, 1.0)])
def test_its_gradients_are_those_of_differences(m, nu, sigma):
    # to nu from the right, where it lies: the density is even in nu, so at 0 the slope is 0
    for which, value in enumerate((m, nu, sigma)):
        inputs = double(m, nu, sigma)
        got, = torch.autograd.grad(rice_logpdf(*inputs), inputs[which])
        with mpmath.workdps(40):
            at = [mpmath.mpf(v) for v in (m, nu, sigma)]
            log_p = lambda v: (lambda m, nu, s: mpmath.log(m / s ** 2) - (m ** 2 + nu ** 2) / (2 * s ** 2)
                               + mpmath.log(mpmath.besseli(0, m * nu / s ** 2)))(*(at[:which] + [v] + at[which + 1:]))
            expected = float(mpmath.diff(log_p, value))
        assert got.item() == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_without_a_measured_signal_the_density_is_0():
    assert rice_logpdf(0.0, 1.0, 1.0).item() == -math.inf == stats.rice.logpdf(0, 1.0)


@settings(max_examples=20, deadline=None)
@given(shape=st.sampled_from([(2, 1, 4, 5), (1, 2, 3, 4, 2), (3, 7)]), seed=st.integers(0, 99))
def test_the_loss_is_minus_the_density_but_for_what_no_parameter_moves(shape, seed):
    g = seeded(seed)
    nu, m, sigma = (torch.rand(shape, generator=g) + 0.01 for _ in range(3))
    torch.testing.assert_close(rician_nll(nu, m, sigma=sigma), -rice_logpdf(m, nu, sigma) + m.log(), rtol=1e-4,
                               atol=1e-4)
    one_each = sigma.flatten(1)[:, 0]
    whole = one_each.reshape(-1, *[1] * (len(shape) - 1)).expand(shape)
    torch.testing.assert_close(rician_nll(nu, m, sigma=one_each), rician_nll(nu, m, sigma=whole.contiguous()))


@pytest.mark.parametrize("m", [0.0, 1e-30, 1.0, 1e4])
@pytest.mark.parametrize("nu", [0.0, 1e-30, 1.0, 1e4])
def test_the_loss_and_its_gradients_are_finite_at_every_edge(m, nu):
    nu, m = torch.full((1, 1), nu, requires_grad=True), torch.full((1, 1), m, requires_grad=True)
    sigma = torch.ones(1, requires_grad=True)
    loss = rician_nll(nu, m, sigma=sigma).sum()
    assert loss.isfinite() and all(g.isfinite().all() for g in torch.autograd.grad(loss, (nu, m, sigma)))


def test_the_loss_does_not_pull_a_signal_of_0_away_from_0():
    nu = torch.zeros(1, 3, requires_grad=True)
    rician_nll(nu, torch.tensor([[0.0, 1.0, 5.0]]), sigma=1.0).sum().backward()
    torch.testing.assert_close(nu.grad, torch.zeros(1, 3), atol=1e-6, rtol=0)


def test_the_loss_finds_the_signal_where_the_squared_error_finds_the_bias():
    m = rician_noise(torch.full((1, 50_000), 0.6), 0.5, generator=seeded(3))
    nus = torch.linspace(0, 1.5, 61)
    losses = torch.stack([rician_nll(nu.expand_as(m), m, sigma=0.5).mean() for nu in nus])
    assert nus[losses.argmin()].item() == pytest.approx(0.6, abs=0.03)
    assert m.mean().item() > 0.75


def test_likelihoods_compute_in_float32_under_autocast_too():
    nu, m = torch.rand(1, 9, generator=seeded()), torch.rand(1, 9, generator=seeded(1))
    expected = rician_nll(nu, m, sigma=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        low = rician_nll(nu, m, sigma=0.1)
    assert low.dtype == torch.float32 and torch.equal(low, expected)
    assert rician_nll(nu.half(), m.half(), sigma=0.1).dtype == torch.float32
    assert rician_nll(nu.double(), m, sigma=0.1).dtype == torch.float64


# ---------------------------------------------------------------------------------------------------------------------
# Moments

@settings(max_examples=40, deadline=None)
@given(snr=st.floats(0, 14), sigma=st.floats(0.1, 10))
def test_mean_and_variance_are_scipys(snr, sigma):
    mean, variance = stats.rice.stats(snr, scale=sigma, moments="mv")
    assert rice_mean(*double(snr * sigma, sigma)).item() == pytest.approx(mean, rel=1e-9)
    assert rice_variance(*double(snr * sigma, sigma)).item() == pytest.approx(variance, rel=1e-8)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 3e-5), (torch.float64, 1e-10)], ids=str)
def test_the_moments_are_exact_at_every_snr(dtype, tolerance):
    snr = torch.tensor([0, 1e-3, 0.5, 2, 8, 14.9, 15, 15.1, 40, 1e3, 1e5], dtype=dtype)
    expected = torch.tensor([float(exact_factor(s.item())) for s in snr], dtype=dtype)
    torch.testing.assert_close(koay_factor(snr), expected, rtol=tolerance, atol=0)
    mean = 3 * (2 + snr.square() - expected).sqrt()
    torch.testing.assert_close(rice_mean(3 * snr, 3.0), mean, rtol=tolerance, atol=0)


def test_moments_have_gradients_everywhere():
    nu = torch.tensor([0.0, 0.1, 1.0, 14.0, 16.0, 1e4], dtype=torch.float64, requires_grad=True)
    mean, = torch.autograd.grad(rice_mean(nu, 1.0).sum(), nu)
    variance, = torch.autograd.grad(rice_variance(nu, 1.0).sum(), nu)
    assert mean[0] == 0 and (mean >= 0).all() and mean[-1].item() == pytest.approx(1)
    assert (variance >= 0).all() and variance.isfinite().all()


@settings(max_examples=30, deadline=None)
@given(nu=st.floats(0.3, 50), sigma=st.floats(0.1, 2))
def test_koay_and_basser_undo_the_moments(nu, sigma):
    nu, sigma = torch.tensor([nu], dtype=torch.float64), torch.tensor([sigma], dtype=torch.float64)
    signal, noise = koay_basser(rice_mean(nu, sigma), rice_variance(nu, sigma).sqrt())
    # near an SNR of 0 the moments hardly tell one signal from another: theta is the fourth root of what rounding left
    torch.testing.assert_close(signal, nu, atol=2e-3 * sigma.item(), rtol=1e-6)
    torch.testing.assert_close(noise, sigma, atol=0, rtol=1e-3)


def test_a_ratio_below_rayleighs_is_no_signal():
    signal, noise = koay_basser(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]))
    assert torch.equal(signal, torch.zeros(2))
    assert noise[0].item() == pytest.approx(1 / math.sqrt(2 - math.pi / 2))


def test_the_correction_takes_the_bias_out_of_a_noisy_image():
    values = rician_noise(torch.full((1, 200_000), 1.0), 0.6, generator=seeded(5))
    signal, noise = koay_basser(values.mean(), values.std())
    assert values.mean().item() > 1.15
    assert signal.item() == pytest.approx(1, abs=0.01) and noise.item() == pytest.approx(0.6, abs=0.005)


# ---------------------------------------------------------------------------------------------------------------------
# Noise from the background

def half_and_half(shape, level):
    image = torch.zeros(shape)
    tissue = torch.zeros(shape[0], *shape[2:], dtype=torch.bool)
    tissue[:, shape[2] // 2:] = True
    return image.masked_fill(tissue[:, None], level), tissue


@pytest.mark.parametrize("shape", [(3, 1, 128, 128), (3, 1, 32, 24, 20)], ids=["2d", "3d"])
@pytest.mark.parametrize("coils", [1, 4])
def test_the_air_tells_sigma_and_the_tissue_its_snr(shape, coils):
    image, tissue = half_and_half(shape, 2.0)
    sigma = torch.tensor([0.1, 0.5, 1.0])
    measured = sum_of_squares(complex_noise(image.expand(-1, coils, *shape[2:]), sigma, generator=seeded(2)))
    torch.testing.assert_close(background_sigma(measured, ~tissue, coils=coils), sigma, rtol=0.03, atol=0)
    snr = background_snr(measured, tissue=tissue, air=~tissue, coils=coils)
    torch.testing.assert_close(snr, 2 * math.sqrt(coils) / sigma, rtol=0.04, atol=0)


def test_sigma_from_the_air_is_scipys_rayleigh_fit():
    image = rician_noise(torch.zeros(1, 1, 64, 64), 0.3, generator=seeded())
    _, scale = stats.rayleigh.fit(image.flatten().double().numpy(), floc=0)
    assert background_sigma(image, torch.ones(1, 64, 64, dtype=torch.bool)).item() == pytest.approx(scale, rel=1e-5)


def test_tissue_darker_than_the_noise_has_no_signal():
    image = torch.ones(1, 1, 4, 4)
    image[..., :2] = 0.5
    dark = image[:, 0] < 1
    assert background_snr(image, tissue=dark, air=~dark).tolist() == [0.0]


def test_no_image_gives_no_number():
    image, mask = torch.zeros(0, 1, 4, 4), torch.zeros(0, 4, 4, dtype=torch.bool)
    assert background_sigma(image, mask).shape == background_snr(image, tissue=mask, air=mask).shape == (0,)
    assert rician_nll(torch.zeros(0, 4), torch.zeros(0, 4), sigma=1.0).shape == (0, 4)
    assert rice_logpdf(torch.zeros(0), 1.0, 1.0).shape == rice_mean(torch.zeros(0), 1.0).shape == (0,)
    assert koay_basser(torch.zeros(0), torch.zeros(0))[0].shape == (0,)


# ---------------------------------------------------------------------------------------------------------------------
# Refusals

@pytest.mark.parametrize("wrong", [dict(m=-0.1), dict(m=math.nan), dict(m=math.inf), dict(nu=-0.1), dict(nu=math.nan),
                                   dict(sigma=0.0), dict(sigma=-1.0), dict(sigma=math.nan), dict(sigma=math.inf)],
                         ids=str)
def test_a_density_of_what_cannot_be_is_refused(refused, wrong):
    with refused(f"{next(iter(wrong))}: expected .* got"):
        rice_logpdf(**(dict(m=1.0, nu=1.0, sigma=1.0) | wrong))
    values = {name: torch.full((1, 2), value) for name, value in (dict(m=1.0, nu=1.0, sigma=1.0) | wrong).items()}
    with refused("expected .* got"):
        rician_nll(values["nu"], values["m"], sigma=values["sigma"])


def test_a_standardised_image_is_told_what_it_is(refused):
    with refused("magnitude: expected .*z-scored"):
        rician_nll(torch.ones(1, 8), torch.randn(1, 8, generator=seeded()), sigma=1.0)
    with refused("magnitude: expected .*z-scored"):
        background_sigma(torch.randn(1, 1, 8, 8, generator=seeded()), torch.ones(1, 8, 8, dtype=torch.bool))


def test_a_networks_negative_answer_is_told_what_to_do(refused):
    with refused("nu: expected .* softplus"):
        rician_nll(-torch.ones(1, 8), torch.ones(1, 8), sigma=1.0)


def test_a_loss_of_things_that_do_not_belong_together_is_refused(refused):
    image = torch.ones(2, 3)
    with refused("nu: expected shape"):
        rician_nll(torch.ones(2, 4), image, sigma=1.0)
    with refused("sigma: expected one number, or one for each of 2 images"):
        rician_nll(image, image, sigma=torch.ones(3))
    with refused("magnitude: expected a float tensor"):
        rician_nll(image, image.long(), sigma=1.0)
    with refused("nu: expected a float tensor"):
        rician_nll(0.5, image, sigma=1.0)


@pytest.mark.parametrize("mean, std", [(-1.0, 1.0), (math.nan, 1.0), (1.0, 0.0), (1.0, math.nan), (1.0, -1.0)])
def test_moments_that_cannot_be_are_refused(refused, mean, std):
    with refused("expected .* got"):
        koay_basser(torch.tensor(mean), torch.tensor(std))


def test_a_factor_of_no_snr_and_a_mean_of_no_noise_are_refused(refused):
    with refused("snr: expected .* got -1"):
        koay_factor(torch.tensor(-1.0))
    for moment in (rice_mean, rice_variance):
        with refused("sigma: expected positive"):
            moment(1.0, 0.0)


def test_a_background_that_cannot_be_measured_is_refused(refused):
    image, tissue = half_and_half((2, 1, 8, 8), 1.0)
    with refused("air: expected noise in the air .* masked image has lost it"):
        background_sigma(image, ~tissue)
    with refused("air: expected at least one voxel"):
        background_sigma(image, torch.zeros_like(tissue))
    with refused("tissue: expected at least one voxel"):
        background_snr(image + 0.1, tissue=torch.zeros_like(tissue), air=~tissue)
    with refused("air: expected a bool mask"):
        background_sigma(image, (~tissue).long())
    with refused("air: expected a bool mask"):
        background_sigma(image, ~tissue[:1])
    with refused("air: expected a bool mask .* for an image"):
        background_sigma(image.expand(-1, 2, 8, 8), ~tissue)
    for coils in (0, True, 1.5):
        with refused("coils: expected a whole number"):
            background_sigma(image, ~tissue, coils=coils)


@pytest.mark.gpu
def test_likelihood_and_moments_are_the_same_on_a_gpu():
    nu = torch.linspace(0, 30, 100).reshape(1, 100)
    m = rician_noise(nu, 1.0, generator=seeded())
    for answer in (lambda d: rician_nll(nu.to(d), m.to(d), sigma=1.0), lambda d: rice_variance(nu.to(d), 1.0),
                   lambda d: koay_basser(3 * torch.ones(2, device=d), torch.ones(2, device=d))[0]):
        torch.testing.assert_close(answer("cuda").cpu(), answer("cpu"), rtol=1e-4, atol=1e-4)
