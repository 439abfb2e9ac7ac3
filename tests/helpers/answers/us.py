"""Answers to chapter 13's exercises."""
import math

import numpy as np
import torch

from helpers.answers import right, wrong

GAMMA = 0.5772156649015329

# ---------------------------------------------------------------------------------------------------------------------
# us.gcnr


def _edges(p, q, bins):
    return torch.linspace(torch.minimum(p.min(), q.min()).item(), torch.maximum(p.max(), q.max()).item(), bins + 1,
                          dtype=torch.float64)


def _shares(values, edges):
    """The share of values in each bin, the last of which holds its upper edge."""
    return torch.from_numpy(np.histogram(values.double().numpy(), edges.numpy())[0] / max(len(values), 1))


def _apart(p, q, bins, edges=None):
    if len(p) == 0 or len(q) == 0:
        return torch.tensor(math.nan, dtype=p.dtype)
    if p.min() == q.max() and p.max() == q.min():
        return torch.zeros((), dtype=p.dtype)
    edges = _edges(p, q, bins) if edges is None else edges
    return (1 - torch.minimum(_shares(p, edges), _shares(q, edges)).sum()).to(p.dtype)


@right("us.gcnr")
def by_numpy(image, lesion, around, bins=100):
    return _apart(image[lesion], image[around], bins)


@right("us.gcnr")
def by_half_the_distance(image, lesion, around, bins=100):
    p, q = image[lesion], image[around]
    if not (p.numel() and q.numel()):
        return torch.full((), math.nan, dtype=image.dtype)
    low = torch.cat([p, q]).amin()
    step = (torch.cat([p, q]).amax() - low) / bins
    if step == 0:
        return torch.zeros((), dtype=image.dtype)
    share = lambda v: torch.bincount(((v - low) / step).long().clamp_max(bins - 1), minlength=bins).double() / v.numel()
    return ((share(p) - share(q)).abs().sum() / 2).to(image.dtype)


@wrong("us.gcnr", at="apart")
def always_in_float64(image, lesion, around, bins=100):
    return by_numpy(image, lesion, around, bins).double()


@wrong("us.gcnr", at="apart")
def the_overlap(image, lesion, around, bins=100):
    return 1 - by_numpy(image, lesion, around, bins)


@wrong("us.gcnr", at="apart")
def contrast_to_noise(image, lesion, around, bins=100):
    p, q = image[lesion], image[around]
    if len(p) == 0 or len(q) == 0:
        return torch.tensor(math.nan, dtype=p.dtype)
    return (p.mean() - q.mean()).abs() / (p.var(unbiased=False) + q.var(unbiased=False)).sqrt()


@wrong("us.gcnr", at="half and half")
def greatest_share(image, lesion, around, bins=100):
    p, q = image[lesion], image[around]
    if len(p) == 0 or len(q) == 0:
        return torch.tensor(math.nan, dtype=p.dtype)
    edges = _edges(p, q, bins)
    return torch.maximum(_shares(p, edges), _shares(q, edges)).sum().to(p.dtype) / 2


@wrong("us.gcnr", at="apart")
def bins_of_their_own(image, lesion, around, bins=100):
    p, q = image[lesion], image[around]
    if len(p) == 0 or len(q) == 0:
        return torch.tensor(math.nan, dtype=p.dtype)
    return (1 - torch.minimum(_shares(p, _edges(p, p, bins)), _shares(q, _edges(q, q, bins))).sum()).to(p.dtype)


@wrong("us.gcnr", at="regions of unequal size")
def a_hundred_bins(image, lesion, around, bins=100):
    return by_numpy(image, lesion, around, 100)


@wrong("us.gcnr", at="a dark lesion")
def best_threshold(image, lesion, around, bins=100):
    p, q = image[lesion], image[around]
    if len(p) == 0 or len(q) == 0:
        return torch.tensor(math.nan, dtype=p.dtype)
    cuts = torch.cat([p, q])
    return (((p[:, None] <= cuts).double().mean(0) - (q[:, None] <= cuts).double().mean(0)).abs().max()).to(p.dtype)


@wrong("us.gcnr", at="a dark lesion")
def counted_together(image, lesion, around, bins=100):
    p, q = image[lesion], image[around]
    if len(p) == 0 or len(q) == 0:
        return torch.tensor(math.nan, dtype=p.dtype)
    if p.min() == q.max():
        return torch.zeros((), dtype=p.dtype)
    edges = _edges(p, q, bins)
    common = torch.minimum(_shares(p, edges) * len(p), _shares(q, edges) * len(q)).sum()
    return (1 - common / min(len(p), len(q))).to(p.dtype)


@wrong("us.gcnr", at="regions of unequal size")
def bins_of_the_image(image, lesion, around, bins=100):
    return _apart(image[lesion], image[around], bins, None if image.min() == image.max() else _edges(image, image, bins))


@wrong("us.gcnr", at="regions of unequal size")
def around_is_the_rest(image, lesion, around, bins=100):
    return by_numpy(image, lesion, ~lesion, bins)


@wrong("us.gcnr", at="a volume")
def the_first_slice(image, lesion, around, bins=100):
    if image.ndim == 3:
        image, lesion, around = image[3], lesion[3], around[3]
    return by_numpy(image, lesion, around, bins)


@wrong("us.gcnr", at="nothing but zeros")
def zeros_are_apart(image, lesion, around, bins=100):
    if not image.any():
        return torch.ones((), dtype=image.dtype)
    return by_numpy(image, lesion, around, bins)


@wrong("us.gcnr", at="no lesion")
def nothing_is_hidden(image, lesion, around, bins=100):
    return torch.nan_to_num(by_numpy(image, lesion, around, bins))


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
