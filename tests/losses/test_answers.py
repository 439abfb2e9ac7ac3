"""Regions, each a question of its own: against PyTorch, MONAI, nnU-Net and torchvision, and against two classes."""
from functools import partial

import pytest
import torch
from helpers.loss_examples import LOSSES, gradient, same, takes
from hypothesis import given, settings
from hypothesis import strategies as st
from monai import losses as monai
from monai.data import MetaTensor
from torch.func import grad, vmap
from torch.nn import functional as F

from medlearn.losses import (cross_entropy, dice_ce_loss, dice_loss, focal_loss, generalized_dice_loss, jaccard_loss,
                             overlap_counts, trusted_values, tversky_loss)

quick = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)
SHAPES = [(4, 3), (3, 1, 7), (2, 3, 5, 4), (2, 1, 6, 5), (2, 4, 3, 4, 5)]
shapes = st.sampled_from(SHAPES)
flags = st.booleans()
each_loss = pytest.mark.parametrize("name", LOSSES)


def example(seed, shape=(2, 3, 5, 4), dtype=torch.float64, scale=2.0):
    """Logits, regions that overlap, and which answers count."""
    g = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(shape, generator=g, dtype=torch.float64)).to(dtype)
    regions, where = (torch.rand(shape, generator=g) < part for part in (0.4, 0.7))
    return logits.requires_grad_(), regions, where


def numbers(shape, dtype=torch.float64):
    return torch.arange(1.0, shape[1] + 1, dtype=dtype)


# ---------------------------------------------------------------------------------------------------------------------
# The same numbers as others

@quick
@given(seeds, shapes, flags, st.sampled_from(["mean", "sum", "none"]), st.sampled_from([0.0, 0.1, 1.0]), flags)
def test_cross_entropy_is_pytorchs_binary_one(seed, shape, weighted, reduction, smoothing, some):
    logits, regions, where = example(seed, shape)
    weight = numbers(shape) if weighted else None
    w = torch.ones(shape, dtype=torch.float64)
    w = w if weight is None else w * weight.view(-1, *[1] * (len(shape) - 2))
    w = w * where if some else w
    soft = regions.double() * (1 - smoothing) + smoothing / 2
    theirs = F.binary_cross_entropy_with_logits(logits, soft, w, reduction="none" if reduction == "none" else "sum")
    theirs = theirs / w.sum().clamp_min(1e-300) if reduction == "mean" else theirs
    ours = cross_entropy(logits, regions, weight=weight, label_smoothing=smoothing, reduction=reduction,
                         where=where if some else None)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(ours.sum(), logits), gradient(theirs.sum(), logits), rtol=1e-11, atol=1e-12)


@quick
@given(seeds, st.sampled_from(SHAPES[1:]), flags, flags, flags, flags)
def test_dice_and_jaccard_are_monais(seed, shape, batch, squared, jaccard, weighted):
    logits, regions, _ = example(seed, shape)
    weight = numbers(shape).tolist() if weighted and shape[1] > 1 else None         # MONAI drops that of one region
    peer = monai.DiceLoss(sigmoid=True, batch=batch, squared_pred=squared, jaccard=jaccard, smooth_nr=1e-3,
                          smooth_dr=1e-3, weight=weight)
    ours = (jaccard_loss if jaccard else dice_loss)(logits, regions, batch=batch, squared=squared, smooth=1e-3,
                                                    weight=weight)
    same(ours, peer(logits, regions.double()), logits, 1e-6 if squared else 1e-10)  # its square root is float32


@quick
@given(seeds, st.sampled_from(SHAPES[1:]), flags)
def test_tversky_and_generalised_dice_are_monais(seed, shape, batch):
    logits, regions, _ = example(seed, shape)
    peer = monai.TverskyLoss(sigmoid=True, alpha=0.2, beta=0.9, smooth_nr=0.05, smooth_dr=0.05, batch=batch)
    ours = tversky_loss(logits, regions, alpha_fp=0.2, beta_fn=0.9, smooth=0.1, batch=batch)
    same(ours, peer(logits, regions.double()), logits)
    peer = monai.GeneralizedDiceLoss(sigmoid=True, smooth_nr=0, smooth_dr=0, batch=batch)
    ours = generalized_dice_loss(logits, regions, smooth=0, batch=batch)
    same(ours, peer(logits, regions.double()), logits, 1e-6)


@quick
@given(seeds, st.sampled_from([(3, 1, 7), (2, 1, 6, 5), (2, 1, 3, 4, 5)]), flags)
def test_dice_with_cross_entropy_is_monais_for_one_region(seed, shape, batch):
    """For more of them MONAI takes the cross-entropy of a softmax beside the Dice of sigmoids."""
    logits, regions, _ = example(seed, shape)
    peer = monai.DiceCELoss(sigmoid=True, batch=batch, lambda_dice=0.7, lambda_ce=0.2)
    ours = dice_ce_loss(logits, regions, batch=batch, lambda_dice=0.7, lambda_ce=0.2)
    same(ours, peer(logits, regions.double()), logits)


@quick
@given(seeds, st.sampled_from(SHAPES[1:]), flags, flags)
def test_dice_with_cross_entropy_is_nnunets_plus_one(seed, shape, batch, some):
    """nnU-Net's mask is one of voxels, and its binary cross-entropy is then a sum over the regions."""
    logits, regions, where = example(seed, shape)
    mask = where[:, :1].double() if some else torch.ones_like(where[:, :1]).double()
    p, y, axes = logits.sigmoid(), regions.double(), tuple(range(2, len(shape)))
    intersect, predicted, true = ((x * mask).sum(axes) for x in (p * y, p, y))
    if batch:
        intersect, predicted, true = (x.sum(0) for x in (intersect, predicted, true))
    dice = ((2 * intersect + 1e-5) / (true + predicted + 1e-5).clamp_min(1e-8)).mean()
    bce = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    bce = (bce * mask).sum() / mask.sum().clamp_min(1e-8) if some else bce.mean()
    ours = dice_ce_loss(logits, regions, batch=batch, lambda_ce=shape[1] if some else 1,
                        where=where[:, :1].expand_as(regions) if some else None)
    same(ours, bce - dice + 1, logits)


@quick
@given(seeds, shapes, st.sampled_from([0.0, 0.5, 2.0]), st.sampled_from([None, 0.25]))
def test_focal_is_torchvisions(seed, shape, gamma, alpha):
    logits, regions, where = example(seed, shape)
    def theirs():
        p, y = logits.sigmoid(), regions.double()
        p_t = p * y + (1 - p) * (1 - y)
        loss = F.binary_cross_entropy_with_logits(logits, y, reduction="none") * (1 - p_t) ** gamma
        return loss if alpha is None else loss * (alpha * y + (1 - alpha) * (1 - y))

    ours = partial(focal_loss, logits, regions, gamma=gamma, alpha=alpha)
    torch.testing.assert_close(ours(reduction="none"), theirs(), rtol=1e-9, atol=1e-12)
    same(ours(reduction="sum"), theirs().sum(), logits, 1e-9)
    same(ours(), theirs().mean(), logits, 1e-9)
    same(ours(where=where), theirs()[where].sum() / max(1, where.sum()), logits, 1e-9)


@quick
@given(seeds, st.sampled_from([1.0, 2.0]), st.sampled_from([None, 0.25]))
def test_focal_is_monais(seed, gamma, alpha):
    logits, regions, _ = example(seed)
    peer = monai.FocalLoss(gamma=gamma, alpha=alpha)
    same(focal_loss(logits, regions, gamma=gamma, alpha=alpha), peer(logits, regions.double()).double(), logits, 1e-6)


def test_focal_may_have_an_alpha_for_each_region():
    logits, regions, _ = example(3)
    alphas = [0.1, 0.5, 0.9]
    each = [focal_loss(logits[:, k:k + 1], regions[:, k:k + 1], gamma=2, alpha=a) for k, a in enumerate(alphas)]
    torch.testing.assert_close(focal_loss(logits, regions, gamma=2, alpha=alphas), sum(each) / 3)


# ---------------------------------------------------------------------------------------------------------------------
# One law for both kinds of labels

@each_loss
@pytest.mark.parametrize("some", [False, True], ids=["", "some of them"])
def test_a_region_is_a_class_against_a_background_with_logit_zero(name, some):
    logits, regions, where = example(4, (3, 1, 5, 4))
    labels = regions[:, 0].long().masked_fill(~where[:, 0] & some, 255)
    options = dict(include_background=False) if takes(name, "include_background") else {}
    ours = LOSSES[name](logits, regions, where=where if some else None)
    theirs = LOSSES[name](torch.cat([torch.zeros_like(logits), logits], 1), labels, ignore_index=255, **options)
    same(ours, theirs, logits)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_counts_are_their_sums(shape, squared):
    logits, regions, where = example(5, shape)
    counts = overlap_counts(logits, regions, where=where, squared=squared)
    p, y, m = (x.double().reshape(*shape[:2], -1) for x in (logits.sigmoid(), regions, where))
    p, y = p * m, y * m
    tp = (p * y).sum(2)
    for ours, theirs in ((counts.tp, tp), (counts.fp, (p**2 if squared else p).sum(2) - tp),
                         (counts.fn, y.sum(2) - tp)):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@each_loss
def test_the_names_of_the_regions_mean_nothing(name):
    logits, regions, where = example(6)
    order = [2, 0, 1]
    same(LOSSES[name](logits[:, order], regions[:, order], where=where[:, order]),
         LOSSES[name](logits, regions, where=where), logits)


@each_loss
def test_answers_that_do_not_count_are_as_if_they_were_not_there(name):
    logits, regions, _ = example(7, (1, 3, 24))
    where = (torch.arange(24) % 3 > 0).expand(1, 3, 24)
    same(LOSSES[name](logits, regions, where=where),
         LOSSES[name](logits[..., where[0, 0]], regions[..., where[0, 0]]), logits)
    outside = ~where
    flipped = torch.where(outside, ~regions, regions)
    assert LOSSES[name](logits, flipped, where=where) == LOSSES[name](logits, regions, where=where)


@each_loss
def test_a_slice_is_a_volume_of_one_slice(name):
    logits, regions, where = example(8)
    for axis in (2, 3, 4):
        same(LOSSES[name](*(x.unsqueeze(axis) for x in (logits, regions)), where=where.unsqueeze(axis)),
             LOSSES[name](logits, regions, where=where), logits)


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives, precision, extremes

@each_loss
def test_a_gradient_may_be_differentiated(name):
    logits, regions, where = example(9, (2, 3, 2, 3), scale=1.0)
    loss = partial(LOSSES[name], where=where)
    assert torch.autograd.gradcheck(lambda z: loss(z, regions), logits)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, regions), logits)


@each_loss
def test_functional_transforms_give_each_image_its_gradient(name):
    logits, regions, where = example(10, (3, 3, 4, 5))
    logits = logits.detach()

    def loss(z, y, m):
        return LOSSES[name](z[None], y[None], where=m[None])

    each = [gradient(loss(z, y, m), z) for z, y, m in zip(logits.clone().requires_grad_().unbind(), regions, where)]
    torch.testing.assert_close(vmap(grad(loss))(logits, regions, where), torch.stack(each), rtol=1e-10, atol=1e-14)


@each_loss
def test_autocast_changes_nothing_and_half_precision_is_counted_in_float32(name):
    logits, regions, where = example(11, (2, 2, 60, 50), torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = LOSSES[name](logits, regions, where=where)
        slope = gradient(inside, logits)
    assert inside.dtype == torch.float32 and slope.dtype == torch.bfloat16
    assert inside == LOSSES[name](logits.float(), regions, where=where)


def test_large_volumes_lose_no_digits():
    logits, regions, _ = example(12, (1, 2, 1_500_000), torch.float32)
    counts, exact = overlap_counts(logits, regions), overlap_counts(logits.double(), regions)
    for name in ("tp", "fp", "fn"):
        torch.testing.assert_close(getattr(counts, name).double(), getattr(exact, name), rtol=5e-7, atol=0)


@pytest.mark.parametrize("margin", [50.0, 500.0, 1e4])
def test_the_loss_is_right_however_wrong_the_network(margin):
    logits = torch.tensor([[-margin, margin]], requires_grad=True)
    for loss in (cross_entropy, partial(dice_ce_loss, lambda_dice=0), partial(focal_loss, gamma=2)):
        wrong = loss(logits, torch.tensor([[True, False]]))
        assert wrong.item() == pytest.approx(margin) and gradient(wrong, logits).tolist() == [[-0.5, 0.5]]
        right = loss(logits, torch.tensor([[False, True]]))
        assert right < 1e-20 and gradient(right, logits).abs().max() < 1e-20


@each_loss
def test_no_answer_at_all_is_a_loss_of_zero(name):
    logits, regions, where = example(13)
    loss = LOSSES[name](logits, regions, where=torch.zeros_like(where))
    assert loss == 0 and not gradient(loss, logits).any()
    for shape in ((0, 3, 4, 4), (2, 3, 0, 4)):
        assert LOSSES[name](torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)) == 0


def test_a_region_that_is_nowhere_costs_nothing_and_a_false_alarm_costs_all():
    nowhere = torch.zeros(1, 2, 6, 6, dtype=torch.bool)
    for smooth in (0.0, 1e-5):
        assert dice_loss(torch.full((1, 2, 6, 6), -1e3), nowhere, smooth=smooth) == 0
        assert dice_loss(torch.zeros(1, 2, 6, 6), nowhere, smooth=smooth).item() == pytest.approx(1, abs=1e-5)


@each_loss
@pytest.mark.parametrize("wild", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("trust", [False, True])
def test_what_does_not_count_may_be_anything(name, wild, trust):
    logits, regions, where = example(14)
    where[0, :, 0] = False
    wrong = logits.detach().clone()
    wrong[0, 1, 0] = wild
    wrong.requires_grad_()
    if trust:
        with trusted_values():
            loss = LOSSES[name](wrong, regions, where=where)
    else:
        loss = LOSSES[name](wrong, regions, where=where)
    expected = LOSSES[name](logits, regions, where=where)
    torch.testing.assert_close(loss, expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient(loss, wrong), gradient(expected, logits), rtol=1e-12, atol=1e-15)


def test_a_region_may_be_ruled_out():
    logits = torch.full((1, 2, 3), -torch.inf, requires_grad=True)
    for name, loss in LOSSES.items():
        value = loss(logits, torch.zeros(1, 2, 3, dtype=torch.bool))
        assert value == 0 and not gradient(value, logits).any(), name


@each_loss
def test_subclasses_of_tensors_have_the_loss_of_tensors(name):
    logits, regions, where = example(15, dtype=torch.float32)
    x = MetaTensor(logits.detach()).requires_grad_()
    loss = LOSSES[name](x, MetaTensor(regions), where=MetaTensor(where))
    expected = LOSSES[name](logits, regions, where=where)
    assert loss.as_subclass(torch.Tensor) == expected
    assert torch.equal(gradient(loss, x).as_subclass(torch.Tensor), gradient(expected, logits))


# ---------------------------------------------------------------------------------------------------------------------
# The door

LOGITS, REGIONS = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.bool)
BAD = {
    "neither": (REGIONS.float(), {}, r"labels: expected an int64 tensor \(B, \*S\) of classes \(one softmax\), or a "
                r"bool tensor \(B, K, \*S\) of regions \(a sigmoid each\), got torch.float32 of shape"),
    "no tensor": ([True], {}, "labels: expected an int64 tensor .*, or a bool tensor .*, got list"),
    "one region too few": (REGIONS[:, :2], {},
                           r"labels: expected .* a bool tensor \(2, 3, 4, 4\) .*, got .*\(2, 2, 4, 4\)"),
    "a number to ignore": (REGIONS, dict(ignore_index=255),
                           r"ignore_index: expected None for bool labels.*where=.*got 255"),
    "a mask of voxels": (REGIONS, dict(where=REGIONS[:, 0]),
                         r"where: expected shape \(2, 3, 4, 4\) .*, as labels has, got \(2, 4, 4\)"),
    "a mask of numbers": (REGIONS, dict(where=REGIONS.float()), "where: expected a bool tensor, got torch.float32"),
    "a mask for classes": (REGIONS[:, 0].long(), dict(where=REGIONS),
                           "where: expected None for int64 labels: ignore_index"),
}


@each_loss
@pytest.mark.parametrize("case", BAD)
def test_what_is_neither_and_what_does_not_belong_to_it_is_refused(refused, name, case):
    labels, options, match = BAD[case]
    with refused(match):
        LOSSES[name](LOGITS, labels, **options)


@each_loss
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_are_refused(refused, name, number):
    wrong = LOGITS.clone()
    wrong[1, 2, 3, 3] = number
    with refused(f"logits: expected finite numbers .*, got {number}"):
        LOSSES[name](wrong, REGIONS)


@pytest.mark.parametrize("name", [name for name in LOSSES if takes(name, "include_background")])
def test_there_is_no_background_to_leave_out(refused, name):
    with refused("include_background: expected True for bool labels: no region is the background, got False"):
        LOSSES[name](LOGITS, REGIONS, include_background=False)


def test_numbers_for_regions_are_refused_as_those_for_classes(refused):
    with refused(r"weight: expected shape \(3,\) .*, got \(2,\)"):
        dice_ce_loss(LOGITS, REGIONS, weight=[1, 1])
    with refused(r"alpha: expected 0\.\.1, got 1.5"):
        focal_loss(LOGITS, REGIONS, gamma=2, alpha=[0.5, 1.5, 1])


@pytest.mark.gpu
@each_loss
def test_a_gpu_gives_the_same(name):
    logits, regions, where = example(16, (2, 3, 50, 60), torch.float32)
    there = LOSSES[name](logits.cuda(), regions.cuda(), where=where.cuda())
    here = LOSSES[name](logits, regions, where=where)
    torch.testing.assert_close(there.cpu(), here)
    torch.testing.assert_close(gradient(there, logits), gradient(here, logits), rtol=1e-4, atol=1e-8)
