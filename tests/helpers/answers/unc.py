"""Answers to chapter 14's exercises."""
import torch

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# unc.mutual_information


def _entropy(p, dim):
    return torch.special.entr(p).sum(dim)


@right("unc.mutual_information")
def entropy_of_the_mean_less_mean_entropy(probabilities):
    return _entropy(probabilities.mean(0), 1) - _entropy(probabilities, 2).mean(0)


@right("unc.mutual_information")
def mean_divergence_from_the_mean(probabilities):
    mean = probabilities.mean(0)
    logs = torch.log(torch.where(probabilities > 0, probabilities / mean, 1))
    return (probabilities * logs).sum(2).mean(0)


@right("unc.mutual_information")
def member_by_member(probabilities):
    tiny = torch.finfo(probabilities.dtype).tiny
    entropy = lambda p: -(p * p.clamp_min(tiny).log()).sum(1)
    mean_entropy = sum(entropy(p) for p in probabilities) / len(probabilities)
    return entropy(sum(probabilities) / len(probabilities)) - mean_entropy


@wrong("unc.mutual_information", at="two members")
def total_entropy(probabilities):
    return _entropy(probabilities.mean(0), 1)


@wrong("unc.mutual_information", at="two members")
def aleatoric_part(probabilities):
    return _entropy(probabilities, 2).mean(0)


@wrong("unc.mutual_information", at="two members")
def the_other_way_round(probabilities):
    return _entropy(probabilities, 2).mean(0) - _entropy(probabilities.mean(0), 1)


@wrong("unc.mutual_information", at="two members")
def in_bits(probabilities):
    return entropy_of_the_mean_less_mean_entropy(probabilities) / torch.tensor(2.0).log()


@wrong("unc.mutual_information", at="two members")
def variance_of_the_probabilities(probabilities):
    return (probabilities - probabilities.mean(0)).square().mean(0).sum(1)


@wrong("unc.mutual_information", at="two members")
def sum_of_the_members_entropies(probabilities):
    return _entropy(probabilities.mean(0), 1) - _entropy(probabilities, 2).sum(0)


@wrong("unc.mutual_information", at="several images, several classes")
def mean_over_the_images(probabilities):
    return entropy_of_the_mean_less_mean_entropy(probabilities).mean(0, keepdim=True)


@wrong("unc.mutual_information", at="several images, several classes")
def two_classes_only(probabilities):
    p = probabilities[:, :, 1]
    entropy = lambda p: torch.special.entr(p) + torch.special.entr(1 - p)
    return entropy(p.mean(0)) - entropy(p).mean(0)


@wrong("unc.mutual_information", at="a volume")
def two_axes_of_space(probabilities):
    mean = torch.einsum("mbkxy->bkxy", probabilities) / len(probabilities)
    return _entropy(mean, 1) - _entropy(probabilities, 2).mean(0)


@wrong("unc.mutual_information", at="members who are certain, and disagree")
def nought_times_minus_infinity(probabilities):
    entropy = lambda p, dim: -(p * p.log()).sum(dim)
    return entropy(probabilities.mean(0), 1) - entropy(probabilities, 2).mean(0)


@wrong("unc.mutual_information", at="several images, several classes")
def a_coarse_epsilon(probabilities):
    entropy = lambda p, dim: -(p.clamp_min(1e-3) * p.clamp_min(1e-3).log()).sum(dim)
    return entropy(probabilities.mean(0), 1) - entropy(probabilities, 2).mean(0)


@wrong("unc.mutual_information", at="voxels where all say the same")
def nought_over_nought(probabilities):
    spread = (probabilities - probabilities[0]).abs().sum((0, 2))
    return entropy_of_the_mean_less_mean_entropy(probabilities) * spread / spread


@wrong("unc.mutual_information", at="no voxels")
def looks_at_the_largest_first(probabilities):
    assert probabilities.max() <= 1
    return entropy_of_the_mean_less_mean_entropy(probabilities)


@wrong("unc.mutual_information", at="single precision")
def always_double(probabilities):
    return entropy_of_the_mean_less_mean_entropy(probabilities.double())


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
