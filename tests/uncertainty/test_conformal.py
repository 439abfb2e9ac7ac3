"""The promise of conformal prediction, simulated: coverage to the bounds of its exact distribution."""
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, kstest

from medlearn.uncertainty import (
    aps_scores,
    conformal_interval,
    conformal_quantile,
    false_negative_threshold,
    lac_scores,
    residual_scores,
    true_class_scores,
)

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def inside_the_binomial(hits, tries, probability):
    """Whether chance explains the hits: of 500 000 right programs one fails here."""
    low, high = binom.interval(1 - 2e-6, tries, probability)
    return low <= hits <= high


# ---------------------------------------------------------------------------------------------------------------------
# The quantile.

@quick
@given(seeds, st.integers(0, 60), st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9]))
@example(0, 99, 0.45)                                       # 100 (1 - 0.45) is 55.00000000000001
def test_it_is_the_score_of_that_rank(seed, n, alpha):
    scores = torch.rand(n, generator=seeded(seed), dtype=torch.float64)
    hundredths = (n + 1) * (100 - round(100 * alpha))                   # exact: whole numbers
    rank = -(-hundredths // 100)
    assert conformal_quantile(scores, alpha) == (scores.sort().values[rank - 1].item() if rank <= n else math.inf)


def test_too_few_cases_promise_nothing_but_everything():
    assert conformal_quantile(torch.arange(8.0), 0.1) == math.inf       # 0.1 needs nine
    assert conformal_quantile(torch.arange(9.0), 0.1) == 8
    assert conformal_quantile(torch.zeros(0), 0.1) == math.inf
    assert (lac_scores(torch.tensor([[1.0, 0.0]])) <= math.inf).all()
    interval = conformal_interval(torch.zeros(2), math.inf, sigma=torch.tensor([1.0, 1e-9]))
    assert interval.low.tolist() == [-math.inf] * 2 and interval.high.tolist() == [math.inf] * 2


@pytest.mark.parametrize("n, alpha", [(19, 0.1), (50, 0.2), (99, 0.05)])
def test_the_coverage_of_a_calibration_is_beta_distributed(n, alpha):
    """Of uniform scores the coverage of a quantile is the quantile: Vovk 2012, doi:10.1007/s10994-013-5355-6."""
    calibrations = torch.rand(2000, n, generator=seeded(n), dtype=torch.float64)
    coverage = [conformal_quantile(scores, alpha) for scores in calibrations]
    rank = math.ceil(round((n + 1) * (1 - alpha), 9))
    assert kstest(coverage, beta(rank, n + 1 - rank).cdf).pvalue > 1e-4
    assert abs(np.mean(coverage) - rank / (n + 1)) < 5 * beta(rank, n + 1 - rank).std() / 2000**0.5


# ---------------------------------------------------------------------------------------------------------------------
# Classification.

def simulate(seed, n, tries, classes=4):
    """A network that is wrong about its probabilities, and labels: `tries` times n cases and one more."""
    logits = 1.5 * torch.randn(tries, n + 1, classes, generator=seeded(seed), dtype=torch.float64)
    labels = torch.multinomial(logits.flatten(0, 1).softmax(1), 1, generator=seeded(seed + 1)).reshape(tries, n + 1)
    return (3 * logits).softmax(2), labels                      # three times too sure


@pytest.mark.parametrize("alpha", [0.1, 0.3])
@pytest.mark.parametrize("name", ["lac", "aps", "aps without u"])
def test_the_truth_is_in_the_set_as_often_as_promised(name, alpha):
    n, tries, g = 29, 2000, seeded(5)
    scores_of = {"lac": lac_scores, "aps": lambda p: aps_scores(p, generator=g), "aps without u": aps_scores}[name]
    hits = 0
    for p, labels in zip(*simulate(3, n, tries)):
        quantile = conformal_quantile(true_class_scores(scores_of(p[:n]), labels[:n]), alpha)
        sets = scores_of(p[n:]) <= quantile
        hits += sets[0, labels[n]].item()
    assert inside_the_binomial(hits, tries, 1 - alpha)          # 30 (1 - alpha) is whole, so this is exact; no ties


def test_a_quantile_without_the_correction_would_promise_too_much():
    n, tries, hits = 9, 4000, 0
    for p, labels in zip(*simulate(3, n, tries)):
        scores = true_class_scores(lac_scores(p), labels)
        hits += (scores[n] <= scores[:n].sort().values[math.ceil(n * 0.8) - 1]).item()
    assert not inside_the_binomial(hits, tries, 0.9) and inside_the_binomial(hits, tries, 0.8)


def test_scores_by_hand():
    p = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    torch.testing.assert_close(lac_scores(p), 1 - p)
    torch.testing.assert_close(aps_scores(p), torch.tensor([[1.0, 0.5, 0.8]], dtype=torch.float64))
    u = torch.rand(1, 1, generator=seeded(0)).double()
    random = torch.cat([0.8 + u * 0.2, u * 0.5, 0.5 + u * 0.3], 1)
    torch.testing.assert_close(aps_scores(p, generator=seeded(0)), random)


@quick
@given(seeds, st.sampled_from([(5, 3), (2, 3, 4, 5), (1, 4, 2, 3, 4)]))
def test_aps_is_a_loop_over_classes_in_2d_and_3d(seed, shape):
    p = torch.randn(shape, generator=seeded(seed), dtype=torch.float64).softmax(1)
    scores = aps_scores(p)
    for k in range(shape[1]):
        more = (p > p[:, k:k + 1])
        torch.testing.assert_close(scores[:, k], (p * more).sum(1) + p[:, k], rtol=1e-12, atol=1e-12)


def test_ignored_voxels_have_no_score():
    p = torch.rand(2, 3, 4, 4, generator=seeded(0)).softmax(1)
    labels = torch.randint(0, 3, (2, 4, 4), generator=seeded(1))
    labels[:, 0] = 255
    scores = true_class_scores(lac_scores(p), labels, ignore_index=255)
    assert scores.shape == (24,)
    torch.testing.assert_close(scores, 1 - p[:, :, 1:].gather(1, labels[:, None, 1:]).flatten())


# ---------------------------------------------------------------------------------------------------------------------
# Regression.

@pytest.mark.parametrize("normalised", [False, True])
def test_the_truth_is_in_the_interval_as_often_as_promised(normalised):
    n, tries, alpha, hits = 39, 2000, 0.1, 0
    x, noise = (torch.randn(tries, n + 1, generator=seeded(s), dtype=torch.float64) for s in (0, 1))
    mean, sigma = 0.8 * x, 0.2 + x.abs()                        # a mean that is wrong, and a sigma that is wrong
    target = x + 2 * sigma * noise
    for m, s, y in zip(mean, sigma if normalised else [None] * tries, target):
        old, new = (s, s) if s is None else (s[:n], s[n])
        quantile = conformal_quantile(residual_scores(m[:n], y[:n], sigma=old), alpha)
        interval = conformal_interval(m[n], quantile, sigma=new)
        hits += (interval.low <= y[n] <= interval.high).item()
    assert inside_the_binomial(hits, tries, 1 - alpha)


@quick
@given(seeds, st.booleans())
def test_the_interval_is_what_scores_at_most_the_quantile(seed, normalised):
    mean, target, s = (torch.randn(20, generator=seeded(seed + i), dtype=torch.float64) for i in range(3))
    sigma = s.exp() if normalised else None
    interval = conformal_interval(mean, 0.7, sigma=sigma)
    scores = residual_scores(mean, target, sigma=sigma)
    assert torch.equal((interval.low <= target) & (target <= interval.high), scores <= 0.7)


# ---------------------------------------------------------------------------------------------------------------------
# Segmentation.

def lesions(seed, n, shape=(6, 6), empty=0.2):
    """A lesion's probability and its mask; some images have none, and networks see some lesions badly."""
    g = seeded(seed)
    masks = torch.rand(n, *shape, generator=g) < 0.3
    masks &= (torch.rand(n, generator=g) > empty).reshape(n, *[1] * len(shape))
    seen = torch.randn(n, generator=g).reshape(n, *[1] * len(shape))
    return (torch.randn(n, *shape, generator=g) + masks * (1 + seen)).sigmoid(), masks


def missed(probabilities, masks, threshold):
    sizes = masks.flatten(1).sum(1)
    lost = (masks & (probabilities < threshold)).flatten(1).sum(1)
    return lost.double() / sizes.clamp_min(1)


@quick
@given(seeds, st.integers(1, 12), st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.9]), st.sampled_from([(6, 6), (3, 4, 5)]))
def test_it_is_the_largest_threshold_that_holds(seed, n, alpha, shape):
    probabilities, masks = lesions(seed, n, shape)
    probabilities = (probabilities * 20).round() / 20                   # ties
    best = max((t for t in (0.0, *probabilities[masks].unique().tolist(), math.inf)
                if missed(probabilities, masks, t).sum() + 1 <= alpha * (n + 1) + 1e-9), default=0.0)
    assert false_negative_threshold(probabilities, masks, alpha=alpha) == pytest.approx(best)


@pytest.mark.parametrize("n, alpha", [(19, 0.1), (40, 0.2)])
def test_the_missed_share_is_what_was_promised_on_average(n, alpha):
    tries = 1500
    probabilities, masks = lesions(1, tries * (n + 1))
    risks = []
    for p, m in zip(probabilities.split(n + 1), masks.split(n + 1)):
        threshold = false_negative_threshold(p[:n], m[:n], alpha=alpha)
        risks.append(missed(p[n:], m[n:], threshold).item())
    error = np.std(risks) / tries**0.5
    assert alpha - 2 / (n + 1) - 5 * error < np.mean(risks) < alpha + 5 * error      # both ends are theorems


def test_too_few_images_mark_everything_and_no_lesion_nothing():
    probabilities, masks = lesions(0, 8, empty=0.0)
    assert false_negative_threshold(probabilities, masks, alpha=0.1) == 0
    assert false_negative_threshold(probabilities[:0], masks[:0], alpha=0.1) == 0
    assert false_negative_threshold(probabilities, masks & False, alpha=0.2) == math.inf
    nine, masks = lesions(0, 9, empty=0.0)
    assert false_negative_threshold(nine, masks, alpha=0.1) == nine[masks].min()          # nothing may be missed


# ---------------------------------------------------------------------------------------------------------------------
# What is refused.

S, P = torch.tensor([0.1, 0.2]), torch.full((1, 2, 3), 0.5)
BAD = {
    "alpha": (lambda: conformal_quantile(S, 1.5), r"alpha: expected above 0 and below 1, got 1.5"),
    "alpha 0": (lambda: conformal_quantile(S, 0.0), "alpha: expected above 0 and below 1, got 0"),
    "alpha 1": (lambda: conformal_quantile(S, 1), "alpha: expected above 0 and below 1, got 1"),
    "NaN score": (lambda: conformal_quantile(S * torch.nan, 0.1), "scores: expected finite numbers"),
    "a map of scores": (lambda: conformal_quantile(S[None], 0.1), r"scores: expected \(n,\), got shape"),
    "logits": (lambda: lac_scores(P * 0), "expected sums of 1"),
    "logits for aps": (lambda: aps_scores(P * 3), "expected sums of 1"),
    "labels": (lambda: true_class_scores(P, torch.full((1, 3), 2)),
               r"labels: expected labels of 0\.\.1 for 2 classes, got 2"),
    "target": (lambda: residual_scores(S, S[:1]), r"target: expected shape \(2,\)"),
    "sigma 0": (lambda: residual_scores(S, S, sigma=S * 0), "sigma: expected standard deviations above 0, got 0"),
    "sigma's shape": (lambda: conformal_interval(S, 1.0, sigma=S[:1]), r"sigma: expected shape \(2,\)"),
    "negative quantile": (lambda: conformal_interval(S, -1.0), "quantile: expected 0 or more, got -1"),
    "quantile in words": (lambda: conformal_interval(S, "90 %"), "quantile: expected a number, got '90 %'"),
    "generator": (lambda: aps_scores(P, generator=0), "generator: expected a torch.Generator, got int"),
    "NaN quantile": (lambda: conformal_interval(S, math.nan), "quantile: expected 0 or more, got nan"),
    "lesion logits": (lambda: false_negative_threshold(3 + P, P > 0, alpha=0.1), r"expected 0\.\.1, got 3\.5"),
    "integer masks": (lambda: false_negative_threshold(P, (P > 0).long(), alpha=0.1), "masks: expected a bool tensor"),
    "masks' shape": (lambda: false_negative_threshold(P, P[:, :1] > 0, alpha=0.1),
                     r"masks: expected shape \(1, 2, 3\)"),
    "no image": (lambda: false_negative_threshold(S, S > 0, alpha=0.1),
                 r"masks: expected \(n, \*S\) with .*, got shape \(2,\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(refused, name):
    call, match = BAD[name]
    with refused(match):
        call()


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    p, masks = lesions(0, 20)
    assert false_negative_threshold(p.cuda(), masks.cuda(), alpha=0.1) == false_negative_threshold(p, masks, alpha=0.1)
    q = torch.stack([p, 1 - p], 1)
    torch.testing.assert_close(aps_scores(q.cuda(), generator=seeded(0)).cpu(), aps_scores(q, generator=seeded(0)))
