"""Answers to chapter 3's exercises."""
import math

import torch
from torch.nn import functional as F

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# learning.backward


def _mean_loss(x, y, A, a, c, d):
    return F.binary_cross_entropy_with_logits((x @ A.T + a).relu() @ c + d, y)


@right("learning.backward")
def by_autograd(x, y, A, a, c, d):
    leaves = [value.clone().requires_grad_() for value in (A, a, c, d)]
    return torch.autograd.grad(_mean_loss(x, y, *leaves), leaves)


@right("learning.backward")
def by_einsum(x, y, A, a, c, d):
    u = torch.einsum("bn,hn->bh", x, A) + a
    error = torch.sigmoid(u.relu() @ c + d) - y
    at_u = torch.einsum("b,h->bh", error, c) * torch.heaviside(u, torch.zeros_like(u))
    return (torch.einsum("bh,bn->hn", at_u, x) / len(x), at_u.mean(0), torch.einsum("b,bh->h", error, u.relu()) / len(x),
            error.mean())


@right("learning.backward")
def voxel_by_voxel(x, y, A, a, c, d):
    at_A, at_a, at_c, at_d = (torch.zeros_like(value) for value in (A, a, c, d))
    for seen, truth in zip(x, y):
        u = A.mv(seen) + a
        h = torch.where(u > 0, u, 0)
        error = (1 / (1 + torch.exp(-(c.dot(h) + d))) - truth) / len(x)
        at_u = torch.where(u > 0, error * c, 0)
        at_A, at_a, at_c, at_d = at_A + torch.outer(at_u, seen), at_a + at_u, at_c + error * h, at_d + error
    return at_A, at_a, at_c, at_d


def _steps(x, y, A, a, c, d):
    u = x @ A.T + a
    return u, u.relu(), (torch.sigmoid(u.relu() @ c + d) - y) / len(x)


@wrong("learning.backward", at="the voxel of the chapter")
def uphill(x, y, A, a, c, d):
    return tuple(-value for value in by_autograd(x, y, A, a, c, d))


@wrong("learning.backward", at="the voxel of the chapter")
def without_the_last_weights(x, y, A, a, c, d):
    u, h, error = _steps(x, y, A, a, c, d)
    at_u = error[:, None] * (u > 0)
    return at_u.T @ x, at_u.sum(0), error @ h, error.sum()


@wrong("learning.backward", at="the voxel of the chapter")
def hidden_for_seen(x, y, A, a, c, d):
    u, h, error = _steps(x, y, A, a, c, d)
    at_u = error[:, None] * c * (u > 0)
    return at_u.T @ h[:, :1].expand_as(x), at_u.sum(0), error @ h, error.sum()


@wrong("learning.backward", at="a batch of five")
def summed_over_the_batch(x, y, A, a, c, d):
    return tuple(len(x) * value for value in by_autograd(x, y, A, a, c, d))


@wrong("learning.backward", at="a batch of five")
def through_silent_units(x, y, A, a, c, d):
    u, h, error = _steps(x, y, A, a, c, d)
    at_u = error[:, None] * c
    return at_u.T @ x, at_u.sum(0), error @ h, error.sum()


@wrong("learning.backward", at="every hidden unit silent")
def no_number_where_silent(x, y, A, a, c, d):
    grads = by_autograd(x, y, A, a, c, d)
    return (grads[0] / (grads[0].abs().amax() > 0), *grads[1:])


@wrong("learning.backward", at="one hidden unit, one input")
def squeezed(x, y, A, a, c, d):
    return tuple(value.squeeze() for value in by_autograd(x, y, A, a, c, d))


@wrong("learning.backward", at="the voxel of the chapter")
def inputs_by_hidden_units(x, y, A, a, c, d):
    at_A, *others = by_autograd(x, y, A, a, c, d)
    return at_A.T, *others


@wrong("learning.backward", at="the voxel of the chapter")
def through_the_sigmoid_twice(x, y, A, a, c, d):
    u, h, error = _steps(x, y, A, a, c, d)
    p = torch.sigmoid(h @ c + d)
    error = error * p * (1 - p)
    at_u = error[:, None] * c * (u > 0)
    return at_u.T @ x, at_u.sum(0), error @ h, error.sum()


@wrong("learning.backward", at="the voxel of the chapter")
def takes_the_step_too(x, y, A, a, c, d):
    grads = by_autograd(x, y, A, a, c, d)
    for value, grad in zip((A, a, c, d), grads):
        value -= 0.1 * grad
    return grads


@wrong("learning.backward", at="a batch of five")
def the_first_voxel_alone(x, y, A, a, c, d):
    return by_autograd(x[:1], y[:1], A, a, c, d)


# ---------------------------------------------------------------------------------------------------------------------
# learning.folds

@right("learning.folds")
def by_first_appearance(patients, k):
    names = list(dict.fromkeys(patients.tolist()))
    return torch.tensor([names.index(one) % k for one in patients.tolist()], dtype=torch.int64)


@right("learning.folds")
def by_unique(patients, k):
    if not len(patients):
        return patients
    names, place = patients.unique(return_inverse=True)
    first = torch.full((len(names),), len(patients)).scatter_reduce(0, place, torch.arange(len(patients)), "amin")
    return first.argsort().argsort()[place] % k


@right("learning.folds")
def by_the_first_slice_of_each(patients, k):
    if not len(patients):
        return patients
    first = (patients[:, None] == patients).int().argmax(1)
    turn = (first == torch.arange(len(patients))).cumsum(0) - 1
    return turn[first] % k


@wrong("learning.folds", at="two slices of each patient")
def deals_slices(patients, k):
    return torch.arange(len(patients)) % k


@wrong("learning.folds", at="two slices of each patient")
def by_the_number_itself(patients, k):
    return patients % k


@wrong("learning.folds", at="two slices of each patient")
def by_sorted_number(patients, k):
    return patients.unique(return_inverse=True)[1] % k


@wrong("learning.folds", at="slices in any order")
def a_new_turn_at_each_change(patients, k):
    change = patients[1:] != patients[:-1]
    return torch.cat([torch.zeros(min(1, len(patients)), dtype=torch.int64), change.cumsum(0)]) % k


@wrong("learning.folds", at="two slices of each patient")
def in_blocks(patients, k):
    names = list(dict.fromkeys(patients.tolist()))
    return torch.tensor([names.index(one) * k // len(names) for one in patients.tolist()], dtype=torch.int64)


@wrong("learning.folds", at="two slices of each patient")
def a_fold_for_each_patient(patients, k):
    names = list(dict.fromkeys(patients.tolist()))
    return torch.tensor([names.index(one) for one in patients.tolist()], dtype=torch.int64)


@wrong("learning.folds", at="no slice")
def floats_of_nothing(patients, k):
    names = list(dict.fromkeys(patients.tolist()))
    return torch.tensor([names.index(one) % k for one in patients.tolist()])


@wrong("learning.folds", at="two slices of each patient")
def a_list(patients, k):
    return by_first_appearance(patients, k).tolist()


@wrong("learning.folds", at="two slices of each patient")
def writes_over_the_patients(patients, k):
    patients.copy_(by_first_appearance(patients, k))
    return patients


@wrong("learning.folds", at="slices in any order")
def two_folds_always(patients, k):
    return by_first_appearance(patients, min(k, 2))


@wrong("learning.folds", at="slices in any order")
def the_fold_with_the_fewest_slices(patients, k):
    slices, fold = [0] * k, {}
    for one in dict.fromkeys(patients.tolist()):
        fold[one] = slices.index(min(slices))
        slices[fold[one]] += int((patients == one).sum())
    return torch.tensor([fold[one] for one in patients.tolist()], dtype=torch.int64)


# ---------------------------------------------------------------------------------------------------------------------
# learning.stop_at

@right("learning.stop_at")
def by_counting(losses, patience):
    best, kept, waited = math.inf, 0, 0
    for look in range(len(losses)):
        waited += 1
        if losses[look] < best:
            best, kept, waited = losses[look].item(), look, 0
        if waited == patience:
            return kept, look
    return kept, len(losses) - 1


@right("learning.stop_at")
def by_running_minimum(losses, patience):
    values = [value if value == value else math.inf for value in losses.tolist()]
    for look in range(len(values)):
        kept = values.index(min(values[:look + 1]))
        if look - kept >= patience:
            return kept, look
    return values.index(min(values)), len(values) - 1


@right("learning.stop_at")
def by_the_last_improvement(losses, patience):
    values = losses.nan_to_num(math.inf)
    before = torch.cat([values.new_tensor([math.inf]), values.cummin(0).values[:-1]])
    look = torch.arange(len(values))
    kept = torch.where(values < before, look, 0).cummax(0).values
    over = (look - kept >= patience).nonzero().flatten()
    end = over[0] if len(over) else look[-1]
    return int(kept[end]), int(end)


@wrong("learning.stop_at", at="it turns")
def stops_one_look_late(losses, patience):
    return by_counting(losses, patience + 1)


@wrong("learning.stop_at", at="it turns")
def counts_from_one(losses, patience):
    kept, look = by_counting(losses, patience)
    return kept + 1, look + 1


@wrong("learning.stop_at", at="it turns")
def keeps_the_last(losses, patience):
    look = by_counting(losses, patience)[1]
    return look, look


@wrong("learning.stop_at", at="it turns")
def never_stops(losses, patience):
    return by_running_minimum(losses, len(losses))


@wrong("learning.stop_at", at="a second fall that comes too late")
def sees_the_future(losses, patience):
    kept = int(losses.nan_to_num(math.inf).argmin())
    return kept, min(kept + patience, len(losses) - 1)


@wrong("learning.stop_at", at="equal is not lower")
def takes_equal_for_better(losses, patience):
    best, kept = math.inf, 0
    for look, value in enumerate(losses.tolist()):
        if value <= best:
            best, kept = value, look
        elif look - kept >= patience:
            return kept, look
    return kept, len(losses) - 1


@wrong("learning.stop_at", at="a NaN")
def takes_nan_for_the_best(losses, patience):
    best, kept = math.inf, 0
    for look, value in enumerate(losses.tolist()):
        if not value >= best:
            best, kept = value, look
        elif look - kept >= patience:
            return kept, look
    return kept, len(losses) - 1


@wrong("learning.stop_at", at="a second fall")
def against_the_look_before(losses, patience):
    values, waited = losses.nan_to_num(math.inf), 0
    for look in range(1, len(values)):
        waited = 0 if values[look] < values[look - 1] else waited + 1
        if waited == patience:
            return int(values[:look + 1].argmin()), look
    return int(values.argmin()), len(values) - 1


@wrong("learning.stop_at", at="a second fall")
def its_patience_does_not_come_back(losses, patience):
    best, kept, waited = math.inf, 0, 0
    for look, value in enumerate(losses.tolist()):
        if value < best:
            best, kept = value, look
        else:
            waited += 1
        if waited == patience:
            return kept, look
    return kept, len(losses) - 1


@wrong("learning.stop_at", at="a NaN")
def waits_at_a_nan_for_ever(losses, patience):
    look = 0
    while look < len(losses):
        if losses[look].isnan():
            continue
        look += 1
    return by_counting(losses, patience)
