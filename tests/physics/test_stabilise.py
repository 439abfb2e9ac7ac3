"""Anscombe's transform against scipy's sums, the logarithm against Rayleigh's law."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medlearn.physics.stabilise import anscombe, inverse_anscombe, inverse_log_speckle, log_speckle


def moments(mean):
    """Mean and variance of Anscombe's z over Poisson counts, summed."""
    n = np.arange(int(mean + 15 * math.sqrt(mean) + 60))
    z, p = 2 * np.sqrt(n + 3 / 8), stats.poisson.pmf(n, mean)
    return (z * p).sum(), (z ** 2 * p).sum() - (z * p).sum() ** 2


@settings(max_examples=40, deadline=None)
@given(mean=st.floats(0, 500))
def test_the_inverse_is_exact_and_unbiased(mean):
    z, _ = moments(mean)
    assert inverse_anscombe(torch.tensor([z], dtype=torch.float64)).item() == pytest.approx(mean, abs=1e-5)


def test_the_algebraic_inverse_is_a_quarter_too_low():
    z, _ = moments(30.0)
    assert (z / 2) ** 2 - 3 / 8 == pytest.approx(30 - 0.25, abs=1e-3)


@pytest.mark.parametrize("mean", [4.0, 20.0, 1000.0])
def test_the_spread_is_one_whatever_the_mean(mean):
    counts = torch.poisson(torch.full((100000,), mean), torch.Generator().manual_seed(0))
    assert anscombe(counts).std().item() == pytest.approx(1, abs=0.02)
    assert moments(mean)[1] == pytest.approx(1, abs=0.02)


def test_anscombes_formula_and_its_ends():
    torch.testing.assert_close(anscombe(torch.tensor([0.0, 1.0, 100.0])),
                               torch.tensor([math.sqrt(1.5), math.sqrt(5.5), 2 * math.sqrt(100.375)]))
    z = torch.tensor([0.0, 1.0, math.sqrt(1.5)])
    assert inverse_anscombe(z).eq(0).all()


def test_the_inverse_rises_without_a_step():
    z = torch.linspace(0, 40, 200001, dtype=torch.float64)
    steps = inverse_anscombe(z).diff()
    assert (steps >= 0).all() and (steps <= 40 / 200000 * 21).all()


def test_gradients_are_right():
    counts = torch.tensor([0.5, 1.0, 50.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(anscombe, counts)
    z = torch.tensor([0.5, 2.0, 9.0, 30.0], dtype=torch.float64, requires_grad=True)
    gradient, = torch.autograd.grad(inverse_anscombe(z).sum(), z)
    h = 1e-3
    slope = (inverse_anscombe(z.detach() + h) - inverse_anscombe(z.detach() - h)) / (2 * h)
    torch.testing.assert_close(gradient, slope, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.01, 1.0, 300.0])
def test_the_logarithm_of_speckle_has_one_spread_and_its_inverse_the_mean(sigma):
    envelope = torch.from_numpy(stats.rayleigh(scale=sigma).rvs(200000, random_state=np.random.default_rng(0)))
    z = log_speckle(envelope)
    assert z.std().item() == pytest.approx(math.pi / math.sqrt(24), rel=0.01)
    mean = stats.rayleigh(scale=sigma).mean()
    assert inverse_log_speckle(z.mean()).item() == pytest.approx(mean, rel=0.01)
    assert z.mean().exp().item() == pytest.approx(0.846 * mean, rel=0.01)


def test_half_precision_is_computed_in_float32_and_nothing_stays_nothing():
    for transform in (anscombe, inverse_anscombe, log_speckle, inverse_log_speckle):
        assert transform(torch.ones(3).half()).dtype == torch.float32
        assert transform(torch.ones(2, 3, 4)).shape == (2, 3, 4)
        assert transform(torch.ones(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("transform, wrong", [
    (anscombe, -1.0), (anscombe, math.nan), (anscombe, math.inf), (inverse_anscombe, -0.1),
    (inverse_anscombe, math.nan),
    (log_speckle, 0.0), (log_speckle, -1.0), (log_speckle, math.nan), (inverse_log_speckle, math.nan),
], ids=lambda value: getattr(value, "__name__", str(value)))
def test_what_was_not_measured_is_refused(refused, transform, wrong):
    with refused("expected .* got"):
        transform(torch.tensor([1.0, wrong]))


@pytest.mark.parametrize("transform", [anscombe, inverse_anscombe, log_speckle, inverse_log_speckle])
def test_integers_are_refused(refused, transform):
    with refused("expected a float tensor, got torch.int64"):
        transform(torch.ones(3, dtype=torch.int64))
