"""Intervals: against scipy, coverage, patients as units, and what is infinite or undefined."""
import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Generator

from medlearn.evaluate import bootstrap_interval


def interval(values, patients=None, seed=0, **options):
    values = torch.as_tensor(values, dtype=torch.float64)
    patients = [str(i) for i in range(len(values))] if patients is None else patients
    return bootstrap_interval(values, patients, generator=Generator().manual_seed(seed), **options)


def test_without_repeats_it_is_scipys_percentile_interval():
    values = np.random.default_rng(0).normal(0.8, 0.1, 30)
    peer = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000,
                                 rng=np.random.default_rng(1))
    assert interval(values, draws=20000) == pytest.approx(tuple(peer.confidence_interval), abs=2e-3)


def test_scans_of_one_patient_are_not_two_opinions():
    values = np.random.default_rng(0).normal(size=10).repeat(8)
    alone, together = interval(values), interval(values, [str(i // 8) for i in range(80)])
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])
    assert interval(values[::8]) == pytest.approx(together)


def test_it_holds_the_mean_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = [low <= 0 <= high for low, high in (interval(random.normal(size=40), seed=i, draws=400) for i in range(200))]
    assert 0.88 < np.mean(held) < 0.99


def test_what_is_undefined_is_in_no_mean_and_an_infinity_spoils_those_it_is_in():
    nan = math.nan
    assert interval([0.5, 0.7, nan, nan], draws=500) == (0.5, 0.7)
    low, high = interval([1.0] * 30 + [math.inf])
    assert low == 1.0 and high == math.inf
    assert all(math.isnan(x) for x in (*interval([nan, nan]), *interval([])))
    assert interval([0.25]) == (0.25, 0.25)


def test_a_seed_decides():
    values = np.random.default_rng(0).normal(size=9)
    assert interval(values) == interval(values) != interval(values, seed=1)


@pytest.mark.parametrize("arguments, options, match", [
    (([1.0, 2.0], ["a"]), {}, "patients: expected one for each of 2 values, got 1"),
    (([1.0, -math.inf], ["a", "b"]), {}, "values: expected numbers, inf or NaN"),
    (([1.0], ["a"]), dict(draws=0), "draws: expected"), (([1.0], ["a"]), dict(level=1.0), "level: expected"),
])
def test_what_is_refused(refused, arguments, options, match):
    with refused(match):
        interval(*arguments, **options)
