"""Answers to chapter 12's exercises."""

import torch

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# mri.coils


@right("mri.coils")
def one_by_one(magnitude, air):
    found = [m[mask].square() for m, mask in zip(magnitude[:, 0], air)]
    ratios = [power.mean() ** 2 / power.var(correction=0) for power in found]
    return torch.stack(ratios) if ratios else magnitude.new_zeros(0)


@right("mri.coils")
def by_fourth_powers(magnitude, air):
    m, weight = magnitude.squeeze(1).flatten(1), air.flatten(1).to(magnitude.dtype)
    weight = weight / weight.sum(1, keepdim=True)
    unit = (weight * m**2).sum(1, keepdim=True)
    excess = m**2 / unit - 1                        # of which the mean square is 1 / C
    return 1 / (weight * excess**2).sum(1)


@right("mri.coils")
def by_differences_of_pairs(magnitude, air):
    """Half the mean square of the difference of two voxels is the variance."""
    found = []
    for m, mask in zip(magnitude[:, 0], air):
        power = m[mask].square()
        found.append(2 * power.mean().square() / (power[:, None] - power).square().mean())
    return torch.stack(found) if found else magnitude.new_zeros(0)


@wrong("mri.coils", at="four voxels")
def the_rim_too(magnitude, air):
    return by_fourth_powers(magnitude, torch.ones_like(air))


@wrong("mri.coils", at="four voxels")
def of_the_magnitude(magnitude, air):
    return by_fourth_powers(magnitude.sqrt(), air)


@wrong("mri.coils", at="four voxels")
def twice_as_many(magnitude, air):
    return 2 * by_fourth_powers(magnitude, air)


@wrong("mri.coils", at="four voxels")
def not_squared(magnitude, air):
    power, weight = magnitude[:, 0].square().flatten(1), air.flatten(1) / air.flatten(1).sum(1, keepdim=True)
    mean = (power * weight).sum(1)
    return mean / ((power - mean[:, None]).square() * weight).sum(1)


@wrong("mri.coils", at="four voxels")
def one_voxel_less(magnitude, air):
    voxels = air.flatten(1).sum(1)
    return by_fourth_powers(magnitude, air) * (voxels - 1) / voxels


@wrong("mri.coils", at="one coil")
def a_whole_number(magnitude, air):
    return by_fourth_powers(magnitude, air).round()


@wrong("mri.coils", at="eight coils in another unit")
def sigma_is_one(magnitude, air):
    unit = 1 if magnitude.max() < 200 else 10
    return by_fourth_powers(magnitude, air) / unit


@wrong("mri.coils", at="two images")
def one_air_for_all(magnitude, air):
    power = magnitude[:, 0].square()[air]
    ratio = power.mean() ** 2 / power.var(correction=0)
    return by_fourth_powers(magnitude, air) if len(air) == 1 else ratio.expand(len(air))


@wrong("mri.coils", at="a volume")
def in_two_dimensions(magnitude, air):
    power = magnitude[:, 0].square()
    mean = (power * air).sum((1, 2)) / air.sum((1, 2))
    return mean**2 / (((power - mean[:, None, None]) ** 2 * air).sum((1, 2)) / air.sum((1, 2)))


@wrong("mri.coils", at="air without spread")
def never_divided_by_zero(magnitude, air):
    return 1 / (1 / by_fourth_powers(magnitude, air)).clamp_min(1e-6)


@wrong("mri.coils", at="no image")
def stacked(magnitude, air):
    return torch.stack([by_fourth_powers(m[None], a[None])[0] for m, a in zip(magnitude, air)])


@wrong("mri.coils", at="the gradient")
def as_a_constant(magnitude, air):
    return by_fourth_powers(magnitude.detach(), air)


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


@right("mri.snr")
def by_two_norms(magnitude, tissue, air):
    rms = lambda mask: (magnitude[:, 0] * mask).flatten(1).norm(dim=1) / mask.flatten(1).sum(1).sqrt()
    ratio = rms(tissue) / rms(air)
    return (2 * (ratio - 1) * (ratio + 1)).clamp_min(0).sqrt()


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
