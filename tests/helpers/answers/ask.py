"""Answers to chapter 15's exercises."""
import itertools
import math

import torch

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# ask.agreement


def _dice(a, b):
    a, b = a.flatten(1), b.flatten(1)
    size = a.sum(1) + b.sum(1)
    return torch.where(size > 0, 2 * (a & b).sum(1) / size.clamp_min(1), 1.0)


def _pairs(members):
    return itertools.combinations(range(members), 2)


@right("ask.agreement")
def pair_by_pair(masks):
    if len(masks) == 1:
        return torch.ones(masks.shape[1], device=masks.device)
    return torch.stack([_dice(masks[i], masks[j]) for i, j in _pairs(len(masks))]).mean(0)


@right("ask.agreement")
def everybody_with_everybody(masks):
    members = len(masks)
    if members == 1:
        return torch.ones(masks.shape[1], device=masks.device)
    total = sum(_dice(a, b) for a in masks for b in masks) - members
    return total / (members * (members - 1))


@right("ask.agreement")
def by_sets_of_voxels(masks):
    def agree(a, b):
        return 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0
    found = []
    for of_patient in masks.flatten(2).unbind(1):
        marked = [set(mask.nonzero().flatten().tolist()) for mask in of_patient]
        scores = [agree(a, b) for a, b in itertools.combinations(marked, 2)] or [1.0]
        found.append(sum(scores) / len(scores))
    return torch.tensor(found, device=masks.device)


@wrong("ask.agreement", at="two members")
def intersection_over_union(masks):
    dice = pair_by_pair(masks)
    return dice / (2 - dice)


@wrong("ask.agreement", at="two members")
def disagreement(masks):
    return 1 - pair_by_pair(masks)


@wrong("ask.agreement", at="two members")
def with_itself_too(masks):
    return torch.stack([_dice(a, b) for a in masks for b in masks]).mean(0)


@wrong("ask.agreement", at="four members")
def with_the_first_only(masks):
    return torch.stack([_dice(masks[0], mask) for mask in masks[1:]]).mean(0) if len(masks) > 1 else pair_by_pair(masks)


@wrong("ask.agreement", at="four members")
def with_the_next_only(masks):
    pairs = list(zip(masks[:-1], masks[1:]))
    return torch.stack([_dice(a, b) for a, b in pairs]).mean(0) if pairs else pair_by_pair(masks)


@wrong("ask.agreement", at="four members")
def with_the_majority(masks):
    if len(masks) < 3:
        return pair_by_pair(masks)
    return torch.stack([_dice(mask, masks.float().mean(0) > 0.5) for mask in masks]).mean(0)


@wrong("ask.agreement", at="several patients")
def all_patients_in_one(masks):
    return pair_by_pair(masks.flatten(1)[:, None])


@wrong("ask.agreement", at="volumes")
def two_axes_of_space(masks):
    if masks.ndim == 4:
        return pair_by_pair(masks)
    return torch.stack([pair_by_pair(part) for part in masks.unbind(-1)]).mean(0)


@wrong("ask.agreement", at="nobody marks anything")
def nothing_over_nothing(masks):
    flat = masks.flatten(2)
    dice = [2 * (flat[i] & flat[j]).sum(1) / (flat[i].sum(1) + flat[j].sum(1)) for i, j in _pairs(len(masks))]
    return torch.stack(dice).mean(0) if dice else pair_by_pair(masks)


@wrong("ask.agreement", at="nobody marks anything")
def nothing_scores_zero(masks):
    return torch.nan_to_num(nothing_over_nothing(masks))


@wrong("ask.agreement", at="one member alone has found something")
def absent_is_always_right(masks):
    if len(masks) == 1:
        return pair_by_pair(masks)
    either = lambda a, b: a.flatten(1).any(1) & b.flatten(1).any(1)
    return torch.stack([torch.where(either(masks[i], masks[j]), _dice(masks[i], masks[j]), 1.0)
                        for i, j in _pairs(len(masks))]).mean(0)


@wrong("ask.agreement", at="one member")
def mean_of_no_pair(masks):
    return torch.full((masks.shape[1],), torch.nan) if len(masks) == 1 else pair_by_pair(masks)


# ---------------------------------------------------------------------------------------------------------------------
# ask.error_left


@right("ask.error_left")
def by_the_last_one_referred(uncertainty, error, fraction):
    n = error.shape[-1]
    count = math.ceil(round(fraction * n, 6))
    if n == 0 or count == 0:
        return error.sum(-1) / max(n, 1)
    last = uncertainty.sort(-1, descending=True).values[..., count - 1:count]
    return torch.where(uncertainty < last, error, 0).mean(-1)


@right("ask.error_left")
def by_counting_who_is_above(uncertainty, error, fraction):
    n = error.shape[-1]
    above = (uncertainty[..., None, :] > uncertainty[..., :, None]).sum(-1)
    kept = above >= math.ceil(fraction * n - 1e-6)
    return (error * kept).sum(-1) / max(n, 1)


@right("ask.error_left")
def from_the_most_uncertain_down(uncertainty, error, fraction):
    if error.ndim > 1:
        return torch.stack([from_the_most_uncertain_down(u, e, fraction) for u, e in zip(uncertainty, error)])
    u, left = uncertainty.tolist(), error.tolist()
    order = sorted(range(len(u)), key=lambda i: -u[i])
    for place, i in enumerate(order):
        if place + 1e-6 >= fraction * len(u) and not (place and u[i] == u[order[place - 1]]):
            break
        left[i] = 0.0
    return error.new_tensor(sum(left) / max(len(left), 1))


def _left(uncertainty, error, count, divide_by=None):
    n = error.shape[-1]
    if count == 0 or n == 0:
        return error.sum(-1) / max(n, 1)
    kept = uncertainty < uncertainty.topk(count, dim=-1).values[..., -1:]
    return (error * kept).sum(-1) / (divide_by(kept) if divide_by else n)


def _count(error, fraction):
    return math.ceil(round(fraction * error.shape[-1], 9))


@wrong("ask.error_left", at="half of them")
def mean_of_those_kept(uncertainty, error, fraction):
    return _left(uncertainty, error, _count(error, fraction), lambda kept: kept.sum(-1).clamp_min(1))


@wrong("ask.error_left", at="half of them")
def least_uncertain_referred(uncertainty, error, fraction):
    return _left(-uncertainty, error, _count(error, fraction))


@wrong("ask.error_left", at="half of them")
def the_sum(uncertainty, error, fraction):
    return _left(uncertainty, error, _count(error, fraction), lambda kept: 1)


@wrong("ask.error_left", at="half of them")
def largest_errors_referred(uncertainty, error, fraction):
    return _left(error, error, _count(error, fraction))


@wrong("ask.error_left", at="nobody referred")
def always_one_at_least(uncertainty, error, fraction):
    return _left(uncertainty, error, min(max(_count(error, fraction), 1), error.shape[-1]))


@wrong("ask.error_left", at="everybody referred")
def always_one_kept(uncertainty, error, fraction):
    return _left(uncertainty, error, min(_count(error, fraction), max(error.shape[-1] - 1, 0)))


@wrong("ask.error_left", at="a part of a patient")
def rounded_down(uncertainty, error, fraction):
    return _left(uncertainty, error, math.floor(fraction * error.shape[-1] + 1e-9))


@wrong("ask.error_left", at="seven of a hundred")
def rounding_trusted(uncertainty, error, fraction):
    return _left(uncertainty, error, math.ceil(fraction * error.shape[-1]))


@wrong("ask.error_left", at="equally uncertain")
def in_the_order_of_the_list(uncertainty, error, fraction):
    chosen = uncertainty.topk(_count(error, fraction), dim=-1).indices
    return error.scatter(-1, chosen, 0).sum(-1) / max(error.shape[-1], 1)


@wrong("ask.error_left", at="several networks")
def all_lists_in_one(uncertainty, error, fraction):
    n = error.shape[-1]
    count = _count(error.flatten(), fraction)
    if n == 0 or count == 0:
        return error.sum(-1) / max(n, 1)
    return (error * (uncertainty < uncertainty.flatten().topk(count).values[-1])).mean(-1)


@wrong("ask.error_left", at="no patient")
def none_over_none(uncertainty, error, fraction):
    return error.mean(-1) if error.shape[-1] == 0 else by_the_last_one_referred(uncertainty, error, fraction)


# ---------------------------------------------------------------------------------------------------------------------
# ask.volume_spread


@right("ask.volume_spread")
def by_second_moments(p):
    """The mean square of a volume, minus the square of its mean."""
    p = p.flatten(2)
    means, dice = p.sum(2), (p - p.square()).sum(2)
    return ((dice + means.square()).mean(0) - means.mean(0).square()).clamp_min(0).sqrt()


@right("ask.volume_spread")
def by_the_covariance_of_all_pairs_of_voxels(p):
    spreads = []
    for maps in p.flatten(2).unbind(1):
        middle = maps.mean(0)
        pairs = maps.T @ maps / len(maps)
        pairs.diagonal().copy_(middle)                      # a label squared is the label
        spreads.append((pairs - middle[:, None] * middle).sum().clamp_min(0).sqrt())
    return torch.stack(spreads)


@right("ask.volume_spread")
def by_differences_between_draws(p):
    """Half the mean square of the difference of two draws is the variance between draws."""
    volume, squares = p.flatten(2).sum(2), p.square().flatten(2).sum(2)
    apart = (volume[:, None] - volume).square().mean((0, 1)) / 2
    return (volume.mean(0) - squares.mean(0) + apart).clamp_min(0).sqrt()


def _parts(p):
    p = p.flatten(2)
    return (p * (1 - p)).sum(2).mean(0), p.sum(2).var(0, correction=0)


@wrong("ask.volume_spread", at="six draws")
def each_voxel_on_its_own(p):
    middle = p.mean(0).flatten(1)
    return (middle * (1 - middle)).sum(1).sqrt()


@wrong("ask.volume_spread", at="six draws")
def a_variance(p):
    return sum(_parts(p))


@wrong("ask.volume_spread", at="six draws")
def two_spreads_added(p):
    own, together = _parts(p)
    return own.sqrt() + together.sqrt()


@wrong("ask.volume_spread", at="six draws")
def in_shares_of_the_picture(p):
    return sum(_parts(p)).sqrt() / p[0, 0].numel()


@wrong("ask.volume_spread", at="six draws")
def only_what_differs_between_draws(p):
    return _parts(p)[1].sqrt()


@wrong("ask.volume_spread", at="six draws")
def only_the_dice(p):
    return _parts(p)[0].sqrt()


@wrong("ask.volume_spread", at="six draws")
def a_voxel_at_a_time_between_draws(p):
    flat = p.flatten(2)
    return (_parts(p)[0] + flat.var(0, correction=0).sum(1)).sqrt()


@wrong("ask.volume_spread", at="several patients")
def all_patients_in_one_pot(p):
    return sum(_parts(p.flatten(1)[:, None])).sqrt()


@wrong("ask.volume_spread", at="volumes")
def two_axes_of_space_alone(p):
    return sum(_parts(p)).sqrt() if p.ndim == 4 else torch.stack([sum(_parts(one)).sqrt() for one in p.unbind(-1)], 1)


@wrong("ask.volume_spread", at="one draw")
def a_sample_variance_put_right_afterwards(p):
    own, _ = _parts(p)
    return own.sqrt() * torch.nan if len(p) == 1 else sum(_parts(p)).sqrt()


@wrong("ask.volume_spread", at="nothing anywhere")
def in_shares_of_the_volume_and_back(p):
    mean = p.flatten(2).sum(2).mean(0)
    return sum(_parts(p)).sqrt() / mean * mean
