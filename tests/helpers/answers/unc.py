"""Answers to chapter 14's exercises."""
import torch

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# unc.one_more


def _updated(covariance, noise, i):
    """The whole covariance (n, n) after a sample at i."""
    row = covariance[i]
    return covariance - row[:, None] * row / (covariance[i, i] + noise)


def _variance(covariance):
    return torch.diagonal(covariance, dim1=-2, dim2=-1)


@right("unc.one_more")
def day_by_day(covariance, noise_variance):
    left = torch.empty_like(noise_variance)
    for b, (one, noises) in enumerate(zip(covariance, noise_variance)):
        for i, noise in enumerate(noises):
            left[b, i] = _updated(one, noise, i).diagonal().mean()
    return left


@right("unc.one_more")
def all_at_once(covariance, noise_variance):
    variance = _variance(covariance)
    return (variance[:, None] - covariance ** 2 / (variance + noise_variance)[:, :, None]).mean(2)


@right("unc.one_more")
def by_correlations(covariance, noise_variance):
    """What a sample explains: the share of its day that is no noise, of what the days have in common."""
    variance = _variance(covariance)
    safe = torch.where(variance > 0, variance, 1)
    share = variance / (variance + noise_variance)
    return variance.mean(1, keepdim=True) - share * (covariance ** 2 / safe[:, :, None]).mean(2)


@wrong("unc.one_more", at="days that tell nothing of each other")
def what_is_gained(covariance, noise_variance):
    return _variance(covariance).mean(1, keepdim=True) - all_at_once(covariance, noise_variance)


@wrong("unc.one_more", at="days that tell nothing of each other")
def of_the_day_itself(covariance, noise_variance):
    variance = _variance(covariance)
    return variance - variance ** 2 / (variance + noise_variance)


@wrong("unc.one_more", at="days that tell nothing of each other")
def the_sum_over_days(covariance, noise_variance):
    return all_at_once(covariance, noise_variance) * covariance.shape[1]


@wrong("unc.one_more", at="days that do")
def its_own_day_only(covariance, noise_variance):
    return all_at_once(torch.diag_embed(_variance(covariance)), noise_variance)


@wrong("unc.one_more", at="days that do")
def covariances_without_their_square(covariance, noise_variance):
    variance = _variance(covariance)
    return (variance[:, None] - covariance.abs() * (variance / (variance + noise_variance))[:, :, None]).mean(2)


@wrong("unc.one_more", at="days that do")
def divides_by_the_other_day(covariance, noise_variance):
    variance = _variance(covariance)
    return (variance[:, None] - covariance ** 2 / (variance + noise_variance)[:, None]).mean(2)


@wrong("unc.one_more", at="noise that differs")
def one_noise_for_all(covariance, noise_variance):
    even = (noise_variance == noise_variance[:, :1]).all() or noise_variance.max() < 2
    return all_at_once(covariance, noise_variance if even else torch.ones_like(noise_variance))


@wrong("unc.one_more", at="several patients")
def everybody_is_the_first(covariance, noise_variance):
    return all_at_once(covariance[:1], noise_variance[:1]).expand(len(covariance), -1)


@wrong("unc.one_more", at="a day that is known already")
def nought_over_nought(covariance, noise_variance):
    variance = _variance(covariance)
    share = variance / (variance + noise_variance)
    return variance.mean(1, keepdim=True) - share * (covariance ** 2 / variance[:, :, None]).mean(2)


@wrong("unc.one_more", at="hardly any noise")
def never_without_noise(covariance, noise_variance):
    return all_at_once(covariance, noise_variance.clamp_min(1e-2))


@wrong("unc.one_more", at="a single day")
def squeezes_what_is_one_long(covariance, noise_variance):
    left = all_at_once(covariance, noise_variance)
    return left.squeeze(1) if left.shape[1] == 1 else left


@wrong("unc.one_more", at="nobody")
def stacks_what_may_be_nothing(covariance, noise_variance):
    return torch.stack([all_at_once(c[None], n[None])[0] for c, n in zip(covariance, noise_variance)])


@wrong("unc.one_more", at="single precision")
def always_double(covariance, noise_variance):
    return all_at_once(covariance.double(), noise_variance.double())


# ---------------------------------------------------------------------------------------------------------------------
# unc.pool


def _weight(members, means):
    return (members / members.sum()).reshape(-1, *[1] * (means.ndim - 1))


@right("unc.pool")
def by_weights(members, means, aleatoric, epistemic):
    w = _weight(members, means)
    mean = (w * means).sum(0)
    return mean, (w * aleatoric).sum(0), (w * (epistemic + (means - mean) ** 2)).sum(0)


@right("unc.pool")
def two_at_a_time(members, means, aleatoric, epistemic):
    n, pooled = 0, tuple(torch.zeros_like(means[0]) for _ in range(3))
    for k, mean, a, e in zip(members.tolist(), means, aleatoric, epistemic):
        if k == 0:
            continue
        t = k / (n + k)
        step = mean - pooled[0]
        pooled = (pooled[0] + t * step, pooled[1] + t * (a - pooled[1]),
                  pooled[2] + t * (e - pooled[2]) + t * (1 - t) * step ** 2)
        n += k
    return pooled


@right("unc.pool")
def member_for_member(members, means, aleatoric, epistemic):
    means, aleatoric, epistemic = (x.double().repeat_interleave(members, dim=0) for x in (means, aleatoric, epistemic))
    parts = means.mean(0), aleatoric.mean(0), epistemic.mean(0) + means.var(0, unbiased=False)
    return tuple(part.float() for part in parts)


@wrong("unc.pool", at="two alike")
def forgets_between(members, means, aleatoric, epistemic):
    w = _weight(members, means)
    return (w * means).sum(0), (w * aleatoric).sum(0), (w * epistemic).sum(0)


@wrong("unc.pool", at="two alike")
def forgets_within(members, means, aleatoric, epistemic):
    mean, a, _ = by_weights(members, means, aleatoric, epistemic)
    return mean, a, (_weight(members, means) * (means - mean) ** 2).sum(0)


@wrong("unc.pool", at="two alike")
def disagreement_is_noise(members, means, aleatoric, epistemic):
    mean, a, e = by_weights(members, means, aleatoric, epistemic)
    within = (_weight(members, means) * epistemic).sum(0)
    return mean, a + e - within, within


@wrong("unc.pool", at="two alike")
def unbiased(members, means, aleatoric, epistemic):
    w = _weight(members, means)
    return ((w * means).sum(0), (w * aleatoric).sum(0),
            (w * epistemic).sum(0) + (means.var(0) if len(means) > 1 else 0))


@wrong("unc.pool", at="one larger")
def hospital_by_hospital(members, means, aleatoric, epistemic):
    return by_weights((members > 0).long(), means, aleatoric, epistemic)


@wrong("unc.pool", at="one larger")
def weighted_means_of_hospitals(members, means, aleatoric, epistemic):
    w = _weight(members, means)
    return ((w * means).sum(0), (w * aleatoric).sum(0),
            (w * epistemic).sum(0) + means.var(0, unbiased=False))


@wrong("unc.pool", at="three, of volumes")
def two_axes_of_space_only(members, means, aleatoric, epistemic):
    w = (members / members.sum())[:, None, None]
    mean = (w * means).sum(0)
    return mean, (w * aleatoric).sum(0), (w * (epistemic + (means - mean) ** 2)).sum(0)


@wrong("unc.pool", at="three, of volumes")
def two_hospitals_only(members, means, aleatoric, epistemic):
    if len(members) == 2:
        return by_weights(members, means, aleatoric, epistemic)
    return by_weights(members[:2], means[:2], aleatoric[:2], epistemic[:2])


@wrong("unc.pool", at="numbers of a CT")
def difference_of_squares(members, means, aleatoric, epistemic):
    w = _weight(members, means)
    mean = (w * means).sum(0)
    return mean, (w * aleatoric).sum(0), (w * (epistemic + means ** 2)).sum(0) - mean ** 2


@wrong("unc.pool", at="single networks")
def one_member_fewer(members, means, aleatoric, epistemic):
    mean, a, e = by_weights(members, means, aleatoric, epistemic)
    return mean, a, e * 3 / 2 if not epistemic.any() else e


@wrong("unc.pool", at="one hospital")
def variance_of_one_is_not_a_number(members, means, aleatoric, epistemic):
    mean, a, e = by_weights(members, means, aleatoric, epistemic)
    return mean, a, e if len(means) > 1 else e + (means - mean).square().sum(0) / (len(means) - 1)


@wrong("unc.pool", at="a hospital without a network")
def everybody_counts_once_at_least(members, means, aleatoric, epistemic):
    return by_weights(members.clamp_min(1), means, aleatoric, epistemic)
