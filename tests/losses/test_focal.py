"""Focal loss against its formula, MONAI and cross-entropy, and its gradient where the formula has none."""
from functools import partial

import pytest
import torch
from helpers import loss_examples
from helpers.loss_examples import gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import FocalLoss as MonaiFocalLoss

from medlearn.losses import cross_entropy, focal_loss

example = partial(loss_examples.example, scale=3.0)

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)
gammas = st.sampled_from([0, 0.3, 0.5, 1, 2, 5.5])


@quick
@given(seeds, gammas, st.sampled_from([(4, 3), (2, 3, 5, 4), (1, 2, 3, 4, 5)]), st.booleans())
def test_it_is_the_formula(seed, gamma, shape, weighted):
    logits, labels = example(seed, shape)
    alpha = torch.rand(shape[1], dtype=torch.float64) if weighted else None
    p = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    expected = -(1 - p) ** gamma * p.log() * (1 if alpha is None else alpha[labels])
    ours = focal_loss(logits, labels, gamma=gamma, alpha=alpha, reduction="none")
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient(ours.sum(), logits), gradient(expected.sum(), logits), rtol=1e-8, atol=1e-12)


@quick
@given(seeds, st.sampled_from([1.0, 2.0]), st.sampled_from([None, 0.25]))
def test_it_is_monais_times_the_number_of_classes(seed, gamma, alpha):
    logits, labels = example(seed)
    theirs = MonaiFocalLoss(to_onehot_y=True, use_softmax=True, gamma=gamma, alpha=alpha)(logits, labels[:, None])
    ours = focal_loss(logits, labels, gamma=gamma, alpha=alpha)
    torch.testing.assert_close(ours, 3 * theirs.double(), rtol=1e-6, atol=0)


@quick
@given(seeds, st.sampled_from([None, 1, 255]), st.sampled_from(["mean", "sum", "none"]))
def test_gamma_zero_is_cross_entropy(seed, ignore_index, reduction):
    logits, labels = example(seed)
    if ignore_index is not None:
        labels[0, 0] = ignore_index
    a, b = (loss(logits, labels, ignore_index=ignore_index, reduction=reduction, **options)
            for loss, options in ((focal_loss, dict(gamma=0)), (cross_entropy, {})))
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient(a.sum(), logits), gradient(b.sum(), logits), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("margin", [0.0, 3.0, 9.0, 17.0, 30.0, 40.0, 200.0, 1e4, -90.0, -1e4])
def test_value_and_gradient_are_finite_however_sure(gamma, margin, dtype):
    logits = torch.tensor([[margin, 0.0]], dtype=dtype, requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0]), gamma=gamma)
    d = gradient(loss, logits)
    assert loss.isfinite() and loss >= 0 and d.isfinite().all() and d[0, 0] <= 0
    if margin == 1e4:
        assert loss == 0 and not d.any()
    if margin == -1e4:
        assert loss == 1e4 and d[0].tolist() == [-1, 1]


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_it_has_no_step_where_the_polynomial_takes_over(gamma):
    near = torch.linspace(-2e-3, -5e-4, 301, dtype=torch.float64)           # ln p around the change
    logits = torch.stack([near, torch.log(-torch.expm1(near))], 1).requires_grad_()
    loss = focal_loss(logits, torch.zeros(301, dtype=torch.int64), gamma=gamma, reduction="none")
    expected = -(-torch.expm1(near)) ** gamma * near
    torch.testing.assert_close(loss, expected, rtol=1e-11, atol=0)
    wrong = -torch.expm1(near)                                              # 1 - p
    slope = gamma * wrong ** (gamma - 1) * near.exp() * near - wrong ** gamma       # d loss / d ln p
    torch.testing.assert_close(gradient(loss.sum(), logits)[:, 0], slope * wrong, rtol=1e-9, atol=0)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_it_passes_gradcheck_twice(gamma):
    logits, labels = example(1, (1, 3, 2, 2))
    assert torch.autograd.gradcheck(lambda z: focal_loss(z, labels, gamma=gamma, alpha=[0.2, 0.3, 0.5]), logits)
    assert torch.autograd.gradgradcheck(lambda z: focal_loss(z, labels, gamma=gamma), logits)


def test_one_alpha_is_that_of_everything_but_background():
    logits, labels = example(2)
    one, three = (focal_loss(logits, labels, gamma=2, alpha=alpha) for alpha in (0.25, [0.75, 0.25, 0.25]))
    torch.testing.assert_close(one, three)


def test_ignored_voxels_are_as_if_they_were_not_there():
    logits, labels = example(3, (1, 3, 24))
    gone = torch.arange(24) % 3 == 0
    options = dict(gamma=2, alpha=[1, 2, 3])
    ours = focal_loss(logits, labels.masked_fill(gone, 255), ignore_index=255, **options)
    torch.testing.assert_close(ours, focal_loss(logits[..., ~gone], labels[:, ~gone], **options))
    nothing = focal_loss(logits, torch.full_like(labels, 255), ignore_index=255, **options)
    assert nothing == 0 and not gradient(nothing, logits).any()
    assert focal_loss(torch.zeros(0, 3, 4), torch.zeros(0, 4, dtype=torch.int64), gamma=2) == 0


def test_autocast_changes_nothing_and_half_precision_is_summed_in_float32():
    logits, labels = example(4, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = focal_loss(logits, labels, gamma=2)
    assert inside.dtype == torch.float32 and inside == focal_loss(logits.float(), labels, gamma=2)


BAD = {
    "negative gamma": (dict(gamma=-1), "gamma: expected 0 or more, got -1"),
    "gamma no number": (dict(gamma=None), "gamma: expected a number, got None"),
    "negative alpha": (dict(gamma=2, alpha=[1, -1, 1]), r"alpha\[1\]: expected 0 or more, got -1"),
    "alpha above 1": (dict(gamma=2, alpha=1.5), r"alpha: expected 0\.\.1, got 1\.5"),
    "too few alphas": (dict(gamma=2, alpha=[1, 1]), r"alpha: expected shape \(3,\) for 3 classes, got \(2,\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_refused(refused, name):
    options, match = BAD[name]
    with refused(match):
        focal_loss(*example(5), **options)


def test_nan_and_float_labels_are_refused(refused):
    logits, labels = example(6)
    with refused("logits: expected finite numbers .*, got nan"):
        focal_loss(logits * torch.nan, labels, gamma=2)
    with refused("labels: expected an int64"):
        focal_loss(logits, labels.double(), gamma=2)
