"""The risk-coverage curve against a loop, its mean over all orders of equal cases, and who is referred."""
import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medlearn.uncertainty import referral, risk_coverage

quick = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def cases(seed, n=None, levels=None):
    random = np.random.default_rng(seed)
    n = n or int(random.integers(1, 30))
    uncertainty = random.random(n) if levels is None else random.integers(0, levels, n) / 8
    return torch.from_numpy(uncertainty), torch.from_numpy(random.random(n))


def curve_by_loop(uncertainty, error):
    order = np.argsort(uncertainty, kind="stable")
    return np.array([error[order[:i]].mean() for i in range(1, len(error) + 1)])


@quick
@given(seeds)
def test_without_ties_it_is_the_mean_error_of_the_least_uncertain(seed):
    uncertainty, error = cases(seed)
    curve, n = risk_coverage(uncertainty, error), len(error)
    np.testing.assert_allclose(curve.risk, curve_by_loop(uncertainty.numpy(), error.numpy()), rtol=1e-12)
    np.testing.assert_allclose(curve.best_risk, curve_by_loop(error.numpy(), error.numpy()), rtol=1e-12)
    np.testing.assert_allclose(curve.coverage, np.arange(1, n + 1) / n)
    np.testing.assert_array_equal(curve.threshold, np.sort(uncertainty))
    assert curve.aurc == pytest.approx(curve.risk.mean().item()) and curve.excess_aurc >= -1e-15
    assert curve.risk[-1].item() == pytest.approx(error.mean().item())


@quick
@given(seeds)
def test_with_ties_it_is_the_mean_over_all_orders(seed):
    uncertainty, error = cases(seed, n=5, levels=3)
    orders = [list(order) for order in itertools.permutations(range(5))]
    curves = [curve_by_loop(uncertainty[order].numpy(), error[order].numpy()) for order in orders]
    np.testing.assert_allclose(risk_coverage(uncertainty, error).risk, np.mean(curves, axis=0), rtol=1e-12)


@quick
@given(seeds)
def test_the_order_of_the_cases_does_not_matter(seed):
    uncertainty, error = cases(seed, levels=4)
    order = torch.randperm(len(error), generator=torch.Generator().manual_seed(seed))
    one, other = risk_coverage(uncertainty, error), risk_coverage(uncertainty[order], error[order])
    torch.testing.assert_close(one.risk, other.risk, rtol=1e-12, atol=0)
    assert torch.equal(one.threshold, other.threshold)
    for fraction in (0.0, 0.1, 0.5, 1.0):
        assert torch.equal(referral(uncertainty, fraction)[order], referral(uncertainty[order], fraction))


@quick
@given(seeds)
def test_the_area_of_answered_errors_is_a_count_of_pairs(seed):
    """Of each error the share of cases that are more uncertain; equal ones, and itself, by half."""
    uncertainty, error = cases(seed, levels=4)
    u, e = uncertainty.numpy(), error.numpy()
    by_pairs = np.mean([[e[j] * ((u[j] < u[i]) + (u[j] == u[i]) / 2) for j in range(len(e))] for i in range(len(e))])
    assert risk_coverage(uncertainty, error).augrc == pytest.approx(by_pairs, rel=1e-12)


@quick
@given(seeds, st.integers(1, 11))
def test_of_right_and_wrong_the_area_follows_from_the_auroc(seed, wrong):
    """Traub et al. 2024, arXiv:2407.01032: (1 - AUROC) acc (1 - acc) + (1 - acc)^2 / 2."""
    uncertainty, _ = cases(seed, n=12, levels=5)
    error = (torch.arange(12) < wrong).double()
    u = uncertainty.numpy()
    auroc = np.mean([(a > b) + (a == b) / 2 for a in u[:wrong] for b in u[wrong:]])
    rate = wrong / 12
    expected = (1 - auroc) * rate * (1 - rate) + rate**2 / 2
    assert risk_coverage(uncertainty, error).augrc == pytest.approx(expected, rel=1e-12)


def test_a_sure_error_costs_the_usual_area_many_times_and_this_one_once():
    error = torch.zeros(100).index_fill_(0, torch.tensor([0]), 1)
    sure, unsure = torch.arange(100.0), torch.arange(100.0, 0, -1)
    first, last = risk_coverage(sure, error), risk_coverage(unsure, error)
    assert first.aurc / last.aurc > 500 and first.augrc / last.augrc == pytest.approx(199)
    assert risk_coverage(torch.zeros(100), error).augrc == pytest.approx(0.01 / 2)


def test_the_best_the_useless_and_the_worst():
    error = torch.tensor([0.0, 0.0, 0.0, 1.0])
    assert risk_coverage(error, error).excess_aurc == 0
    assert risk_coverage(torch.ones(4), error).risk.tolist() == [0.25] * 4
    assert risk_coverage(-error, error).risk.tolist() == [1, 0.5, pytest.approx(1 / 3), 0.25]
    assert risk_coverage(error, error).aurc == pytest.approx(0.25 / 4)


@quick
@given(seeds, st.integers(0, 100))
@example(0, 7)                                                          # 0.07 * 100 is 7.000000000000001
def test_the_most_uncertain_are_referred(seed, hundredths):
    uncertainty, _ = cases(seed, n=100)
    referred = referral(uncertainty, hundredths / 100)
    assert referred.sum() == hundredths
    if 0 < hundredths < 100:
        assert uncertainty[referred].min() > uncertainty[~referred].max()


def test_equal_cases_are_referred_together():
    uncertainty = torch.tensor([0.1, 0.9, 0.5, 0.5, 0.5])
    assert referral(uncertainty, 0.2).tolist() == [False, True, False, False, False]
    assert referral(uncertainty, 0.4).tolist() == [False, True, True, True, True]
    assert referral(uncertainty, 0.01).sum() == 1 and referral(uncertainty, 0).sum() == 0
    assert referral(torch.zeros(0), 0.5).shape == (0,)


U = torch.tensor([0.1, 0.2])
BAD = {
    "none": (U[:0], U[:0], "uncertainty: expected at least one case, got none"),
    "shapes": (U, U[:1], r"error: expected shape \(2,\) on cpu, got \(1,\)"),
    "a map": (U[None], U[None], r"uncertainty: expected \(n,\), got shape \(1, 2\)"),
    "NaN": (U * torch.nan, U, "uncertainty: expected finite numbers"),
    "NaN error": (U, U / 0, "error: expected finite numbers"),
    "integers": (U, U.long(), "error: expected a float tensor"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_cases_are_refused(refused, name):
    uncertainty, error, match = BAD[name]
    with refused(match):
        risk_coverage(uncertainty, error)


def test_bad_fractions_are_refused(refused):
    for fraction in (-0.1, 1.5, float("nan")):
        with refused(r"fraction: expected 0\.\.1, got"):
            referral(U, fraction)
    with refused("fraction: expected a number, got '10 %'"):
        referral(U, "10 %")


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    uncertainty, error = cases(0, n=20, levels=4)
    here, there = risk_coverage(uncertainty, error), risk_coverage(uncertainty.cuda(), error.cuda())
    torch.testing.assert_close(there.risk.cpu(), here.risk)
