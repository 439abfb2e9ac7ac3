"""Answers to chapter 11's exercises."""
import math

import torch

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# ct.deviance


@right("ct.deviance")
def by_two_likelihoods(expected, counts):
    def log_likelihood(mean):
        log = torch.log(torch.where(counts > 0, mean, torch.ones_like(mean)))
        return (counts * log - mean).flatten(1).sum(1)
    return 2 * (log_likelihood(counts) - log_likelihood(expected))


@right("ct.deviance")
def image_by_image(expected, counts):
    def one(mean, n):
        some = n > 0
        return 2 * ((n[some] * torch.log(n[some] / mean[some])).sum() + mean.sum() - n.sum())
    return torch.stack([one(mean, n) for mean, n in zip(expected, counts)])


@right("ct.deviance")
def by_the_ratio(expected, counts):
    ratio = counts.masked_fill(counts == 0, 1) / expected.masked_fill(counts == 0, 1)
    return (2 * (counts * ratio.log() + expected - counts)).reshape(len(counts), -1).sum(1) \
        if counts.numel() else counts.new_zeros(len(counts))


def _rays(expected, counts):
    mean = torch.where(counts > 0, expected, 1)
    return 2 * (torch.xlogy(counts, counts) - counts * mean.log() - counts + expected)


@wrong("ct.deviance", at="one ray")
def without_the_two(expected, counts):
    return _rays(expected, counts).flatten(1).sum(1) / 2


@wrong("ct.deviance", at="one ray")
def the_other_way_round(expected, counts):
    return _rays(counts, expected).flatten(1).sum(1)


@wrong("ct.deviance", at="one ray")
def the_likelihood_alone(expected, counts):
    return 2 * (expected - torch.xlogy(counts, expected)).flatten(1).sum(1)


@wrong("ct.deviance", at="one ray")
def pearsons_statistic(expected, counts):
    return ((counts - expected).square() / expected).flatten(1).sum(1)


@wrong("ct.deviance", at="several rays, two images")
def a_mean(expected, counts):
    return _rays(expected, counts).flatten(1).mean(1)


@wrong("ct.deviance", at="several rays, two images")
def of_the_whole_batch(expected, counts):
    return _rays(expected, counts).sum()[None]


@wrong("ct.deviance", at="sinograms")
def over_the_last_axis(expected, counts):
    return _rays(expected, counts).sum(-1)


@wrong("ct.deviance", at="several rows of detectors")
def over_two_axes(expected, counts):
    rays = _rays(expected, counts)
    return rays.sum((1, 2)) if rays.ndim > 2 else rays.sum(1)


@wrong("ct.deviance", at="nothing was counted")
def zero_times_infinity(expected, counts):
    return 2 * (counts * torch.log(counts / expected) - counts + expected).flatten(1).sum(1)


@wrong("ct.deviance", at="nothing was counted")
def only_where_something_came(expected, counts):
    return torch.where(counts > 0, _rays(expected, counts), 0).flatten(1).sum(1)


@wrong("ct.deviance", at="nothing expected, nothing counted")
def by_the_quotient(expected, counts):
    return 2 * (torch.xlogy(counts, counts / expected) - counts + expected).flatten(1).sum(1)


@wrong("ct.deviance", at="no rays")
def mean_times_rays(expected, counts):
    rays = _rays(expected, counts).flatten(1)
    return rays.mean(1) * rays.shape[1]


@wrong("ct.deviance", at="double precision")
def in_single_precision(expected, counts):
    return _rays(expected.float(), counts.float()).flatten(1).sum(1)


@wrong("ct.deviance", at="the gradient")
def logarithm_detached(expected, counts):
    mean = torch.where(counts > 0, expected, 1).detach()
    return 2 * (torch.xlogy(counts, counts) - counts * mean.log() - counts + expected).flatten(1).sum(1)


@wrong("ct.deviance", at="the gradient where nothing was counted")
def nan_on_the_way_back(expected, counts):
    return 2 * (torch.xlogy(counts, counts) - torch.xlogy(counts, expected) - counts + expected).flatten(1).sum(1)


# ---------------------------------------------------------------------------------------------------------------------
# ct.best_error


@right("ct.best_error")
def rod_by_rod(mu, lengths, i0):
    information = torch.zeros_like(mu)
    for length in lengths:
        information = information + length ** 2 * i0 * torch.exp(-mu * length)
    return information.rsqrt() / mu


@right("ct.best_error")
def by_a_matrix_product(mu, lengths, i0):
    known = torch.exp(-mu.reshape(-1, 1) * lengths) @ (lengths ** 2 * i0)
    return (1 / (known.sqrt() * mu.reshape(-1))).reshape(mu.shape)


@right("ct.best_error")
def in_logarithms(mu, lengths, i0):
    log_information = (2 * lengths.log() + math.log(i0) - mu.unsqueeze(-1) * lengths).logsumexp(-1)
    return (-log_information / 2 - mu.log()).exp()


def _information(mu, lengths, i0):
    return (lengths.square() * i0 * torch.exp(-mu[..., None] * lengths)).sum(-1)


@wrong("ct.best_error", at="one rod")
def not_relative(mu, lengths, i0):
    return _information(mu, lengths, i0).rsqrt()


@wrong("ct.best_error", at="one rod")
def the_variance(mu, lengths, i0):
    return 1 / (_information(mu, lengths, i0) * mu ** 2)


@wrong("ct.best_error", at="one rod")
def without_attenuation(mu, lengths, i0):
    return 1 / (mu * (lengths.square() * i0).sum().sqrt())


@wrong("ct.best_error", at="one rod")
def length_not_squared(mu, lengths, i0):
    return 1 / (mu * (lengths * i0 * torch.exp(-mu[..., None] * lengths)).sum(-1).sqrt())


@wrong("ct.best_error", at="three rods")
def errors_added(mu, lengths, i0):
    return (1 / (mu[..., None] * lengths * (i0 * torch.exp(-mu[..., None] * lengths)).sqrt())).sum(-1)


@wrong("ct.best_error", at="three rods")
def of_the_mean_rod(mu, lengths, i0):
    return 1 / (mu * (_information(mu, lengths, i0) / len(lengths)).sqrt())


@wrong("ct.best_error", at="another dose")
def always_ten_thousand(mu, lengths, i0):
    return 1 / (mu * _information(mu, lengths, 1e4).sqrt())


@wrong("ct.best_error", at="several materials")
def relative_to_the_first(mu, lengths, i0):
    return 1 / (mu.flatten()[0] * _information(mu, lengths, i0).sqrt())


@wrong("ct.best_error", at="several materials")
def all_materials_together(mu, lengths, i0):
    return 1 / (mu * _information(mu, lengths, i0).sum().sqrt())


@wrong("ct.best_error", at="as many materials as rods")
def place_by_place(mu, lengths, i0):
    if mu.shape != lengths.shape:
        return 1 / (mu * _information(mu, lengths, i0).sqrt())
    return 1 / (mu * (lengths.square() * i0 * torch.exp(-mu * lengths)).sum().sqrt())


@wrong("ct.best_error", at="an image of attenuations")
def one_axis_only(mu, lengths, i0):
    return 1 / (mu * (lengths.square() * i0 * torch.exp(-torch.outer(mu.flatten(), lengths))).sum(1).sqrt())


@wrong("ct.best_error", at="a volume")
def up_to_two_axes(mu, lengths, i0):
    if mu.ndim < 3:
        return 1 / (mu * _information(mu, lengths, i0).sqrt())
    return torch.stack([1 / (m[0] * _information(m[0], lengths, i0).sqrt()) for m in mu])


@wrong("ct.best_error", at="a single number")
def always_a_row(mu, lengths, i0):
    return torch.atleast_1d(1 / (mu * _information(mu, lengths, i0).sqrt()))


@wrong("ct.best_error", at="no rods")
def zero_where_nothing_is_known(mu, lengths, i0):
    return (1 / (mu * _information(mu, lengths, i0).sqrt())).nan_to_num(posinf=0)


@wrong("ct.best_error", at="no materials")
def none_of_none(mu, lengths, i0):
    return 1 / (mu * _information(mu, lengths, i0).sqrt()) if mu.numel() else torch.zeros((), device=mu.device)
