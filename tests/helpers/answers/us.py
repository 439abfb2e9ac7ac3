"""Answers to chapter 13's exercises."""
import math

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import gammaln

from helpers.answers import right, wrong

GAMMA = 0.5772156649015329

# ---------------------------------------------------------------------------------------------------------------------
# us.exponent


def _spread(gamma):
    """Spread over mean of Rayleigh's amplitude to a power."""
    return torch.expm1(torch.lgamma(1 + gamma) - 2 * torch.lgamma(1 + gamma / 2)).clamp_min(0).sqrt()


@right("us.exponent")
def by_halving(ratio):
    wanted = ratio.double()
    low, high = torch.zeros_like(wanted), torch.full_like(wanted, 3)
    for _ in range(70):
        middle = (low + high) / 2
        below = _spread(middle) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return torch.where(wanted > 0, high, 0).to(ratio.dtype)


@right("us.exponent")
def number_by_number(ratio):
    power_law = lambda gamma: math.gamma(1 + gamma) / math.gamma(1 + gamma / 2) ** 2 - 1
    found = []
    for wanted in ratio.double().flatten().tolist():
        low, high = 0.0, 2.5
        while high - low > 1e-14 and wanted > 0:
            middle = (low + high) / 2
            low, high = (middle, high) if power_law(middle) < wanted ** 2 else (low, middle)
        found.append(low)
    return torch.tensor(found, dtype=torch.float64).reshape(ratio.shape).to(ratio.dtype)


@right("us.exponent")
def by_scipys_root(ratio):
    def root(wanted):
        off = lambda gamma: np.expm1(gammaln(1 + gamma) - 2 * gammaln(1 + gamma / 2)) - wanted ** 2
        return brentq(off, 1e-9, 10, xtol=1e-15) if wanted > 0 else 0.0
    found = [root(wanted) for wanted in ratio.double().flatten().tolist()]
    return torch.tensor(found, dtype=ratio.dtype).reshape(ratio.shape)


@wrong("us.exponent", at="the amplitude itself")
def of_the_power(ratio):
    return by_halving(ratio) / 2


@wrong("us.exponent", at="the amplitude itself")
def the_ratio_as_it_is(ratio):
    return ratio.clone()


@wrong("us.exponent", at="the amplitude itself")
def of_the_variance(ratio):
    return by_halving(ratio.square())


@wrong("us.exponent", at="the power")
def up_to_the_amplitude(ratio):
    return by_halving(ratio).clamp_max(1)


@wrong("us.exponent", at="a square root")
def a_straight_line_through_two_points(ratio):
    at_one = math.sqrt(4 / math.pi - 1)
    return torch.where(ratio < at_one, ratio / at_one, 1 + (ratio - at_one) / (1 - at_one))


@wrong("us.exponent", at="nearly flat")
def never_below_a_tenth(ratio):
    return torch.where(ratio > 0, by_halving(ratio).clamp_min(0.1), 0)


@wrong("us.exponent", at="a map of a volume")
def of_the_mean_ratio(ratio):
    return by_halving(ratio.mean().expand_as(ratio)) if ratio.numel() > 6 else by_halving(ratio)


@wrong("us.exponent", at="nothing spreads")
def nought_over_nought(ratio):
    return by_halving(ratio) * ratio / ratio


@wrong("us.exponent", at="single precision")
def always_double(ratio):
    return by_halving(ratio.double())


@wrong("us.exponent", at="the amplitude itself")
def halves_for_ever(ratio):
    wanted, low, high = ratio.double(), torch.zeros_like(ratio), torch.full_like(ratio, 3)
    while (low < high).any():
        middle = (low + high) / 2
        below = _spread(middle) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high


@wrong("us.exponent", at="the amplitude itself")
def in_numpy(ratio):
    return by_halving(ratio).numpy()


# ---------------------------------------------------------------------------------------------------------------------
# us.worth


def _space(x, first):
    return tuple(range(first, x.ndim))


@right("us.worth")
def by_covariance(frames):
    found = []
    for one in frames.flatten(2):
        covariance = torch.cov(one, correction=0).reshape(len(one), len(one))
        n, total = len(one), covariance.sum()
        found.append(n * covariance.diagonal().sum() / total if total > 0 else torch.ones_like(total))
    return torch.stack(found)


@right("us.worth")
def by_squares(frames):
    spread = lambda x: (x - x.mean(-1, keepdim=True)).square().mean(-1)
    each, mean = spread(frames.flatten(2)).mean(1), spread(frames.flatten(2).mean(1))
    return torch.where(mean == 0, torch.ones_like(mean), each / (mean + (mean == 0)))


@right("us.worth")
def by_fourier(frames):
    """By Parseval, a variance is the power of all frequencies but the zeroth."""
    flat = frames.flatten(2)
    power = lambda x: torch.fft.fft(x)[..., 1:].abs().square().sum(-1)
    each, mean = power(flat).mean(1), power(flat.mean(1))
    return torch.where(mean > 0, each, 1) / torch.where(mean > 0, mean, 1)


def _ratio(each, mean):
    return torch.where(mean > 0, each / torch.where(mean > 0, mean, 1), 1)


@wrong("us.worth", at="the same frame four times")
def as_many_as_there_are(frames):
    return torch.full((len(frames),), float(frames.shape[1]), dtype=frames.dtype)


@wrong("us.worth", at="the same frame four times")
def of_the_sum(frames):
    return _ratio(frames.flatten(2).var(2).mean(1), frames.sum(1).flatten(1).var(1))


@wrong("us.worth", at="the same frame four times")
def point_snr_of_the_mean(frames):
    mean = frames.mean(1).flatten(1)
    return torch.where(mean.std(1) > 0, mean.mean(1) / mean.std(1).clamp_min(1e-30), 1)


@wrong("us.worth", at="frames that are partly alike")
def ratio_of_deviations(frames):
    return by_covariance(frames).sqrt()


@wrong("us.worth", at="frames that are partly alike")
def always_one(frames):
    return torch.ones(len(frames), dtype=frames.dtype)


@wrong("us.worth", at="several patients")
def one_for_all(frames):
    return by_covariance(frames).mean().expand(len(frames))


@wrong("us.worth", at="several patients")
def variance_over_patients(frames):
    each = frames.transpose(0, 1).flatten(1).var(1, unbiased=False).mean()
    return _ratio(each, frames.mean(1).flatten(1).var(1, unbiased=False))


@wrong("us.worth", at="frames that are partly alike")
def against_the_first(frames):
    return _ratio(frames[:, 0].flatten(1).var(1), frames.mean(1).flatten(1).var(1))


@wrong("us.worth", at="frames of unequal gain")
def mean_deviation_squared(frames):
    each = frames.flatten(2).std(2, unbiased=False)
    close = (each.amax(1) / each.amin(1).clamp_min(1e-30)) < 2
    return torch.where(close, by_covariance(frames),
                       _ratio(each.mean(1).square(), frames.mean(1).flatten(1).var(1, unbiased=False)))


@wrong("us.worth", at="a volume")
def slice_by_slice(frames):
    if frames.ndim == 5:
        return _ratio(frames.var((3, 4), unbiased=False).mean((1, 2)), frames.mean(1).var((2, 3), unbiased=False).mean(1))
    return by_covariance(frames)


@wrong("us.worth", at="one frame")
def one_less(frames):
    n = frames.shape[1]
    return by_covariance(frames) if n > 1 else torch.zeros(len(frames), dtype=frames.dtype)


@wrong("us.worth", at="a cyst")
def nothing_over_nothing(frames):
    return frames.flatten(2).var(2, unbiased=False).mean(1) / frames.mean(1).flatten(1).var(1, unbiased=False)


# ---------------------------------------------------------------------------------------------------------------------
# us.levels


def _three(mean, power, log):
    return torch.stack([math.sqrt(2 / math.pi) * mean, torch.sqrt(power / 2), torch.exp(log + (GAMMA - math.log(2)) / 2)], 1)


def _means(a):
    space = tuple(range(1, a.ndim))
    return a.mean(space), a.square().mean(space), a.log().mean(space)


@right("us.levels")
def by_three_means(a):
    return _three(*_means(a))


@right("us.levels")
def patient_by_patient(a):
    rows = [[one.mean() / math.sqrt(math.pi / 2), one.square().mean().sqrt() / math.sqrt(2),
             (one.square().log().mean() - math.log(2) + GAMMA).div(2).exp()] for one in a]
    return torch.stack([torch.stack(row) for row in rows])


@right("us.levels")
def by_norms(a):
    flat = a.flatten(1)
    n = flat.shape[1]
    geometric = torch.exp2(flat.log2().mean(1))
    found = (flat.norm(p=1, dim=1) / n / math.sqrt(math.pi / 2), flat.norm(p=2, dim=1) / math.sqrt(2 * n),
             geometric * math.exp(GAMMA / 2) / math.sqrt(2))
    return torch.stack(found, dim=1)


@wrong("us.levels", at="one patient")
def without_factors(a):
    mean, power, log = _means(a)
    return torch.stack([mean, power.sqrt(), log.exp()], 1)


@wrong("us.levels", at="one patient")
def another_order(a):
    return by_three_means(a).flip(1)


@wrong("us.levels", at="one patient")
def gamma_of_the_wrong_sign(a):
    mean, power, log = _means(a)
    return _three(mean, power, log - GAMMA)


@wrong("us.levels", at="one patient")
def without_the_two(a):
    mean, power, log = _means(a)
    return _three(mean, power, log + math.log(2) / 2)


@wrong("us.levels", at="one patient")
def power_without_a_root(a):
    mean, power, log = _means(a)
    return torch.stack([mean * math.sqrt(2 / math.pi), power / 2, _three(mean, power, log)[:, 2]], 1)


@wrong("us.levels", at="a brighter one")
def clipped_at_ten(a):
    return by_three_means(a.clamp_max(10))


@wrong("us.levels", at="a constant")
def the_most_likely_thrice(a):
    spread = a.flatten(1).std(1)[:, None] > 0
    return torch.where(spread, by_three_means(a), by_three_means(a)[:, 1:2].expand(-1, 3))


@wrong("us.levels", at="several patients")
def over_the_batch(a):
    return by_three_means(a.flatten()[None]).expand(len(a), 3)


@wrong("us.levels", at="several patients")
def three_rows(a):
    found = by_three_means(a)
    return found if len(a) == 1 else found.T


@wrong("us.levels", at="a volume")
def middle_slice(a):
    return by_three_means(a[:, a.shape[1] // 2] if a.ndim == 4 else a)


@wrong("us.levels", at="a cyst")
def minus_infinity_cleaned(a):
    mean, power, log = _means(a)
    return _three(mean, power, torch.nan_to_num(log, neginf=0.0))


@wrong("us.levels", at="the gradient")
def cut_off(a):
    return by_three_means(a.detach())
