"""Answers to chapter 18's exercises."""
import heapq
import math
from fractions import Fraction

import torch

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# shift.threshold


@right("shift.threshold")
def by_counting(scores, rate):
    n = len(scores)
    kept = [s for i, s in enumerate(scores.sort().values) if (n - i) / (n + 1) <= rate + 1e-9]
    return kept[0] if kept else torch.tensor(math.inf, dtype=scores.dtype)


@right("shift.threshold")
def with_one_more_at_infinity(scores, rate):
    ranked = torch.cat([scores, scores.new_tensor([math.inf])]).sort(descending=True).values
    return ranked[min(int(rate * len(ranked) + 1e-9), len(ranked) - 1)]


@right("shift.threshold")
def in_exact_fractions(scores, rate):
    n = len(scores)
    k = n + 1 - math.floor(Fraction(str(rate)) * (n + 1))
    return scores.kthvalue(max(k, 1)).values if k <= n else scores.new_tensor(math.inf)


@wrong("shift.threshold", at="nine patients, one in ten")
def plain_quantile(scores, rate):
    return scores.quantile(1 - rate) if len(scores) else scores.new_tensor(math.inf)


@wrong("shift.threshold", at="nine patients, one in ten")
def the_lower_side(scores, rate):
    return -by_counting(-scores, rate)


@wrong("shift.threshold", at="nine patients, one in five")
def always_the_largest(scores, rate):
    return scores.max() if len(scores) and rate * (len(scores) + 1) > 1 - 1e-9 else scores.new_tensor(math.inf)


@wrong("shift.threshold", at="many patients")
def one_rank_too_low(scores, rate):
    if len(scores) < 50:
        return by_counting(scores, rate)
    return scores.sort().values[len(scores) - int(rate * (len(scores) + 1) + 1e-9) - 1]


@wrong("shift.threshold", at="twenty-nine in a hundred")
def rounding_trusted(scores, rate):
    n = len(scores)
    k = n + 1 - int(rate * (n + 1))
    return scores.new_tensor(math.inf) if k > n else scores.sort().values[k - 1]


@wrong("shift.threshold", at="too few for the promise")
def the_largest_for_want_of_more(scores, rate):
    found = by_counting(scores, rate)
    return scores.max() if len(scores) and found == math.inf else found


@wrong("shift.threshold", at="nobody")
def nobody_forgotten(scores, rate):
    scores.max()
    return by_counting(scores, rate)


@wrong("shift.threshold", at="nine patients, one in ten")
def without_sorting(scores, rate):
    k = len(scores) + 1 - int(rate * (len(scores) + 1) + 1e-9)
    return scores[k - 1] if k <= len(scores) else scores.new_tensor(math.inf)


@wrong("shift.threshold", at="nine patients, one in ten")
def sorts_what_it_was_given(scores, rate):
    scores.copy_(scores.sort().values)
    return by_counting(scores, rate)


@wrong("shift.threshold", at="too few for the promise")
def without_the_future_patient(scores, rate):
    n = len(scores)
    return scores.sort().values[n - int(rate * n + 1e-9) - 1] if n else scores.new_tensor(math.inf)


@wrong("shift.threshold", at="too few for the promise")
def the_next_higher_quantile(scores, rate):
    return scores.quantile(1 - rate, interpolation="higher") if len(scores) else scores.new_tensor(math.inf)


# ---------------------------------------------------------------------------------------------------------------------
# shift.refer


@right("shift.refer")
def one_by_one(p, check_minutes, useless_minutes, hours):
    left, checked = 60 * hours, torch.zeros(len(p), dtype=torch.bool)
    for i in sorted(range(len(p)), key=lambda i: -p[i].item()):
        if left >= check_minutes and p[i] * useless_minutes > check_minutes:
            checked[i], left = True, left - check_minutes
    return checked


@right("shift.refer")
def by_rank(p, check_minutes, useless_minutes, hours):
    rank = (-p).argsort(stable=True).argsort()
    return (rank < 60 * hours // check_minutes) & (p > check_minutes / useless_minutes)


@right("shift.refer")
def the_largest_of_those_worth_it(p, check_minutes, useless_minutes, hours):
    worth = [i for i, risk in enumerate(p.tolist()) if risk * useless_minutes > check_minutes]
    chosen = heapq.nlargest(math.floor(60 * hours / check_minutes), worth, key=lambda i: p[i].item())
    return torch.zeros(len(p), dtype=torch.bool).index_fill(0, torch.tensor(chosen, dtype=torch.int64), True)


@wrong("shift.refer", at="time for all")
def everybody_there_is_time_for(p, check_minutes, useless_minutes, hours):
    return by_rank(p, check_minutes, 1e9, hours)


@wrong("shift.refer", at="time for all")
def the_other_ratio(p, check_minutes, useless_minutes, hours):
    return by_rank(p, check_minutes, 1, hours)


@wrong("shift.refer", at="time for two")
def time_forgotten(p, check_minutes, useless_minutes, hours):
    return (p * useless_minutes > check_minutes) & (hours > 0)


@wrong("shift.refer", at="time for two")
def first_come(p, check_minutes, useless_minutes, hours):
    worth = p * useless_minutes > check_minutes
    return worth & (worth.cumsum(0) <= 60 * hours // check_minutes)


@wrong("shift.refer", at="a part of a check")
def rounded_up(p, check_minutes, useless_minutes, hours):
    rank = (-p).argsort(stable=True).argsort()
    return (rank < math.ceil(60 * hours / check_minutes)) & (p > check_minutes / useless_minutes)


@wrong("shift.refer", at="equals")
def the_later_of_equals(p, check_minutes, useless_minutes, hours):
    return by_rank(p.flip(0), check_minutes, useless_minutes, hours).flip(0)


@wrong("shift.refer", at="just worth nothing")
def at_the_threshold_too(p, check_minutes, useless_minutes, hours):
    rank = (-p).argsort(stable=True).argsort()
    return (rank < 60 * hours // check_minutes) & (p * useless_minutes >= check_minutes)


@wrong("shift.refer", at="many patients")
def at_most_four(p, check_minutes, useless_minutes, hours):
    rank = (-p).argsort(stable=True).argsort()
    return by_rank(p, check_minutes, useless_minutes, hours) & (rank < 4)


@wrong("shift.refer", at="no time")
def at_least_one(p, check_minutes, useless_minutes, hours):
    return by_rank(p, check_minutes, useless_minutes, max(hours, check_minutes / 60))


@wrong("shift.refer", at="time for all")
def places_in_the_list(p, check_minutes, useless_minutes, hours):
    return by_rank(p, check_minutes, useless_minutes, hours).nonzero().flatten()


@wrong("shift.refer", at="time for all")
def strikes_out_in_the_list_itself(p, check_minutes, useless_minutes, hours):
    answer = by_rank(p, check_minutes, useless_minutes, hours)
    p[~answer] = 0
    return answer


@wrong("shift.refer", at="a part of a check")
def rounded_to_the_nearest(p, check_minutes, useless_minutes, hours):
    rank = (-p).argsort(stable=True).argsort()
    return (rank < round(60 * hours / check_minutes)) & (p > check_minutes / useless_minutes)
