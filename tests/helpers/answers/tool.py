"""Answers to chapter 19's exercise."""
import torch
from torch.nn import functional as F

from helpers.answers import right, wrong


def means_of(z, weight, start=0.0):
    means, level = [], z.new_tensor(start)
    for step in z:
        level = level + weight * (step - level)
        means.append(level)
    return torch.stack(means) if means else z


def variances(z, weight):
    t = torch.arange(1, len(z) + 1, dtype=z.dtype)
    return weight / (2 - weight) * (1 - (1 - weight) ** (2 * t))


@right("tool.ewma")
def by_recursion(z, weight):
    return means_of(z, weight) / variances(z, weight).sqrt()


@right("tool.ewma")
def variance_by_recursion_too(z, weight):
    found, level, variance = [], 0.0, 0.0
    for step in z:
        level = weight * step + (1 - weight) * level
        variance = weight**2 + (1 - weight) ** 2 * variance
        found.append(level / variance**0.5)
    return torch.stack(found) if found else z


@right("tool.ewma")
def by_a_convolution(z, weight):
    n = len(z)
    if not n:
        return z
    forgets = weight * (1 - weight) ** torch.arange(n, dtype=z.dtype)
    mean = F.conv1d(F.pad(z, (n - 1, 0))[None, None], forgets.flip(0)[None, None])[0, 0]
    return mean / forgets.square().cumsum(0).sqrt()


@wrong("tool.ewma", at="the first patient")
def only_the_mean(z, weight):
    return means_of(z, weight)


@wrong("tool.ewma", at="the first patient")
def as_if_it_ran_for_ever(z, weight):
    return means_of(z, weight) / (weight / (2 - weight)) ** 0.5


@wrong("tool.ewma", at="the first patient")
def one_patient_late(z, weight):
    t = torch.arange(2, len(z) + 2, dtype=z.dtype)
    return means_of(z, weight) / (weight / (2 - weight) * (1 - (1 - weight) ** (2 * t))).sqrt()


@wrong("tool.ewma", at="three patients")
def starts_at_the_first(z, weight):
    if len(z) < 2:
        return by_recursion(z, weight)
    return means_of(z, weight, start=z[0].item()) / variances(z, weight).sqrt()


@wrong("tool.ewma", at="three patients")
def weights_exchanged(z, weight):
    if len(z) < 2:
        return z
    return means_of(z, 1 - weight if weight != 0.5 else 0.4) / variances(z, weight).sqrt()


@wrong("tool.ewma", at="many patients")
def squares_forgotten(z, weight):
    if len(z) < 10:
        return by_recursion(z, weight)
    t = torch.arange(1, len(z) + 1, dtype=z.dtype)
    return means_of(z, weight) / (weight / (2 - weight) * (1 - (1 - weight) ** t)).sqrt()


@wrong("tool.ewma", at="nobody")
def nobody_forgotten(z, weight):
    z[0]
    return by_recursion(z, weight)


@wrong("tool.ewma", at="the gradient")
def detached(z, weight):
    return by_recursion(z.detach(), weight) + 0 * z


@wrong("tool.ewma", at="three patients")
def writes_over_the_series(z, weight):
    answer = by_recursion(z, weight)
    for t in range(len(z)):
        z[t] = answer[t]
    return z


@wrong("tool.ewma", at="the first patient")
def in_double_precision(z, weight):
    return by_recursion(z.double(), weight) if z.dtype == torch.float32 else by_recursion(z, weight)


@wrong("tool.ewma", at="three patients")
def a_fifth_for_all(z, weight):
    return by_recursion(z, 0.2)
