"""Laplace's approximation, against Bayesian linear regression and Gaussian processes in closed form."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medlearn.uncertainty import laplace_variance

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def small_net(seed, *, wide=5, features=2, dtype=torch.float64):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, wide), nn.Tanh(), nn.Linear(wide, 1)).to(dtype)


def example(seed, *, n=7, m=4, features=2, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    inputs, at = (torch.randn(count, features, generator=g, dtype=torch.float64).to(dtype) for count in (n, m))
    return at, dict(inputs=inputs, noise_variance=torch.rand(n, generator=g, dtype=torch.float64).to(dtype) + 0.1,
                    prior_variance=0.7)


def by_hand(slopes, at_slopes, noise_variance, prior_variance):
    """The posterior of a Gaussian process with the kernel of these slopes: the same number, by n x n matrices."""
    kernel = lambda a, b: prior_variance * a @ b.T
    seen = kernel(slopes, slopes) + np.diag(noise_variance)
    across = kernel(slopes, at_slopes)
    return np.diag(kernel(at_slopes, at_slopes) - across.T @ np.linalg.solve(seen, across))


def with_one(x):
    return np.concatenate([x.numpy(), np.ones((len(x), 1))], axis=1)


@quick
@given(seeds)
def test_of_a_linear_network_it_is_bayesian_linear_regression(seed):
    at, seen = example(seed)
    design, precision = with_one(seen["inputs"]), np.diag(1 / seen["noise_variance"].numpy())
    covariance = np.linalg.inv(design.T @ precision @ design + np.eye(3) / 0.7)
    expected = np.einsum("ij,jk,ik->i", with_one(at), covariance, with_one(at))
    found = laplace_variance(nn.Linear(2, 1).double(), at, **seen)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@quick
@given(seeds)
def test_of_the_last_layer_it_is_a_gaussian_process_of_what_enters_it(seed):
    net, (at, seen) = small_net(seed), example(seed)
    with torch.no_grad():
        features = [with_one(net[:2](x)) for x in (seen["inputs"], at)]
    expected = by_hand(*features, seen["noise_variance"].numpy(), 0.7)
    np.testing.assert_allclose(laplace_variance(net, at, layer=net[2], **seen), expected, rtol=1e-7, atol=1e-12)


@quick
@given(seeds)
def test_of_all_weights_it_is_a_gaussian_process_of_the_gradients(seed):
    net, (at, seen) = small_net(seed), example(seed)

    def slopes(x):
        rows = [torch.autograd.grad(net(one[None]).sum(), list(net.parameters())) for one in x]
        return np.stack([torch.cat([part.flatten() for part in row]).numpy() for row in rows])

    expected = by_hand(slopes(seen["inputs"]), slopes(at), seen["noise_variance"].numpy(), 0.7)
    np.testing.assert_allclose(laplace_variance(net, at, **seen), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("which, expected", [
    ("all", [0.12142928629071315, 0.13386117159291597, 0.6973223137517324]),
    ("last_layer", [0.058765639386423964, 0.037760928687172846, 0.29231085222383607]),
])
def test_it_agrees_with_laplace_torch(which, expected):
    """`expected` was computed by laplace-torch 0.3, which needs packages too heavy for a test:
    `Laplace(net, "regression", subset_of_weights=which, hessian_structure="full", sigma_noise=0.3,
    prior_precision=1 / 0.7)`, fitted to these inputs; its functional variance at these places, in float64.
    """
    net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    values = [[1.0], [-0.5], [2.0]], [0.0, 0.5, -1.0], [[1.0, -1.0, 0.5]], [0.2]
    with torch.no_grad():
        for weights, numbers in zip(net.parameters(), values):
            weights.copy_(torch.tensor(numbers, dtype=torch.float64))
    inputs, at = (torch.tensor(places).double()[:, None] for places in ([-2, -1, 0, 1, 1.5], [-3, 0.5, 4]))
    found = laplace_variance(net, at, inputs=inputs, noise_variance=torch.full((5,), 0.3**2, dtype=torch.float64),
                             prior_variance=0.7, layer=net[2] if which == "last_layer" else None)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@quick
@given(seeds)
def test_more_open_weights_leave_more_open_and_more_numbers_less(seed):
    net, (at, seen) = small_net(seed), example(seed)
    whole = laplace_variance(net, at, **seen)
    assert (laplace_variance(net, at, layer=net[2], **seen) <= whole * (1 + 1e-9)).all()
    fewer = dict(seen, inputs=seen["inputs"][:3], noise_variance=seen["noise_variance"][:3])
    assert (whole <= laplace_variance(net, at, **fewer) * (1 + 1e-9)).all()


def test_without_numbers_it_is_the_prior():
    net, (at, seen) = small_net(0), example(0, n=0)
    with torch.no_grad():
        expected = 0.7 * (net[:2](at).square().sum(1) + 1)
    torch.testing.assert_close(laplace_variance(net, at, layer=net[2], **seen), expected)


def test_nowhere_asked_nothing_said():
    at, seen = example(0, m=0)
    assert laplace_variance(small_net(0), at, **seen).shape == (0,)


def test_float32_and_the_modes_of_the_network_are_kept():
    net = nn.Sequential(small_net(0, dtype=torch.float32), nn.Dropout(0.5))
    at, seen = example(0, dtype=torch.float32)
    net[1].eval()
    found = laplace_variance(net, at, **seen)
    exact = laplace_variance(small_net(0), *[at.double()], **{key: value.double() if isinstance(value, torch.Tensor)
                                                              else value for key, value in seen.items()})
    assert found.dtype == torch.float32 and net.training and not net[1].training
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("change, said", [
    ({"noise_variance": torch.zeros(7)}, "noise_variance: expected positive variances, got 0"),
    ({"noise_variance": torch.ones(6)}, r"noise_variance: .*one for each of the inputs"),
    ({"prior_variance": 0.0}, "prior_variance: expected .*, got 0.0"),
    ({"inputs": torch.full((7, 2), torch.nan)}, "inputs: expected finite numbers"),
    ({"layer": nn.Linear(5, 1)}, "layer: expected a part of the network that has weights, got"),
    ({"layer": nn.Tanh()}, "layer: expected a part of the network that has weights, got Tanh"),
])
def test_what_is_refused(refused, change, said):
    at, seen = example(0, dtype=torch.float32)
    with refused(said):
        laplace_variance(small_net(0, dtype=torch.float32), at, **{**seen, **change})


def test_more_than_one_number_and_what_is_no_network_are_refused(refused):
    at, seen = example(0, dtype=torch.float32)
    with refused(r"net: expected one number for each input, \(n, 1\), got \(1, 2\)"):
        laplace_variance(nn.Linear(2, 2), at, **seen)
    with refused("net: expected an nn.Module, got str"):
        laplace_variance("a network", at, **seen)


@pytest.mark.parametrize("prior", [1.0, 1e6, 1e12])
def test_a_wide_prior_stays_exact(prior):
    line, x = nn.Linear(3, 1, bias=False).double(), torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.double)
    found = laplace_variance(line, x, inputs=x, noise_variance=torch.ones(1, dtype=torch.double), prior_variance=prior)
    assert found.item() == pytest.approx(14 * prior / (1 + 14 * prior), rel=1e-8)


def test_a_prior_that_float64_cannot_hold_is_refused():
    line, x = nn.Linear(3, 1, bias=False), torch.tensor([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="prior_variance: expected .* got"):
        laplace_variance(line, x, inputs=x, noise_variance=torch.ones(1), prior_variance=1e30)


@pytest.mark.parametrize("wrong", [dict(at=torch.tensor(1.0)), dict(inputs=torch.tensor(1.0)), dict(layer="x"),
                                   dict(at=torch.ones(1, 1).double()), dict(inputs=torch.ones(1, 1).half())])
def test_other_kinds_are_refused(refused, wrong):
    usual = dict(at=torch.ones(1, 1), inputs=torch.ones(1, 1), noise_variance=torch.ones(1), prior_variance=1.0)
    with refused(f"{next(iter(wrong))}: expected .* got"):
        laplace_variance(nn.Linear(1, 1), **usual | wrong)
