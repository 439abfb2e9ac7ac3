"""The overlap losses against formulas, MONAI, nnU-Net's and TransUNet's variants, and what must not change them."""
import math

import pytest
import torch
from helpers.loss_examples import example, gradient, one_hot, same
from hypothesis import given, settings
from hypothesis import strategies as st
from monai import losses as monai
from torch.nn import functional as F

from medlearn.losses import (
    OverlapCounts,
    cross_entropy,
    dice_ce_loss,
    dice_loss,
    focal_tversky_loss,
    generalized_dice_loss,
    jaccard_loss,
    overlap_counts,
    trusted_values,
    tversky_loss,
)

quick = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from([(3, 2, 7), (2, 3, 5, 4), (2, 4, 3, 4, 5)])
flags = st.booleans()
LOSSES = {"dice": dice_loss, "jaccard": jaccard_loss, "tversky": tversky_loss, "focal_tversky": focal_tversky_loss,
          "generalized_dice": generalized_dice_loss, "dice_ce": dice_ce_loss}
each_loss = pytest.mark.parametrize("name", LOSSES)


# ---------------------------------------------------------------------------------------------------------------------
# The same numbers as others

@quick
@given(seeds, shapes, flags, flags, flags, flags, flags)
def test_dice_and_jaccard_are_monais(seed, shape, background, batch, squared, jaccard, weighted):
    logits, labels = example(seed, shape)
    weighted &= background or shape[1] > 2                          # MONAI drops the weight of a single class
    weight = [float(k + 1) for k in range(shape[1])] if weighted else None
    peers = None if weight is None else weight[0 if background else 1:]
    peer = monai.DiceLoss(include_background=background, to_onehot_y=True, softmax=True, batch=batch, weight=peers,
                          squared_pred=squared, jaccard=jaccard, smooth_nr=1e-3, smooth_dr=1e-3)
    ours = (jaccard_loss if jaccard else dice_loss)(logits, labels, include_background=background, batch=batch,
                                                    squared=squared, weight=weight, smooth=1e-3)
    same(ours, peer(logits, labels[:, None]), logits, 1e-6 if squared else 1e-10)       # its square root is float32


@quick
@given(seeds, shapes, flags, flags)
def test_tversky_is_monais_with_half_the_smooth(seed, shape, background, batch):
    logits, labels = example(seed, shape)
    options = dict(include_background=background, batch=batch)
    peer = monai.TverskyLoss(to_onehot_y=True, softmax=True, alpha=0.2, beta=0.9, smooth_nr=0.05, smooth_dr=0.05,
                             **options)
    ours = tversky_loss(logits, labels, alpha_fp=0.2, beta_fn=0.9, smooth=0.1, **options)
    same(ours, peer(logits, labels[:, None]), logits)


@quick
@given(seeds, flags, flags, flags)
def test_generalised_dice_is_monais_without_smooth(seed, background, batch, absent):
    logits, labels = example(seed)
    if absent:
        labels[labels == 2] = 1
    options = dict(include_background=background, batch=batch)
    peer = monai.GeneralizedDiceLoss(to_onehot_y=True, softmax=True, smooth_nr=0, smooth_dr=0, **options)
    ours = generalized_dice_loss(logits, labels, smooth=0, **options)
    same(ours, peer(logits, labels[:, None]), logits, 1e-6)         # MONAI's weights are float32


@quick
@given(seeds, shapes, flags, flags)
def test_dice_with_cross_entropy_is_monais(seed, shape, background, weighted):
    logits, labels = example(seed, shape)
    weighted &= background or shape[1] > 2
    weight = torch.arange(1.0, shape[1] + 1, dtype=torch.float64) if weighted else None
    options = dict(include_background=background, weight=weight, lambda_dice=0.7, lambda_ce=0.2)
    peer = monai.DiceCELoss(to_onehot_y=True, softmax=True, **options)
    ours = dice_ce_loss(logits, labels, **options)
    same(ours, peer(logits, labels[:, None]), logits)


@quick
@given(seeds, shapes)
def test_half_and_half_batched_and_squared_is_transunets(seed, shape):
    logits, labels = example(seed, shape)
    p, y, losses = logits.softmax(1), one_hot(labels, shape[1]), 0
    for k in range(shape[1]):
        intersect, y_sum, z_sum = (p[:, k] * y[:, k]).sum(), (y[:, k] * y[:, k]).sum(), (p[:, k] * p[:, k]).sum()
        losses = losses + 1 - (2 * intersect + 1e-5) / (z_sum + y_sum + 1e-5)
    theirs = 0.5 * F.cross_entropy(logits, labels) + 0.5 * losses / shape[1]
    same(dice_ce_loss(logits, labels, lambda_dice=0.5, lambda_ce=0.5, batch=True, squared=True), theirs, logits)


@quick
@given(seeds, shapes, flags, flags)
def test_without_background_it_is_nnunets_plus_one(seed, shape, batch, some_ignored):
    logits, labels = example(seed, shape)
    ignore = 255 if some_ignored else None
    if some_ignored:
        labels.flatten()[::3] = ignore
    mask = (labels != 255)[:, None]
    p, y = logits.softmax(1) * mask, one_hot(labels.where(mask[:, 0], 0), shape[1]) * mask
    axes = tuple(range(2, len(shape)))
    intersect, predicted, true = ((x[:, 1:]).sum(axes) for x in (p * y, p, y))
    if batch:
        intersect, predicted, true = (x.sum(0) for x in (intersect, predicted, true))
    dice = (2 * intersect + 1e-5) / (true + predicted + 1e-5).clamp_min(1e-8)
    theirs = F.cross_entropy(logits, labels, ignore_index=255) - dice.mean()
    same(dice_ce_loss(logits, labels, include_background=False, batch=batch, ignore_index=ignore), theirs + 1, logits)


# ---------------------------------------------------------------------------------------------------------------------
# One law, several names

@quick
@given(seeds, shapes, flags, flags, st.sampled_from([0.0, 1e-5, 1.0]))
def test_dice_is_tversky_at_one_half_and_jaccard_at_one(seed, shape, background, batch, smooth):
    logits, labels = example(seed, shape)
    options = dict(include_background=background, batch=batch, smooth=smooth)
    for price, theirs in ((0.5, dice_loss), (1, jaccard_loss)):
        ours = tversky_loss(logits, labels, alpha_fp=price, beta_fn=price, **options)
        same(ours, theirs(logits, labels, **options), logits)
    same(focal_tversky_loss(logits, labels, gamma=1, **options), tversky_loss(logits, labels, **options), logits)


def test_focal_tversky_is_the_mean_of_powers():
    logits, labels = example(8)
    each = overlap_counts(logits, labels).tversky(0.3, 0.7)
    torch.testing.assert_close(focal_tversky_loss(logits, labels, smooth=0), (each**0.75).mean())
    perfect = (200 * one_hot(labels, 3).double()).requires_grad_()
    loss = focal_tversky_loss(perfect, labels)
    assert loss < 1e-20 and gradient(loss, perfect).isfinite().all()


def test_soft_dice_of_a_sure_answer_is_the_dice_of_sets():
    truth, answer = torch.zeros(1, 8, 8, dtype=torch.int64), torch.zeros(1, 8, 8, dtype=torch.int64)
    truth[0, 2:6, 2:6], answer[0, 3:6, 1:6] = 1, 1
    loss = dice_loss(1e3 * one_hot(answer, 2).double(), truth, include_background=False, smooth=0)
    assert loss.item() == pytest.approx(1 - 2 * 12 / (16 + 15), abs=1e-15)


# ---------------------------------------------------------------------------------------------------------------------
# What changes nothing

@each_loss
def test_a_slice_is_a_volume_of_one_slice(name):
    logits, labels = example(9)
    for axis in (2, 3, 4):
        same(LOSSES[name](logits.unsqueeze(axis), labels.unsqueeze(axis - 1)), LOSSES[name](logits, labels), logits)


@each_loss
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_the_names_of_the_classes_mean_nothing(name, seed):
    logits, labels = example(seed, (2, 4, 5, 3))
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    renamed = torch.argsort(order)[labels]
    same(LOSSES[name](logits[:, order], renamed), LOSSES[name](logits, labels), logits)


@each_loss
@pytest.mark.parametrize("ignore_index", [-100, 255, 1])
def test_ignored_voxels_are_as_if_they_were_not_there(name, ignore_index):
    logits, labels = example(10, (1, 3, 24))
    gone = torch.arange(24) % 3 == 0
    labels[:, ~gone] = labels[:, ~gone].where(labels[:, ~gone] != ignore_index, 0)
    marked = labels.masked_fill(gone, ignore_index)
    ours = LOSSES[name](logits, marked, ignore_index=ignore_index)
    same(ours, LOSSES[name](logits[..., ~gone], labels[:, ~gone]), logits)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "focal_tversky"])
def test_added_background_leaves_the_lesion_alone(name):
    logits, labels = example(11)
    sure = torch.tensor([60.0, 0, 0], dtype=torch.float64)[None, :, None, None].expand(2, 3, 35, 4)
    padded, wider = torch.cat([logits, sure], 2), F.pad(labels, (0, 0, 0, 35))
    options = dict(include_background=False)
    same(LOSSES[name](padded, wider, **options), LOSSES[name](logits, labels, **options), logits)
    assert abs(cross_entropy(padded, wider) / cross_entropy(logits, labels) - 1 / 8) < 1e-9


@each_loss
def test_memory_layout_means_nothing(name):
    logits, labels = example(12, (2, 3, 6, 4))
    turned = labels.transpose(1, 2).contiguous().transpose(1, 2)
    for other in (logits.to(memory_format=torch.channels_last), logits.transpose(2, 3).contiguous().transpose(2, 3),
                  logits.repeat_interleave(2, 3)[..., ::2]):
        assert not other.is_contiguous() and not turned.is_contiguous()
        same(LOSSES[name](other, turned), LOSSES[name](logits, labels), logits)


@each_loss
def test_autocast_changes_nothing(name):
    logits, labels = example(13, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = LOSSES[name](logits, labels)
        inner = gradient(inside, logits)
    assert inside.dtype == torch.float32
    outside = LOSSES[name](logits, labels)
    assert inside == outside and torch.equal(inner, gradient(outside, logits))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_counted_in_float32(dtype):
    logits, labels = example(14, (1, 2, 300, 300), dtype, scale=0.1)
    loss, wide = dice_ce_loss(logits, labels), dice_ce_loss(logits.float(), labels)
    assert loss == wide and loss.dtype == torch.float32
    assert gradient(loss, logits).dtype == dtype


def test_large_volumes_lose_no_digits():
    logits, labels = example(15, (1, 3, 1_500_000), torch.float32)
    exact = overlap_counts(logits.double(), labels)
    counts = overlap_counts(logits, labels)
    for name in ("tp", "fp", "fn"):
        torch.testing.assert_close(getattr(counts, name).double(), getattr(exact, name), rtol=5e-7, atol=0)


# ---------------------------------------------------------------------------------------------------------------------
# The extremes

@pytest.mark.parametrize("margin", [50.0, 88.0, 103.0, 500.0, 1e4])
def test_the_loss_is_right_however_wrong_the_network(margin):
    logits = torch.zeros(1, 3, 8)
    logits[:, 1] = margin
    logits.requires_grad_()
    labels = torch.zeros(1, 8, dtype=torch.int64)
    loss = dice_ce_loss(logits, labels, lambda_dice=0)
    assert loss.item() == pytest.approx(margin, rel=1e-6)
    torch.testing.assert_close(gradient(loss, logits), gradient(F.cross_entropy(logits, labels), logits))


def test_a_class_that_is_nowhere_costs_nothing_and_a_false_alarm_costs_all():
    labels = torch.zeros(1, 6, 6, dtype=torch.int64)
    sure = (1e3 * one_hot(labels, 3).double()).requires_grad_()
    for smooth in (0.0, 1e-5):
        loss = dice_loss(sure, labels, smooth=smooth)
        assert loss == 0 and not gradient(loss, sure).any()
    logits = torch.zeros(1, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    counts = overlap_counts(logits, labels)
    assert counts.tversky(0.5, 0.5, smooth=1e-5)[0, 1:].tolist() == pytest.approx([1, 1], abs=1e-5)
    d = gradient(dice_loss(logits, labels, include_background=False, smooth=1), logits)
    assert (d[:, 1:] > 0).all() and (d[:, 0] < 0).all()             # a step against it lowers the false alarms


def test_generalised_dice_without_any_class_still_pushes_false_alarms_down():
    labels = torch.zeros(1, 6, 6, dtype=torch.int64)
    logits = torch.zeros(1, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    loss, smoothed = (generalized_dice_loss(logits, labels, include_background=False, smooth=smooth)
                      for smooth in (1e-5, 1))
    assert loss.item() == pytest.approx(1, abs=1e-5) and gradient(smoothed, logits).any()


@each_loss
def test_no_voxel_at_all_is_a_loss_of_zero(name):
    logits, labels = example(16)
    for options in ({}, dict(batch=True), dict(smooth=0)):
        loss = LOSSES[name](logits, torch.full_like(labels, 255), ignore_index=255, **options)
        assert loss == 0 and not gradient(loss, logits).any()
        for shape in ((0, 3, 4, 4), (2, 3, 0, 4)):
            empty = torch.zeros(shape, requires_grad=True)
            loss = LOSSES[name](empty, torch.zeros(shape[0], *shape[2:], dtype=torch.int64), **options)
            loss.backward()
            assert loss == 0 and empty.grad.shape == shape


# ---------------------------------------------------------------------------------------------------------------------
# What is refused: the door is the same as cross-entropy's, and tested there

BAD = {
    "smooth": (dice_loss, dict(smooth=-1), "smooth: expected 0 or more, got -1"),
    "NaN smooth": (jaccard_loss, dict(smooth=math.nan), "smooth: expected 0 or more, got nan"),
    "alpha": (tversky_loss, dict(alpha_fp=-0.1), "alpha_fp: expected .*, got -0.1"),
    "beta": (focal_tversky_loss, dict(beta_fn="much"), "beta_fn: expected a number, got 'much'"),
    "gamma": (focal_tversky_loss, dict(gamma=0), "gamma: expected above 0, got 0"),
    "lambda": (dice_ce_loss, dict(lambda_ce=-1), "lambda_ce: expected .*, got -1"),
    "weights": (dice_ce_loss, dict(weight=[1.0, -2.0, 1.0]), r"weight\[1\]: expected 0 or more, got -2"),
    "number of weights": (dice_loss, dict(weight=[1.0], include_background=False),
                          r"weight: expected shape \(3,\) for 3 classes, got \(1,\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_refused(refused, name):
    loss, options, match = BAD[name]
    with refused(match):
        loss(*example(18), **options)


@each_loss
def test_bad_input_is_refused_by_every_loss(refused, name):
    logits, labels = example(19)
    nan = logits.detach().clone()
    nan[0, 0, 0, 0] = torch.nan
    for bad, match in (((logits, labels.double()), "labels: expected an int64"),
                       ((logits, labels + 1), r"labels: expected labels of 0\.\.2 .*, got 3"),
                       ((logits[:, :1], labels), "K = 1"),
                       ((nan, labels), "logits: expected finite numbers .*, got nan")):
        with refused(match):
            LOSSES[name](*bad)


def test_trusted_values_are_not_looked_at():
    logits, labels = example(20)
    with trusted_values():
        assert dice_loss(logits * torch.nan, labels).isnan()


def test_counts_are_frozen():
    counts = overlap_counts(*example(21))
    with pytest.raises(AttributeError):
        counts.tp = counts.fp
    assert counts.foreground().tp.shape == (2, 2) and counts.over_batch().fn.shape == (1, 3)
    assert isinstance(counts.over_batch(), OverlapCounts)


@pytest.mark.gpu
@each_loss
def test_a_gpu_gives_the_same(name):
    logits, labels = example(22, (2, 3, 50, 60), torch.float32)
    there, here = LOSSES[name](logits.cuda(), labels.cuda()), LOSSES[name](logits, labels)
    torch.testing.assert_close(there.cpu(), here)
    torch.testing.assert_close(gradient(there, logits), gradient(here, logits), rtol=1e-4, atol=1e-8)
