"""Answers to chapter 12's exercises."""
import math

import torch

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# mri.rice_logpdf


@right("mri.rice_logpdf")
def two_ways_of_the_bessel_function(m, nu, sigma):
    x = m * nu / sigma**2
    small, large = x.clamp(max=10), x.clamp(min=10)
    log_i0 = torch.where(x < 10, torch.special.i0(small).log(), torch.special.i0e(large).log() + large)
    return m.log() - 2 * sigma.log() - (m**2 + nu**2) / (2 * sigma**2) + log_i0


@right("mri.rice_logpdf")
def in_units_of_sigma(m, nu, sigma):
    a, b = m / sigma, nu / sigma
    scaled = torch.special.i0e(a * b + 1e-300)
    return a.log() - sigma.log() - (a - b).square() / 2 + scaled.log()


@wrong("mri.rice_logpdf", at="a few voxels")
def always_in_float64(m, nu, sigma):
    return in_units_of_sigma(m.double(), nu.double(), sigma.double())


@wrong("mri.rice_logpdf", at="a few voxels")
def of_a_bell(m, nu, sigma):
    return -(m - nu) ** 2 / (2 * sigma**2) - sigma.log() - math.log(2 * math.pi) / 2


@wrong("mri.rice_logpdf", at="a few voxels")
def no_logarithm(m, nu, sigma):
    return in_units_of_sigma(m, nu, sigma).exp()


@wrong("mri.rice_logpdf", at="another sigma")
def sigma_not_squared(m, nu, sigma):
    x = m * nu / sigma + 1e-300
    return (m / sigma**2).log() - (m - nu) ** 2 / (2 * sigma**2) + torch.special.i0e(x).log() + (x - m * nu / sigma**2)


@wrong("mri.rice_logpdf", at="another sigma")
def density_of_the_snr(m, nu, sigma):
    return in_units_of_sigma(m / sigma, nu / sigma, torch.ones_like(sigma))


@wrong("mri.rice_logpdf", at="no signal")
def divided_by_the_signal(m, nu, sigma):
    return in_units_of_sigma(m, nu, sigma) + (nu / nu).log()


@wrong("mri.rice_logpdf", at="every magnitude with every signal")
def voxel_by_voxel(m, nu, sigma):
    out = [in_units_of_sigma(*one) for one in zip(m.flatten(), nu.flatten(), sigma.expand_as(nu).flatten())]
    return torch.stack(out)


@wrong("mri.rice_logpdf", at="no voxel")
def in_units_of_the_brightest(m, nu, sigma):
    unit = m.detach().max()
    return in_units_of_sigma(m / unit, nu / unit, sigma / unit) - unit.log()


@wrong("mri.rice_logpdf", at="a high SNR")
def plain_bessel(m, nu, sigma):
    return m.log() - 2 * sigma.log() - (m**2 + nu**2) / (2 * sigma**2) + torch.special.i0(m * nu / sigma**2).log()


@wrong("mri.rice_logpdf", at="a measured zero")
def clamped(m, nu, sigma):
    return in_units_of_sigma(m.clamp_min(1e-12), nu, sigma)


@wrong("mri.rice_logpdf", at="the gradient")
def sigma_is_known(m, nu, sigma):
    return in_units_of_sigma(m, nu, sigma.detach())


@wrong("mri.rice_logpdf", at="the gradient where there is no signal")
def trusting_the_slope_at_zero(m, nu, sigma):
    return m.log() - 2 * sigma.log() - (m - nu) ** 2 / (2 * sigma**2) + torch.special.i0e(m * nu / sigma**2).log()


# ---------------------------------------------------------------------------------------------------------------------
# mri.snr


def _mean_of(values, mask):
    return torch.stack([one[inside].mean() for one, inside in zip(values, mask)]) if len(mask) else values.new_zeros(0)


@right("mri.snr")
def image_by_image(magnitude, tissue, air):
    found = []
    for m, t, a in zip(magnitude[:, 0], tissue, air):
        sigma2 = m[a].pow(2).mean() / 2
        nu2 = m[t].pow(2).mean() - 2 * sigma2
        found.append((nu2 / sigma2).sqrt() if nu2 > 0 else nu2 * 0)
    return torch.stack(found) if found else magnitude.new_zeros(0)


@right("mri.snr")
def by_nan_mean(magnitude, tissue, air):
    power = magnitude.square()[:, 0]
    mean = lambda mask: torch.where(mask, power, torch.nan).flatten(1).nanmean(1)
    sigma2 = mean(air) / 2
    return torch.sqrt(torch.relu(mean(tissue) - 2 * sigma2) / sigma2)


@wrong("mri.snr", at="one image")
def bias_forgotten(magnitude, tissue, air):
    m = magnitude[:, 0]
    return _mean_of(m, tissue) / (_mean_of(m**2, air) / 2).sqrt()


@wrong("mri.snr", at="one image")
def by_the_spread_of_the_air(magnitude, tissue, air):
    m = magnitude[:, 0]
    spread = torch.stack([one[a].std() for one, a in zip(m, air)]) if len(m) else m.new_zeros(0)
    return (_mean_of(m**2, tissue) - 2 * spread**2).clamp_min(0).sqrt() / spread


@wrong("mri.snr", at="one image")
def one_channel_of_noise(magnitude, tissue, air):
    power = magnitude[:, 0] ** 2
    sigma2 = _mean_of(power, air)
    return ((_mean_of(power, tissue) - sigma2).clamp_min(0) / sigma2).sqrt()


@wrong("mri.snr", at="another unit")
def a_limit_in_the_units_of_one_scanner(magnitude, tissue, air):
    power = magnitude[:, 0] ** 2
    sigma2 = (_mean_of(power, air) / 2).clamp_max(2.0)
    return ((_mean_of(power, tissue) - 2 * sigma2).clamp_min(0) / sigma2).sqrt()


@wrong("mri.snr", at="two images")
def one_for_all(magnitude, tissue, air):
    if not len(magnitude):
        return magnitude.new_zeros(0)
    power = magnitude[:, 0] ** 2
    sigma2 = power[air].mean() / 2
    return ((power[tissue].mean() - 2 * sigma2).clamp_min(0) / sigma2).sqrt().expand(len(magnitude))


@wrong("mri.snr", at="two images")
def numbers_of_the_first_image(magnitude, tissue, air):
    power = magnitude[:, 0] ** 2
    share = lambda mask: (power * mask).flatten(1).sum(1) / mask[:1].flatten(1).sum(1)
    return (2 * share(tissue) / share(air) - 2).clamp_min(0).sqrt()


@wrong("mri.snr", at="a volume")
def two_axes_only(magnitude, tissue, air):
    power = magnitude[:, 0] ** 2
    mean = lambda mask: (power * mask).sum((1, 2)) / mask.sum((1, 2))
    return (2 * mean(tissue) / mean(air) - 2).clamp_min(0).sqrt()


@wrong("mri.snr", at="tissue darker than the noise")
def root_of_less_than_nothing(magnitude, tissue, air):
    power = magnitude[:, 0] ** 2
    return (2 * _mean_of(power, tissue) / _mean_of(power, air) - 2).sqrt()


@wrong("mri.snr", at="no image")
def stacked_without_looking(magnitude, tissue, air):
    return torch.stack([image_by_image(m[None], t[None], a[None])[0] for m, t, a in zip(magnitude, tissue, air)])


@wrong("mri.snr", at="the gradient")
def noise_is_known(magnitude, tissue, air):
    power = magnitude[:, 0] ** 2
    return (2 * _mean_of(power, tissue) / _mean_of(power, air).detach() - 2).clamp_min(0).sqrt()
