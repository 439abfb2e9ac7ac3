"""Draws and likelihood of a low-rank covariance: against its moments, an exact integral, and independent voxels."""
import itertools

import numpy as np
import pytest
import torch
from scipy.special import expit

from medlearn.losses import cross_entropy
from medlearn.uncertainty import low_rank_logits, low_rank_nll


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed))


MEAN, FACTORS, LOG_VARIANCE = numbers(2, 3, 4, 5), numbers(2, 2, 3, 4, 5, seed=1), 0.3 * numbers(2, 3, 4, 5, seed=2)
LABELS = torch.randint(3, (2, 4, 5), generator=seeded(3))
NONE = torch.zeros(2, 0, 3, 4, 5)
ALONE = {"factors": NONE, "log_variance": torch.full_like(MEAN, -80)}


def test_the_covariance_is_that_of_the_factors_and_a_diagonal():
    mean, factors, log_variance = numbers(1, 2, 3), numbers(1, 2, 2, 3, seed=4), 0.3 * numbers(1, 2, 3, seed=5)
    draws = low_rank_logits(mean, factors, log_variance=log_variance, samples=200_000, generator=seeded())
    rows = factors[0].flatten(1)
    expected = rows.T @ rows + log_variance.flatten().exp().diag()
    torch.testing.assert_close(draws.flatten(1).T.cov(), expected, atol=0.05, rtol=0.02)
    torch.testing.assert_close(draws.mean(0), mean, atol=0.02, rtol=0)


def test_images_move_by_numbers_of_their_own():
    flat = torch.zeros(2, 2, 3)
    draws = low_rank_logits(flat, torch.ones(2, 1, 2, 3), log_variance=flat - 80, samples=20_000, generator=seeded())
    assert draws[:, :, 0, 0].T.corrcoef()[0, 1].abs() < 0.05                # of two images
    assert draws[:, 0].flatten(1).T.corrcoef().min() > 0.999                # of one image's voxels


def test_without_factors_it_is_the_sum_of_the_cross_entropies():
    nll = low_rank_nll(MEAN, LABELS, **ALONE, samples=3, generator=seeded())
    expected = cross_entropy(MEAN, LABELS, reduction="none").flatten(1).sum(1).mean()
    torch.testing.assert_close(nll, expected)
    some = LABELS.clone()
    some[:, 0] = 255
    nll = low_rank_nll(MEAN, some, **ALONE, samples=3, generator=seeded(), ignore_index=255)
    expected = cross_entropy(MEAN, LABELS, reduction="none")[:, 1:].flatten(1).sum(1).mean()
    torch.testing.assert_close(nll, expected)


def test_it_is_the_integral_over_what_moves_all_voxels_together():
    """Two classes, three voxels, one factor: the product over voxels, integrated by Gauss and Hermite."""
    difference, slope, labels = np.array([0.5, -1.0, 0.2]), np.array([1.5, 1.0, -2.0]), np.array([1, 0, 1])
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    p = expit(difference + points[:, None] * slope)
    likelihood = (weights / weights.sum()) @ np.where(labels, p, 1 - p).prod(1)
    mean, factors = torch.zeros(1, 2, 3), torch.zeros(1, 1, 2, 3)
    mean[0, 1], factors[0, 0, 1] = torch.from_numpy(difference), torch.from_numpy(slope)
    nll = low_rank_nll(mean, torch.from_numpy(labels)[None], factors=factors, log_variance=torch.full_like(mean, -80),
                       samples=400_000, generator=seeded())
    assert nll.item() == pytest.approx(-np.log(likelihood), abs=5e-3)
    apart = -np.log(((weights / weights.sum()) @ np.where(labels, p, 1 - p)).prod())
    assert abs(nll.item() - apart) > 0.1                                    # voxel by voxel it is another number


def test_likelihoods_of_all_maps_sum_to_one():
    """With the same draws, exactly: 2^4 maps of four voxels."""
    mean, factors, log_variance = numbers(1, 2, 4), numbers(1, 2, 2, 4, seed=1), numbers(1, 2, 4, seed=2)
    total = sum((-low_rank_nll(mean, torch.tensor([labels]), factors=factors, log_variance=log_variance, samples=7,
                               generator=seeded(8))).exp().item() for labels in itertools.product((0, 1), repeat=4))
    assert total == pytest.approx(1, rel=1e-5)


def test_a_network_could_learn_it():
    """Whole maps are all 0 or all 1: the mean can say no more than one half, and the factor says the rest."""
    mean, factors = torch.zeros(1, 2, 6, requires_grad=True), (0.1 * numbers(1, 1, 2, 6)).requires_grad_()
    labels, generator = torch.tensor([[0] * 6, [1] * 6]), seeded()
    optimiser = torch.optim.Adam([mean, factors], 0.2)
    for _ in range(150):
        loss = low_rank_nll(mean.expand(2, -1, -1), labels, factors=factors.expand(2, -1, -1, -1),
                            log_variance=torch.full((2, 2, 6), -80.0), samples=64, generator=generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 1.2 < 6 * np.log(2)                                # ln 2 would be perfect


def test_shapes_precision_and_no_image():
    draws = low_rank_logits(MEAN.half(), FACTORS.half(), log_variance=LOG_VARIANCE.half(), samples=2,
                            generator=seeded())
    assert draws.shape == (2, *MEAN.shape) and draws.dtype == torch.float32
    empty = {"factors": FACTORS[:0], "log_variance": MEAN[:0], "samples": 2, "generator": seeded()}
    assert low_rank_nll(MEAN[:0], LABELS[:0], **empty).item() == 0


BAD = {
    "factors of others": ({"factors": FACTORS[:, :, :2]}, r"factors: expected shape .*\(2, 2, 3, 4, 5\)"),
    "no axis of factors": ({"factors": FACTORS[:, 0]}, "factors: expected shape"),
    "NaN": ({"factors": FACTORS * torch.nan}, "factors: expected finite numbers"),
    "a variance": ({"log_variance": LOG_VARIANCE + 1000}, "log_variance: expected"),
    "another variance": ({"log_variance": LOG_VARIANCE[:1]}, "log_variance: expected shape"),
    "no sample": ({"samples": 0}, "samples: expected"),
    "no generator": ({"generator": 0}, "generator: expected a torch.Generator"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_inputs_are_refused(refused, name):
    wrong, match = BAD[name]
    good = {"factors": FACTORS, "log_variance": LOG_VARIANCE, "samples": 2, "generator": seeded()}
    with refused(match):
        low_rank_nll(MEAN, LABELS, **(good | wrong))


@pytest.mark.parametrize("which", range(3))
def test_one_of_them_may_be_of_float64(which):
    mean, factors, log_variance = (value.double() if i == which else value
                                   for i, value in enumerate((MEAN, FACTORS, LOG_VARIANCE)))
    draws = low_rank_logits(mean, factors, log_variance=log_variance, samples=2, generator=seeded())
    nll = low_rank_nll(mean, LABELS, factors=factors, log_variance=log_variance, samples=2, generator=seeded())
    assert draws.dtype == nll.dtype == torch.float64
