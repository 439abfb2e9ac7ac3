"""The law of total variance, exact; its forms for classes; and the same numbers from members that are not kept."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from medlearn.tasks import check_simplex
from medlearn.uncertainty import RunningProbabilities, RunningVariance, class_entropy, class_variance, total_variance

quick = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)
members = st.integers(1, 9)
SHAPES = [(), (5,), (2, 1, 4, 3), (2, 1, 3, 2, 4)]
CLASS_SHAPES = [(4, 3), (2, 2, 5), (2, 3, 4, 5), (1, 4, 2, 3, 4)]


def normals(seed, m, shape, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    means, log_variances = (torch.randn(m, *shape, generator=g, dtype=torch.float64) for _ in range(2))
    return means.to(dtype), log_variances.exp().to(dtype)


def probabilities(seed, m, shape, scale=3.0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(m, *shape, generator=g, dtype=torch.float64)).softmax(2).to(dtype)


def close(ours, theirs, tolerance=1e-12):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, torch.as_tensor(b), rtol=tolerance, atol=tolerance)


@quick
@given(seeds, members, st.sampled_from(SHAPES))
def test_it_is_the_variance_of_the_mixture(seed, m, shape):
    means, variances = normals(seed, m, shape)
    mu, v = means.numpy(), variances.numpy()
    second_moment = (v + mu**2).mean(0)
    parts = total_variance(means, variances)
    close(parts, (second_moment - mu.mean(0)**2, v.mean(0), np.var(mu, axis=0)))
    assert torch.equal(parts.total, parts.aleatoric + parts.epistemic)


def test_samples_of_the_mixture_have_that_variance():
    means, variances = torch.tensor([-1.0, 0.5, 2.0]).double(), torch.tensor([0.2, 1.0, 0.5]).double()
    which = torch.arange(300_000) % 3
    noise = torch.randn(300_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    samples = means[which] + variances[which].sqrt() * noise
    # the variance of a variance: sqrt((m4 - m2^2) / n), here about 0.004
    assert samples.var().item() == pytest.approx(total_variance(means, variances).total.item(), abs=0.02)


def test_members_that_agree_have_no_epistemic_part_and_sure_members_no_aleatoric():
    mean, variance = torch.full((4, 3), 0.1), torch.full((4, 3), 2.0)
    assert total_variance(mean, variance).epistemic.eq(0).all()
    assert total_variance(torch.tensor([0.0, 2.0]), torch.zeros(2)) == (1, 0, 1)


def test_a_large_offset_costs_no_digits():
    means = 1e4 + torch.tensor([0.0, 1.0, 2.0])                         # E[x^2] - E[x]^2 would give 0 or 8 here
    assert total_variance(means, torch.zeros(3)).epistemic.item() == pytest.approx(2 / 3, rel=1e-6)
    running = RunningVariance()
    for mean in means:
        running.add(mean, torch.zeros(()))
    assert running.result().epistemic.item() == pytest.approx(2 / 3, rel=1e-3)


@quick
@given(seeds, members, st.sampled_from(CLASS_SHAPES))
def test_class_variance_is_that_of_the_one_hot_label(seed, m, shape):
    p = probabilities(seed, m, shape)
    q = p.numpy()
    close(class_variance(p), (q.mean(0) * (1 - q.mean(0)), (q * (1 - q)).mean(0), q.var(0)))


@quick
@given(seeds, members, st.sampled_from(CLASS_SHAPES))
def test_class_entropy_is_scipys(seed, m, shape):
    p = probabilities(seed, m, shape)
    parts = class_entropy(p)
    total, aleatoric = entropy(p.mean(0).numpy(), axis=1), entropy(p.numpy(), axis=2).mean(0)
    close(parts, (total, aleatoric, total - aleatoric))
    # the mutual information is also the mean divergence from the mean
    close([parts.epistemic], [entropy(p.numpy(), np.broadcast_to(p.mean(0).numpy(), p.shape), axis=2).mean(0)])
    assert (parts.epistemic >= 0).all() and (parts.total <= math.log(shape[1]) + 1e-12).all()


def test_the_two_uncertainties_told_apart():
    agree = torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]]])                  # both say: nobody can know
    dispute = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])                # each is sure, and of something else
    close(class_entropy(agree), [torch.tensor([v]) for v in (math.log(2), math.log(2), 0.0)], 1e-7)
    close(class_entropy(dispute), [torch.tensor([v]) for v in (math.log(2), 0.0, math.log(2))], 1e-7)
    close(class_variance(agree), [torch.full((1, 2), v) for v in (0.25, 0.25, 0.0)])
    close(class_variance(dispute), [torch.full((1, 2), v) for v in (0.25, 0.0, 0.25)])


def test_rounding_leaves_nothing_below_0():
    p = probabilities(0, 1, (1, 3, 100, 100), dtype=torch.float32).repeat(7, 1, 1, 1, 1)    # the same member 7 times
    for parts in (class_variance(p), class_entropy(p)):
        assert all((part >= 0).all() for part in parts) and parts.epistemic.max() < 1e-6
    above = torch.tensor([[[1 + 1e-7, 0.0]]])                           # within what rounding explains
    assert all((part >= 0).all() for part in (*class_variance(above), *class_entropy(above)))


def test_one_member_has_no_epistemic_part():
    assert total_variance(*normals(0, 1, (3,))).epistemic.eq(0).all()
    p = probabilities(0, 1, (2, 3, 4, 4))
    assert class_variance(p).epistemic.eq(0).all() and class_entropy(p).epistemic.eq(0).all()
    running = RunningProbabilities()
    running.add(p[0])
    assert running.variances().epistemic.eq(0).all() and running.entropies().epistemic.eq(0).all()


# ---------------------------------------------------------------------------------------------------------------------
# Members one by one.

@quick
@given(seeds, members, st.sampled_from(SHAPES))
def test_running_variance_is_total_variance_after_every_member(seed, m, shape):
    means, variances = normals(seed, m, shape)
    running = RunningVariance()
    for i in range(m):
        running.add(means[i], variances[i])
        close(running.result(), total_variance(means[:i + 1], variances[:i + 1]))
        close([running.mean], [means[:i + 1].mean(0)])
    assert running.members == m


@quick
@given(seeds, members, st.sampled_from(CLASS_SHAPES))
def test_running_probabilities_are_the_batch_functions(seed, m, shape):
    p = probabilities(seed, m, shape)
    running = RunningProbabilities()
    for member in p:
        running.add(member)
    close(running.variances(), class_variance(p))
    close(running.entropies(), class_entropy(p))
    close([running.mean], [p.mean(0)])
    assert running.members == m


def test_what_was_read_does_not_change_and_what_was_added_is_left_alone():
    means, variances = normals(0, 3, (4,))
    before = means.clone(), variances.clone()
    running = RunningVariance()
    running.add(means[0], variances[0])
    early, mean = running.result(), running.mean
    kept = [part.clone() for part in early], mean.clone()
    running.add(means[1], variances[1])
    close(early, kept[0], 0)
    assert torch.equal(mean, kept[1]) and torch.equal(means, before[0]) and torch.equal(variances, before[1])


def test_a_member_keeps_no_graph():
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    running = RunningProbabilities()
    running.add(logits.softmax(1))
    assert not any(part.requires_grad for part in (running.mean, *running.variances(), *running.entropies()))


def test_the_mean_of_many_float32_members_still_sums_to_1():
    running, g = RunningProbabilities(), torch.Generator().manual_seed(0)
    logits = torch.stack([torch.linspace(-8, 8, 2000), torch.zeros(2000)])[None]
    members = [(logits + 0.01 * torch.randn(1, 2, 2000, generator=g)).softmax(1) for _ in range(800)]
    for member in members:                              # alike, so that their rounding goes the same way
        running.add(member)
    check_simplex(running.mean)
    at_home = sum(members) / 800
    with pytest.raises(ValueError, match="expected sums of 1"):
        check_simplex(at_home)
    class_entropy(at_home[None])                        # it is the mean of members, and welcome


def test_half_precision_is_computed_in_float32_and_autocast_changes_nothing():
    p = probabilities(0, 5, (2, 3, 4, 4), dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = class_variance(p), class_entropy(p)
    close(inside[0], class_variance(p), 0)
    close(inside[1], class_entropy(p), 0)
    half = p.bfloat16()
    assert all(part.dtype == torch.float32 for part in (*class_variance(half), *class_entropy(half)))
    close(class_variance(half), class_variance(half.float() / half.float().sum(2, keepdim=True)), 0.01)


def test_it_may_be_differentiated():
    means, variances = (value.requires_grad_() for value in normals(0, 3, (2,)))
    assert torch.autograd.gradcheck(lambda m, v: total_variance(m, v), (means, variances))
    logits = torch.randn(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: class_entropy(z.softmax(2)), logits)
    assert torch.autograd.gradcheck(lambda z: class_variance(z.softmax(2)), logits)


def test_no_voxel_gives_no_voxel():
    assert total_variance(torch.zeros(3, 0), torch.zeros(3, 0)).total.shape == (0,)
    assert class_entropy(torch.zeros(3, 0, 2, 4, 4)).total.shape == (0, 4, 4)


# ---------------------------------------------------------------------------------------------------------------------
# What is refused.

ONES = torch.ones(3, 2)
NAN = torch.tensor([[0.0, torch.nan]])
BAD = {
    "no member": (torch.zeros(0, 2), torch.zeros(0, 2), r"means: expected at least one member .*, got shape \(0, 2\)"),
    "no axis": (torch.tensor(1.0), torch.tensor(1.0), r"means: expected at least one member .*, got shape \(\)"),
    "integers": (ONES.long(), ONES, "means: expected a float tensor, got torch.int64"),
    "numpy": (ONES.numpy(), ONES, "means: expected a float tensor, got ndarray"),
    "integer variances": (ONES, ONES.long(), "variances: expected a float tensor, got torch.int64"),
    "other shapes": (ONES, ONES[:, :1], r"variances: expected shape \(3, 2\) on cpu, got \(3, 1\)"),
    "negative variance": (ONES, -ONES, r"variances: expected 0 or more, got -1.*\.exp\(\)"),
    "NaN mean": (NAN, ONES[:1], "means: expected finite numbers, got a range of nan"),
    "NaN variance": (ONES[:1], NAN, "variances: expected finite numbers, got a range of nan"),
    "infinite variance": (ONES, ONES / 0, "variances: expected finite numbers, got a range of inf"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_members_are_refused(refused, name):
    means, variances, match = BAD[name]
    with refused(match):
        total_variance(means, variances)


BAD_CLASSES = {
    "no member": (torch.zeros(0, 2, 3), "expected at least one member"),
    "no batch": (torch.full((4, 2), 0.5), r"expected \(M, B, K, \*S\) with .*, got shape \(4, 2\)"),
    "logits": (torch.zeros(2, 2, 3), "probabilities: expected sums of 1 over the classes, got 0"),
    "negative": (torch.tensor([[[1.5, -0.5]]]), "probabilities: expected 0 or more, got -0.5"),
    "NaN": (torch.tensor([[[torch.nan, 1.0]]]), "probabilities: expected finite numbers, got a range of nan"),
    "integers": (torch.ones(2, 2, 1).long(), "expected a float tensor, got torch.int64"),
}


@pytest.mark.parametrize("name", BAD_CLASSES)
@pytest.mark.parametrize("function", [class_variance, class_entropy])
def test_what_are_no_probabilities_is_refused(refused, function, name):
    p, match = BAD_CLASSES[name]
    with refused(match):
        function(p)


def test_running_refuses_the_same_and_a_member_of_another_shape(refused):
    running = RunningVariance()
    classes = RunningProbabilities()
    for read in (running.result, lambda: running.mean, classes.variances, classes.entropies):
        with refused("expected at least one member, got a result asked for before `add`"):
            read()
    with refused("variance: expected 0 or more, got -1"):
        running.add(ONES, -ONES)
    assert running.members == 0
    running.add(ONES, ONES)
    with refused(r"mean: expected shape \(3, 2\) on cpu, got \(3, 1\)"):
        running.add(ONES[:, :1], ONES[:, :1])
    with refused("expected sums of 1"):
        classes.add(ONES)
    with refused(r"probabilities: expected \(B, K, \*S\)"):
        classes.add(torch.ones(2))
    assert running.members == 1 and classes.members == 0
    classes.add(ONES / 2)
    with refused(r"probabilities: expected shape \(3, 2\) on cpu, got \(1, 2\)"):
        classes.add(ONES[:1] / 2)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    p = probabilities(0, 4, (2, 3, 5, 5))
    close([part.cpu() for part in class_entropy(p.cuda())], class_entropy(p))
    running = RunningProbabilities()
    for member in p.cuda():
        running.add(member)
    close([part.cpu() for part in running.variances()], class_variance(p))
