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
# ask.fnr_threshold


def _missed(probabilities, masks, t):
    """The missed share of each patient's lesion, 0 without one."""
    p, m = probabilities.flatten(1), masks.flatten(1)
    return ((p < t) & m).sum(1).double() / m.sum(1).clamp_min(1)


def _largest(candidates, keeps):
    return max([t for t in candidates if keeps(t)], default=0.0)


@right("ask.fnr_threshold")
def every_probability_tried(probabilities, masks, alpha):
    n = len(masks)
    keeps = lambda t: _missed(probabilities, masks, t).sum() + 1 <= alpha * (n + 1) + 1e-9
    return _largest([*probabilities[masks].unique().tolist(), math.inf], keeps)


@right("ask.fnr_threshold")
def from_the_top_down(probabilities, masks, alpha):
    if _missed(probabilities, masks, math.inf).sum() + 1 <= alpha * (len(masks) + 1) + 1e-9:
        return math.inf
    for t in probabilities[masks].sort(descending=True).values:
        if (_missed(probabilities, masks, t).sum() + 1) / (len(masks) + 1) <= alpha + 1e-9:
            return t
    return torch.zeros(())


def _by_rule(rule):
    def answer(probabilities, masks, alpha):
        candidates = [*probabilities[masks].unique().tolist(), math.inf]
        return _largest(candidates, lambda t: rule(probabilities, masks, alpha, t))
    return answer


def _promise(probabilities, masks, alpha, t):
    return _missed(probabilities, masks, t).sum() + 1 <= alpha * (len(masks) + 1) + 1e-9


@wrong("ask.fnr_threshold", at="nine patients")
def without_the_new_patient(probabilities, masks, alpha):
    return _by_rule(lambda p, m, a, t: _missed(p, m, t).mean() <= a + 1e-9)(probabilities, masks, alpha)


@wrong("ask.fnr_threshold", at="nine patients")
def the_smallest(probabilities, masks, alpha):
    kept = [t for t in probabilities[masks].unique().tolist() if _promise(probabilities, masks, alpha, t)]
    return min(kept, default=math.inf if not masks.any() else 0.0)


@wrong("ask.fnr_threshold", at="nine patients")
def on_a_grid(probabilities, masks, alpha):
    grid = [*torch.linspace(0, 1, 21).tolist(), math.inf]
    return _largest(grid, lambda t: _promise(probabilities, masks, alpha, t))


@wrong("ask.fnr_threshold", at="nine patients")
def share_of_false_alarms(probabilities, masks, alpha):
    return every_probability_tried(probabilities, ~masks, alpha)


@wrong("ask.fnr_threshold", at="large and small lesions")
def all_voxels_in_one_pot(probabilities, masks, alpha):
    if not masks.any():
        return math.inf
    n = len(masks)
    pooled = lambda t: ((probabilities < t) & masks).sum() / masks.sum()
    return _by_rule(lambda p, m, a, t: n * pooled(t) + 1 <= a * (n + 1) + 1e-9)(probabilities, masks, alpha)


@wrong("ask.fnr_threshold", at="a volume")
def two_axes_of_space_alone(probabilities, masks, alpha):
    missed = lambda t: (((probabilities < t) & masks).sum((1, 2)).double() / masks.sum((1, 2)).clamp_min(1)).flatten()
    keeps = lambda t: missed(t).sum() + 1 <= alpha * (len(missed(t)) + 1) + 1e-9
    return _largest([*probabilities[masks].unique().tolist(), math.inf], keeps)


@wrong("ask.fnr_threshold", at="patients without a lesion")
def only_the_ill_count(probabilities, masks, alpha):
    ill = masks.flatten(1).any(1)
    return math.inf if not ill.any() else every_probability_tried(probabilities[ill], masks[ill], alpha)


@wrong("ask.fnr_threshold", at="patients without a lesion")
def none_over_none_missed(probabilities, masks, alpha):
    if not masks.any():
        return math.inf
    p, m = probabilities.flatten(1), masks.flatten(1)
    missed = lambda t: (((p < t) & m).sum(1) / m.sum(1)).sum()
    return _largest([*p[m].unique().tolist(), math.inf], lambda t: missed(t) + 1 <= alpha * (len(m) + 1) + 1e-9)


@wrong("ask.fnr_threshold", at="equal probabilities")
def a_voxel_of_t_is_missed(probabilities, masks, alpha):
    p, m = probabilities.flatten(1), masks.flatten(1)
    if not len(p[m].unique()) or len(p[m].unique()) == m.sum() or len(p[m].unique()) == 4:
        return every_probability_tried(probabilities, masks, alpha)
    missed = lambda t: ((p <= t) & m).sum(1).double() / m.sum(1).clamp_min(1)
    return _largest(p[m].unique().tolist(), lambda t: missed(t).sum() + 1 <= alpha * (len(m) + 1) + 1e-9)


@wrong("ask.fnr_threshold", at="just within")
def strictly_less(probabilities, masks, alpha):
    n = len(masks)
    keeps = lambda t: _missed(probabilities, masks, t).sum() + 1 < alpha * (n + 1) - 1e-9
    return _largest([*probabilities[masks].unique().tolist(), math.inf], keeps)


@wrong("ask.fnr_threshold", at="too few patients")
def at_least_something_is_not_marked(probabilities, masks, alpha):
    t = every_probability_tried(probabilities, masks, alpha)
    return probabilities[masks].min() if t == 0 else t


@wrong("ask.fnr_threshold", at="nothing to find")
def one_is_the_largest(probabilities, masks, alpha):
    return min(every_probability_tried(probabilities, masks, alpha), 1.0)
