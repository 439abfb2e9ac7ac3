"""The gate: distances against a textbook formula, false alarms against what they promise, what it refuses."""
import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from scipy.stats import binom

from medlearn.uncertainty import shift_gate


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def test_the_distance_is_that_of_scipy():
    known, new = normal(40, 3, seed=0) @ normal(3, 3, seed=1) + 5, 3 * normal(6, 3, seed=2)
    inverse = np.linalg.inv(np.cov(known.numpy().T))
    expected = [mahalanobis(x, known.mean(0).numpy(), inverse) for x in new.numpy()]
    np.testing.assert_allclose(shift_gate(known, known).distance(new), expected, rtol=1e-9)


def test_units_do_not_matter():
    known, further, new = (normal(n, 3, seed=n) for n in (40, 30, 10))
    units = torch.tensor([1e-9, 1.0, 1e9], dtype=torch.float64)
    one, other = shift_gate(known, further), shift_gate(known * units, further * units + 0)
    torch.testing.assert_close(other.p_values(new * units), one.p_values(new))


def test_p_is_the_share_of_the_further_scans_that_are_at_least_as_far():
    gate = shift_gate(torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([[0.5], [-2.0], [3.0], [0.0]]))
    assert gate.p_values(torch.tensor([[0.0], [2.0], [-2.5], [9.0]])).tolist() == [1.0, 3 / 5, 2 / 5, 1 / 5]
    assert gate.p_values(torch.zeros(0, 1)).shape == (0,)
    assert shift_gate(torch.tensor([[-1.0], [1.0]]), torch.zeros(0, 1)).p_values(torch.tensor([[9.0]])).item() == 1


@pytest.mark.parametrize("draw", [torch.randn, lambda *n, generator: torch.rand(*n, generator=generator)**8])
def test_false_alarms_are_as_rare_as_promised_whatever_the_distribution(draw):
    """Over 2000 calibrations: P(p <= 0.1) is exactly 0.1 with 19 further scans and no ties."""
    generator, alarms = seeded(0), 0
    for _ in range(2000):
        gate = shift_gate(draw(12, 2, generator=generator), draw(19, 2, generator=generator))
        alarms += int(gate.p_values(draw(1, 2, generator=generator)).item() <= 0.1)
    low, high = binom.interval(1 - 2e-6, 2000, 0.1)
    assert low <= alarms <= high


def test_scans_that_calibrated_themselves_would_not_do():
    """The known scans are nearer to their own middle, so as `further` they promise too much: the control."""
    generator, alarms = seeded(1), 0
    for _ in range(1000):
        known = torch.randn(19, 8, generator=generator)
        alarms += int(shift_gate(known, known).p_values(torch.randn(1, 8, generator=generator)).item() <= 0.1)
    assert alarms > 300


def test_a_shift_is_found():
    known, further = normal(60, 2, seed=3), normal(99, 2, seed=4)
    shifted = normal(50, 2, seed=5) + torch.tensor([6.0, 0.0])
    assert (shift_gate(known, further).p_values(shifted) <= 0.05).double().mean() > 0.95


K = torch.randn(10, 2, generator=seeded(6))
BAD = {
    "too few": (K[:2], K, "known: expected more scans than statistics, 2, got 2"),
    "constant": (K * torch.tensor([1.0, 0.0]), K, "known: expected statistics that vary"),
    "sums": (K @ torch.ones(2, 2), K, "known: expected statistics that vary"),
    "others": (K, K[:, :1], r"further: expected shape .*\(10, 2\).*, got \(10, 1\)"),
    "NaN": (K / 0, K, "known: expected finite numbers"),
    "one axis": (K[:, 0], K, r"known: expected \(n, d\)"),
    "nothing": (K[:, :0], K, "known: expected at least one statistic"),
    "whole numbers": (K.long(), K, "known: expected a float tensor"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_statistics_are_refused(refused, name):
    known, further, match = BAD[name]
    with refused(match):
        shift_gate(known, further)


def test_other_statistics_are_refused_at_the_gate(refused):
    gate = shift_gate(K, K)
    with refused(r"statistics: expected shape"):
        gate.p_values(K[:, :1])


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    here, there = shift_gate(K, K + 1), shift_gate(K.cuda(), K.cuda() + 1)
    torch.testing.assert_close(there.p_values(2 * K.cuda()).cpu(), here.p_values(2 * K))


@pytest.mark.parametrize("d", [2, 8])
def test_p_values_do_not_depend_on_the_batch(d):
    known, further = normal(40, d, seed=0), normal(33, d, seed=1)
    gate = shift_gate(known, further)
    assert torch.equal(gate.p_values(further), torch.cat([gate.p_values(one[None]) for one in further]))


@pytest.mark.parametrize("constant", [1234.567, 0.1, -3e-9, 0.0])
def test_a_constant_statistic_is_refused(constant):
    with pytest.raises(ValueError, match="known: expected statistics that vary"):
        shift_gate(torch.full((7, 1), constant, dtype=torch.double), normal(3, 1, seed=0))
