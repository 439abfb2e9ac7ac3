"""The chart that watches a model at work: its sums, its false alarms, how soon it rings."""
import pytest
import torch

from medlearn.evaluate import DriftChart, drift_chart


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def test_the_sums_are_pages_recursion():
    scores, chart = normal(50), DriftChart(mean=0.1, sd=1.5, allowance=0.3, limit=2.0)
    found, high, low, first = chart.follow(scores), 0.0, 0.0, None
    for t, x in enumerate(scores.tolist()):
        z = (x - 0.1) / 1.5
        high, low = max(0.0, high + z - 0.3), max(0.0, low - z - 0.3)
        assert found.high[t].item() == pytest.approx(high) and found.low[t].item() == pytest.approx(low)
        first = t if first is None and max(high, low) > 2.0 else first
    assert found.alarm == first is not None


@pytest.mark.parametrize("skewed", [False, True], ids=["bell", "exponential"])
def test_false_alarms_are_as_many_as_were_asked_for(skewed):
    """Each time another reference, and a stream from the same patients as it."""
    rings, times = 0, 200
    for seed in range(times):
        scores = normal(150, seed=seed)
        scores = scores.abs().square() if skewed else scores
        chart = drift_chart(scores[:100], patients=50, rate=0.1, generator=seeded(seed), draws=400)
        rings += chart.follow(scores[100:]).alarm is not None
    assert 0.05 < rings / times < 0.17             # 0.1 within about three standard errors


def test_a_limit_from_a_formula_would_ring_more_often_where_the_reference_is_small():
    small, large = (drift_chart(normal(n), patients=50, generator=seeded()).limit for n in (15, 2000))
    assert small > 1.2 * large


def test_a_small_shift_that_stays_is_found_sooner_than_by_single_scores():
    chart = drift_chart(normal(2000), patients=100, rate=0.05, generator=seeded())
    single = 3.48                   # of 100 normal scores one lies further out, on either side, one time in twenty
    sums, singly = [], []
    for seed in range(100):
        stream = normal(100, seed=1000 + seed) + 1.0
        sums.append(99 if (alarm := chart.follow(stream).alarm) is None else alarm)
        singly.append(next((t for t, x in enumerate(stream.tolist()) if abs(x) > single), 99))
    assert 2 * sum(sums) < sum(singly)


@pytest.mark.parametrize("sign", [1, -1])
def test_it_looks_up_and_down(sign):
    chart = DriftChart(mean=0.0, sd=1.0, allowance=0.5, limit=5.0)
    found = chart.follow(torch.full((20,), 1.5 * sign))
    assert found.alarm == 5 and (found.high if sign > 0 else found.low)[-1] == 20


def test_nobody_gives_an_empty_chart():
    found = DriftChart(mean=0.0, sd=1.0, allowance=0.5, limit=5.0).follow(torch.zeros(0))
    assert found.alarm is None and len(found.high) == 0


def test_what_cannot_be_charted_is_refused(refused):
    with refused("reference: expected ten scores or more that differ, got 9"):
        drift_chart(normal(9), patients=5, generator=seeded())
    with refused("reference: .* all alike"):
        drift_chart(torch.ones(20), patients=5, generator=seeded())
    with refused("rate: expected .* got 1"):
        drift_chart(normal(20), patients=5, rate=1, generator=seeded())
    with refused("sd: expected .* got 0"):
        DriftChart(mean=0.0, sd=0, allowance=0.5, limit=5.0)


@pytest.mark.parametrize("unit", [2.0 ** -60, 2.0 ** -43, 2.0 ** 60])
def test_the_limit_knows_no_units(unit):
    chart, other = (drift_chart(normal(20) * scale, patients=30, generator=seeded()) for scale in (1.0, unit))
    assert other.limit == pytest.approx(chart.limit) and other.sd == pytest.approx(chart.sd * unit)


@pytest.mark.parametrize("value", [0.0, 0.1, -1234.567, 1e-9, 1e9])
def test_scores_that_differ_by_rounding_alone_are_refused(value, refused):
    scores = torch.full((11,), value, dtype=torch.float64)
    for constant in (scores, torch.cat([scores, scores * (1 + 2e-16)])):
        with refused("reference: .* all alike"):
            drift_chart(constant, patients=5, generator=seeded())
