"""Likelihoods with a variance of their own, against PyTorch, quadrature and the same samples kept."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from medlearn.losses import cross_entropy
from medlearn.nets import UNet
from medlearn.tasks import check_simplex
from medlearn.uncertainty import (gaussian_nll, logit_normal_nll, logit_normal_probabilities, speckle_nll,
                                  split_head)

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)
SHAPES = [(4, 3), (2, 3, 5), (2, 3, 5, 4), (1, 2, 3, 4, 5)]
shapes = st.sampled_from(SHAPES)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def example(seed, shape, dtype=torch.float64):
    """Means, log-variances and targets."""
    g = seeded(seed)
    mean, log_variance, target = (torch.randn(shape, generator=g, dtype=torch.float64).to(dtype) for _ in range(3))
    return mean.requires_grad_(), log_variance.requires_grad_(), target


def classes(seed, shape, dtype=torch.float64):
    """Mean logits, log-variances and labels."""
    mean, log_variance, _ = example(seed, shape, dtype)
    return mean, log_variance, torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=seeded(seed))


def gradients(loss, *inputs):
    return torch.autograd.grad(loss, inputs)


# ---------------------------------------------------------------------------------------------------------------------
# The head.

@quick
@given(seeds, shapes)
def test_the_halves_of_the_channels(seed, shape):
    mean, log_variance, _ = example(seed, shape)
    halves = split_head(torch.cat([mean, log_variance], 1))
    assert torch.equal(halves[0], mean) and torch.equal(halves[1], log_variance)


@pytest.mark.parametrize("dim", [2, 3])
def test_it_reads_a_unet_with_twice_the_classes(dim):
    image = torch.randn(2, 1, *[16] * dim, generator=seeded(0))
    mean, log_variance = split_head(UNet(1, 2 * 3, widths=(4, 8), dim=dim)(image))
    assert mean.shape == log_variance.shape == (2, 3, *[16] * dim)
    labels = torch.zeros(2, *[16] * dim, dtype=torch.int64)
    logit_normal_nll(mean, labels, log_variance=log_variance, samples=4, generator=seeded(1)).backward()


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (2, 0, 4)])
def test_what_has_no_halves_is_refused(refused, shape):
    with refused(r"output: expected \(B, 2K, \*S\), .*, got shape"):
        split_head(torch.zeros(shape))


# ---------------------------------------------------------------------------------------------------------------------
# Regression.

@quick
@given(seeds, shapes, st.sampled_from(["mean", "sum", "none"]))
def test_it_is_pytorchs_gaussian_likelihood(seed, shape, reduction):
    mean, log_variance, target = example(seed, shape)
    ours = gaussian_nll(mean, target, log_variance=log_variance, reduction=reduction)
    theirs = torch.nn.GaussianNLLLoss(full=True, eps=1e-300, reduction=reduction)(mean, target, log_variance.exp())
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(ours.sum(), mean, log_variance), gradients(theirs.sum(), mean, log_variance)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    if reduction == "none":
        torch.testing.assert_close(ours, -normal.log_prob(target), rtol=1e-12, atol=1e-12)


@quick
@given(seeds, shapes, st.sampled_from([0.25, 0.5, 1.0]))
def test_beta_is_the_variance_to_that_power_without_its_gradient(seed, shape, beta):
    mean, log_variance, target = example(seed, shape)
    ours = gradients(gaussian_nll(mean, target, log_variance=log_variance, beta=beta, reduction="sum"), mean,
                     log_variance)
    plain = gradients(gaussian_nll(mean, target, log_variance=log_variance, reduction="sum"), mean, log_variance)
    for a, b in zip(ours, plain):
        torch.testing.assert_close(a, b * log_variance.detach().exp()**beta, rtol=1e-12, atol=1e-12)
    if beta == 1:
        torch.testing.assert_close(ours[0], (mean - target).detach(), rtol=1e-12, atol=1e-12)


def test_the_best_variance_is_the_squared_error():
    mean, target = torch.zeros(3, dtype=torch.float64), torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64)
    log_variance = target.square().log().requires_grad_()
    assert gradients(gaussian_nll(mean, target, log_variance=log_variance), log_variance)[0].abs().max() < 1e-15


def test_extreme_variances_stay_finite():
    mean = torch.zeros(4, requires_grad=True)
    log_variance = torch.tensor([-80.0, -80.0, 80.0, 80.0], requires_grad=True)
    loss = gaussian_nll(mean, torch.tensor([0.0, 1.0, 0.0, 1e10]), log_variance=log_variance, reduction="sum")
    assert loss.isfinite() and all(g.isfinite().all() for g in gradients(loss, mean, log_variance))


def test_half_precision_and_autocast_are_float32():
    mean, log_variance, target = (value.detach().bfloat16() for value in example(0, (2, 3)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = gaussian_nll(mean, target, log_variance=log_variance)
    outside = gaussian_nll(mean.float(), target.float(), log_variance=log_variance.float())
    assert inside.dtype == torch.float32 and inside == outside


def test_the_mean_of_no_number_is_0():
    none = torch.zeros(0, 1, requires_grad=True)
    loss = gaussian_nll(none, none.detach(), log_variance=none)
    assert loss == 0 and gradients(loss, none)[0].shape == (0, 1)


ZERO, NAN = torch.zeros(2, 3), torch.full((2, 3), torch.nan)
BAD = {
    "integer mean": (ZERO.long(), ZERO, ZERO, {}, "mean: expected a float tensor"),
    "log-variance's shape": (ZERO, ZERO[:1], ZERO, {}, r"log_variance: expected shape \(2, 3\) on cpu, got \(1, 3\)"),
    "shape of the target": (ZERO, ZERO, ZERO[:, :1], {}, r"target: expected shape \(2, 3\) on cpu, got \(2, 1\)"),
    "NaN": (ZERO, ZERO, NAN, {}, "target: expected finite numbers"),
    "NaN log-variance": (ZERO, NAN, ZERO, {}, r"log_variance: expected finite numbers, got a range of nan"),
    "huge variance": (ZERO, ZERO + 90, ZERO, {}, r"log_variance: expected -80\.\.80, got 90"),
    "beta": (ZERO, ZERO, ZERO, {"beta": 1.5}, r"beta: expected 0\.\.1, got 1\.5"),
    "reduction": (ZERO, ZERO, ZERO, {"reduction": "average"}, "reduction: expected \"mean\", \"sum\" or \"none\", got"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_regression_is_refused(refused, name):
    mean, log_variance, target, options, match = BAD[name]
    with refused(match):
        gaussian_nll(mean, target, log_variance=log_variance, **options)


# ---------------------------------------------------------------------------------------------------------------------
# Classification.

def kept_samples(mean, log_variance, labels, samples, generator):
    """The same loss with every sample in memory, and PyTorch's own gradient."""
    epsilon = [torch.randn(mean.shape, generator=generator).to(mean) for _ in range(samples // 2)]
    noise = torch.stack([sign * e for e in epsilon for sign in (1, -1)])
    logits = mean + noise * (log_variance / 2).exp()
    log_p_y = torch.stack([-F.cross_entropy(z, labels, reduction="none") for z in logits])
    return math.log(samples) - log_p_y.logsumexp(0)


@quick
@given(seeds, shapes, st.sampled_from([2, 4, 10]))
def test_one_sample_at_a_time_is_all_samples_kept(seed, shape, samples):
    mean, log_variance, labels = classes(seed, shape)
    ours = logit_normal_nll(mean, labels, log_variance=log_variance, samples=samples, generator=seeded(seed),
                            reduction="none")
    theirs = kept_samples(mean, log_variance, labels, samples, seeded(seed))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    weight = torch.rand(ours.shape, generator=seeded(1), dtype=torch.float64)
    for a, b in zip(gradients((ours * weight).sum(), mean, log_variance),
                    gradients((theirs * weight).sum(), mean, log_variance)):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@quick
@given(seeds, shapes, st.sampled_from(["mean", "sum", "none"]), st.sampled_from([None, 0, 255]))
def test_without_variance_it_is_cross_entropy(seed, shape, reduction, ignore_index):
    mean, log_variance, labels = classes(seed, shape)
    if ignore_index is not None:
        labels.flatten()[::3] = ignore_index
    ours = logit_normal_nll(mean, labels, log_variance=torch.full_like(log_variance, -80), samples=2,
                            generator=seeded(0), ignore_index=ignore_index, reduction=reduction)
    theirs = cross_entropy(mean, labels, ignore_index=ignore_index, reduction=reduction)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(ours.sum(), mean), gradients(theirs.sum(), mean), rtol=1e-12, atol=1e-12)


def test_two_classes_are_the_integral_of_a_sigmoid():
    mean = torch.tensor([[0.0, 1.5], [0.0, -3.0], [1.0, 1.0]], dtype=torch.float64)
    log_variance = torch.tensor([[0.0, 1.0], [2.0, 2.0], [-1.0, 3.0]], dtype=torch.float64)
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    nodes, weights = torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())
    spread = log_variance.exp().sum(1, keepdim=True).sqrt()         # of the difference of two independent logits
    exact = ((mean[:, 1:] - mean[:, :1] + spread * nodes).sigmoid() * weights).sum(1)
    many = [x.repeat(20_000, 1, 1).movedim(0, -1) for x in (mean, log_variance)]        # 20 000 x 10 samples of each
    ours = logit_normal_probabilities(*many, samples=10, generator=seeded(0))[:, 1].mean(-1)
    # the standard deviation of one sample is below 1/2, of the mean below 0.0012
    torch.testing.assert_close(ours, exact, rtol=0, atol=0.005)


def test_the_loss_is_minus_the_log_of_the_prediction_with_the_same_seed():
    mean, log_variance, labels = classes(0, (2, 3, 5, 4))
    p = logit_normal_probabilities(mean, log_variance, samples=8, generator=seeded(7))
    torch.testing.assert_close(p.sum(1), torch.ones(2, 5, 4, dtype=torch.float64))
    loss = logit_normal_nll(mean, labels, log_variance=log_variance, samples=8, generator=seeded(7), reduction="none")
    torch.testing.assert_close(loss, -p.gather(1, labels[:, None]).squeeze(1).log(), rtol=1e-12, atol=1e-12)


def test_many_samples_in_float32_still_sum_to_1():
    mean = torch.stack([torch.linspace(-8, 8, 2000), torch.zeros(2000)])[None]
    log_variance = torch.full_like(mean, -9.0)      # samples that are alike, so that their rounding goes the same way
    check_simplex(logit_normal_probabilities(mean, log_variance, samples=200, generator=seeded(0)))


def test_it_has_no_second_derivative_and_says_so():
    mean, log_variance, labels = classes(0, (2, 3, 4))
    loss = logit_normal_nll(mean, labels, log_variance=log_variance, samples=2, generator=seeded(0))
    slope = torch.autograd.grad(loss.square(), mean, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="expected one derivative, got asked for a second"):
        slope.sum().backward()
    for inputs in (mean, log_variance):
        value = lambda x: logit_normal_nll(x if inputs is mean else mean, labels, samples=2, generator=seeded(0),
                                           log_variance=x if inputs is log_variance else log_variance)
        with pytest.raises(RuntimeError, match="expected one derivative, got asked for a second"):
            torch.autograd.functional.hvp(value, inputs.detach(), torch.ones_like(inputs))


def test_a_seed_decides_and_nothing_else():
    mean, log_variance, labels = classes(0, (2, 3, 5))
    same, again, other = (logit_normal_nll(mean, labels, log_variance=log_variance, samples=4, generator=seeded(s))
                          for s in (1, 1, 2))
    assert same == again and same != other


def test_a_wrong_label_makes_the_network_less_sure():
    mean = torch.tensor([[6.0, 0.0]])
    log_variance = torch.zeros(1, 2, requires_grad=True)
    losses = (logit_normal_nll(mean, torch.tensor([label]), log_variance=log_variance, samples=200, generator=seeded(0))
              for label in (1, 0))
    wrong, right = (gradients(loss, log_variance)[0] for loss in losses)
    assert (wrong < 0).all() and (right > 0).all()          # descent raises the variance, or lowers it


def test_far_logits_stay_finite():
    mean = torch.tensor([[1e4, 0.0]], requires_grad=True)
    log_variance = torch.tensor([[5.0, 5.0]], requires_grad=True)
    loss = logit_normal_nll(mean, torch.tensor([1]), log_variance=log_variance, samples=4, generator=seeded(0))
    assert 9e3 < loss < 1e4 and all(g.isfinite().all() for g in gradients(loss, mean, log_variance))


def test_no_voxel_is_0_with_gradient_0():
    mean, log_variance, labels = classes(0, (2, 3, 4))
    ignored = torch.full_like(labels, 9)
    loss = logit_normal_nll(mean, ignored, log_variance=log_variance, samples=2, generator=seeded(0), ignore_index=9)
    assert loss == 0 and not any(g.any() for g in gradients(loss, mean, log_variance))


def test_classes_in_half_precision_and_under_autocast_are_float32():
    mean, log_variance, labels = classes(0, (2, 3, 4), torch.float32)
    inputs = mean.detach().bfloat16().requires_grad_(), log_variance.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = logit_normal_nll(inputs[0], labels, log_variance=inputs[1], samples=4, generator=seeded(0))
        p = logit_normal_probabilities(*inputs, samples=4, generator=seeded(0))
    mean, log_variance = (value.float() for value in inputs)
    outside = logit_normal_nll(mean, labels, log_variance=log_variance, samples=4, generator=seeded(0))
    assert inside.dtype == p.dtype == torch.float32 and inside == outside
    assert gradients(inside, inputs[0])[0].dtype == torch.bfloat16


LOGITS, LABELS = torch.zeros(2, 3, 4), torch.zeros(2, 4, dtype=torch.int64)
BAD_CLASSES = {
    "labels": (LOGITS, LOGITS, LABELS + 3, 2, r"labels: expected labels of 0\.\.2 for 3 classes, got 3"),
    "float labels": (LOGITS, LOGITS, LABELS.float(), 2, "labels: expected an int64 tensor"),
    "a log-variance for all classes": (LOGITS, LOGITS[:, :1], LABELS, 2, r"log_variance: expected shape \(2, 3, 4\)"),
    "NaN": (LOGITS * torch.nan, LOGITS, LABELS, 2, "mean_logits: expected finite numbers"),
    "a class ruled out": (LOGITS - torch.inf, LOGITS, LABELS, 2, "mean_logits: expected finite numbers"),
    "a huge variance": (LOGITS, LOGITS + 81, LABELS, 2, r"log_variance: expected -80\.\.80"),
    "odd samples": (LOGITS, LOGITS, LABELS, 3, "samples: expected an even number, .*, got 3"),
    "no samples": (LOGITS, LOGITS, LABELS, 0, "samples: expected a whole number, 2 or more, got 0"),
    "half a sample": (LOGITS, LOGITS, LABELS, 0.5, "samples: expected a whole number, got 0.5"),
}


@pytest.mark.parametrize("name", BAD_CLASSES)
def test_bad_classification_is_refused(refused, name):
    mean, log_variance, labels, samples, match = BAD_CLASSES[name]
    with refused(match):
        logit_normal_nll(mean, labels, log_variance=log_variance, samples=samples, generator=seeded(0))


@pytest.mark.gpu
def test_a_gpu_gives_the_same_for_the_same_samples():
    mean, log_variance, labels = classes(0, (2, 3, 5, 4))
    here = logit_normal_nll(mean, labels, log_variance=log_variance, samples=4, generator=seeded(0))
    there = logit_normal_nll(mean.cuda(), labels.cuda(), log_variance=log_variance.cuda(), samples=4,
                             generator=seeded(0))
    torch.testing.assert_close(there.cpu(), here)


# ---------------------------------------------------------------------------------------------------------------------
# Speckle.

@quick
@given(seeds, shapes, st.floats(0.5, 20))
def test_speckle_is_gammas_density_up_to_what_no_parameter_changes(seed, shape, looks):
    log_power, _, other = example(seed, shape)
    power = other.exp()
    shape = torch.tensor(looks, dtype=torch.float64)
    density = torch.distributions.Gamma(shape, looks * (-log_power).exp()).log_prob(power)
    constant = math.lgamma(looks) - looks * math.log(looks) - (looks - 1) * power.log()
    loss = speckle_nll(log_power, power, looks=looks)
    torch.testing.assert_close(loss + constant, -density)
    slope, = gradients(loss.sum(), log_power)
    torch.testing.assert_close(slope, looks * (1 - power / log_power.exp()))


def test_an_exponential_power_is_one_look():
    log_power = torch.linspace(-2, 2, 9).double()
    density = torch.distributions.Exponential((-log_power).exp()).log_prob(torch.tensor(0.3).double())
    torch.testing.assert_close(speckle_nll(log_power, torch.full_like(log_power, 0.3)), -density)


def test_a_pixel_without_an_echo_costs_a_finite_amount():
    log_power = torch.zeros(3, requires_grad=True)
    loss = speckle_nll(log_power, torch.zeros(3), looks=2)
    assert torch.equal(loss, torch.zeros(3)) and gradients(loss.sum(), log_power)[0].tolist() == [2, 2, 2]


@pytest.mark.parametrize("change, said", [
    ({"power": torch.tensor([1.0, -0.1])}, "power: expected .*, got -0.1"),
    ({"power": torch.ones(3)}, "power: expected shape"),
    ({"power": torch.tensor([1.0, torch.nan])}, "power: expected finite numbers"),
    ({"log_power": torch.tensor([0.0, 90.0])}, "log_power: expected .*, got 90"),
    ({"looks": 0}, "looks: expected .*, got 0"),
])
def test_what_is_no_speckle_is_refused(refused, change, said):
    given_ = {"log_power": torch.zeros(2), "power": torch.ones(2), "looks": 1, **change}
    with refused(said):
        speckle_nll(given_.pop("log_power"), given_.pop("power"), **given_)


def test_a_speckle_loss_that_overflows_is_refused():
    with pytest.raises(ValueError, match="speckle_nll: expected finite numbers, got"):
        speckle_nll(torch.tensor([-80.0]), torch.tensor([1e5]))
